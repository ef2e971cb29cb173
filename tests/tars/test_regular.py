import os
import socket
import stat
from pathlib import Path

import pytest

from semples_cli.tars import regular
from semples_cli.tars.members import open_file, stat_file
from semples_cli.tars.regular import open_regular, open_unbuffered, read_regular, special_kind


def test_a_file_is_read_as_any_other(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"content")
    assert read_regular(path) == b"content"
    with open_regular(path) as handle:
        assert handle.read(3) == b"con"
        handle.seek(0)
        assert handle.readline() == b"content"
    with open_unbuffered(path) as handle:
        assert handle.read() == b"content"


def test_a_link_to_a_file_is_that_file(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "link").symlink_to("a")
    assert read_regular(tmp_path / "link") == b"content"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes by name here")
@pytest.mark.parametrize("read", [open_regular, open_unbuffered, read_regular, open_file])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(OSError, match="it is a pipe, not a file"):
            read(tmp_path / name)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device here")
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_refused_before_it_is_opened(device, monkeypatch):
    monkeypatch.setattr(regular.io, "FileIO", lambda *arguments, **options: pytest.fail("opened"))
    with pytest.raises(OSError, match="it is a device, not a file"):
        open_regular(Path(device))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes by name here")
def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"content")
    facts = path.stat()
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(type(path), "stat", lambda *_, **__: facts)
    with pytest.raises(OSError, match="it is a pipe, not a file"):
        open_regular(path)


@pytest.mark.parametrize(("name", "error"), [("gone", FileNotFoundError), (".", IsADirectoryError)])
def test_what_is_not_there_and_folders_are_what_they_always_were(tmp_path, name, error):
    with pytest.raises(error):
        open_regular(tmp_path / name)


def test_kinds():
    assert special_kind(stat.S_IFREG) == special_kind(stat.S_IFDIR) == ""
    assert special_kind(stat.S_IFIFO) == "a pipe"
    assert special_kind(stat.S_IFSOCK) == "a socket"
    assert special_kind(stat.S_IFCHR) == special_kind(stat.S_IFBLK) == "a device"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no sockets by name here")
def test_facts_of_what_is_no_file_are_still_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("s")
    assert stat_file(Path("s")).size == 0
