"""VOC's image sets: `ImageSets/Main/<class>_<split>.txt` with a line `<id> 1`, `<id> 0` or `<id> -1` an image."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from semples_cli.data.labels.table import LabelRow, LabelTable, Problem, place_of, shown, spelled
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
    marks: dict[str, dict[str, str]] = {}
    problems: dict[str, Problem] = {}
    for class_name, path in _class_files(main):
        _check_class(class_name, path, class_set)
        marked = marks.setdefault(spelled(class_name, class_set), {})
        for line, image_id, flag in _read_flags(path):
            if wanted is not None and image_id not in wanted:
                continue
            if (other := marked.setdefault(image_id, flag)) != flag:  # train and trainval say the same twice
                message = f"{image_id} is marked {flag} here and {other} elsewhere; it is left out, correct one of them"
                problems.setdefault(image_id, (place_of(path, line), message))
    return _table(main, marks, problems) if marks else None


def _table(main: Path, marks: Mapping[str, Mapping[str, str]], problems: Mapping[str, Problem]) -> LabelTable:
    """The labels; `marks`: flag by image by class; `problems`: of images that are marked in two ways."""
    present: dict[str, set[str]] = {image_id: set() for marked in marks.values() for image_id in marked}
    for name, marked in marks.items():
        for image_id, flag in marked.items():
            present[image_id].update({name} if flag == _PRESENT else ())
    rows = {key: LabelRow(tuple(sorted(present[key])), 0) for key in sorted(present.keys() - problems.keys())}
    counts = {name: Counter(marked.values()) for name, marked in marks.items()}
    absent, uncertain = ({name: found[flag] for name, found in counts.items()} for flag in (_ABSENT, _DIFFICULT))
    difficult = sum(uncertain.values())
    extra = f"; {difficult} marked 0 (difficult) taken as absent" if difficult else ""
    return LabelTable(
        rows,
        tuple(sorted(marks)),
        f"{main}: read as VOC image sets: {len(marks)} classes, {len(rows)} images{extra}",
        main,
        tuple(problems.values()),
        form=NAME,
        absent=absent,
        uncertain=uncertain,
        contradicted=tuple(sorted(problems)),
    )


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


def _read_flags(path: Path) -> Iterator[tuple[int, str, str]]:
    """Number, id and flag of each line."""
    for number, entry in read_entries(path):
        parts = entry.split()
        if len(parts) != 2 or parts[1] not in _FLAGS:
            msg = f"{path}:{number}: {shown(entry)} is not `<id> 1`, `<id> 0` or `<id> -1`; correct this line"
            raise DataError(msg)
        yield number, parts[0], parts[1]
