"""CSV with a column of 0 and 1 for each class: `filename,cat,dog` · `a.jpg,1,0`."""

from pathlib import Path

from semples_cli.data.labels.csv_lines import CsvLine
from semples_cli.data.labels.headers import IMAGE_COLUMNS, find_column, is_image_name
from semples_cli.data.labels.table import LabelTable, TableBuilder
from semples_cli.errors import DataError
from semples_cli.types import BACKGROUND, ClassSet

NAME = "onehot-csv"
PRESENT = frozenset({"1", "1.0", "true"})
ABSENT = frozenset({"0", "0.0", "false", ""})
UNCERTAIN = frozenset({"-1", "-1.0"})


def fits_onehot_csv(lines: tuple[CsvLine, ...]) -> bool:
    """Whether every cell outside the image column is 0, 1, true, false, -1 or empty."""
    header = lines[0].cells
    image = find_column(header, IMAGE_COLUMNS) or 0
    if len(lines) < 2 or len(header) < 2 or is_image_name(header[image]):
        return False
    flags = PRESENT | ABSENT | UNCERTAIN
    return all(cell.casefold() in flags for line in lines[1:] for k, cell in enumerate(line.cells) if k != image)


def read_onehot_csv(path: Path, lines: tuple[CsvLine, ...], class_set: ClassSet | None) -> LabelTable:
    """Read the rows; -1 (uncertain) counts as absent, and is said.

    Raises:
        DataError: The header names a class twice, or one that the class list lacks.
    """
    header = lines[0].cells
    image = find_column(header, IMAGE_COLUMNS) or 0
    columns = {k: name for k, name in enumerate(header) if k != image}
    _check_header(path, lines[0].line, columns, class_set)
    table, uncertain = TableBuilder(path, class_set), 0
    for line in lines[1:]:
        if len(line.cells) != len(header):
            table.refuse(
                line.line, 1, f"{len(line.cells)} cells where the header has {len(header)}; one for each class"
            )
            continue
        wrong = _first_wrong(line, columns)
        if wrong is not None:
            table.refuse(line.line, wrong + 1, f"{line.cells[wrong]!r} is neither 0 nor 1")
            continue
        uncertain += sum(line.cells[k] in UNCERTAIN for k in columns)
        names = [name for k, name in columns.items() if line.cells[k].casefold() in PRESENT]
        table.add(line.cells[image], names, line.line, 1)
    extra = f"; {uncertain} cells of -1 (uncertain) taken as absent" if uncertain else ""
    classes = tuple(name for name in columns.values() if name != BACKGROUND)
    return table.finish("one-hot CSV", classes, extra)


def _first_wrong(line: CsvLine, columns: dict[int, str]) -> int | None:
    flags = PRESENT | ABSENT | UNCERTAIN
    return next((k for k in columns if line.cells[k].casefold() not in flags), None)


def _check_header(path: Path, line: int, columns: dict[int, str], class_set: ClassSet | None) -> None:
    seen: set[str] = set()
    for k, name in columns.items():
        where = f"{path}:{line}:{k + 1}"
        if not name or name in seen:
            msg = (
                f"{where}: class {name!r} is {'listed twice' if name else 'empty'} in the header; name each class once"
            )
            raise DataError(msg)
        seen.add(name)
        if class_set is not None and name != BACKGROUND:
            try:
                class_set.index_of(name)
            except DataError as error:
                msg = f"{where}: {error}"
                raise DataError(msg) from None
