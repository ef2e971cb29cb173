"""RandAugment and random erasing: what they may change, and that all of it follows from the generator given."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from semples_cli.config import PUBLISHED_RAND_AUGMENT
from semples_cli.engine import augmentation
from semples_cli.engine.augmentation import erase, rand_augment, random_rectangle

MEAN = (0.5, 0.25, 1.0)


@pytest.fixture
def view():
    return np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


def augment(view, seed, recipe=PUBLISHED_RAND_AUGMENT):
    return rand_augment(view, recipe, MEAN, np.random.default_rng(seed))


def test_a_view_follows_from_its_seed(view):
    before = view.copy()
    views = [augment(view, seed) for seed in range(8)]
    assert all(each.shape == view.shape and each.dtype == np.uint8 for each in views)
    assert len({each.tobytes() for each in views}) > 1
    for seed, each in enumerate(views):
        np.testing.assert_array_equal(augment(view, seed), each)
    np.testing.assert_array_equal(view, before)


def test_what_comes_in_from_outside_has_the_mean_colour():
    """A plain image of another colour: whatever is not that colour, only changed by tone, has come in."""
    grey = np.full((40, 40, 3), 200, np.uint8)
    found = [augment(grey, seed, "rand-m10-n1").reshape(-1, 3) for seed in range(60)]
    assert any((each == (128, 64, 255)).all(1).any() for each in found)


@pytest.mark.parametrize("recipe", ["rand", "rand-m0-n1-inc1", "rand-m9-n3-p0.5-mstd1-mmax10-t3a"])
def test_the_recipes_that_settings_accept_are_those_of_timm(view, recipe):
    assert augment(view, 1, recipe).shape == view.shape


def test_the_states_of_other_random_numbers_stay_as_they_were(view):
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    expected = random.random(), np.random.random()  # noqa: NPY002
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    augment(view, 1)
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002


def test_they_stay_even_where_an_image_makes_timm_fail(view, monkeypatch):
    def fail(image):
        raise OSError

    monkeypatch.setattr(augmentation, "_make_transform", lambda recipe, fill: fail)
    state = random.getstate()
    with pytest.raises(OSError):  # noqa: PT011
        augment(view, 1)
    assert random.getstate() == state
    assert not augmentation._global_states.locked()


def test_a_transform_gets_the_view_itself(view, monkeypatch):
    monkeypatch.setattr(augmentation, "_make_transform", lambda recipe, fill: lambda image: image)
    np.testing.assert_array_equal(augment(view, 1), view)
    assert Image.fromarray(view).mode == "RGB"


def test_nothing_is_erased_at_probability_0_and_always_something_at_1():
    pixels = torch.zeros(3, 32, 48)
    rng = np.random.default_rng(0)
    assert all(erase(pixels, 0.0, rng) is pixels for _ in range(20))
    assert all((erase(pixels, 1.0, rng) != 0).any() for _ in range(20))
    assert not pixels.any()


def test_what_is_erased_is_a_rectangle_of_standard_normal_noise():
    rng = np.random.default_rng(0)
    erased = [erase(torch.full((3, 64, 64), 9.0), 1.0, rng) for _ in range(40)]
    values = []
    for each in erased:
        changed = (each != 9).all(0)
        rows, columns = changed.any(1).nonzero(), changed.any(0).nonzero()
        assert int(changed.sum()) == len(rows) * len(columns)
        assert len(rows) == int(rows.max() - rows.min()) + 1
        values.append(each[:, changed].flatten())
    noise = torch.cat(values)
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.std()) - 1) < 0.02


def test_the_probability_is_one():
    rng = np.random.default_rng(0)
    pixels = torch.zeros(1, 16, 16)
    share = np.mean([erase(pixels, 0.25, rng) is not pixels for _ in range(2000)])
    assert abs(share - 0.25) < 0.03


@given(height=st.integers(8, 300), width=st.integers(8, 300), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_a_rectangle_lies_inside_and_has_a_size_and_shape_in_bounds(height, width, seed):
    found = random_rectangle(height, width, np.random.default_rng(seed))
    if found is None:
        return
    top, left, h, w = found
    assert 0 <= top <= height - h
    assert 0 <= left <= width - w
    # Sides are rounded to pixels: half a pixel either way.
    area = height * width
    assert (h - 0.5) * (w - 0.5) <= area / 3
    assert (h + 0.5) * (w + 0.5) >= 0.02 * area
    assert (h - 0.5) / (w + 0.5) <= 1 / 0.3
    assert (h + 0.5) / (w - 0.5) >= 0.3


def test_places_reach_every_border():
    rng = np.random.default_rng(0)
    found = [random_rectangle(20, 20, rng) for _ in range(3000)]
    assert min(top for top, *_ in found) == 0
    assert max(top + h for top, _, h, _ in found) == 20
    assert min(left for _, left, *_ in found) == 0
    assert max(left + w for _, left, _, w in found) == 20


def test_an_image_too_small_for_any_rectangle_has_none():
    assert random_rectangle(1, 1, np.random.default_rng(0)) is None
    pixels = torch.zeros(3, 1, 1)
    assert erase(pixels, 1.0, np.random.default_rng(0)) is pixels
