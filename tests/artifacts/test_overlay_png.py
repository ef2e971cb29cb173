"""Overlay pictures: background as it was, classes blended, borders in full colour."""

import numpy as np
import pytest
from PIL import Image

from semples_cli.artifacts.mask_png import voc_palette
from semples_cli.artifacts.overlay_png import write_overlay
from semples_cli.errors import ArtifactError


def overlay(tmp_path, image, values):
    write_overlay(tmp_path / "o" / "x.png", image, values)
    with Image.open(tmp_path / "o" / "x.png") as picture:
        assert picture.mode == "RGB"
        return np.asarray(picture)


def test_inside_border_and_background_by_hand(tmp_path):
    image = np.full((7, 9, 3), (100, 50, 201), np.uint8)
    values = np.zeros((7, 9), np.uint8)
    values[1:6, 2:7] = 15  # colour 192, 128, 128
    picture = overlay(tmp_path, image, values)
    inside = np.zeros((7, 9), bool)
    inside[2:5, 3:6] = True
    border = (values == 15) & ~inside
    assert {tuple(p) for p in picture[inside].tolist()} == {(146, 89, 164)}  # (100 + 192) / 2, 89, 164.5 to even
    assert {tuple(p) for p in picture[border].tolist()} == {(192, 128, 128)}
    np.testing.assert_array_equal(picture[values == 0], image[values == 0])


def test_where_two_classes_meet_each_keeps_its_own_line(tmp_path):
    values = np.repeat(np.array([[1, 1, 1, 2, 2, 2]], np.uint8), 3, axis=0)
    picture = overlay(tmp_path, np.zeros((3, 6, 3), np.uint8), values)
    assert picture[1].tolist() == [[64, 0, 0], [64, 0, 0], [128, 0, 0], [0, 128, 0], [0, 64, 0], [0, 64, 0]]


def test_ignored_pixels_show(tmp_path):
    picture = overlay(tmp_path, np.zeros((3, 3, 3), np.uint8), np.full((3, 3), 255, np.uint8))
    np.testing.assert_array_equal(picture, np.broadcast_to(voc_palette()[255] // 2, (3, 3, 3)))


@pytest.mark.parametrize("size", [(1, 1), (17, 31), (1, 5)])
def test_all_background_is_the_image(tmp_path, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    np.testing.assert_array_equal(overlay(tmp_path, image, np.zeros(size, np.uint8)), image)


def test_its_inputs_are_left_alone(tmp_path):
    image, values = np.full((4, 4, 3), 9, np.uint8), np.eye(4, dtype=np.uint8)
    image.flags.writeable = values.flags.writeable = False
    assert overlay(tmp_path, image, values).shape == (4, 4, 3)


def test_sizes_that_differ_are_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"image of shape \(2, 3, 3\) does not go with a mask of shape \(3, 2\)"):
        write_overlay(tmp_path / "x.png", np.zeros((2, 3, 3), np.uint8), np.zeros((3, 2), np.uint8))
    assert not list(tmp_path.iterdir())
