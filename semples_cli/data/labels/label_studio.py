"""Label Studio's exports JSON and JSON-MIN: choices, and the labels of regions, of each task."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from semples_cli.data.image_folder import SUFFIXES
from semples_cli.data.labels.headers import find_label_columns
from semples_cli.data.labels.json_items import JsonItem, read_json_array
from semples_cli.data.labels.table import LabelTable, TableBuilder, place_of, shown, wrong_name
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

NAME = "label-studio"

# Eight hexadecimal digits that Label Studio puts before the name of a file that was uploaded.
_UPLOADED = re.compile(r"upload/(?:\d+/)?[0-9a-f]{8}-(.+)")
_LOCAL = re.compile(r"local-files/?\?(?:.*&)?d=([^&]*)")
# Kinds of results that name classes: choices, and rectanglelabels, brushlabels, polygonlabels, … of regions.
_CLASSES = re.compile(r"choices|\w*labels")
# Of which the second is what it was called before version 1.
_ANNOTATIONS = ("annotations", "completions")
# Texts of a JSON-MIN task that Label Studio itself adds.
_ADDED = frozenset({"annotator", "created_at", "updated_at", "comment"})


@dataclass(frozen=True)
class _Answer:
    """What one annotator says of one task: class names, or None where the task was skipped."""

    item: JsonItem
    image: str | None
    names: list[object] | None


def read_label_studio(path: Path, class_set: ClassSet | None) -> LabelTable:
    """Read either export; predictions are not looked at, skipped and unannotated tasks have no label.

    Raises:
        DataError: It is no array of tasks, none of them has labels, or several texts of JSON-MIN may be the choice.
    """
    table, items = TableBuilder(path, class_set), list(read_json_array(path))
    if any(isinstance(item.value.get("data"), Mapping) for item in items):
        form, answers, extra = "JSON", _read_full(path, items), ""
    else:
        keys, unread = _choice_keys(path, items)
        form, answers = "JSON-MIN", _read_min(items, keys)
        extra = f"; texts of {', '.join(unread)} are not read; if they are choices, export JSON" if unread else ""
    for answer in answers:
        if answer.names is not None:
            _enter(answer, answer.names, table)
    if not table.rows and not table.problems:
        msg = f"{path}: no task has an annotation; export as JSON or JSON-MIN once some are labelled"
        raise DataError(msg)
    if skipped := sum(answer.names is None for answer in answers):
        extra = f"; {skipped} task{'s' * (skipped != 1)} without annotation{extra}"
    return table.finish(f"Label Studio {form}", None, extra)


def image_name(reference: str) -> str:
    """The image that a task's URL or path means: without upload prefix, server and percent signs.

    >>> image_name("/data/upload/3/1cc5a5e0-my%20cat.jpg")
    'my cat.jpg'
    >>> image_name("/data/local-files/?d=images/a/1.jpg")
    'images/a/1.jpg'
    """
    if local := _LOCAL.search(reference):
        return unquote(local[1]).lstrip("/")
    is_url = "://" in reference
    path = unquote(_path_of(reference) if is_url else reference)
    if uploaded := _UPLOADED.search(path):
        return uploaded[1]
    return path.lstrip("/") if is_url else path


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:  # http://[
        return url.partition("://")[2].partition("/")[2]


def _objects(path: Path, item: JsonItem, holder: Mapping[str, Any], *keys: str) -> list[Mapping[str, Any]]:
    """The list of objects under the first of these keys that is there; none where it is null.

    Raises:
        DataError: Something else stands there.
    """
    key = next((key for key in keys if key in holder), keys[0])
    listed = holder.get(key) or []
    if not isinstance(listed, list) or not all(isinstance(each, Mapping) for each in listed):
        where = place_of(path, item.line, item.column)
        msg = f"{where}: {key!r} is no list of objects, as Label Studio writes; export it again"
        raise DataError(msg)
    return listed


def _read_full(path: Path, items: Iterable[JsonItem]) -> list[_Answer]:
    """Of the export JSON, whose results say their type."""
    answers = []
    for item in items:
        data = item.value.get("data")
        image = _image_of(data) if isinstance(data, Mapping) else None
        kept = [each for each in _objects(path, item, item.value, *_ANNOTATIONS) if not each.get("was_cancelled")]
        for annotation in kept:
            results = _objects(path, item, annotation, "result")
            answers.append(_Answer(item, image, list(_names_of(each.get("value") for each in results))))
        if not kept:
            answers.append(_Answer(item, image, None))
    return answers


def _read_min(items: Sequence[JsonItem], keys: Collection[str]) -> list[_Answer]:
    """Of JSON-MIN, where a single choice is a plain text beside those of the task; `keys`: which are choices."""
    answers = []
    for item in items:
        choices = [value for key, value in item.value.items() if key in keys and isinstance(value, str)]
        answers.append(_Answer(item, _image_of(item.value), [*_names_of(item.value.values()), *choices]))
    return answers


def _choice_keys(path: Path, items: Iterable[JsonItem]) -> tuple[frozenset[str], list[str]]:
    """Keys whose texts are choices in JSON-MIN, and those whose texts are not read.

    The key of a multiple choice or of regions is one; else a key that is called so, or the only one that has texts.
    """
    certain: set[str] = set()
    texts: dict[str, None] = {}
    for item in items:
        image = _image_of(item.value)
        for key, value in item.value.items():
            if any(True for _ in _names_of([value])):
                certain.add(key)
            elif isinstance(value, str) and key not in _ADDED and value != image:
                texts[key] = None
    named = [key for key in texts if key in ("choice", "choices") or find_label_columns((key,))]
    found = sorted(certain) or named or list(texts)
    if not certain and len(found) > 1:
        names = " and ".join(repr(key) for key in found)
        msg = f"{path}: {names} may both be the choice, which JSON-MIN does not say; export it as JSON"
        raise DataError(msg)
    return frozenset(found), [key for key in texts if key not in found]


def _enter(answer: _Answer, names: list[object], table: TableBuilder) -> None:
    line, column = answer.item.line, answer.item.column
    wrong = wrong_name(names)
    if answer.image is None or wrong:
        what = "no image is named" if answer.image is None else f"{wrong} is no class name"
        table.refuse(line, column, f"task {shown(answer.item.value.get('id', '?'))}: {what}; export it again")
        return
    table.add(image_name(answer.image), [(str(name), column) for name in names], line, column)


def _image_of(data: Mapping[str, Any]) -> str | None:
    """The text that ends like an image, whatever the labelling interface calls it; else the one called image."""
    texts = [value for value in data.values() if isinstance(value, str)]
    named = (value for value in texts if Path(image_name(value)).suffix.lower() in SUFFIXES)
    return next(named, data["image"] if isinstance(data.get("image"), str) else None)


def _names_of(values: Iterable[object]) -> Iterator[object]:
    """Class names in the values of results, and in lists of such, as JSON-MIN has regions."""
    for value in values:
        if isinstance(value, list):
            yield from _names_of(each for each in value if isinstance(each, Mapping))
        elif isinstance(value, Mapping):
            for key, inner in value.items():
                if _CLASSES.fullmatch(key):
                    yield from inner if isinstance(inner, list) else [inner]
