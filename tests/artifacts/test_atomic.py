import pytest

from semples_cli.artifacts.atomic import open_atomic


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
