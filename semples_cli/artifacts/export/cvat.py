"""CVAT's "Segmentation mask 1.1": one zip of palette PNGs, a label map and a list."""

import io
from pathlib import Path
from typing import ClassVar
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from PIL import Image

from semples_cli.artifacts.export.index_file import IndexFile
from semples_cli.artifacts.export.protocol import ExportImage, ExportSettings
from semples_cli.artifacts.export.split_list import list_entry
from semples_cli.artifacts.mask_png import voc_palette
from semples_cli.errors import SettingsError
from semples_cli.types import BACKGROUND, BACKGROUND_INDEX, IGNORE_INDEX, ClassSet, MaskArray

NAME = "annotations.zip"
LIST = "ImageSets/Segmentation/default.txt"


class CvatExporter:
    """`<out>/annotations.zip`: labelmap.txt, SegmentationClass/<id>.png, ImageSets/Segmentation/default.txt.

    Mask values are the line numbers of the label map, and the palette has the colours of its lines: a reader of indices
    and a reader of colours agree. There is no SegmentationObject. The same masks give the same bytes. The directory of
    the zip, 0.4 kB an image, is held in memory until the end.

    Args:
        out: Folder of the export.
        class_set: The classes.
        settings: None of them applies.

    Raises:
        SettingsError: Two classes would have one name in the label map, or one would be read as a comment.
    """

    options: ClassVar[frozenset[str]] = frozenset()
    void_rule: ClassVar[str] = "written as 0, background: CVAT refuses them"

    def __init__(self, out: Path, class_set: ClassSet, settings: ExportSettings) -> None:
        del settings
        self.notes: list[str] = []
        self._names = _label_names(class_set)
        for name, label in zip(class_set.names, self._names, strict=True):
            if name != label:
                self.notes.append(f"class {name!r} is {label!r} in CVAT, whose label map ends a name at ':'")
        self._spool = IndexFile(out / NAME)
        self._list = IndexFile(out / f"{NAME}.list")
        self._zip: ZipFile | None = None

    def add(self, image: ExportImage) -> tuple[Path, ...]:
        """Put the mask into the zip, and its id into the list."""
        line = list_entry(image.id)
        content = _palette_png(np.where(image.values == IGNORE_INDEX, np.uint8(BACKGROUND_INDEX), image.values))
        _enter(self._opened(), f"SegmentationClass/{image.id}.png", content)
        self._list.write(line)
        return ()

    def finish(self) -> tuple[Path, ...]:
        """Put the list into the zip, and close."""
        archive = self._opened()
        self._list.write("")
        self._list.handle.seek(0)
        _enter(archive, LIST, self._list.handle.read())
        self._list.abandon()
        archive.close()
        self._zip = None
        return (self._spool.complete(),)

    def abandon(self) -> None:
        """Remove the unfinished zip."""
        if self._zip is not None:
            self._zip.fp = None  # or its end would be written when it is collected, to a file that is closed
            self._zip = None
        self._spool.abandon()
        self._list.abandon()

    def _opened(self) -> ZipFile:
        if self._zip is None:
            self._zip = ZipFile(self._spool.handle, "w")
            _enter(self._zip, "labelmap.txt", self._label_map().encode())
        return self._zip

    def _label_map(self) -> str:
        labels = (BACKGROUND, *self._names)
        colours = voc_palette()[: len(labels)].tolist()
        return "".join(
            f"{label}:{red},{green},{blue}::\n" for label, (red, green, blue) in zip(labels, colours, strict=True)
        )


def _label_names(class_set: ClassSet) -> list[str]:
    labels = [name.replace(":", "").strip() for name in class_set.names]
    for label, name in zip(labels, class_set.names, strict=True):
        if not label or label.startswith("#") or label.casefold() == BACKGROUND or labels.count(label) > 1:
            msg = (
                f"class {name!r} would be {label!r} in CVAT's label map, where a name holds no ':', does not begin "
                f"with '#', is not {BACKGROUND!r} and stands once; give --classes with other names in the same order"
            )
            raise SettingsError(msg)
    return labels


def _palette_png(values: MaskArray) -> bytes:
    image = Image.fromarray(values)
    image.putpalette(voc_palette().tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _enter(archive: ZipFile, name: str, content: bytes) -> None:
    entry = ZipInfo(name)  # of 1980, so that the bytes follow from the masks alone
    entry.external_attr = 0o644 << 16  # or unzip makes files that nobody may read
    entry.compress_type = ZIP_STORED if name.endswith(".png") else ZIP_DEFLATED
    archive.writestr(entry, content)
