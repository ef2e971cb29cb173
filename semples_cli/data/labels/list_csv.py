"""CSV with a header and one cell that lists the labels: `image,labels` · `a.jpg,cat|dog`."""

from pathlib import Path

from semples_cli.data.labels.csv_lines import CsvLine
from semples_cli.data.labels.headers import IMAGE_COLUMNS, LABEL_COLUMNS, find_column
from semples_cli.data.labels.table import LabelTable, TableBuilder
from semples_cli.types import ClassSet

NAME = "list-csv"
SEPARATORS = ("|", ";", ",")


def fits_list_csv(lines: tuple[CsvLine, ...]) -> bool:
    """Whether the header has an image column and a label column."""
    header = lines[0].cells
    return find_column(header, IMAGE_COLUMNS) is not None and find_column(header, LABEL_COLUMNS) is not None


def read_list_csv(path: Path, lines: tuple[CsvLine, ...], class_set: ClassSet | None) -> LabelTable:
    """Read the rows; a row of another width than the header is a problem."""
    header = lines[0].cells
    image = find_column(header, IMAGE_COLUMNS) or 0
    label = find_column(header, LABEL_COLUMNS)
    label = (1 if image == 0 else 0) if label is None else label
    table = TableBuilder(path, class_set)
    for line in lines[1:]:
        if len(line.cells) != len(header):
            cure = 'put several labels into one cell, as "cat|dog"'
            table.refuse(line.line, 1, f"{len(line.cells)} cells where the header has {len(header)}; {cure}")
            continue
        table.add(line.cells[image], split_labels(line.cells[label], class_set), line.line, label + 1)
    return table.finish("list-column CSV")


def split_labels(cell: str, class_set: ClassSet | None) -> list[str]:
    """The names in a cell: `cat|dog`, `cat;dog`, `cat,dog`, `['cat', 'dog']`; by spaces only if all parts are classes.

    >>> split_labels("['cat', 'hot dog']", None)
    ['cat', 'hot dog']
    """
    bare = cell.strip()
    if bare.startswith("[") and bare.endswith("]"):
        bare = ",".join(part.strip().strip("'\"") for part in bare[1:-1].split(","))
    known = class_set.names if class_set is not None else ()
    if bare in known:
        return [bare]
    for separator in SEPARATORS:
        if separator in bare:
            return [part.strip() for part in bare.split(separator)]
    parts = bare.split()
    return parts if len(parts) > 1 and all(part in known for part in parts) else [bare]
