"""Split lists of WSSS code: an image and its class numbers, `COCO_train2014_000000000009 45 49 50`."""

import re
from pathlib import Path

from semples_cli.data.labels.csv_lines import CsvLine
from semples_cli.data.labels.numbering import require_classes, settle_numbering
from semples_cli.data.labels.table import LabelTable, TableBuilder, shown
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

NAME = "wsss-list"
# Formats that say where the numbers begin; the plain name lets the numbers decide, if they do.
NUMBERED = {f"{NAME}-from-0": 0, f"{NAME}-from-1": 1}

# Class numbers have three digits; Python refuses to read one of thousands.
_LINE = re.compile(r"(\S+)((?:\s+-?\d{1,18})*)")


def fits_wsss_list(lines: tuple[CsvLine, ...]) -> bool:
    """Whether each line is a name and whole numbers after spaces, and at least one has a number."""
    found = [_LINE.fullmatch(line.cells[0]) if len(line.cells) == 1 else None for line in lines]
    return all(found) and any(match is not None and match[2] for match in found)


def read_wsss_list(
    path: Path, lines: tuple[CsvLine, ...], class_set: ClassSet | None, first: int | None = None, *, sure: bool = False
) -> LabelTable:
    """Read the list; a line without numbers is an image that shows nothing.

    Args:
        path: The file.
        lines: Its lines.
        class_set: The classes that the numbers count.
        first: Number of the first class; None: the numbers decide.
        sure: Whether a person said that it is such a list.

    Raises:
        DataError: No classes are given, numbers and classes do not go together, both ways of counting fit, or the list
            may be one class of VOC's image sets.
    """
    table = TableBuilder(path, class_set)
    rows = []
    for line in lines:
        match = _LINE.fullmatch(" ".join(line.cells))
        if match is None:
            table.refuse(line.line, 1, f"{shown(line.cells[0])} is not `<image> <number> …`; correct this line")
            continue
        rows.append((match[1], [int(number) for number in match[2].split()], line.line))
    numbers = [(number, line) for _, found, line in rows for number in found]
    _check_no_flags(path, rows, sure=sure)
    classes = require_classes(path, class_set)
    if not numbers:
        msg = f"{path}: it lists images and no class numbers; bring the list that has them"
        raise DataError(msg)
    start = settle_numbering(path, numbers, classes, first, NAME)
    for name, found, line_number in rows:
        table.add(name, [(classes.name_of(number - start + 1), 0) for number in found], line_number)
    return table.finish(f"WSSS split list, class numbers from {start}", classes.names)


def _check_no_flags(path: Path, rows: list[tuple[str, list[int], int]], *, sure: bool) -> None:
    """`<id> 1`, `<id> -1` is one class of VOC's ImageSets/Main."""
    flags = {number for _, found, _ in rows for number in found}
    if -1 in flags:
        msg = (
            f"{path}: marks images by 1 and -1, as a class of VOC's {path.parent.name or 'Main'} does; give the folder"
        )
        raise DataError(msg)
    if not sure and flags <= {0, 1} and all(len(found) == 1 for _, found, _ in rows):
        msg = (
            f"{path}: reads both as a WSSS split list of classes 0 and 1, and as one class of VOC's ImageSets/Main; "
            f"say --labels-format {NAME}, or give the folder that the file lies in"
        )
        raise DataError(msg)
