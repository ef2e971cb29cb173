"""Reads text files of one entry a line: class lists, background words."""

from collections.abc import Iterator
from pathlib import Path

from semples_cli.errors import DataError


def read_entries(path: Path) -> Iterator[tuple[int, str]]:
    """Line number (from 1) and text of each line that says something; blank lines and `#` comments do not.

    UTF-8 with or without BOM, any line ending. Spaces around an entry go; a tab inside it stays.

    Raises:
        DataError: The file cannot be read as UTF-8 text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read as UTF-8 text ({error}); save it as UTF-8, one entry a line"
        raise DataError(msg) from None
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.strip()
        if entry and not entry.startswith("#"):
            yield number, entry
