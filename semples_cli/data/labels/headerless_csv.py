"""CSV without a header: `a.jpg,cat,dog`."""

from pathlib import Path

from semples_cli.data.labels.csv_lines import CsvLine
from semples_cli.data.labels.headers import is_image_name
from semples_cli.data.labels.list_csv import split_labels
from semples_cli.data.labels.onehot_csv import FLAGS
from semples_cli.data.labels.table import LabelTable, TableBuilder
from semples_cli.types import ClassSet

NAME = "headerless-csv"


def fits_headerless_csv(lines: tuple[CsvLine, ...]) -> bool:
    """Whether the first cell of the first row is an image already."""
    return is_image_name(lines[0].cells[0])


def holds_only_flags(lines: tuple[CsvLine, ...]) -> bool:
    """Whether the cells after the image are all 0 and 1, as in a one-hot CSV that lost its header."""
    cells = [cell.casefold() for line in lines for cell in line.cells[1:] if cell]
    return bool(cells) and FLAGS.issuperset(cells)


def read_headerless_csv(path: Path, lines: tuple[CsvLine, ...], class_set: ClassSet | None) -> LabelTable:
    """Read the rows: the first cell is the image, each further one a label or a list of them."""
    table = TableBuilder(path, class_set)
    for line in lines:
        cells = enumerate(line.cells[1:], 2)
        names = [(name, column) for column, cell in cells for name in split_labels(cell, class_set)]
        table.add(line.cells[0], names, line.line)
    return table.finish("headerless CSV")
