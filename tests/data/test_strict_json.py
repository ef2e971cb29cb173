"""JSON in which no object says a key twice, and what is said of what is none."""

import json

import pytest

from semples_cli.data.strict_json import NOT_JSON, json_trouble, read_json


@pytest.mark.parametrize("value", [None, 1.5, "a", [1, [2]], {"a": {"a": 1}, "b": [{"a": 2}, {"a": 3}]}])
def test_json_is_read(value):
    assert read_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "'a' stands twice in one object"),
        ('[{"b": {"a": 1, "a": 1}}]', "'a' stands twice in one object"),
        (f'{{"{"x" * 100}": 1, "{"x" * 100}": 2}}', f"'{'x' * 40}' stands twice in one object"),
        ("[" * 100_000, "brackets within brackets without end"),
        ("7" * 5000, "a number of thousands of digits"),
        ("[1, ", "Expecting value"),
        ("", "Expecting value"),
    ],
    ids=range(7),
)
def test_what_is_wrong_is_said_in_a_few_words(text, trouble):
    with pytest.raises(NOT_JSON) as raised:
        read_json(text)
    assert json_trouble(raised.value).startswith(trouble)
