"""Crops stay inside the image and within their bounds of size and shape; the same generator gives the same view."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from semples_cli.engine.views import _largest_crop, _random_box, random_view

SIDES = st.integers(1, 300)


@given(SIDES, SIDES, st.floats(0.05, 1), st.integers(0, 10_000))
def test_a_crop_lies_in_the_image(height, width, scale, seed):
    top, left, h, w = _random_box(height, width, scale, np.random.default_rng(seed))
    assert top >= 0
    assert left >= 0
    assert h >= 1
    assert w >= 1
    assert top + h <= height
    assert left + w <= width


@given(st.integers(0, 10_000), st.floats(0.1, 0.9))
def test_a_crop_of_a_large_square_keeps_its_bounds(seed, scale):
    _, _, h, w = _random_box(1000, 1000, scale, np.random.default_rng(seed))
    assert h * w >= 0.995 * scale * 1_000_000 or (h, w) == (1000, 1000)
    assert 0.745 <= w / h <= 1.34


@pytest.mark.parametrize(
    ("size", "crop"),
    [
        ((100, 100), (0, 0, 100, 100)),
        ((30, 100), (0, 30, 30, 40)),  # 4:3 in the middle
        ((100, 30), (30, 0, 40, 30)),  # 3:4
        ((1, 1), (0, 0, 1, 1)),
        ((1, 50), (0, 24, 1, 1)),
    ],
)
def test_where_no_try_fits_the_middle_is_taken(size, crop):
    assert _largest_crop(*size) == crop


def picture(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_the_same_generator_gives_the_same_view_and_another_another():
    image = picture(40, 50)
    one, same, other = (random_view(image, 16, 0.3, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.shape == (16, 16, 3)
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


class Scripted:
    """Always the largest crop in shape 1:1, at the origin; `flip` decides about the mirror."""

    def __init__(self, flip):
        self.flip = flip

    def uniform(self, low, high):
        return high if (low, high) == (1.0, 1) else 0.0

    def integers(self, high):
        return 0

    def random(self):
        return 0.0 if self.flip else 0.9


def test_a_full_crop_is_the_resized_image_and_its_mirror():
    image = picture(20, 20)
    expected = np.asarray(Image.fromarray(image).resize((10, 10), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(random_view(image, 10, 1.0, Scripted(flip=False)), expected)
    np.testing.assert_array_equal(random_view(image, 10, 1.0, Scripted(flip=True)), expected[:, ::-1])


def test_half_of_the_views_are_mirrored():
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :, None], (64, 64, 3))
    views = [random_view(ramp, 8, 0.5, np.random.default_rng(seed)) for seed in range(200)]
    mirrored = sum(bool(view[0, 0, 0] > view[0, -1, 0]) for view in views)
    assert 70 < mirrored < 130
