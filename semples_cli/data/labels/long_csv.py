"""CSV with one row for each image and label, as Open Images has it: `ImageID,Source,LabelName,Confidence`."""

from dataclasses import dataclass, field
from pathlib import Path

from semples_cli.data.labels.class_descriptions import is_machine_id, read_descriptions_beside
from semples_cli.data.labels.csv_lines import CsvLine
from semples_cli.data.labels.headers import find_confidence_column, find_image_column, find_label_columns
from semples_cli.data.labels.list_csv import holds_one_label_a_row, row_trouble
from semples_cli.data.labels.table import LabelTable, TableBuilder, means_no_class
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

NAME = "long-csv"


@dataclass
class _Columns:
    image: int
    label: int
    confidence: int | None


@dataclass
class _Image:
    """What the rows of one image say: confidence and line by class."""

    line: int
    said: dict[str, tuple[float, int]] = field(default_factory=dict)
    is_usable: bool = True


class _Namer:
    """Class name of a label: itself, or what the class-descriptions file calls a machine id."""

    def __init__(self, path: Path, labels: set[str], class_set: ClassSet | None) -> None:
        self.class_set = class_set
        needed = any(is_machine_id(label) and not self._is_class(label) for label in labels)
        self.descriptions = read_descriptions_beside(path) if needed else {}
        self.by_fold = {name.casefold(): name for name in class_set.names} if class_set is not None else {}
        self.left_out: set[str] = set()
        if class_set is None:
            self._check_named(path, labels)

    def name(self, label: str) -> str | None:
        """The class; None for a machine id that stands for no class of the list, which is no slip of the pen."""
        if not is_machine_id(label) or self._is_class(label):
            return label
        described = self.descriptions.get(label, label)
        if self.class_set is None:
            return described
        if (name := self.by_fold.get(described.casefold())) is None:
            self.left_out.add(label)
        return name

    def _is_class(self, label: str) -> bool:
        return self.class_set is not None and label in self.class_set.names

    def _check_named(self, path: Path, labels: set[str]) -> None:
        bare = sorted(label for label in labels if is_machine_id(label) and label not in self.descriptions)
        if bare:
            msg = (
                f"{path}: its labels are ids such as {bare[0]}, which say nothing to CLIP; put Open Images' "
                f"class-descriptions CSV beside it, or give the classes by --classes, `{bare[0]}<tab>word` a line"
            )
            raise DataError(msg)


def fits_long_csv(lines: tuple[CsvLine, ...]) -> bool:
    """Whether each row has one label, and a confidence says so, or rows that repeat an image with another label."""
    header = lines[0].cells
    image, labels = find_image_column(header), find_label_columns(header)
    if image is None or not labels or not holds_one_label_a_row(lines, labels[0]):
        return False
    if find_confidence_column(header) is not None:
        return True
    said: dict[str, str] = {}
    whole = (line.cells for line in lines[1:] if len(line.cells) == len(header))
    return any(said.setdefault(cells[image], cells[labels[0]]) != cells[labels[0]] for cells in whole)


def read_long_csv(path: Path, lines: tuple[CsvLine, ...], class_set: ClassSet | None) -> LabelTable:
    """Read the rows: confidence 1, or none, is present, 0 a verified negative; what lies between counts as absent.

    Args:
        path: The file; a class-descriptions CSV beside it names machine ids.
        lines: Its records.
        class_set: Known classes; of a machine id that is none of them the rows are left out, and that is said.

    Raises:
        DataError: There are not just these columns, or machine ids have no names.
    """
    columns, width = _find_columns(path, lines[0]), len(lines[0].cells)
    whole = [line for line in lines[1:] if len(line.cells) == width]
    namer = _Namer(path, {line.cells[columns.label] for line in whole}, class_set)
    table, images = TableBuilder(path, class_set), dict[str, _Image]()
    for line in lines[1:]:
        if trouble := row_trouble(line, lines[0].cells, f"write {width}"):
            table.refuse(line.line, 1, trouble)
            continue
        image = images.setdefault(line.cells[columns.image], _Image(line.line))
        image.is_usable &= _read_row(line, columns, namer, image, table)
    for key, image in images.items():
        _enter(key, image, columns, table)
    extra = f"; {table.uncertain.total()} between 0 and 1 (uncertain) taken as absent" if table.uncertain else ""
    if namer.left_out:
        extra += f"; labels of {len(namer.left_out)} ids that are no class of the list are left out"
    return table.finish("long CSV", None, extra)


def _find_columns(path: Path, first: CsvLine) -> _Columns:
    image, labels = find_image_column(first.cells), find_label_columns(first.cells)
    if image is None or len(labels) != 1:
        msg = f"{path}:{first.line}: the header must name one column of images and one of labels; image,label will do"
        raise DataError(msg)
    return _Columns(image, labels[0], find_confidence_column(first.cells))


def _read_row(line: CsvLine, columns: _Columns, namer: _Namer, image: _Image, table: TableBuilder) -> bool:
    """Note what the row says of its image; False if it cannot be used, and then neither can the image."""
    label, confidence = line.cells[columns.label], _confidence(line, columns)
    if confidence is None:
        column = (columns.confidence or 0) + 1
        table.refuse(line.line, column, f"confidence {line.cells[column - 1]!r}; write a number from 0 to 1")
        return False
    name = namer.name(label)
    if name is None or means_no_class(name, namer.class_set):
        return True
    if message := table.unknown(name):
        table.refuse(line.line, columns.label + 1, message)
        return False
    earlier, at = image.said.get(name, (confidence, line.line))
    if {earlier, confidence} == {0.0, 1.0}:
        said = f"{line.cells[columns.image]}: {name} is {confidence:g} here and {earlier:g} on line {at}"
        table.refuse(line.line, columns.label + 1, f"{said}; the image is left out, keep one of the rows")
        return False
    if earlier in (0.0, 1.0):  # a person's word stands against a machine's guess
        confidence, line_number = earlier, at
    else:
        line_number = line.line
    image.said[name] = (confidence, line_number)
    return True


def _confidence(line: CsvLine, columns: _Columns) -> float | None:
    if columns.confidence is None:
        return 1.0
    try:
        value = float(line.cells[columns.confidence])
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


def _enter(key: str, image: _Image, columns: _Columns, table: TableBuilder) -> None:
    if not image.is_usable:
        return
    names = [(name, columns.label + 1) for name, (confidence, _) in image.said.items() if confidence == 1]
    table.absent.update(name for name, (confidence, _) in image.said.items() if confidence == 0)
    table.uncertain.update(name for name, (confidence, _) in image.said.items() if 0 < confidence < 1)
    table.add(key, names, image.line, columns.image + 1)
