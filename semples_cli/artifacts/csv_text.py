"""Rows as CSV text: lines end with a line feed, and every line end inside a cell is quoted.

Python's writer quotes a lone carriage return only where lines end with one; readers would take it for the end of a row.
"""

import csv
import io
from collections.abc import Iterable, Sequence

_END = "\r\n"


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """The text; cells as they are: one that begins with `=` is for programs a name, for a spreadsheet a formula."""
    return "".join(map(_line, rows))


def _line(row: Sequence[object]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=_END).writerow(row)
    return text.getvalue().removesuffix(_END) + "\n"
