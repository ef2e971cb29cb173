import re
from pathlib import Path

import pytest

from semples_cli.data import nouns
from semples_cli.data.background_words import read_background_words
from semples_cli.data.nouns import read_nouns
from semples_cli.demo.names import BACKGROUNDS, OBJECTS
from semples_cli.errors import DataError

LIST = Path(nouns.__file__).parent / "nouns.txt"


def test_the_built_in_list_is_long_sorted_and_has_each_word_once():
    words = read_nouns()
    assert 1500 <= len(words) <= 2000
    assert list(words) == sorted(set(words))
    assert all(re.fullmatch(r"[a-z]+([ -][a-z]+)*", word) for word in words)


def test_it_has_the_words_for_what_stands_behind_things():
    words = set(read_nouns("builtin"))
    assert {"water", "sand", *BACKGROUNDS, *OBJECTS} <= words
    assert set(read_background_words("voc")) <= words


def test_it_says_whose_it_is_on_its_first_line():
    first = LIST.read_text().splitlines()[0]
    assert first.startswith("#")
    assert "Apache-2.0" in first


def test_an_own_list_keeps_its_order_without_doubles_and_comments(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("# mine\nZebra crossing\n\nsea\nZebra crossing\n")
    assert read_nouns(str(path)) == ("Zebra crossing", "sea")


def test_a_missing_list_is_refused():
    with pytest.raises(DataError, match="lvis: no such noun list; give builtin, or a file with one word a line"):
        read_nouns("lvis")


@pytest.mark.parametrize("text", ["", "# nothing\n\n"])
def test_a_list_without_any_word_is_refused(tmp_path, text):
    path = tmp_path / "empty.txt"
    path.write_text(text)
    with pytest.raises(DataError, match="no noun in it; write one word a line"):
        read_nouns(str(path))
