"""Expands brace patterns that no shell expanded: `train-{000..099}.tar`, `{train,val}-{0..9}.tar`."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from semples_cli.errors import SettingsError

MAX_NAMES = 1_000_000

_PATTERN = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{},]*(?:,[^{},]*)+))\}")


def expand_braces(inputs: Sequence[Path]) -> list[Path]:
    """The paths with each pattern in its place expanded; a path that exists is taken as it is written.

    Raises:
        SettingsError: A pattern stands for more than a million names.
    """
    return [found for path in inputs for found in _expand(path)]


def _expand(path: Path) -> Iterator[Path]:
    text = str(path)
    if _PATTERN.search(text) is None or path.exists():
        yield path
        return
    count = 1
    for match in _PATTERN.finditer(text):
        count *= _count(match)
    if count > MAX_NAMES:
        msg = f"{path}: stands for {count} names, more than {MAX_NAMES}; give the folder that they lie in"
        raise SettingsError(msg)
    yield from map(Path, _names(text))


def _names(text: str) -> Iterator[str]:
    """The first pattern varies slowest, as in a shell."""
    match = _PATTERN.search(text)
    if match is None:
        yield text
        return
    for rest in _choices(match):
        for tail in _names(text[match.end() :]):
            yield text[: match.start()] + rest + tail


def _choices(match: re.Match[str]) -> Iterator[str]:
    if match[3] is not None:
        yield from match[3].split(",")
        return
    first, last = int(match[1]), int(match[2])
    # As in a shell: one number with a leading zero makes all as wide as the widest.
    padded = any(len(end) > 1 and end.startswith("0") for end in (match[1], match[2]))
    width = max(len(match[1]), len(match[2])) if padded else 0
    step = 1 if first <= last else -1
    for number in range(first, last + step, step):
        yield f"{number:0{width}d}"


def _count(match: re.Match[str]) -> int:
    return match[3].count(",") + 1 if match[3] is not None else abs(int(match[2]) - int(match[1])) + 1
