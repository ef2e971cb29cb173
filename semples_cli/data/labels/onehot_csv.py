"""CSV with a column of 0 and 1 for each class: `filename,cat,dog` · `a.jpg,1,0`."""

from collections.abc import Mapping
from pathlib import Path

from semples_cli.data.labels.csv_lines import CsvLine
from semples_cli.data.labels.headers import find_image_column, find_label_columns, is_image_name
from semples_cli.data.labels.table import LabelTable, TableBuilder, means_no_class
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

NAME = "onehot-csv"
PRESENT = frozenset({"1", "1.0", "true"})
UNCERTAIN = frozenset({"-1", "-1.0"})
ABSENT = frozenset({"0", "0.0", "false"})
FLAGS = PRESENT | UNCERTAIN | ABSENT | {""}


def fits_onehot_csv(lines: tuple[CsvLine, ...]) -> bool:
    """Whether there is a header of names, and most rows below it are flags or empty, and not all are empty.

    Columns of something else (age, view, as in CheXpert) may stand between, if the image's column is known by its
    name and none is called like a list of labels.
    """
    header = lines[0].cells
    image = find_image_column(header) or 0
    names = [cell for k, cell in enumerate(header) if k != image]
    if not names or is_image_name(header[image]) or all(name.casefold() in FLAGS for name in names):
        return False
    rows = [[cell for k, cell in enumerate(line.cells) if k != image] for line in lines[1:]]
    good = sum(all(cell.casefold() in FLAGS for cell in row) for row in rows)
    if 2 * good > len(rows):
        return any(any(row) for row in rows)
    if find_image_column(header) is None or find_label_columns(header):
        return False
    flagged = _flag_columns(lines, image)
    return any(line.cells[k] for line in lines[1:] for k in flagged if k < len(line.cells))


def read_onehot_csv(path: Path, lines: tuple[CsvLine, ...], class_set: ClassSet | None) -> LabelTable:
    """Read the rows; -1 (uncertain) counts as absent, and is said, and so are columns that hold something else.

    Raises:
        DataError: The header names a class twice, or one that the class list lacks; or no column holds flags.
    """
    header = lines[0].cells
    image = find_image_column(header) or 0
    columns = _class_columns(path, lines, image, class_set)
    table = TableBuilder(path, class_set)
    for line in lines[1:]:
        _read_row(line, columns, image, len(header), table)
    classes = tuple(name for name in columns.values() if not means_no_class(name, class_set))
    others = [name for k, name in enumerate(header) if k != image and k not in columns]
    extra = f"; columns that hold no 0 and 1 are left out: {', '.join(others)}" if others else ""
    if unsure := table.uncertain.total():
        extra = f"; {unsure} cells of -1 (uncertain) taken as absent{extra}"
    return table.finish("one-hot CSV", classes, extra)


def _read_row(line: CsvLine, columns: Mapping[int, str], image: int, width: int, table: TableBuilder) -> None:
    if len(line.cells) != width:
        cure = "one for the image and one for each class"
        table.refuse(line.line, 1, f"{len(line.cells)} cells where the header has {width}; write {cure}")
        return
    wrong = next((k for k in columns if line.cells[k].casefold() not in FLAGS), None)
    if wrong is not None:
        table.refuse(line.line, wrong + 1, f"{line.cells[wrong]!r} is neither 0 nor 1; write 1 if it is present")
        return
    names = []
    for k, name in columns.items():
        cell = line.cells[k].casefold()
        if cell in PRESENT:
            names.append((name, k + 1))
        elif cell and not means_no_class(name, table.class_set):  # an empty cell says nothing
            (table.uncertain if cell in UNCERTAIN else table.absent)[name] += 1
    table.add(line.cells[image], names, line.line, image + 1)


def _flag_columns(lines: tuple[CsvLine, ...], image: int) -> list[int]:
    """Columns of which at least half of the filled cells are flags: one bad cell is a slip, no other kind of column."""
    rows = [line.cells for line in lines[1:] if len(line.cells) == len(lines[0].cells)]
    found = []
    for k in range(len(lines[0].cells)):
        filled = [row[k].casefold() for row in rows if row[k]]
        if k != image and 2 * sum(cell in FLAGS for cell in filled) >= len(filled):
            found.append(k)
    return found


def _class_columns(path: Path, lines: tuple[CsvLine, ...], image: int, class_set: ClassSet | None) -> dict[int, str]:
    """Name of each class by the position of its column."""
    first, known = lines[0], class_set.names if class_set is not None else ()
    flagged = set(_flag_columns(lines, image))
    wanted = flagged | {k for k, name in enumerate(first.cells) if k != image and name in known}
    columns = {k: name for k, name in enumerate(first.cells) if k in wanted}
    if not columns:
        msg = f"{path}:{first.line}: no column holds 0 and 1; write one for each class, under its name"
        raise DataError(msg)
    _check_header(path, first.line, columns, class_set)
    return columns


def _check_header(path: Path, line: int, columns: Mapping[int, str], class_set: ClassSet | None) -> None:
    seen: set[str] = set()
    for k, name in columns.items():
        where = f"{path}:{line}:{k + 1}"
        if not name or name in seen:
            wrong = f"class {name!r} is listed twice in the header" if name else "a column without a class name"
            msg = f"{where}: {wrong}; name each class once"
            raise DataError(msg)
        seen.add(name)
        if class_set is not None and not means_no_class(name, class_set):
            try:
                class_set.index_of(name)
            except DataError as error:
                msg = f"{where}: {error}"
                raise DataError(msg) from None
