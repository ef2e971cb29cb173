"""Regions against a float64 numpy account written apart, their gradients, and what is left of a flat map."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semples_cli.functional.regions import cut_regions, region_maps, sharpen_maps


def drawn(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, 1, shape))


def corner_aligned(values, height, width):
    """Bilinear with aligned corners, one axis after the other: the ends of both grids lie on each other."""
    h, w = values.shape
    rows = np.linspace(0, h - 1, height) if height > 1 else np.zeros(1)
    columns = np.linspace(0, w - 1, width) if width > 1 else np.zeros(1)
    across = np.array([np.interp(columns, np.arange(w), row) for row in values])
    return np.array([np.interp(rows, np.arange(h), column) for column in across.T]).T


@given(
    grid=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    epsilon=st.sampled_from([1e-4, 0.1]),
    seed=st.integers(0, 99),
)
def test_maps_are_the_account_of_them(grid, size, epsilon, seed):
    maps = drawn(2, *grid, seed=seed)
    ours = region_maps(maps, size, epsilon).numpy()
    for one, values in zip(ours, maps.numpy(), strict=True):
        resized = corner_aligned(values, *size)
        expected = (resized - resized.min()) / (resized.max() - resized.min() + epsilon)
        np.testing.assert_allclose(one, expected, atol=1e-9)


@given(grid=st.tuples(st.integers(1, 5), st.integers(1, 5)), size=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_maps_lie_between_0_and_1(grid, size):
    maps = region_maps(drawn(3, *grid).float(), size, 0.1)
    assert maps.shape == (3, *size)
    assert maps.min() >= 0
    assert maps.max() <= 1


def test_corners_stay_where_they_are():
    maps = region_maps(torch.tensor([[[0.0, 0.25], [0.5, 1.0]]]), (7, 9), 0.0)[0]
    assert [maps[0, 0], maps[0, -1], maps[-1, 0], maps[-1, -1]] == [0, 0.25, 0.5, 1]


def test_the_range_is_taken_after_the_resizing_not_before():
    peak = torch.tensor([[[0.0, 0.0, 1.0, 0.0, 0.0]]])
    assert region_maps(peak, (1, 4), 0.0).max() == 1  # between its neighbours the peak is a third
    assert region_maps(peak, (1, 4), 0.0).min() == 0


def test_epsilon_damps_small_ranges_more():
    maps = torch.tensor([[[0.5, 0.6]], [[0.0, 1.0]]])
    heights = region_maps(maps, (1, 2), 0.1).amax((1, 2))
    torch.testing.assert_close(heights, torch.tensor([0.5, 1 / 1.1]))


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_a_flat_map_leaves_everything_to_the_background(value):
    """With the ε of stage (b); without any, rounding errors of the resizing would be stretched to a whole map."""
    pixels = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    foreground, background = cut_regions(pixels, region_maps(torch.full((1, 2, 2), value), (4, 4), 1e-4))
    assert foreground.abs().max() < 0.01
    torch.testing.assert_close(background, pixels, rtol=0, atol=0.01)


def test_the_two_regions_make_up_the_image():
    pixels, maps = torch.randn(3, 3, 5, 7, generator=torch.Generator().manual_seed(1)), drawn(3, 5, 7).float()
    foreground, background = cut_regions(pixels, maps)
    torch.testing.assert_close(foreground + background, pixels)
    np.testing.assert_allclose(foreground.numpy(), pixels.numpy() * maps.numpy()[:, None])
    np.testing.assert_allclose(background.numpy(), pixels.numpy() * (1 - maps.numpy()[:, None]))


@pytest.mark.parametrize("which", [0, 1], ids=["foreground", "background"])
def test_gradients_are_those_of_finite_differences(which):
    maps, pixels = drawn(2, 2, 3).requires_grad_(), drawn(2, 3, 5, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda m, x: cut_regions(x, region_maps(m, (5, 5), 0.1))[which], (maps, pixels))


def test_no_pair_is_no_region():
    foreground, background = cut_regions(torch.empty(0, 3, 4, 4), region_maps(torch.empty(0, 2, 2), (4, 4), 0.1))
    assert foreground.shape == background.shape == (0, 3, 4, 4)


def test_sharpened_maps_by_hand():
    maps = torch.tensor([[[0.0, 0.25, 0.5, 0.75, 1.0]]])
    expected = 1 / (1 + np.exp(-8 * (np.array([0, 0.25, 0.5, 0.75, 1]) - 0.5)))
    np.testing.assert_allclose(sharpen_maps(maps, 8.0)[0, 0], expected, atol=1e-7)


def test_sharpness_0_leaves_maps_as_they_are():
    maps = drawn(2, 3, 3)
    assert torch.equal(sharpen_maps(maps, 0.0), maps)


@given(sharpness=st.floats(0.5, 50), border=st.floats(0.1, 0.9), seed=st.integers(0, 99))
def test_sharpening_keeps_the_order_and_the_border(sharpness, border, seed):
    maps = drawn(1, 4, 4, seed=seed)
    sharp = sharpen_maps(maps, sharpness, border)
    assert torch.equal(sharp > 0.5, maps > border)
    assert (sharp.flatten()[maps.flatten().argsort()].diff() >= 0).all()


def test_gradients_of_sharpening_are_right():
    maps = drawn(1, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: sharpen_maps(m, 8.0), (maps,))
