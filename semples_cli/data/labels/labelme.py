"""LabelMe's annotation files: `flags` of an image that are true, and the labels of its shapes."""

import os
from pathlib import Path
from typing import Any, TypeVar

from semples_cli.data.labels.json_items import read_json_text
from semples_cli.data.labels.table import LabelTable, TableBuilder
from semples_cli.data.strict_json import NOT_JSON, json_trouble, read_json
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

NAME = "labelme"
SUFFIX = ".json"

# Labels of LabelMe's own examples that stand for no class.
NOT_CLASSES = frozenset({"__ignore__", "_background_"})
_KEYS = ("flags", "shapes")

_Kind = TypeVar("_Kind", str, bool)


def find_labelme(source: Path) -> list[Path]:
    """The files of a folder that may be LabelMe's, or the file that was given."""
    return sorted(source.rglob(f"*{SUFFIX}")) if source.is_dir() else [source]


def fits_labelme(source: Path) -> bool:
    """Whether a file, or the first of a folder's JSON files, has what LabelMe writes."""
    files = find_labelme(source)
    try:
        return bool(files) and _load(files[0]).keys() >= {"shapes", "imagePath"}
    except DataError:
        return False


def read_labelme(source: Path, class_set: ClassSet | None) -> LabelTable:
    """Read one file or all of a folder; a damaged one is a problem, and the others are read.

    Raises:
        DataError: There is no such file.
    """
    files, folder = find_labelme(source), source if source.is_dir() else source.parent
    if not files:
        msg = f"{source}: no {SUFFIX} files here; give the folder in which LabelMe saved them"
        raise DataError(msg)
    table = TableBuilder(source, class_set)
    for path in files:
        table.source = path  # so that a problem names the file
        _read_file(path, folder, table)
    table.source = source
    return table.finish("LabelMe JSON")


def _read_file(path: Path, folder: Path, table: TableBuilder) -> None:
    try:
        document = _load(path)
        shapes = [_of_type(shape["label"], str) for shape in document.get("shapes") or []]
        flags = {name: _of_type(value, bool) for name, value in (document.get("flags") or {}).items()}
        if not any(key in document for key in _KEYS):
            table.refuse(0, 0, "neither flags nor shapes, so not of LabelMe; take the file out of the folder")
            return
        image = _of_type(document.get("imagePath") or path.stem, str).replace("\\", "/")
    except DataError as error:
        table.refuse(0, 0, str(error).removeprefix(f"{path}: "))
        return
    except (KeyError, TypeError, AttributeError):
        table.refuse(0, 0, "shapes or flags are not as LabelMe writes them; save it there again")
        return
    names = dict.fromkeys([*(name for name, value in flags.items() if value), *shapes])
    table.absent.update(name for name, value in flags.items() if not value and name not in names)
    table.add(_relative(image, path, folder), [(name, 0) for name in names if name not in NOT_CLASSES], 0, 0)


def _of_type(value: object, kind: type[_Kind]) -> _Kind:
    """The value as it is: the text "false" is not true, and null is no class called None.

    Raises:
        TypeError: It is of another type.
    """
    if not isinstance(value, kind):
        raise TypeError(value)
    return value


def _relative(image: str, path: Path, folder: Path) -> str:
    """The image relative to the folder; LabelMe writes it relative to its own file."""
    if image.startswith("/") or ":" in image:
        return image
    return Path(os.path.relpath(path.parent / image, folder)).as_posix()


def _load(path: Path) -> dict[str, Any]:
    try:
        document = read_json(read_json_text(path))
    except NOT_JSON as error:
        msg = f"{path}: not JSON ({json_trouble(error)}); save it in LabelMe again"
        raise DataError(msg) from None
    if not isinstance(document, dict):
        msg = f"{path}: a {type(document).__name__} where LabelMe has an object; take the file out of the folder"
        raise DataError(msg)
    return document
