"""CSV with a column of 0 and 1 for each class: `filename,cat,dog` · `a.jpg,1,0`."""

from pathlib import Path

from semples_cli.data.labels.csv_lines import CsvLine
from semples_cli.data.labels.headers import find_image_column, is_image_name
from semples_cli.data.labels.table import LabelTable, TableBuilder, means_no_class
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

NAME = "onehot-csv"
PRESENT = frozenset({"1", "1.0", "true"})
ABSENT = frozenset({"0", "0.0", "false", ""})
UNCERTAIN = frozenset({"-1", "-1.0"})
FLAGS = PRESENT | ABSENT | UNCERTAIN


def fits_onehot_csv(lines: tuple[CsvLine, ...]) -> bool:
    """Whether there is a header of names, and most rows below it are flags or empty, and not all are empty."""
    header = lines[0].cells
    image = find_image_column(header) or 0
    names = [cell for k, cell in enumerate(header) if k != image]
    if not names or is_image_name(header[image]) or all(name.casefold() in FLAGS for name in names):
        return False
    rows = [[cell for k, cell in enumerate(line.cells) if k != image] for line in lines[1:]]
    good = sum(all(cell.casefold() in FLAGS for cell in row) for row in rows)
    return 2 * good > len(rows) and any(any(row) for row in rows)


def read_onehot_csv(path: Path, lines: tuple[CsvLine, ...], class_set: ClassSet | None) -> LabelTable:
    """Read the rows; -1 (uncertain) counts as absent, and is said.

    Raises:
        DataError: The header names a class twice, or one that the class list lacks.
    """
    header = lines[0].cells
    image = find_image_column(header) or 0
    columns = {k: name for k, name in enumerate(header) if k != image}
    _check_header(path, lines[0].line, columns, class_set)
    table, uncertain = TableBuilder(path, class_set), 0
    for line in lines[1:]:
        if len(line.cells) != len(header):
            cure = "one for the image and one for each class"
            table.refuse(line.line, 1, f"{len(line.cells)} cells where the header has {len(header)}; write {cure}")
            continue
        wrong = next((k for k in columns if line.cells[k].casefold() not in FLAGS), None)
        if wrong is not None:
            table.refuse(line.line, wrong + 1, f"{line.cells[wrong]!r} is neither 0 nor 1; write 1 if it is present")
            continue
        uncertain += sum(line.cells[k] in UNCERTAIN for k in columns)
        names = [(name, k + 1) for k, name in columns.items() if line.cells[k].casefold() in PRESENT]
        table.add(line.cells[image], names, line.line, image + 1)
    extra = f"; {uncertain} cells of -1 (uncertain) taken as absent" if uncertain else ""
    classes = tuple(name for name in columns.values() if not means_no_class(name, class_set))
    return table.finish("one-hot CSV", classes, extra)


def _check_header(path: Path, line: int, columns: dict[int, str], class_set: ClassSet | None) -> None:
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
