"""Folders named by class: `cat/1.jpg`."""

from collections.abc import Sequence
from pathlib import Path

from semples_cli.data.image_folder import ImageFile
from semples_cli.data.labels.table import LabelTable, TableBuilder
from semples_cli.types import ClassSet

NAME = "class-folders"


def fits_class_folders(images: Sequence[ImageFile]) -> bool:
    """Whether every image lies in a folder of its own below the one that was given."""
    return bool(images) and all("/" in image.id for image in images)


def read_class_folders(folder: Path, images: Sequence[ImageFile], class_set: ClassSet | None) -> LabelTable:
    """Read the first folder of each id as its class; folders named 'background' or 'none' hold no class."""
    table = TableBuilder(folder, class_set)
    for image in images:
        table.add(image.id, [image.id.split("/")[0]] if "/" in image.id else [], 0, 0)
    return table.finish("class folders")
