import pytest

from semples_cli.errors import one_line


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("plain"), "plain"),
        (ValueError("a\n  b\r\tc"), "a b c"),
        (ValueError(), "ValueError"),
        (MemoryError(), "MemoryError"),
        (ValueError("x" * 500), "x" * 200 + " …"),
    ],
)
def test_what_others_say_is_one_line_of_bounded_length(error, text):
    assert one_line(error) == text
