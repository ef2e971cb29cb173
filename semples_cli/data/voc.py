"""Reads a VOC devkit folder: images, splits, image-level labels. Ground truth is never opened here."""

from collections.abc import Collection, Iterator
from pathlib import Path

from semples_cli.data.class_list import read_class_list
from semples_cli.data.image_folder import SUFFIXES
from semples_cli.data.labels.table import LabelRow, LabelTable
from semples_cli.data.word_file import read_entries
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

IMAGES = "JPEGImages"
SPLITS = Path("ImageSets") / "Segmentation"
MAIN = Path("ImageSets") / "Main"
CLASSES = "classes.txt"
DEFAULT_SPLITS = ("train_aug", "train")
_NESTED = ("", "VOCdevkit/VOC2012", "VOC2012")
_MAIN_SPLITS = ("train", "val", "trainval", "test")
_FLAGS = ("1", "0", "-1")


def find_devkit(folder: Path) -> Path | None:
    """The folder that holds JPEGImages: the one given, or VOC2012 inside it; None if there is none."""
    return next((folder / inner for inner in _NESTED if (folder / inner / IMAGES).is_dir()), None)


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
    return name, tuple(dict.fromkeys(_id_in(entry) for _, entry in entries))


def read_main(devkit: Path, class_set: ClassSet | None, wanted: Collection[str] | None = None) -> LabelTable | None:
    """Image-level labels from ImageSets/Main.

    In `<class>_<split>.txt` only 1 means present; 0 is difficult and -1 absent. The files of all splits are read, for
    the segmentation lists name images of several of them.

    Args:
        devkit: The folder that holds JPEGImages.
        class_set: Known classes.
        wanted: Ids to keep; None for all.

    Returns:
        The labels; None where there are no such files.

    Raises:
        DataError: A line is none of VOC's, or a file is named by an unknown class.
    """
    present: dict[str, set[str]] = {}
    found: set[str] = set()
    for class_name, path in _class_files(devkit / MAIN):
        _check_class(class_name, path, class_set)
        found.add(class_name)
        for image_id, is_present in _read_flags(path):
            if wanted is None or image_id in wanted:
                present.setdefault(image_id, set()).update({class_name} if is_present else ())
    if not found:
        return None
    rows = {image_id: LabelRow(tuple(sorted(names)), 0) for image_id, names in sorted(present.items())}
    description = f"{devkit / MAIN}: read as VOC image sets: {len(found)} classes, {len(rows)} images"
    return LabelTable(rows, tuple(sorted(found)), description, devkit / MAIN)


def voc_order(table: LabelTable) -> ClassSet | None:
    """VOC's own 20 classes if all names are among them; None if not, or if a one-hot header fixes the order."""
    voc = read_class_list("voc12")
    names = set(table.class_names or ()) | {name for row in table.rows.values() for name in row.names}
    fixed = table.class_names is not None and table.source.is_file()
    return voc if names and not fixed and names <= set(voc.names) else None


def _id_in(entry: str) -> str:
    """`2007_000032`; some lists name two files instead: `/JPEGImages/2007_000032.jpg /SegmentationClassAug/…`."""
    first = entry.split()[0].removeprefix("/").removeprefix(f"{IMAGES}/")
    suffix = Path(first).suffix
    return first.removesuffix(suffix) if suffix.lower() in SUFFIXES else first


def _class_files(main: Path) -> Iterator[tuple[str, Path]]:
    """The files that have flags, with the class that each one is named by; the others are lists of a whole split."""
    paths = sorted(main.glob("*.txt"))
    flagged = [path for path in paths if any(len(entry.split()) > 1 for _, entry in read_entries(path))]
    lists = {path.stem for path in paths} - {path.stem for path in flagged}
    splits = {*lists, *_MAIN_SPLITS, *DEFAULT_SPLITS}
    for path in flagged:
        split = max((split for split in splits if path.stem.endswith(f"_{split}")), key=len, default="")
        yield path.stem.removesuffix(f"_{split}"), path


def _check_class(class_name: str, path: Path, class_set: ClassSet | None) -> None:
    if class_set is None:
        return
    try:
        class_set.index_of(class_name)
    except DataError as error:
        msg = f"{path}: {error}"
        raise DataError(msg) from None


def _read_flags(path: Path) -> Iterator[tuple[str, bool]]:
    """Id and whether it is present, line by line."""
    for number, entry in read_entries(path):
        parts = entry.split()
        if len(parts) != 2 or parts[1] not in _FLAGS:
            msg = f"{path}:{number}: {entry!r} is not `<id> 1`, `<id> 0` or `<id> -1`; correct this line"
            raise DataError(msg)
        yield parts[0], parts[1] == "1"
