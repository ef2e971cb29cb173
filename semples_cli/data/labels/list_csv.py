"""CSV with a header and one cell that lists the labels: `image,labels` · `a.jpg,cat|dog`."""

import re
from pathlib import Path

from semples_cli.data.labels.csv_lines import CsvLine
from semples_cli.data.labels.headers import find_confidence_column, find_image_column, find_label_columns
from semples_cli.data.labels.table import LabelTable, TableBuilder
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

NAME = "list-csv"


def fits_list_csv(lines: tuple[CsvLine, ...]) -> bool:
    """Whether the header has an image column and a label column, and no confidence, which is that of one label."""
    header = lines[0].cells
    if find_image_column(header) is None or not (columns := find_label_columns(header)):
        return False
    return find_confidence_column(header) is None or not holds_one_label_a_row(lines, columns[0])


def holds_one_label_a_row(lines: tuple[CsvLine, ...], column: int) -> bool:
    """Whether no cell of this column lists several labels."""
    return all(len(split_labels(line.cells[column], None)) < 2 for line in lines[1:] if column < len(line.cells))


def read_list_csv(path: Path, lines: tuple[CsvLine, ...], class_set: ClassSet | None) -> LabelTable:
    """Read the rows; a row of another width than the header is a problem.

    Raises:
        DataError: The header does not say which column names the image and which lists the labels.
    """
    header = lines[0].cells
    image, label = _find_columns(path, lines[0])
    table = TableBuilder(path, class_set)
    rows = []
    for line in lines[1:]:
        if trouble := row_trouble(line, header, 'put several labels into one cell, as "cat|dog"'):
            table.refuse(line.line, 1, trouble)
            continue
        rows.append((line, split_labels(line.cells[label], class_set)))
    alone = {names[0] for _, names in rows if len(names) == 1}
    for line, names in rows:
        if class_set is None and (doubtful := next((name for name in names if _may_be_several(name, alone)), "")):
            cure = f"write {'|'.join(doubtful.split())}, or give the classes by --classes"
            table.refuse(line.line, label + 1, f"{doubtful!r} may be one class or several; {cure}")
            continue
        table.add(line.cells[image], [(name, label + 1) for name in names], line.line, image + 1)
    return table.finish("list-column CSV")


def row_trouble(line: CsvLine, header: tuple[str, ...], cure: str) -> str:
    """Why a row cannot go with its header, with the cure for one of another width; '' if it can."""
    if len(line.cells) != len(header):
        return f"{len(line.cells)} cells where the header has {len(header)}; {cure}"
    return "the header again; remove this line" if line.cells == header else ""  # as cat a.csv b.csv leaves it


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
    separators = r"[|;]" if re.search(r"[|;]", bare) else ","
    names = [part.strip() for part in re.split(separators, bare)]
    parts = bare.split()
    return parts if all(part in known for part in parts) else names


def _find_columns(path: Path, first: CsvLine) -> tuple[int, int]:
    """By name; in a table of two columns, what has no known name is the other one."""
    header = first.cells
    image, labels = find_image_column(header), find_label_columns(header)
    if len(header) == 2 and (image is None or not labels):
        image = (1 if labels == [0] else 0) if image is None else image
        return image, 1 - image
    if image is None or not labels:
        missing = "image" if image is None else "labels"
        msg = f"{path}:{first.line}: no column is called {missing!r}; name the two columns image and labels"
        raise DataError(msg)
    if len(labels) > 1:
        names = " and ".join(repr(header[k]) for k in labels)
        msg = f"{path}:{first.line}:{labels[1] + 1}: {names} may both list the labels; rename all but one"
        raise DataError(msg)
    return image, labels[0]


def _may_be_several(name: str, alone: set[str]) -> bool:
    """Whether 'cat dog' may mean cat and dog: both also stand alone."""
    parts = name.split()
    return len(parts) > 1 and all(part in alone for part in parts)
