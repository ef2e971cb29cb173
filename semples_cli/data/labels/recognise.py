"""Recognises the format of a label file, says it, and refuses to guess where two readings fit."""

from collections.abc import Callable
from pathlib import Path

from semples_cli.data.image_folder import find_images
from semples_cli.data.labels import class_folders, coco_json, headerless_csv, list_csv, onehot_csv
from semples_cli.data.labels.csv_lines import CsvLine, read_csv_lines
from semples_cli.data.labels.table import LabelTable
from semples_cli.errors import DataError, SettingsError
from semples_cli.types import ClassSet

AUTO = "auto"
CLASS_FOLDERS = class_folders.NAME

_Fits = Callable[[tuple[CsvLine, ...]], bool]
_Read = Callable[[Path, tuple[CsvLine, ...], ClassSet | None], LabelTable]

CSV_FORMATS: dict[str, tuple[_Fits, _Read]] = {
    list_csv.NAME: (list_csv.fits_list_csv, list_csv.read_list_csv),
    onehot_csv.NAME: (onehot_csv.fits_onehot_csv, onehot_csv.read_onehot_csv),
    headerless_csv.NAME: (headerless_csv.fits_headerless_csv, headerless_csv.read_headerless_csv),
}
LABEL_FORMATS = (AUTO, *CSV_FORMATS, coco_json.NAME, CLASS_FOLDERS)


def check_labels_format(labels_format: str) -> None:
    """Refuse an unknown format name.

    Raises:
        SettingsError: It is none of `LABEL_FORMATS`.
    """
    if labels_format not in LABEL_FORMATS:
        msg = f"--labels-format {labels_format!r}: choose one of {', '.join(LABEL_FORMATS)}"
        raise SettingsError(msg)


def read_labels(path: Path, labels_format: str = AUTO, class_set: ClassSet | None = None) -> LabelTable:
    """Read a label file, or the folder that holds class folders.

    Args:
        path: The file or folder.
        labels_format: One of `LABEL_FORMATS`.
        class_set: Known classes; a row with another name becomes a problem.

    Raises:
        DataError: No reading fits, or several do; or the source as a whole cannot be read.
        SettingsError: The format is unknown, or goes with a folder where a file is given, or the other way round.
    """
    check_labels_format(labels_format)
    if path.is_dir() and labels_format in (AUTO, CLASS_FOLDERS):
        return class_folders.read_class_folders(path, find_images([path]), class_set)
    if path.is_dir() or labels_format == CLASS_FOLDERS:
        what = "a folder" if path.is_dir() else "no folder"
        msg = f"{path} is {what}, which does not go with --labels-format {labels_format}; leave one of the two out"
        raise SettingsError(msg)
    if labels_format == coco_json.NAME or (labels_format == AUTO and path.suffix.lower() == coco_json.SUFFIX):
        return coco_json.read_coco_json(path, class_set)
    lines = read_csv_lines(path)
    chosen = _recognise(path, lines, class_set) if labels_format == AUTO else labels_format
    return CSV_FORMATS[chosen][1](path, lines, class_set)


def _recognise(path: Path, lines: tuple[CsvLine, ...], class_set: ClassSet | None) -> str:
    """Name of the one format that fits."""
    fitting = [name for name, (fits, _) in CSV_FORMATS.items() if fits(lines)]
    if len(fitting) > 1:
        cure = " or ".join(f"--labels-format {name}" for name in fitting)
        msg = f"{path}: reads both as {' and as '.join(fitting)}; say which: {cure}"
        raise DataError(msg)
    if not fitting:
        msg = (
            f"{path}:{lines[0].line}: not recognised as labels; write a header `image,labels` and rows such as "
            f"`a.jpg,cat|dog`, or `filename,cat,dog` with 0 and 1, or say the form by --labels-format"
        )
        raise DataError(msg)
    if fitting == [headerless_csv.NAME] and class_set is None and headerless_csv.holds_only_flags(lines):
        msg = (
            f"{path}: reads both as one-hot CSV without its header and as classes called 0 and 1; write a header such "
            f"as `filename,cat,dog`, or say --labels-format {headerless_csv.NAME}"
        )
        raise DataError(msg)
    return fitting[0]
