"""Class numbers in label files, which count the classes from 0 or from 1, become names of the class list."""

from collections.abc import Iterable
from pathlib import Path

from semples_cli.data.labels.table import place_of
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

# By how many classes such files have, the built-in list that they are likely to count.
_LIKELY = {20: "voc12", 80: "coco14"}


def require_classes(source: Path, class_set: ClassSet | None, num_classes: int | None = None) -> ClassSet:
    """The class list, without which numbers name nothing.

    Args:
        source: The label file.
        class_set: The list, if it was given.
        num_classes: How many classes the file has, if it says so.

    Raises:
        DataError: It was not given, or has another number of classes.
    """
    if class_set is None:
        likely = _LIKELY.get(num_classes or 0, "voc12 or coco14" if num_classes is None else "FILE")
        msg = f"{source}: its classes are numbers; give the class list by --classes, such as --classes {likely}"
        raise DataError(msg)
    if num_classes is not None and num_classes != len(class_set):
        msg = (
            f"{source}: it has {num_classes} classes, but the class list {len(class_set)}; give the list it was made by"
        )
        raise DataError(msg)
    return class_set


def settle_numbering(
    source: Path, numbers: Iterable[tuple[int, int]], class_set: ClassSet, first: int | None, form: str
) -> int:
    """The number of the first class.

    Args:
        source: The label file.
        numbers: All class numbers, each with its line.
        class_set: The classes that they count.
        first: 0 or 1, as a person says; None: 0 or the number of classes, where one of them occurs, decides.
        form: Name of the format, for the cure.

    Returns:
        0 or 1.

    Raises:
        DataError: A number is out of range, or both ways of counting fit.
    """
    lines = dict(numbers)
    low, high, count = min(lines), max(lines), len(class_set)
    firsts = [start for start in (0, 1) if start <= low and high < start + count]
    if first in firsts:
        return int(first)
    if len(firsts) == 1 and first is None:
        return firsts[0]
    if len(firsts) == 2:
        name = class_set.name_of
        zero, one = (f"--labels-format {form}-from-{start}" for start in (0, 1))
        msg = (
            f"{source}: reads both as numbers from 0, where {high} is {name(high + 1)!r}, and as numbers from 1, where "
            f"{high} is {name(high)!r}; say which: {zero} or {one}"
        )
        raise DataError(msg)
    where = place_of(source, lines[low if low < (first or 0) else high])
    ranges = " or ".join(f"{start} to {start + count - 1}" for start in ((0, 1) if first is None else (first,)))
    msg = f"{where}: class numbers {low} to {high}, but {count} classes are {ranges}; give the list that they count"
    raise DataError(msg)
