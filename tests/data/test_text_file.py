"""Text as people bring it, and what is no text."""

import os
import threading

import pytest

from semples_cli.data import text_file
from semples_cli.data.text_file import is_file, is_folder, read_bytes, read_text
from semples_cli.errors import DataError

CURE = "save it as UTF-8"


@pytest.mark.parametrize("content", ["", "cat\ndog", "\ufeffcat\ndog", "Öl\r\nkočka\r"])
def test_text_is_read_as_it_is_without_a_bom(tmp_path, content):
    path = tmp_path / "a.txt"
    path.write_bytes(content.encode())
    assert read_text(path, CURE) == content.removeprefix("\ufeff")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"cat\nd\xffg", r"a\.txt:2: cannot be read as UTF-8 text \(byte 0xff\); save it as UTF-8"),
        ("cat".encode("utf-16"), r"a\.txt:1: UTF-16 text, which cannot be read as UTF-8 text; save it as UTF-8"),
        (b"cat\n\ndog\0", r"a\.txt:3: holds NUL characters, so it is no text \(or UTF-16\); save it as UTF-8"),
    ],
)
def test_what_is_no_text_is_refused_with_its_line(tmp_path, content, says):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_text(path, CURE)


def test_a_path_that_holds_a_nul_is_no_file(tmp_path):
    with pytest.raises(DataError, match=r"no such file; correct the path"):
        read_text(tmp_path / "a\0b", CURE)


def test_what_is_too_large_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(text_file, "MAX_BYTES", 2**30)
    path = tmp_path / "a.txt"
    with path.open("wb") as handle:
        handle.truncate(2**30 + 1)  # takes no place on the disk
    with pytest.raises(DataError, match=r"more than 1 GiB, too large for labels; .*take it apart"):
        read_text(path, CURE)
    assert read_bytes(path, 3) == b"\0\0\0"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_read_to_its_end(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b"cat\ndog\n",))
    writer.start()
    assert read_text(path, CURE) == "cat\ndog\n"
    writer.join()


def test_a_name_that_is_too_long_is_neither_file_nor_folder(tmp_path):
    assert not is_file(tmp_path / ("x" * 5000))
    assert not is_folder(tmp_path / ("x" * 5000))
    assert is_folder(tmp_path)
