"""Reads which layers' attention to use: 'last:8', 'first:1', 'all', '1,2,5' (counted from 1) or 'none'."""

import re

from semples_cli.errors import SettingsError

GRAMMAR = "last:N, first:N, all, none, or numbers from 1 such as 1,2,5"


def parse_layers(text: str, num_layers: int) -> tuple[int, ...]:
    """Layer indices, counted from 0 and ascending.

    'last:8' of a model with four layers means all four, as `tail -n 8` does; a number beyond the last layer is refused.

    Args:
        text: The setting.
        num_layers: Layers that the model has.

    Raises:
        SettingsError: The text has none of the forms, or names a layer that the model lacks.
    """
    text = text.strip().lower()
    if text in ("all", "none"):
        return tuple(range(num_layers)) if text == "all" else ()
    if match := re.fullmatch(r"(first|last):([1-9]\d*)", text):
        count = min(int(match[2]), num_layers)
        return tuple(range(count) if match[1] == "first" else range(num_layers - count, num_layers))
    if re.fullmatch(r"\d+(\s*,\s*\d+)*", text):
        return _numbered(text, num_layers)
    msg = f"affinity layers {text!r}: give {GRAMMAR}"
    raise SettingsError(msg)


def _numbered(text: str, num_layers: int) -> tuple[int, ...]:
    numbers = sorted({int(number) for number in text.split(",")})
    for number in numbers:
        if not 1 <= number <= num_layers:
            msg = f"affinity layers {text!r}: the model has no layer {number}; its layers are 1 to {num_layers}"
            raise SettingsError(msg)
    return tuple(number - 1 for number in numbers)
