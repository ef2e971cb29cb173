"""Thumbnails: what comes out of the data URI again, and how many bytes it takes."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from semples_cli.artifacts.mask_png import voc_palette
from semples_cli.artifacts.report_html.thumbnails import (
    CAM_LEVELS,
    CONFUSED,
    ERROR_COLOURS,
    EXTRA,
    LONGEST_CAM_SIDE,
    LONGEST_SIDE,
    MISSED,
    NOT_COUNTED,
    RIGHT,
    UNDECIDED,
    cam_uri,
    error_uri,
    image_uri,
    mask_uri,
    thumbnail_size,
)


def decode(uri, kind):
    head, data = uri.split(",")
    assert head == f"data:image/{kind};base64"
    return Image.open(io.BytesIO(base64.b64decode(data, validate=True)))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((375, 500), (120, 160)),
        ((500, 375), (160, 120)),
        ((20, 30), (20, 30)),  # nothing is enlarged
        ((1, 5000), (1, 160)),  # and no side is 0
        ((1, 1), (1, 1)),
    ],
)
def test_size(size, expected):
    assert thumbnail_size(size) == expected


def test_the_image_keeps_its_size_and_colours():
    rgb = np.zeros((300, 400, 3), np.uint8)
    rgb[:, :200] = (200, 30, 40)
    small = decode(image_uri(rgb), "webp")
    assert small.size == (160, 120)
    values = np.asarray(small.convert("RGB")).astype(int)
    assert np.abs(values[:, :70] - (200, 30, 40)).max() < 25
    assert values[:, 90:].max() < 25


def test_the_mask_has_its_own_colours_and_background_is_transparent():
    values = np.array([[0, 1, 15], [255, 0, 254]], np.uint8)
    rgba = np.asarray(decode(mask_uri(values), "png").convert("RGBA"))
    np.testing.assert_array_equal(rgba[..., 3], np.where(values == 0, 0, 255))
    shown = values > 0
    np.testing.assert_array_equal(rgba[shown][:, :3], voc_palette()[values][shown])


@pytest.mark.parametrize("k", [0, 7, 255])
def test_a_mask_of_one_value(k):
    rgba = np.asarray(decode(mask_uri(np.full((3, 2), k, np.uint8)), "png").convert("RGBA"))
    assert rgba.shape == (3, 2, 4)
    assert (rgba[..., 3] == (255 if k else 0)).all()


def test_the_error_of_every_pair():
    target = np.array([[0, 1, 0, 1, 1, 255, 255, 0]], np.uint8)
    predicted = np.array([[0, 1, 1, 0, 2, 1, 255, 255]], np.uint8)
    kinds = [RIGHT, RIGHT, EXTRA, MISSED, CONFUSED, NOT_COUNTED, NOT_COUNTED, UNDECIDED]
    rgba = np.asarray(decode(error_uri(target, predicted), "png").convert("RGBA"))[0]
    for pixel, kind in zip(rgba.tolist(), kinds, strict=True):
        assert pixel[3] == (0 if kind == RIGHT else 255)
        if kind != RIGHT:
            assert tuple(pixel[:3]) == ERROR_COLOURS[kind]


def test_the_cam_comes_back_within_half_a_level():
    scores = np.linspace(0, 1, 30, dtype=np.float32).reshape(5, 6)
    grey = np.asarray(decode(cam_uri(scores), "png"))
    assert grey.shape == (5, 6)
    assert np.abs(grey / 255 - scores).max() <= 0.5 / (CAM_LEVELS - 1) + 1 / 255


def test_a_cam_at_the_size_of_its_image_is_shrunk():
    grey = np.asarray(decode(cam_uri(np.full((100, 400), 0.5, np.float32)), "png"))
    assert grey.shape == (LONGEST_CAM_SIDE // 4, LONGEST_CAM_SIDE)
    assert np.ptp(grey) == 0


def test_the_same_pixels_give_the_same_bytes():
    rng = np.random.default_rng(0)
    rgb, values = rng.integers(0, 256, (40, 50, 3), np.uint8), rng.integers(0, 3, (40, 50)).astype(np.uint8)
    assert image_uri(rgb) == image_uri(rgb.copy())
    assert mask_uri(values) == mask_uri(values.copy())


def test_an_image_with_all_its_pictures_stays_below_16_kilobytes():
    """The bound behind `about 10 MB a thousand`, on a picture that is harder than a photo is."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
    rgb = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC))
    y, x = np.mgrid[:375, :500]
    angle = np.arctan2(y - 180, x - 250)
    target = np.where(np.hypot(y - 180, x - 250) < 100 + 20 * np.sin(7 * angle), 15, 0).astype(np.uint8)
    predicted = np.roll(target, 12, 1)
    scores = rng.random((24, 32), np.float32)
    uris = [image_uri(rgb), mask_uri(predicted), mask_uri(target), error_uri(target, predicted), cam_uri(scores)]
    assert sum(map(len, uris)) < 16_000
    assert max(decode(uris[0], "webp").size) == LONGEST_SIDE
