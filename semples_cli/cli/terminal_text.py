r"""Makes text from outside safe to print: a file's name may hold line ends, colours, or marks that turn lines round.

Nothing is left out: what cannot be shown as it is stands there as an escape, `\n`, `\x1b`, `\u202e`.
"""

import re

from rich.table import Table

# Control characters; line and paragraph separators; what reorders text (bidi marks, embeddings, overrides, isolates);
# and halves of characters, by which Python stands for bytes of a name that are no UTF-8.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def visible(text: str) -> str:
    r"""The text on one line, with every unsafe character as an escape.

    >>> visible("a\nerror: \x1b[31mb\u202egpj.exe")
    'a\\nerror: \\x1b[31mb\\u202egpj.exe'
    """
    return _UNSAFE.sub(lambda found: _escape(found[0]), text)


def json_escaped(document: str) -> str:
    r"""A JSON document with the same characters in JSON's own escapes: the same document, safe to print and to encode.

    >>> json_escaped('{"id": "b\u202egpj"}')
    '{"id": "b\\u202egpj"}'
    """
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


def make_visible(table: Table) -> None:
    """Make the texts in the cells of a table safe, those of tables within it too."""
    for column in table.columns:
        for place, cell in enumerate(column._cells):
            if isinstance(cell, Table):
                make_visible(cell)
            elif isinstance(cell, str):
                column._cells[place] = visible(cell)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
