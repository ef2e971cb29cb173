import os
import sys

import pytest

from semples_cli.artifacts.own_files import open_in_place, refuse_links, refuse_links_below
from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.errors import ArtifactError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links need a right there that few have")


def test_a_file_is_opened_under_its_own_name_and_added_to(tmp_path):
    for _ in range(2):
        with open_in_place(tmp_path / "a", "ab") as handle:
            handle.write(b"line\n")
    assert (tmp_path / "a").read_bytes() == b"line\nline\n"


@pytest.mark.parametrize("target", ["victim", "nothing", "."])
def test_a_link_is_not_followed(tmp_path, target):
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "a").symlink_to(target)
    with pytest.raises(ArtifactError, match="a: a link, and a run writes into no file that lies elsewhere; remove it"):
        open_in_place(tmp_path / "a", "a+b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "victim"]
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_a_link_that_comes_at_the_last_moment_is_not_followed_either(tmp_path, monkeypatch):
    (tmp_path / "a").symlink_to("victim")
    monkeypatch.setattr(type(tmp_path), "is_symlink", lambda _: False)
    with pytest.raises(OSError, match="symbolic links"):
        open_in_place(tmp_path / "a", "ab")
    assert not (tmp_path / "victim").exists()


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a")
    with pytest.raises(ArtifactError, match="a pipe or a device where a file of the run belongs"):
        open_in_place(tmp_path / "a", "a+b")


@pytest.mark.parametrize(
    "link", ["a", "a/b", ".semples", ".semples/cams", ".semples/cams/a", "overlays", "overlays/a/b"]
)
def test_folders_that_are_links_are_refused(tmp_path, link):
    (tmp_path / "out" / link).parent.mkdir(parents=True)
    (tmp_path / "out" / link).symlink_to(tmp_path)
    with pytest.raises(ArtifactError, match=rf"{link}: a link, and nothing is written outside of the output folder"):
        refuse_links(RunFolder(tmp_path / "out"), ["a/b/1", "2"])
    with pytest.raises(ArtifactError, match=link):
        refuse_links_below(tmp_path / "out")


def test_what_is_no_link_or_concerns_no_image_is_let_be(tmp_path):
    (tmp_path / "out/a").mkdir(parents=True)
    (tmp_path / "out/c").symlink_to(tmp_path)
    refuse_links(RunFolder(tmp_path / "out"), ["a/1", "2"])
    (tmp_path / "out/c").unlink()
    (tmp_path / "out/file").symlink_to("a/1.png")  # a file is replaced, never followed
    refuse_links_below(tmp_path / "out")
    refuse_links_below(tmp_path / "nothing")
    refuse_links(RunFolder(tmp_path / "nothing"), ["a/1"])


def test_the_output_itself_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to("disk")
    refuse_links(RunFolder(tmp_path / "out"), ["a/1"])
