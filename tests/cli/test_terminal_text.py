import json

import pytest
from rich.table import Table

from semples_cli.cli.terminal_text import json_escaped, make_visible, visible

UNSAFE = {
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\0": r"\x00",
    "\a": r"\x07",
    "\b": r"\x08",
    "\x1b": r"\x1b",
    "\x7f": r"\x7f",
    "\x9b": r"\x9b",
    "\u061c": r"\u061c",
    "\u200e": r"\u200e",
    "\u2028": r"\u2028",
    "\u2029": r"\u2029",
    "\u202a": r"\u202a",
    "\u202e": r"\u202e",
    "\u2066": r"\u2066",
    "\u2069": r"\u2069",
    "\udce9": r"\xe9",  # the byte that it stands for
    "\ud800": r"\ud800",  # noqa: F601  # which holds halves for equal
}


@pytest.mark.parametrize("sign", UNSAFE)
def test_what_moves_colours_or_turns_lines_is_escaped(sign):
    assert visible(f"a{sign}b") == f"a{UNSAFE[sign]}b"
    document = json.dumps({"id": f"a{sign}b"}, ensure_ascii=False)
    assert sign not in json_escaped(document)
    assert json.loads(json_escaped(document)) == json.loads(document)


@pytest.mark.parametrize("text", ["", "plain", "größe 図", "🐈‍⬛", "a\\nb", "[red]", "שלום", "e\u0301", "→ …"])
def test_other_text_stays(text):
    assert visible(text) == text
    assert json_escaped(text) == text


def test_cells_of_tables_within_tables_are_escaped():
    inner, page = Table("name"), Table.grid()
    inner.add_row("a\x1b[31m\nb")
    page.add_row(inner)
    page.add_row("c\u202ed")
    make_visible(page)
    make_visible(page)  # once more changes nothing
    assert [*inner.columns[0].cells] == [r"a\x1b[31m\nb"]
    assert [*page.columns[0].cells] == [inner, r"c\u202ed"]
