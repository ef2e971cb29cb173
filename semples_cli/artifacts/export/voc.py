"""The layout of VOC and mmsegmentation: images, masks and a list side by side, and a config that names them."""

from pathlib import Path
from pprint import pformat
from typing import ClassVar

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.artifacts.export.image_copy import place_image
from semples_cli.artifacts.export.index_file import IndexFile
from semples_cli.artifacts.export.protocol import ExportImage, ExportSettings
from semples_cli.artifacts.export.split_list import list_entry
from semples_cli.artifacts.mask_png import voc_palette, write_mask
from semples_cli.errors import DataError
from semples_cli.types import BACKGROUND, IGNORE_INDEX, ClassSet

IMAGES, MASKS, SPLIT, CONFIG = "img_dir", "ann_dir", "splits/train.txt", "dataset.py"

# One ending for files of one kind: mmsegmentation takes a single ending for all images.
_ENDINGS = {".jpeg": ".jpg", ".tiff": ".tif"}


class VocExporter:
    """`img_dir/<id>.<suffix>`, `ann_dir/<id>.png`, `splits/train.txt`, and `dataset.py` for mmsegmentation.

    Masks are the palette PNGs of our own run folders, 255 kept.

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
        self._split = IndexFile(out / SPLIT)
        self._suffix = ""

    def add(self, image: ExportImage) -> tuple[Path, ...]:
        """Put image and mask side by side.

        Raises:
            DataError: The image is of another kind than the first one.
        """
        line, suffix = list_entry(image.id), self._checked_suffix(image)
        picture = self._out / IMAGES / f"{image.id}{suffix}"
        mask = self._out / MASKS / f"{image.id}.png"
        place_image(image.image_path, picture, copy=self._copy)
        write_mask(mask, image.values)
        self._split.write(line)
        self._suffix = suffix
        return picture, mask

    def finish(self) -> tuple[Path, ...]:
        """Write list and config."""
        self._split.write("")
        split = self._split.complete()
        with open_atomic(self._out / CONFIG) as handle:
            handle.write(self._config().encode())
        return self._out / CONFIG, split

    def abandon(self) -> None:
        """Remove the unfinished list."""
        self._split.abandon()

    def _checked_suffix(self, image: ExportImage) -> str:
        suffix = image.image_path.suffix.lower()
        suffix = _ENDINGS.get(suffix, suffix)
        if self._suffix and suffix != self._suffix:
            msg = (
                f"{image.image_path}: mmsegmentation takes one ending for all images, here {self._suffix}; "
                "convert this one, or export the two kinds into two folders"
            )
            raise DataError(msg)
        return suffix

    def _config(self) -> str:
        names = (BACKGROUND, *self._class_set.names)
        return CONFIG_TEXT.format(
            classes=pformat(names, width=110, compact=True),
            palette=pformat(voc_palette()[: len(names)].tolist(), width=110, compact=True),
            data_root=str(self._out.absolute()),
            images=IMAGES,
            masks=MASKS,
            split=SPLIT,
            suffix=self._suffix,
            ignore=IGNORE_INDEX,
        )


CONFIG_TEXT = """# Dataset of mmsegmentation: name this file in _base_ of a config, and train_dataset in its dataloader.

metainfo = dict(
    classes={classes},
    palette={palette},
)
train_dataset = dict(
    type="BaseSegDataset",
    data_root={data_root!r},  # where the folders lie; correct it when they are moved
    data_prefix=dict(img_path={images!r}, seg_map_path={masks!r}),
    ann_file={split!r},
    img_suffix={suffix!r},
    seg_map_suffix=".png",
    ignore_index={ignore},
    reduce_zero_label=False,  # 0 is the class background; True would make it {ignore} and shift all others
    metainfo=metainfo,
)
"""
