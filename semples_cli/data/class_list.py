"""Reads class lists: one name a line, after a tab the word to give to CLIP."""

from pathlib import Path

from semples_cli.data.word_file import read_entries
from semples_cli.errors import DataError
from semples_cli.types import BACKGROUND, MAX_CLASSES, ClassSet

BUILT_IN = Path(__file__).parent / "classes"


def read_class_list(source: str | Path) -> ClassSet:
    """Read a class list.

    Args:
        source: A file, or 'voc12' or 'coco14' for a built-in list where no such file exists.

    Returns:
        The classes in the file's order. 'background' on the first line is dropped: it is always class 0.

    Raises:
        DataError: The file is missing, empty, lists a class twice, or more than 254.
    """
    path = _locate(source)
    first_seen: dict[str, int] = {}
    prompt_names: list[str] = []
    for number, entry in read_entries(path):
        name, _, prompt_name = (part.strip() for part in entry.partition("\t"))
        name = BACKGROUND if name.casefold() == BACKGROUND else name  # 'Background' must not become class 1
        if name == BACKGROUND and not first_seen:
            continue
        if name in first_seen:
            msg = f"{path}:{number}: class {name!r} is listed again, first on line {first_seen[name]}; remove one"
            raise DataError(msg)
        if len(first_seen) == MAX_CLASSES:
            msg = (
                f"{path}:{number}: more than {MAX_CLASSES} classes do not fit a mask; split the list into several runs"
            )
            raise DataError(msg)
        first_seen[name] = number
        prompt_names.append(prompt_name or name)
    try:
        return ClassSet(tuple(first_seen), tuple(prompt_names))
    except DataError as error:
        msg = f"{path}: {error}"
        raise DataError(msg) from None


def built_in_class_lists() -> tuple[str, ...]:
    """Names of the class lists in the package."""
    return tuple(sorted(path.stem for path in BUILT_IN.glob("*.txt")))


def _locate(source: str | Path) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    if str(source) in built_in_class_lists():
        return BUILT_IN / f"{source}.txt"
    msg = f"{source}: no such class list; give a file with one class a line, or {' or '.join(built_in_class_lists())}"
    raise DataError(msg)
