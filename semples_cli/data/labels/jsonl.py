"""JSON lines, as Hugging Face's imagefolder has them: `{"file_name": "a.jpg", "labels": ["cat", "dog"]}`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semples_cli.data.labels.headers import find_image_column, find_label_columns
from semples_cli.data.labels.json_items import JsonItem, read_json_lines
from semples_cli.data.labels.list_csv import split_labels
from semples_cli.data.labels.table import LabelTable, TableBuilder, place_of, shown, wrong_name
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

NAME = "jsonl"
SUFFIXES = (".jsonl", ".ndjson")
# Where imagefolder's datasets for detection keep their classes: {"bbox": […], "categories": […]}.
OBJECTS = "objects"


def read_jsonl(path: Path, class_set: ClassSet | None) -> LabelTable:
    """Read the lines: a text is a list as in CSV, a list holds names, null is no class.

    Raises:
        DataError: A line is no JSON object, several keys of it may be the labels, or there are no lines.
    """
    table = TableBuilder(path, class_set)
    for item in read_json_lines(path):
        image = find_image_column(tuple(item.value))
        names = _names(path, item, class_set)
        if image is None or names is None:
            missing = "file_name" if image is None else "labels"
            table.refuse(item.line, 0, f"no key is called {missing!r}; write file_name and labels")
            continue
        if wrong := wrong_name(names):
            table.refuse(item.line, 0, f"{wrong} is no class name; write the name, as text or as a list of texts")
            continue
        called = list(item.value.values())[image]
        if not isinstance(called, str | int) or isinstance(called, bool):
            table.refuse(item.line, 0, f"{shown(called)} is no name of an image; write its file name, as text")
            continue
        table.add(str(called), [(name, 0) for name in names], item.line, 0)
    if not table.rows and not table.problems:
        msg = f'{path}: no lines; write one for each image, such as {{"file_name": "a.jpg", "labels": ["cat"]}}'
        raise DataError(msg)
    return table.finish("JSON lines")


def _names(path: Path, item: JsonItem, class_set: ClassSet | None) -> list[Any] | None:
    """What stands where the labels should; None if nothing does."""
    keys = list(item.value)
    found = find_label_columns(tuple(keys))
    if len(found) > 1:
        names = " and ".join(repr(keys[k]) for k in found)
        msg = f"{place_of(path, item.line)}: {names} may both be the labels; rename all but one"
        raise DataError(msg)
    if found:
        value = item.value[keys[found[0]]]
    else:
        objects = item.value.get(OBJECTS)
        if not isinstance(objects, Mapping) or len(inner := find_label_columns(tuple(objects))) != 1:
            return None
        value = list(objects.values())[inner[0]]
    if isinstance(value, str):
        return split_labels(value, class_set)
    return [] if value is None else value if isinstance(value, list) else [value]
