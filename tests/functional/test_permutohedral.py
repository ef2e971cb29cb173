from itertools import pairwise, product

import numpy as np
import pytest

from semples_cli.errors import SettingsError
from semples_cli.functional.lattice_vertices import Vertices, lay_out, number_vertices
from semples_cli.functional.permutohedral import BLOCK, normalised_lattice


def points(dims, num, spread, seed=0):
    return (np.random.default_rng(seed).random((dims, num)) * spread).astype(np.float32)


def located(point):
    """Vertices and weights of one point by the book (Adams et al. 2010, section 3), in float64."""
    dims = len(point)
    scaled = [x * np.sqrt(2 / 3) * (dims + 1) / np.sqrt((i + 1) * (i + 2)) for i, x in enumerate(point)]
    plane = np.array([sum(scaled[i:]) - (i * scaled[i - 1] if i else 0) for i in range(dims + 1)])
    nearest = np.rint(plane / (dims + 1)).astype(int) * (dims + 1)
    while nearest.sum():  # back onto the plane by the coordinate that is furthest off
        sign = np.sign(nearest.sum())
        nearest[np.argmin(sign * (plane - nearest))] -= sign * (dims + 1)
    order = np.argsort(nearest - plane, kind="stable")  # the largest distance first
    distance = (plane - nearest)[order] / (dims + 1)
    corners, weights = [], []
    for remainder in range(dims + 1):
        corner = nearest + remainder
        corner[order[dims + 1 - remainder :]] -= dims + 1
        corners.append(tuple(corner))
        before = distance[dims + 1 - remainder] if remainder else distance[0] - 1
        weights.append(distance[dims - remainder] - before)
    return corners, weights


def filtered(features, values):
    """The same filter with a dictionary of vertices, normalised on both sides."""
    dims, num = features.shape
    simplices = [located(point) for point in features.T.astype(np.float64)]

    def apply(values):
        slots = {}
        for value, (corners, weights) in zip(values, simplices, strict=True):
            for corner, weight in zip(corners, weights, strict=True):
                slots[corner] = slots.get(corner, 0) + weight * value
        for axis in range(dims + 1):
            step = np.ones(dims + 1, int)
            step[axis] = -dims
            slots = {
                corner: value + (slots.get(tuple(corner + step), 0) + slots.get(tuple(corner - step), 0)) / 2
                for corner, value in slots.items()
            }
        return np.array([sum(w * slots[c] for c, w in zip(*simplex, strict=True)) for simplex in simplices])

    norm = 1 / np.sqrt(apply(np.ones(num)))
    return norm * apply(norm * values)


@pytest.mark.parametrize(
    ("dims", "num", "spread"), [(2, 60, 4), (2, 1, 0), (3, 50, 3), (5, 80, 2), (5, 40, 30), (2, 9, 0)]
)
def test_the_filter_is_that_of_the_paper(dims, num, spread):
    features = points(dims, num, spread)
    values = np.random.default_rng(1).random(num)
    got = normalised_lattice(features).apply(values.astype(np.float32))
    np.testing.assert_allclose(got, filtered(features, values), rtol=2e-5)
    assert got.dtype == np.float32


def test_it_comes_near_the_gaussian_kernel():
    features = points(2, 400, 6)
    distance = ((features[:, :, None] - features[:, None]) ** 2).sum(0)
    kernel = np.exp(-distance / 2)
    norm = 1 / np.sqrt(kernel.sum(1))
    exact = norm[:, None] * kernel * norm
    got = normalised_lattice(features).apply(np.eye(400, dtype=np.float32))
    assert np.abs(got - exact).max() < 0.35 * exact.max()
    assert np.corrcoef(got.ravel(), exact.ravel())[0, 1] > 0.97


def test_channels_are_filtered_one_like_the_other():
    lattice = normalised_lattice(points(5, 200, 3))
    values = np.random.default_rng(2).random((200, 7), np.float32)
    together = lattice.apply(values)
    for channel in range(7):
        alone = lattice.apply(np.ascontiguousarray(values[:, channel]))
        np.testing.assert_allclose(together[:, channel], alone, rtol=1e-6)


