"""Reads the objects of a JSON array, or of JSON lines, each with the place where it begins."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semples_cli.data.labels.csv_lines import MAX_LINE
from semples_cli.data.strict_json import DECODER, NOT_JSON, json_trouble
from semples_cli.data.text_file import read_text
from semples_cli.errors import DataError

_SPACE = re.compile(r"[\s,]*")


@dataclass(frozen=True)
class JsonItem:
    """One object.

    Attributes:
        line: Line on which it begins, from 1.
        column: Its first character on that line, from 1.
        value: The object.
    """

    line: int
    column: int
    value: dict[str, Any]


def read_json_text(path: Path) -> str:
    """The text of a JSON file.

    Raises:
        DataError: It cannot be read as UTF-8.
    """
    return read_text(path, "export it as JSON again, in UTF-8")


def read_json_array(path: Path) -> Iterator[JsonItem]:
    """The objects of a file that is one array of them.

    Raises:
        DataError: It is not; objects before the damaged place have been given out by then.
    """
    text = read_json_text(path)
    start = _SPACE.match(text).end()  # type: ignore[union-attr]  # it matches nothing too
    if not text.startswith("[", start):
        msg = f"{path}: a JSON array of tasks is needed; export it again"
        raise DataError(msg)
    position, line, line_start = start + 1, text.count("\n", 0, start) + 1, text.rfind("\n", 0, start) + 1
    while True:
        begin = _SPACE.match(text, position).end()  # type: ignore[union-attr]
        line += text.count("\n", position, begin)
        line_start = max(line_start, text.rfind("\n", position, begin) + 1)
        if text.startswith("]", begin):
            if text[begin + 1 :].strip():
                msg = f"{path}:{line}: text behind the array; a file holds one, so export it again"
                raise DataError(msg)
            return
        value, position = _decode(path, text, begin, line)
        yield JsonItem(line, begin - line_start + 1, value)
        line += text.count("\n", begin, position)
        line_start = max(line_start, text.rfind("\n", begin, position) + 1)


def read_json_lines(path: Path) -> Iterator[JsonItem]:
    """The objects of a file that has one a line; blank lines do not count.

    Raises:
        DataError: A line is none.
    """
    for number, ended in enumerate(read_json_text(path).split("\n"), 1):  # a text may hold other ends of lines
        if line := ended.strip():
            if len(line) > MAX_LINE:
                msg = f"{path}:{number}: a line of {len(line)} characters; write one object for each image"
                raise DataError(msg)
            value, end = _decode(path, line, 0, number)
            if end != len(line):
                msg = f"{path}:{number}: more than one JSON object on this line; write one a line"
                raise DataError(msg)
            yield JsonItem(number, 1, value)


def _decode(path: Path, text: str, begin: int, line: int) -> tuple[dict[str, Any], int]:
    try:
        value, end = DECODER.raw_decode(text, begin)
    except NOT_JSON as error:
        msg = f"{path}:{line}: not JSON ({json_trouble(error)}); export the file again"
        raise DataError(msg) from None
    if not isinstance(value, dict):
        msg = f"{path}:{line}: a {type(value).__name__} where an object is needed; export the file again"
        raise DataError(msg)
    return value, end
