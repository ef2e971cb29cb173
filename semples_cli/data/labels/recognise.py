"""Recognises the format of a label file or folder, says it, and refuses to guess where two readings fit."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from semples_cli.data.labels import (
    cls_labels_npy,
    coco_json,
    headerless_csv,
    jsonl,
    label_studio,
    labelme,
    list_csv,
    long_csv,
    onehot_csv,
    webdataset,
    wsss_list,
)
from semples_cli.data.labels.csv_lines import CsvLine, read_csv_lines
from semples_cli.data.labels.headers import second_image_column
from semples_cli.data.labels.json_kind import json_kind
from semples_cli.data.labels.recognise_folder import FOLDER_FORMATS, read_folder
from semples_cli.data.labels.table import LabelTable
from semples_cli.data.text_file import is_folder
from semples_cli.data.webdataset import is_tar
from semples_cli.errors import DataError, SettingsError
from semples_cli.types import ClassSet

AUTO = "auto"

_Fits = Callable[[tuple[CsvLine, ...]], bool]
_ReadText = Callable[[Path, tuple[CsvLine, ...], ClassSet | None], LabelTable]
_ReadFile = Callable[[Path, ClassSet | None], LabelTable]

# What is recognised by its lines, and in a word what such a file is, for those who have to choose.
TEXT_FORMATS: dict[str, tuple[_Fits, _ReadText, str]] = {
    list_csv.NAME: (list_csv.fits_list_csv, list_csv.read_list_csv, "a row an image"),
    onehot_csv.NAME: (onehot_csv.fits_onehot_csv, onehot_csv.read_onehot_csv, "a column a class"),
    long_csv.NAME: (long_csv.fits_long_csv, long_csv.read_long_csv, "a row a label"),
    headerless_csv.NAME: (headerless_csv.fits_headerless_csv, headerless_csv.read_headerless_csv, "no header"),
    wsss_list.NAME: (wsss_list.fits_wsss_list, wsss_list.read_wsss_list, "class numbers"),
}
_HEADED = (list_csv.NAME, onehot_csv.NAME, long_csv.NAME)
_SURE: dict[str, _ReadText] = {
    wsss_list.NAME: partial(wsss_list.read_wsss_list, sure=True),
    **{name: partial(wsss_list.read_wsss_list, first=first, sure=True) for name, first in wsss_list.NUMBERED.items()},
}
_WHOLE_FILES: dict[str, _ReadFile] = {
    cls_labels_npy.NAME: cls_labels_npy.read_cls_labels,
    coco_json.NAME: coco_json.read_coco_json,
    label_studio.NAME: label_studio.read_label_studio,
    labelme.NAME: labelme.read_labelme,
    jsonl.NAME: jsonl.read_jsonl,
    **webdataset.SOURCES,
}
LABEL_FORMATS = tuple(dict.fromkeys((AUTO, *TEXT_FORMATS, *_SURE, *_WHOLE_FILES, *FOLDER_FORMATS)))


def check_labels_format(labels_format: str) -> None:
    """Refuse an unknown format name.

    Raises:
        SettingsError: It is none of `LABEL_FORMATS`.
    """
    if labels_format not in LABEL_FORMATS:
        msg = f"--labels-format {labels_format!r}: choose one of {', '.join(LABEL_FORMATS)}"
        raise SettingsError(msg)


def read_labels(path: Path, labels_format: str = AUTO, class_set: ClassSet | None = None) -> LabelTable:
    """Read a label file or folder.

    Args:
        path: The file or folder.
        labels_format: One of `LABEL_FORMATS`.
        class_set: Known classes; a row with another name becomes a problem.

    Raises:
        DataError: No reading fits, or several do; or the source as a whole cannot be read.
        SettingsError: The format is unknown, or goes with a folder where a file is given, or the other way round.
    """
    check_labels_format(labels_format)
    fitting = (AUTO, *(FOLDER_FORMATS if is_folder(path) else (*TEXT_FORMATS, *_SURE, *_WHOLE_FILES)))
    if labels_format not in fitting:
        what = "a folder" if is_folder(path) else "no folder"
        msg = f"{path} is {what}, which does not go with --labels-format {labels_format}; leave one of the two out"
        raise SettingsError(msg)
    if is_folder(path):
        return read_folder(path, None if labels_format == AUTO else labels_format, class_set)
    whole = _whole_file_kind(path) if labels_format == AUTO else labels_format
    if whole in _WHOLE_FILES:
        return replace(_WHOLE_FILES[whole](path, class_set), form=whole)
    lines = read_csv_lines(path)
    chosen = _recognise(path, lines, class_set) if labels_format == AUTO else labels_format
    if chosen in _HEADED:
        _check_header(path, lines[0])
    sure = _SURE.get(chosen) if labels_format != AUTO else None
    read = sure or TEXT_FORMATS[chosen][1]
    return replace(read(path, lines, class_set), form=chosen)


def _whole_file_kind(path: Path) -> str:
    """The format that a file's name and its first characters say; '' for text of lines."""
    suffix = path.suffix.lower()
    if is_tar(path):
        return webdataset.NAME
    if suffix in jsonl.SUFFIXES:
        return jsonl.NAME
    if suffix == coco_json.SUFFIX:
        return json_kind(path)
    return cls_labels_npy.NAME if suffix == cls_labels_npy.SUFFIX else ""


def _check_header(path: Path, first: CsvLine) -> None:
    column = second_image_column(first.cells)
    if column is not None:
        name = first.cells[column]
        msg = f"{path}:{first.line}:{column + 1}: a second column {name!r} may name the image; rename one of the two"
        raise DataError(msg)


def _recognise(path: Path, lines: tuple[CsvLine, ...], class_set: ClassSet | None) -> str:
    """Name of the one format that fits."""
    fitting = [name for name, (fits, _, _) in TEXT_FORMATS.items() if fits(lines)]
    if len(fitting) > 1:
        cure = " or ".join(f"--labels-format {name} ({TEXT_FORMATS[name][2]})" for name in fitting)
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
