import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from semples_cli.engine.model_dir import CLIP_MEAN, CLIP_STD
from semples_cli.engine.preprocess import network_size, to_pixels
from semples_cli.errors import DataError


@pytest.mark.parametrize(
    ("image_size", "longest", "patch", "expected"),
    [
        ((375, 500), 512, 16, (384, 512)),  # never enlarged, rounded up
        ((512, 512), 512, 16, (512, 512)),
        ((768, 1024), 512, 16, (384, 512)),
        ((1024, 768), 512, 16, (512, 384)),
        ((17, 31), 512, 16, (32, 32)),
        ((1, 1), 512, 16, (16, 16)),
        ((10_000, 1), 512, 16, (512, 16)),
        ((64, 64), 64, 4, (64, 64)),
        ((300, 300), 100, 14, (112, 112)),
        ((49, 343), 100, 10, (20, 100)),  # 343 · 100 / 343 must not cost a patch by rounding
    ],
)
def test_network_size_by_hand(image_size, longest, patch, expected):
    assert network_size(image_size, longest, patch) == expected


def test_scales_multiply_the_size_that_is_never_enlarged():
    assert network_size((100, 200), 400, 10, 1.2) == (120, 240)
    assert network_size((100, 200), 400, 10, 0.5) == (50, 100)
    assert network_size((400, 800), 400, 10, 1.5) == (300, 600)


@given(st.tuples(st.integers(1, 4000), st.integers(1, 4000)), st.integers(1, 1024), st.sampled_from([4, 8, 14, 16, 32]))
def test_network_size_is_on_the_grid_and_hardly_larger_than_asked(image_size, longest, patch):
    result = network_size(image_size, longest, patch)
    assert all(side % patch == 0 and side >= patch for side in result)
    assert max(result) < min(longest, max(image_size)) + patch
    factor = min(1.0, longest / max(image_size))
    assert all(got >= side * factor - 1e-3 for got, side in zip(result, image_size, strict=True))


def test_pixels_are_normalised_by_hand():
    image = np.zeros((2, 2, 3), np.uint8)
    image[0, 1] = (255, 51, 0)
    pixels = to_pixels(image, (2, 2), (0.5, 0.1, 0.0), (0.5, 0.2, 1.0))
    assert pixels.dtype == torch.float32
    torch.testing.assert_close(pixels[:, 0, 1], torch.tensor([1.0, 0.5, 0.0]))
    torch.testing.assert_close(pixels[:, 1, 0], torch.tensor([-1.0, -0.5, 0.0]))


def test_pixels_equal_those_of_open_clip():
    from open_clip.transform import image_transform

    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    theirs = image_transform(48, is_train=False, mean=CLIP_MEAN, std=CLIP_STD)(Image.fromarray(image))
    torch.testing.assert_close(to_pixels(image, (48, 48), CLIP_MEAN, CLIP_STD), theirs, rtol=0, atol=1e-6)


def test_height_and_width_are_not_swapped():
    image = np.zeros((4, 8, 3), np.uint8)
    image[:2] = 255
    pixels = to_pixels(image, (8, 4), (0, 0, 0), (1, 1, 1))
    assert pixels.shape == (3, 8, 4)
    assert pixels[:, 0].min() == 1
    assert pixels[:, -1].max() == 0


def test_a_read_only_image_is_taken_and_left_as_it_is():
    image = np.full((4, 4, 3), 7, np.uint8)
    image.flags.writeable = False
    to_pixels(image, (4, 4), CLIP_MEAN, CLIP_STD).add_(1)
    assert (image == 7).all()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_rgb_image_is_refused(image):
    with pytest.raises(DataError, match=r"an image is \(H, W, 3\) uint8, not"):
        to_pixels(image, (4, 4), CLIP_MEAN, CLIP_STD)
