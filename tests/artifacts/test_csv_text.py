"""Rows that come back from every reader of CSV as they were."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semples_cli.artifacts.csv_text import csv_text


@pytest.mark.parametrize(
    ("row", "line"),
    [
        (["a", "b"], "a,b"),
        (["a,b", 'c"d'], '"a,b","c""d"'),
        (["a\nb", "a\rb", "a\r\nb"], '"a\nb","a\rb","a\r\nb"'),
        (["=1+1", "-2", "@x"], "=1+1,-2,@x"),  # a name is a name
        ([""], '""'),
        ([1, 0.5, None], "1,0.5,"),
    ],
)
def test_lines_by_hand(row, line):
    assert csv_text([row]) == f"{line}\n"


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@given(st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=5))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_rows_come_back(rows):
    assert list(csv.reader(io.StringIO(csv_text(rows), newline=""))) == rows
