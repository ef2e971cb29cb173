"""Reads the cells of a CSV file: delimiter, quotes, BOM and line endings settled, line numbers kept."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from semples_cli.errors import DataError

DELIMITERS = (",", "\t", ";")


@dataclass(frozen=True)
class CsvLine:
    """One record.

    Attributes:
        line: Line on which it ends, from 1.
        cells: Its cells, stripped.
    """

    line: int
    cells: tuple[str, ...]


def read_csv_lines(path: Path) -> tuple[CsvLine, ...]:
    """All records that are not blank.

    The delimiter is comma, tab or semicolon: the first of them that splits the first record so that no other one is
    left in its first cell.

    Raises:
        DataError: The file is missing, empty, not UTF-8, or not CSV.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read as UTF-8 text ({error}); export it as CSV UTF-8"
        raise DataError(msg) from None
    if "\0" in text:
        msg = f"{path}: holds NUL characters, so it is no CSV (or UTF-16); export it as CSV UTF-8"
        raise DataError(msg)
    for delimiter in DELIMITERS:
        lines = _parse(path, text, delimiter)
        if not lines:
            msg = f"{path}: no rows; write one row for each image, such as `photo.jpg,boat`"
            raise DataError(msg)
        first = lines[0].cells
        if len(first) > 1 and not any(other in first[0] for other in DELIMITERS):
            return lines
    return _parse(path, text, ",")


def _parse(path: Path, text: str, delimiter: str) -> tuple[CsvLine, ...]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    lines = []
    try:
        for cells in reader:
            stripped = tuple(cell.strip() for cell in cells)
            if any(stripped):
                lines.append(CsvLine(reader.line_num, stripped))
    except csv.Error as error:
        msg = f"{path}:{reader.line_num}: {error}; close the quotes on this line, or export the file as CSV again"
        raise DataError(msg) from None
    return tuple(lines)
