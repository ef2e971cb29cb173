"""Recognises the format of a label file, says it, and refuses to guess where two readings fit."""

from collections.abc import Callable
from pathlib import Path

from semples_cli.data.labels import headerless_csv, list_csv, onehot_csv
from semples_cli.data.labels.csv_lines import CsvLine, read_csv_lines
from semples_cli.data.labels.table import LabelTable
from semples_cli.errors import DataError, SettingsError
from semples_cli.types import ClassSet

AUTO = "auto"
CLASS_FOLDERS = "class-folders"

_Fits = Callable[[tuple[CsvLine, ...]], bool]
_Read = Callable[[Path, tuple[CsvLine, ...], ClassSet | None], LabelTable]

CSV_FORMATS: dict[str, tuple[_Fits, _Read]] = {
    list_csv.NAME: (list_csv.fits_list_csv, list_csv.read_list_csv),
    onehot_csv.NAME: (onehot_csv.fits_onehot_csv, onehot_csv.read_onehot_csv),
    headerless_csv.NAME: (headerless_csv.fits_headerless_csv, headerless_csv.read_headerless_csv),
}
LABEL_FORMATS = (AUTO, *CSV_FORMATS, CLASS_FOLDERS)


def check_labels_format(labels_format: str) -> None:
    """Refuse an unknown format name.

    Raises:
        SettingsError: It is none of `LABEL_FORMATS`.
    """
    if labels_format not in LABEL_FORMATS:
        msg = f"labels format {labels_format!r}: choose one of {', '.join(LABEL_FORMATS)}"
        raise SettingsError(msg)


def read_labels(path: Path, labels_format: str = AUTO, class_set: ClassSet | None = None) -> LabelTable:
    """Read a label file.

    Args:
        path: The file.
        labels_format: 'auto', or one of `CSV_FORMATS`.
        class_set: Known classes; a row with another name becomes a problem.

    Raises:
        DataError: No reading fits, or several do; or the file as a whole cannot be read.
        SettingsError: The format is unknown.
    """
    check_labels_format(labels_format)
    lines = read_csv_lines(path)
    fitting = [name for name, (fits, _) in CSV_FORMATS.items() if fits(lines)]
    if labels_format in CSV_FORMATS:
        fitting = [labels_format]
    if len(fitting) > 1:
        msg = f"{path}: reads both as {' and as '.join(fitting)}; say which by --labels-format"
        raise DataError(msg)
    if not fitting:
        msg = (
            f"{path}:{lines[0].line}: not recognised as labels; write a header `image,labels` and rows such as "
            f"`a.jpg,cat|dog`, or `filename,cat,dog` with 0 and 1, or say the form by --labels-format"
        )
        raise DataError(msg)
    return CSV_FORMATS[fitting[0]][1](path, lines, class_set)
