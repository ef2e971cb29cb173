"""Folders named by class: `cat/1.jpg`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from semples_cli.class_names import composed
from semples_cli.data.image_folder import ImageFile
from semples_cli.data.labels.table import LabelTable, TableBuilder
from semples_cli.errors import DataError
from semples_cli.types import BACKGROUND, ClassSet

NAME = "class-folders"


def fits_class_folders(images: Sequence[ImageFile], class_set: ClassSet | None) -> bool:
    """Whether every image lies in a folder that is named by a class; without a class list nobody can tell."""
    if class_set is None or not all("/" in image.id for image in images):
        return False
    return {composed(_class_of(image)) for image in images} <= {*map(composed, class_set.names), BACKGROUND}


def read_class_folders(folder: Path, images: Sequence[ImageFile], class_set: ClassSet | None) -> LabelTable:
    """Read the first folder of each id as its class; folders named 'background' or 'none' hold no class.

    What lies in no folder has no label. A folder that is no class is one problem, not one for each of its images.

    Raises:
        DataError: No image lies in a folder of its own.
    """
    table = TableBuilder(folder, class_set)
    unknown: set[str] = set()
    inside = [image for image in images if "/" in image.id]
    if not inside:
        msg = f"{folder}: no image lies in a folder named by its class, such as {folder}/cat/1.jpg; move them there"
        raise DataError(msg)
    for image in inside:
        name, before = _class_of(image), len(table.problems)
        if name not in unknown:
            table.add(image.id + image.path.suffix, [(name, 0)], 0)
        if len(table.problems) > before:
            unknown.add(name)
    return replace(table.finish("class folders"), form=NAME)


def _class_of(image: ImageFile) -> str:
    return image.id.split("/")[0]
