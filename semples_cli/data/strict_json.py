"""Reads JSON in which no object says one key twice: of two lists of labels, json would drop the first in silence."""

import json
from typing import Any

# What json raises where a text is no JSON: damage, brackets without end, numbers without end, a key twice.
NOT_JSON = (ValueError, RecursionError)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        msg = f"{twice[:40]!r} stands twice in one object"
        raise ValueError(msg)
    return found


DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def read_json(text: str) -> Any:  # noqa: ANN401  # whatever the text says
    """The value of a JSON text.

    Raises:
        NOT_JSON: One of these; `json_trouble` says it in a line.
    """
    return DECODER.decode(text)


def json_trouble(error: Exception) -> str:
    """What is wrong, in a few words."""
    if isinstance(error, RecursionError):
        return "brackets within brackets without end"
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    return "a number of thousands of digits" if "integer string conversion" in str(error) else str(error)
