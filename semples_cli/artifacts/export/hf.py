"""Hugging Face `imagefolder`: images, masks and the metadata.jsonl that brings them together."""

import json
import re
from pathlib import Path
from typing import ClassVar

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.artifacts.export.image_copy import place_image
from semples_cli.artifacts.export.index_file import IndexFile
from semples_cli.artifacts.export.protocol import ExportImage, ExportSettings
from semples_cli.artifacts.mask_png import write_mask
from semples_cli.types import BACKGROUND, IGNORE_INDEX, ClassSet

METADATA, IMAGES, MASKS, CARD = "metadata.jsonl", "images", "masks", "README.md"

# What `datasets` takes for the name of a split wherever it stands between such signs, COCO_train2014_… not excepted.
_SPLIT_WORD = re.compile(
    r"(?:^|[-._ 0-9/])(train(?:ing)?|validation|valid|dev|val|test(?:ing)?|eval(?:uation)?)(?:[-._ 0-9/]|$)"
)


class HfExporter:
    """`metadata.jsonl` with `file_name` and `mask_file_name`, `images/<id>.<suffix>`, `masks/<id>.png`, 255 kept.

    `README.md` is the dataset card: it lists the classes, which nothing else here holds, and says that all images are
    one split, so that `load_dataset("<out>")` does not look for splits in their names.

    Args:
        out: Folder of the export.
        class_set: The classes.
        settings: `copy_images`.
    """

    options: ClassVar[frozenset[str]] = frozenset({"copy_images"})
    void_rule: ClassVar[str] = ""

    def __init__(self, out: Path, class_set: ClassSet, settings: ExportSettings) -> None:
        self.notes: list[str] = []
        self._out = out
        self._class_set = class_set
        self._copy = settings.copy_images
        self._metadata = IndexFile(out / METADATA)

    def add(self, image: ExportImage) -> tuple[Path, ...]:
        """Put image and mask side by side, and their line into the metadata."""
        if not self.notes and (word := _SPLIT_WORD.search(image.file_name)):
            self.notes.append(
                f"{image.file_name}: load_dataset('imagefolder', data_dir=…) takes {word[1]!r} for a split and loses "
                f"the masks; load_dataset({str(self._out)!r}) does not"
            )
        names = f"{IMAGES}/{image.file_name}", f"{MASKS}/{image.id}.png"
        picture, mask = (self._out / name for name in names)
        place_image(image.image_path, picture, copy=self._copy)
        write_mask(mask, image.values)
        line = json.dumps({"file_name": names[0], "mask_file_name": names[1]}, ensure_ascii=False)
        self._metadata.write(f"{line}\n")
        return picture, mask

    def finish(self) -> tuple[Path, ...]:
        """Write the card, and complete the metadata."""
        self._metadata.write("")
        names = enumerate((BACKGROUND, *self._class_set.names))
        classes = "\n".join(f"- {index}: {name}" for index, name in names)
        with open_atomic(self._out / CARD) as handle:
            handle.write(CARD_TEXT.format(classes=classes, ignore=IGNORE_INDEX).encode())
        return self._out / CARD, self._metadata.complete()

    def abandon(self) -> None:
        """Remove the unfinished metadata."""
        self._metadata.abandon()


CARD_TEXT = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: "**"
task_categories:
- image-segmentation
---
Pseudo masks by semples. `load_dataset` of this folder has the columns `image` and `mask`; `numpy.array(row["mask"])`
are the class indices, {ignore} is ignore:

{classes}
"""
