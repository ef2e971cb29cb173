"""Reads a VOC devkit folder: images, splits, the order of its classes. Ground truth is never opened here."""

import os
from pathlib import Path

from semples_cli.data.class_list import read_class_list
from semples_cli.data.image_folder import SUFFIXES
from semples_cli.data.labels.table import LabelTable
from semples_cli.data.word_file import read_entries
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

IMAGES = "JPEGImages"
SPLITS = Path("ImageSets") / "Segmentation"
MAIN = Path("ImageSets") / "Main"
ANNOTATIONS = "Annotations"
CLASSES = "classes.txt"
DEFAULT_SPLITS = ("train_aug", "train")
_NESTED = ("", "VOCdevkit/VOC2012", "VOC2012")


def find_devkit(folder: Path) -> Path | None:
    """The folder that holds JPEGImages: the one given, or VOC2012 inside it; None if there is none."""
    return next((folder / inner for inner in _NESTED if os.path.isdir(folder / inner / IMAGES)), None)  # noqa: PTH112  # raises at no folder


def devkit_around(folder: Path) -> Path | None:
    """The devkit that a JPEGImages folder belongs to, if image sets lie beside it."""
    parent = folder.resolve().parent
    return parent if folder.resolve().name == IMAGES and (parent / SPLITS.parent).is_dir() else None


def read_split(devkit: Path, split: str | None) -> tuple[str, tuple[str, ...] | None]:
    """Name and image ids of a split.

    Args:
        devkit: The folder that holds JPEGImages.
        split: Its name; None: train_aug where its list is there, else train; all images where there are no lists.

    Returns:
        The split's name, and its ids; ids None for all images.

    Raises:
        DataError: There is no such list; the message names those there are.
    """
    there = sorted(path.stem for path in (devkit / SPLITS).glob("*.txt"))
    if split is None and not there:
        return "all images", None
    wanted = (split,) if split is not None else DEFAULT_SPLITS
    name = next((name for name in wanted if name in there), None)
    if name is None:
        choose = f"choose by --split: {', '.join(there)}" if there else "leave --split out for all images"
        msg = f"{devkit / SPLITS}: no list of split {' or '.join(wanted)}; {choose}"
        raise DataError(msg)
    entries = read_entries(devkit / SPLITS / f"{name}.txt")
    return name, tuple(dict.fromkeys(id_in_split(entry) for _, entry in entries))


def id_in_split(entry: str) -> str:
    """The image id of a line of a split list.

    Args:
        entry: `2007_000032`; some lists name two files instead: `/JPEGImages/2007_000032.jpg /SegmentationClassAug/…`.
    """
    first = entry.split()[0].removeprefix("/").removeprefix(f"{IMAGES}/")
    suffix = Path(first).suffix
    return first.removesuffix(suffix) if suffix.lower() in SUFFIXES else first


def voc_order(table: LabelTable) -> ClassSet | None:
    """VOC's own 20 classes if all names are among them; None if not, or if a one-hot header fixes the order."""
    voc = read_class_list("voc12")
    names = set(table.class_names or ()) | {name for row in table.rows.values() for name in row.names}
    fixed = table.class_names is not None and table.source.is_file()
    return voc if names and not fixed and names <= set(voc.names) else None