def test_points_beyond_one_block_are_found_in_the_same_place():
    features = points(2, BLOCK + 5, 2)
    half = normalised_lattice(np.ascontiguousarray(features[:, -10:]))
    whole = normalised_lattice(np.concatenate([features[:, -10:], features], axis=1))
    np.testing.assert_array_equal(whole.slice.indices[:30], whole.slice.indices[-30:])
    assert len(np.unique(half.slice.indices)) == len(np.unique(whole.slice.indices[-30:]))


def test_all_points_in_one_place():
    got = normalised_lattice(np.full((5, 12), 7.5, np.float32)).apply(np.arange(12, dtype=np.float32))
    np.testing.assert_allclose(got, np.full(12, 5.5), rtol=1e-5)


def test_a_kernel_too_narrow_for_its_points_is_refused_with_the_cure():
    with pytest.raises(
        SettingsError, match=r"too narrow for this image.*give larger standard deviations \(sxy, srgb\)"
    ):
        normalised_lattice(points(5, 10, 1e5))


# Vertices


def coordinates(vertices):
    """All d + 1 coordinates of each vertex, (M, d + 1)."""
    dims = len(vertices.quotients)
    first = vertices.quotients * (dims + 1) + vertices.remainders
    return np.vstack([first, -first.sum(0)]).T


def box(dims, side):
    """Every vertex of a box, in a random order, and some of them missing."""
    rng = np.random.default_rng(3)
    cells = np.array(list(product(range(side), repeat=dims)))
    quotients = np.repeat(cells, dims + 1, axis=0).T
    remainders = np.tile(np.arange(dims + 1), len(cells))
    keep = rng.permutation(len(remainders))[: len(remainders) * 3 // 4]
    return Vertices(quotients[:, keep].astype(np.int64), remainders[keep])


@pytest.mark.parametrize("bits", [63, 20])
@pytest.mark.parametrize(("dims", "side"), [(2, 9), (3, 5), (5, 3)])
def test_neighbours_and_only_they_lie_in_slots_next_to_each_other(dims, side, bits, monkeypatch):
    monkeypatch.setattr("semples_cli.functional.lattice_vertices.KEY_BITS", bits)
    monkeypatch.setattr("semples_cli.functional.lattice_vertices._check_bits", lambda sizes: None)
    vertices = box(dims, side)
    where = coordinates(vertices)
    for axis, slots in enumerate(lay_out(vertices)):
        assert len(np.unique(slots)) == len(slots)
        assert slots.min() == 1
        step = np.ones(dims + 1, int)
        step[axis] = -dims
        found = {tuple(place): slot for place, slot in zip(where, slots, strict=True)}
        neighbours = {
            (slot, found[tuple(np.add(p, step))]) for p, slot in found.items() if tuple(np.add(p, step)) in found
        }
        taken = sorted(slots)
        touching = {(one, other) for one, other in pairwise(taken) if other - one == 1}
        assert {tuple(sorted(pair)) for pair in neighbours} == touching
        assert all(other - one <= 2 for one, other in pairwise(taken))


def test_simplices_share_their_vertices():
    quotients = np.array([[4, 4, 5], [-2, -2, -2]], np.int32)
    orders = np.array([0 * 3 + 1, 0 * 3 + 1, 1 * 3 + 2], np.int32)  # ranks of the first two distances
    vertices, corners, simplices = number_vertices(quotients, orders)
    assert simplices.tolist() == [0, 0, 1]
    where = coordinates(vertices)[corners[simplices]]
    own = where - where[0, 0]
    assert own[0].tolist() == own[1].tolist()
    assert own[0].tolist() == [[0, 0, 0], [1, 1, -2], [2, -1, -1]]
    assert own[2].tolist() == [[3, 0, -3], [4, -2, -2], [2, -1, -1]]
    assert len(vertices.remainders) == 5  # the third simplex shares one vertex with the others
    assert sorted(vertices.remainders.tolist()) == [0, 0, 1, 1, 2]
