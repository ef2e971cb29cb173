import errno
import os
from pathlib import Path

import pytest
from PIL import Image

from semples_cli.artifacts.atomic import open_atomic, remove_file, write_error
from semples_cli.errors import ArtifactError, UnwritableError


def test_the_file_appears_under_its_name_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "a" / "b.bin"
    with open_atomic(path) as handle:
        handle.write(b"whole")
        assert not path.exists()
        assert (tmp_path / "a" / "b.bin.partial").exists()
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "b.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), open_atomic(path) as handle:  # noqa: PT012  # the error comes after a write
        handle.write(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_earlier_partial_file_is_replaced(tmp_path):
    path = tmp_path / "b.bin"
    path.with_name("b.bin.partial").write_bytes(b"left by a process that was killed, and longer")
    with open_atomic(path) as handle:
        handle.write(b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


# What the system refuses


class Full:
    """A file that takes ten bytes."""

    def __init__(self, handle):
        self.handle = handle

    def write(self, data):
        self.handle.write(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.handle.close()


@pytest.fixture
def full_disk(monkeypatch):
    original = Path.open

    def opened(path, mode="r", *args, **options):
        handle = original(path, mode, *args, **options)
        return Full(handle) if mode == "xb" else handle

    monkeypatch.setattr(Path, "open", opened)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_no_matter_of_one_file(tmp_path):
    path = tmp_path / "b.bin"
    path.write_bytes(b"old")
    with (
        pytest.raises(UnwritableError, match=r"b\.bin: cannot be written \(No space left on device\); make room"),
        open_atomic(path) as handle,
    ):
        handle.write(b"longer than what there is room for")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EIO, errno.ESTALE])
def test_what_concerns_every_file_ends_the_run(number):
    error = write_error(Path("b.bin"), OSError(number, os.strerror(number)))
    assert type(error) is UnwritableError
    assert os.strerror(number) in str(error)


def test_a_name_that_no_file_can_have_concerns_itself_alone(tmp_path):
    with (
        pytest.raises(ArtifactError, match=r"cannot be written \(File name too long\)") as caught,
        open_atomic(tmp_path / ("x" * 255)),
    ):
        pytest.fail("opened")
    assert not isinstance(caught.value, UnwritableError)
    remove_file(tmp_path / ("x" * 300))  # the name of nothing


def test_a_folder_where_the_file_belongs_stays(tmp_path):
    (tmp_path / "b.bin").mkdir()
    with (
        pytest.raises(ArtifactError, match=r"b\.bin: cannot be written \(Is a directory\)"),
        open_atomic(tmp_path / "b.bin") as handle,
    ):
        handle.write(b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["b.bin"]


def test_an_error_of_a_file_that_is_read_in_the_block_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="elsewhere"), open_atomic(tmp_path / "b.bin"):
        (tmp_path / "elsewhere").read_bytes()
    with pytest.raises(OSError, match="cannot write mode F"), open_atomic(tmp_path / "b.png") as handle:
        Image.new("F", (2, 2)).save(handle, "PNG")
    assert list(tmp_path.iterdir()) == []


def test_a_link_under_the_name_of_the_partial_file_is_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/b.bin.partial").symlink_to(outside)
    with open_atomic(tmp_path / "out/b.bin") as handle:
        handle.write(b"new")
    assert outside.read_bytes() == b"mine"
    assert not (tmp_path / "out/b.bin").is_symlink()


def test_removing_is_refused_where_the_file_stays(tmp_path):
    (tmp_path / "folder").mkdir()
    remove_file(tmp_path / "missing")
    (tmp_path / "b.bin").write_bytes(b"old")
    remove_file(tmp_path / "b.bin")
    assert not (tmp_path / "b.bin").exists()


def test_a_file_that_may_not_be_removed_is_said(tmp_path, monkeypatch):
    def refuse(path, missing_ok=False):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(UnwritableError, match=r"b\.bin: cannot be written \(Permission denied\)"):
        remove_file(tmp_path / "b.bin")
