"""Reads text files of one entry a line: class lists, background words."""

import re
from collections.abc import Iterator
from pathlib import Path

from semples_cli.data.text_file import read_text

# Not the further ones of str.splitlines, such as U+2028 or a form feed: an editor does not show them as such.
_LINE_END = re.compile(r"\r\n|\r|\n")


def read_entries(path: Path) -> Iterator[tuple[int, str]]:
    """Line number (from 1) and text of each line that says something; blank lines and `#` comments do not.

    UTF-8 with or without BOM, the line endings of Unix, Windows and old Macs. Spaces around an entry go; a tab inside
    it stays.

    Raises:
        DataError: The file cannot be read as UTF-8 text.
    """
    text = read_text(path, "save it as UTF-8, one entry a line")
    for number, line in enumerate(_LINE_END.split(text), 1):
        entry = line.strip()
        if entry and not entry.startswith("#"):
            yield number, entry
