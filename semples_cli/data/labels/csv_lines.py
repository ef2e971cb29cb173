"""Reads the cells of a CSV file: delimiter, quotes, BOM and line endings settled, line numbers kept."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from semples_cli.data.text_file import read_text
from semples_cli.errors import DataError

# A row of more characters is no row of labels, and a million cells take much more memory than their text.
MAX_LINE = 4 * 2**20

_QUOTED = re.compile(r'"[^"]*"')
_LINE = re.compile(r"[^\r\n]+")


@dataclass(frozen=True)
class CsvLine:
    """One record.

    Attributes:
        line: Line on which it begins, from 1.
        cells: Its cells, stripped.
    """

    line: int
    cells: tuple[str, ...]


def read_csv_lines(path: Path) -> tuple[CsvLine, ...]:
    """All records that are not blank.

    The delimiter is a tab if the first line has one, else its first comma or semicolon outside quotes: what follows
    may be a list of classes.

    Raises:
        DataError: The file is missing, empty, not UTF-8, or not CSV.
    """
    text = read_text(path, "export it as CSV, and save it as UTF-8")
    lines = _parse(path, text, _find_delimiter(text))
    if not lines:
        msg = f"{path}: no rows; write one row for each image, such as `photo.jpg,boat`"
        raise DataError(msg)
    return lines


def _find_delimiter(text: str) -> str:
    first = next((line[0] for line in _LINE.finditer(text) if line[0].strip()), "")
    bare = _QUOTED.sub("", first)
    if "\t" in bare:
        return "\t"
    found = re.search("[,;]", bare)
    return found.group() if found else ","


def _parse(path: Path, text: str, delimiter: str) -> tuple[CsvLine, ...]:
    reader = csv.reader(_bounded(path, text), delimiter=delimiter, skipinitialspace=True, strict=True)
    lines, line = [], 1
    try:
        for cells in reader:
            stripped = tuple(cell.strip() for cell in cells)
            if any(stripped):
                lines.append(CsvLine(line, stripped))
            line = reader.line_num + 1
    except csv.Error as error:
        msg = f"{path}:{line}: {error}; close the quotes on this line, or export the file as CSV again"
        raise DataError(msg) from None
    return tuple(lines)


def _bounded(path: Path, text: str) -> Iterator[str]:
    """The lines of a text.

    Raises:
        DataError: One is too long.
    """
    for number, line in enumerate(io.StringIO(text, newline=""), 1):
        if len(line) > MAX_LINE:
            msg = f"{path}:{number}: a line of {len(line)} characters; write one row for each image"
            raise DataError(msg)
        yield line
