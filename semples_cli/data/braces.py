"""Expands brace patterns that no shell expanded: `train-{000..099}.tar`, `{train,val}-{0..9}.tar`."""

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from semples_cli.errors import SettingsError

MAX_NAMES = 1_000_000

# Python refuses to read a number of thousands of digits, and a million names need seven.
_PATTERN = re.compile(r"\{(?:([0-9]{1,18})\.\.([0-9]{1,18})|([^{},]*(?:,[^{},]*)+))\}")


def expand_braces(inputs: Sequence[Path]) -> list[Path]:
    """The paths with each pattern in its place expanded; a path that exists is taken as it is written.

    Raises:
        SettingsError: A pattern stands for more than a million names.
    """
    return [found for path in inputs for found in _expand(path)]


def _expand(path: Path) -> Iterator[Path]:
    text = str(path)
    patterns = list(_PATTERN.finditer(text))
    if not patterns or os.path.exists(path):  # noqa: PTH110  # raises at no name
        yield path
        return
    count = 1
    for match in patterns:
        count *= _count(match)
        if count > MAX_NAMES:
            msg = f"{path}: stands for {count} names at least, more than {MAX_NAMES}; give the folder that they lie in"
            raise SettingsError(msg)
    yield from map(Path, _names(text, patterns))


def _names(text: str, patterns: Sequence[re.Match[str]]) -> Iterator[str]:
    """The first pattern varies slowest, as in a shell."""
    ends = [0, *(match.end() for match in patterns)]
    between = [text[end : match.start()] for end, match in zip(ends, patterns, strict=False)]
    for chosen in itertools.product(*map(_choices, patterns)):
        yield "".join(itertools.chain(*zip(between, chosen, strict=True), (text[ends[-1] :],)))


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
