"""How the page words numbers and settings; filters of its template."""

import json
from collections.abc import Callable, Mapping
from typing import Any

_SHADES = 10


def percent(share: float | None, digits: int = 1) -> str:
    """A share of 1 in percent; a dash where it is undefined."""
    return "–" if share is None else f"{100 * share:.{digits}f}"


def shade(share: float | None) -> str:
    """CSS class of a table cell by its share of 1."""
    return "" if share is None else f"shade-{round(_SHADES * min(max(share, 0.0), 1.0))}"


def setting(value: object) -> str:
    """The value of a setting as one reads it: lists by commas, the rest as JSON has it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(setting(each) for each in value) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {setting(each)}" for name, each in value.items()) or "none"
    return "none" if value is None else json.dumps(value)


def label(name: str) -> str:
    """The name of a setting as words."""
    return name.replace("_", " ")


def thousands(number: int) -> str:
    """A count with thin spaces between its thousands."""
    return f"{number:,}".replace(",", "\u2009")


def count(number: int, noun: str, plural: str = "") -> str:
    """A count with its noun: '1 mask', '2 masks'."""
    return f"{thousands(number)} {noun if number == 1 else plural or noun + 's'}"


FILTERS: dict[str, Callable[..., Any]] = {
    "percent": percent,
    "shade": shade,
    "setting": setting,
    "label": label,
    "thousands": thousands,
    "count": count,
}
