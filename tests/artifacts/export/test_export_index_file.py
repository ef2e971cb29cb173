"""An index is there whole or not at all."""

import pytest

from semples_cli.artifacts.export.index_file import IndexFile


@pytest.fixture
def index(tmp_path):
    return IndexFile(tmp_path / "deep" / "index.txt")


def test_nothing_is_made_before_the_first_write(index, tmp_path):
    assert not index.is_begun
    index.abandon()
    assert list(tmp_path.iterdir()) == []


def test_it_takes_its_name_when_it_is_complete(index):
    assert index.write("Straße\n") == 8  # bytes
    assert index.is_begun
    assert index.partial.exists()
    assert not index.path.exists()
    assert index.complete() == index.path
    assert index.path.read_bytes() == "Straße\n".encode()
    assert not index.partial.exists()
    index.abandon()  # too late to
    assert index.path.exists()


def test_abandoned_it_leaves_nothing_and_an_older_index_as_it_was(index):
    index.write("old")
    index.complete()
    index.write("new")
    index.abandon()
    assert index.path.read_text() == "old"
    assert not index.partial.exists()


def test_a_disk_that_is_full_when_it_is_closed_leaves_nothing(index, tmp_path):
    resource = pytest.importorskip("resource")
    index.write("x" * 3000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="large"):
            index.complete()
        index.abandon()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((tmp_path / "deep").iterdir()) == []
