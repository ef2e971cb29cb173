"""Reads the cells of a CSV file: delimiter, quotes, BOM and line endings settled, line numbers kept."""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from semples_cli.errors import DataError

_QUOTED = re.compile(r'"[^"]*"')


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
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        msg = f"{path}: no such label file; correct the path"
        raise DataError(msg) from None
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read as UTF-8 text ({error}); export it as CSV UTF-8"
        raise DataError(msg) from None
    if "\0" in text:
        msg = f"{path}: holds NUL characters, so it is no CSV (or UTF-16); export it as CSV UTF-8"
        raise DataError(msg)
    lines = _parse(path, text, _find_delimiter(text))
    if not lines:
        msg = f"{path}: no rows; write one row for each image, such as `photo.jpg,boat`"
        raise DataError(msg)
    return lines


def _find_delimiter(text: str) -> str:
    first = next((line for line in text.splitlines() if line.strip()), "")
    bare = _QUOTED.sub("", first)
    if "\t" in bare:
        return "\t"
    found = re.search("[,;]", bare)
    return found.group() if found else ","


def _parse(path: Path, text: str, delimiter: str) -> tuple[CsvLine, ...]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
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
