"""Reads class lists: one name a line, after a tab the word to give to CLIP."""

from collections.abc import Mapping
from pathlib import Path

from semples_cli.class_names import composed, name_trouble
from semples_cli.data.text_file import is_file
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
    names: list[str] = []
    prompt_names: list[str] = []
    for number, entry in read_entries(path):
        name, _, prompt_name = (part.strip() for part in entry.partition("\t"))
        name = BACKGROUND if name.casefold() == BACKGROUND else name  # 'Background' must not become class 1
        if name == BACKGROUND and not first_seen:
            continue
        if trouble := _trouble(name, first_seen) or name_trouble(prompt_name or name, None):
            msg = f"{path}:{number}: {trouble}"
            raise DataError(msg)
        first_seen[composed(name)] = number
        names.append(name)
        prompt_names.append(prompt_name or name)
    try:
        return ClassSet(tuple(names), tuple(prompt_names))
    except DataError as error:
        msg = f"{path}: {error}"
        raise DataError(msg) from None


def _trouble(name: str, first_seen: Mapping[str, int]) -> str:
    """Why a name cannot be the next one of the list; '' if it can. `first_seen`: lines of those before."""
    if composed(name) in first_seen:
        return f"class {name!r} is listed again, first on line {first_seen[composed(name)]}; remove one"
    if len(first_seen) == MAX_CLASSES:
        return f"more than {MAX_CLASSES} classes do not fit a mask; split the list into several runs"
    return name_trouble(name)


def built_in_class_lists() -> tuple[str, ...]:
    """Names of the class lists in the package."""
    return tuple(sorted(path.stem for path in BUILT_IN.glob("*.txt")))


def _locate(source: str | Path) -> Path:
    path = Path(source)
    if is_file(path):
        return path
    if str(source) in built_in_class_lists():
        return BUILT_IN / f"{source}.txt"
    msg = f"{source}: no such class list; give a file with one class a line, or {' or '.join(built_in_class_lists())}"
    raise DataError(msg)
