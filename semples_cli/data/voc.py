"""Reads a VOC devkit folder: images, splits, image-level labels. Ground truth is never opened here."""

from collections.abc import Sequence
from pathlib import Path

from semples_cli.data.labels.recognise import read_labels
from semples_cli.data.labels.table import LabelRow, LabelTable
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

IMAGES = "JPEGImages"
SPLITS = Path("ImageSets") / "Segmentation"
MAIN = Path("ImageSets") / "Main"
DEFAULT_SPLITS = ("train_aug", "train")
_NESTED = ("", "VOCdevkit/VOC2012", "VOC2012")


def find_devkit(folder: Path) -> Path | None:
    """The folder that holds JPEGImages: the one given, or VOC2012 inside it; None if there is none."""
    return next((folder / inner for inner in _NESTED if (folder / inner / IMAGES).is_dir()), None)


def read_split(devkit: Path, split: str | None) -> tuple[str, tuple[str, ...] | None]:
    """Name and image ids of a split.

    Args:
        devkit: The folder that holds JPEGImages.
        split: Its name; None: train_aug where its list is there, else train, else all images.

    Returns:
        The split's name, and its ids; ids None for all images.

    Raises:
        DataError: There is no such list; the message names those there are.
    """
    there = sorted(path.stem for path in (devkit / SPLITS).glob("*.txt"))
    if split is None:
        split = next((name for name in DEFAULT_SPLITS if name in there), None)
        if split is None:
            return "all images", None
    path = devkit / SPLITS / f"{split}.txt"
    if not path.is_file():
        msg = f"{path}: no list of split {split!r}; the splits here: {', '.join(there) or 'none'}"
        raise DataError(msg)
    return split, tuple(dict.fromkeys(path.read_text(encoding="utf-8").split()))


def read_voc_labels(devkit: Path, class_set: ClassSet | None) -> LabelTable:
    """Image-level labels from ImageSets/Main, else from labels.csv in the devkit.

    In `<class>_<split>.txt` only 1 means present; 0 is difficult and -1 absent. All splits are read, for the
    segmentation lists name images of several of them.

    Raises:
        DataError: There is neither, or a line is none of VOC's.
    """
    listed = [path for path in sorted((devkit / MAIN).glob("*_*.txt")) if path.is_file()]
    if listed:
        return _read_main(devkit, listed, class_set)
    if (devkit / "labels.csv").is_file():
        return read_labels(devkit / "labels.csv", class_set=class_set)
    msg = f"{devkit}: no image-level labels; bring {MAIN}/<class>_<split>.txt, or a labels.csv in this folder"
    raise DataError(msg)


def _read_main(devkit: Path, listed: Sequence[Path], class_set: ClassSet | None) -> LabelTable:
    splits = [f"_{path.stem}" for folder in (SPLITS, MAIN) for path in (devkit / folder).glob("*.txt")]
    splits += ["_train", "_val", "_trainval", "_test"]
    names: dict[str, dict[str, None]] = {}
    found: dict[str, None] = {}
    for path in listed:
        class_name = path.stem.removesuffix(max((s for s in splits if path.stem.endswith(s)), key=len, default=""))
        if class_set is not None and class_name not in class_set.names:
            continue
        found[class_name] = None
        for image_id in _read_flags(path, names):
            names[image_id][class_name] = None
    rows = {image_id: LabelRow(tuple(sorted(present)), 0) for image_id, present in names.items()}
    description = f"{devkit / MAIN}: read as VOC image sets: {len(found)} classes, {len(rows)} images"
    return LabelTable(rows, tuple(found), description, devkit / MAIN)


def _read_flags(path: Path, names: dict[str, dict[str, None]]) -> list[str]:
    """Ids with flag 1; every id of the file becomes known to `names`."""
    present = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 2 or parts[1] not in ("1", "0", "-1"):
            msg = f"{path}:{number}: {line!r} is not `<id> 1`, `<id> 0` or `<id> -1`"
            raise DataError(msg)
        names.setdefault(parts[0], {})
        if parts[1] == "1":
            present.append(parts[0])
    return present
