"""Images beside masks: the same file where the disk allows it, else the same bytes."""

import os

import pytest

from semples_cli.artifacts.export.image_copy import place_image
from semples_cli.errors import DataError


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "images" / "1.jpg"
    path.parent.mkdir()
    path.write_bytes(b"pixels")
    return path


def test_a_link_costs_no_space(image, tmp_path):
    place_image(image, tmp_path / "out/a/1.jpg", copy=False)
    assert (tmp_path / "out/a/1.jpg").samefile(image)
    assert [path.name for path in (tmp_path / "out/a").iterdir()] == ["1.jpg"]


def test_a_copy_is_a_file_of_its_own(image, tmp_path):
    target = tmp_path / "out/1.jpg"
    place_image(image, target, copy=True)
    assert target.read_bytes() == b"pixels"
    assert not target.samefile(image)


def test_a_disk_without_links_gets_a_copy(image, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    place_image(image, tmp_path / "out/1.jpg", copy=False)
    assert (tmp_path / "out/1.jpg").read_bytes() == b"pixels"


@pytest.mark.parametrize("copy", [False, True])
def test_done_again_it_replaces_the_file_and_leaves_no_partial_one(image, tmp_path, copy):
    target = tmp_path / "out/1.jpg"
    for _ in range(2):
        place_image(image, target, copy=copy)
    image.unlink()
    image.write_bytes(b"new")
    place_image(image, target, copy=copy)
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


def test_what_a_symbolic_link_means_is_placed(image, tmp_path):
    (tmp_path / "link.jpg").symlink_to(image)
    place_image(tmp_path / "link.jpg", tmp_path / "out/1.jpg", copy=False)
    assert not (tmp_path / "out/1.jpg").is_symlink()
    assert (tmp_path / "out/1.jpg").read_bytes() == b"pixels"


@pytest.mark.parametrize("copy", [False, True])
def test_an_image_that_is_gone_is_named_and_nothing_is_left(tmp_path, copy):
    with pytest.raises(DataError, match=r"gone\.jpg: cannot read this image: No such file"):
        place_image(tmp_path / "gone.jpg", tmp_path / "out/1.jpg", copy=copy)
    assert list((tmp_path / "out").iterdir()) == []
