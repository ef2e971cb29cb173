import pytest
from hypothesis import given
from hypothesis import strategies as st

from semples_cli.engine.layers import parse_layers
from semples_cli.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", ()),
        ("all", (0, 1, 2, 3)),
        ("last:2", (2, 3)),
        ("first:1", (0,)),
        ("LAST:1 ", (3,)),
        ("1,2", (0, 1)),
        ("4, 2 ,2", (1, 3)),
        ("3", (2,)),
        ("last:8", (0, 1, 2, 3)),
        ("first:9", (0, 1, 2, 3)),
    ],
)
def test_the_grammar(text, expected):
    assert parse_layers(text, 4) == expected


@pytest.mark.parametrize("text", ["", "last", "last:0", "last:-1", "first:x", "1;2", "-1", "1,,2", "two", "1,2,"])
def test_other_forms_are_refused_with_the_grammar(text):
    with pytest.raises(SettingsError, match=r"give last:N, first:N, all, none, or numbers"):
        parse_layers(text, 4)


@pytest.mark.parametrize("text", ["0", "5", "1,2,13"])
def test_a_layer_that_the_model_lacks_is_refused_with_the_range(text):
    with pytest.raises(SettingsError, match=r"no layer (0|5|13); its layers are 1 to 4"):
        parse_layers(text, 4)


@given(st.sets(st.integers(1, 24), min_size=1))
def test_numbers_come_back_sorted_and_counted_from_zero(numbers):
    text = ",".join(str(n) for n in numbers)
    assert parse_layers(text, 24) == tuple(sorted(n - 1 for n in numbers))
