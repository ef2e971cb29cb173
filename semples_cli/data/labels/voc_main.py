"""VOC's image sets: `ImageSets/Main/<class>_<split>.txt` with a line `<id> 1`, `<id> 0` or `<id> -1` an image."""

from collections.abc import Collection, Iterator
from pathlib import Path

from semples_cli.data.labels.table import LabelRow, LabelTable
from semples_cli.data.word_file import read_entries
from semples_cli.errors import DataError
from semples_cli.types import BACKGROUND, ClassSet

NAME = "voc-main"
_SPLITS = ("train", "val", "trainval", "test", "train_aug")
_PRESENT, _DIFFICULT, _ABSENT = "1", "0", "-1"
_FLAGS = (_PRESENT, _DIFFICULT, _ABSENT)


def fits_voc_main(folder: Path) -> bool:
    """Whether a text file here is named by class and split, and marks its first image by a flag."""
    for path in sorted(folder.glob("*_*.txt")):
        try:
            _, entry = next(read_entries(path), (0, ""))
        except DataError:  # some other text file, or none
            continue
        parts = entry.split()
        if len(parts) == 2 and parts[1] in _FLAGS:
            return True
    return False


def read_voc_main(main: Path, class_set: ClassSet | None, wanted: Collection[str] | None = None) -> LabelTable | None:
    """Read the image sets.

    Only 1 means present; 0 is difficult and -1 absent. The files of all splits are read, for the segmentation lists
    name images of several of them.

    Args:
        main: The folder Main.
        class_set: Known classes.
        wanted: Ids to keep; None for all.

    Returns:
        The labels; None where there are no such files.

    Raises:
        DataError: A line is none of VOC's, or a file is named by an unknown class.
    """
    present: dict[str, set[str]] = {}
    others: dict[str, dict[str, set[str]]] = {}
    for class_name, path in _class_files(main):
        _check_class(class_name, path, class_set)
        marked = others.setdefault(class_name, {flag: set() for flag in _FLAGS})
        for image_id, flag in _read_flags(path):
            if wanted is None or image_id in wanted:
                present.setdefault(image_id, set()).update({class_name} if flag == _PRESENT else ())
                marked[flag].add(image_id)  # train and trainval say the same twice
    if not others:
        return None
    rows = {image_id: LabelRow(tuple(sorted(names)), 0) for image_id, names in sorted(present.items())}
    counts = {flag: {name: len(marked[flag]) for name, marked in others.items()} for flag in _FLAGS}
    difficult = sum(counts[_DIFFICULT].values())
    extra = f"; {difficult} marked 0 (difficult) taken as absent" if difficult else ""
    description = f"{main}: read as VOC image sets: {len(others)} classes, {len(rows)} images{extra}"
    absent, uncertain = counts[_ABSENT], counts[_DIFFICULT]
    return LabelTable(rows, tuple(sorted(others)), description, main, form=NAME, absent=absent, uncertain=uncertain)


def _class_files(main: Path) -> Iterator[tuple[str, Path]]:
    """The files that have flags, with the class that each one is named by; the others are lists of a whole split."""
    paths = sorted(main.glob("*.txt"))
    flagged = [path for path in paths if any(len(entry.split()) > 1 for _, entry in read_entries(path))]
    lists = {path.stem for path in paths} - {path.stem for path in flagged}
    splits = {*lists, *_SPLITS}
    for path in flagged:
        split = max((split for split in splits if path.stem.endswith(f"_{split}")), key=len, default="")
        name = path.stem.removesuffix(f"_{split}")
        if name != BACKGROUND:  # exports of CVAT and datumaro have a file of it
            yield name, path


def _check_class(class_name: str, path: Path, class_set: ClassSet | None) -> None:
    if class_set is None:
        return
    try:
        class_set.index_of(class_name)
    except DataError as error:
        msg = f"{path}: {error}"
        raise DataError(msg) from None


def _read_flags(path: Path) -> Iterator[tuple[str, str]]:
    """Id and flag, line by line."""
    for number, entry in read_entries(path):
        parts = entry.split()
        if len(parts) != 2 or parts[1] not in _FLAGS:
            msg = f"{path}:{number}: {entry!r} is not `<id> 1`, `<id> 0` or `<id> -1`; correct this line"
            raise DataError(msg)
        yield parts[0], parts[1]
