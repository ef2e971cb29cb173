"""Outlines along pixel edges: corners by hand, and what pycocotools draws from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask
from scipy import ndimage

from semples_cli.artifacts.export.outlines import trace_outlines

SHAPE = arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def corners(*rows):
    return [outline.tolist() for outline in trace_outlines(np.array([[sign == "#" for sign in row] for row in rows]))]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["#"], [[[0, 0], [1, 0], [1, 1], [0, 1]]]),
        (["..", ".."], []),
        ([".##"], [[[1, 0], [3, 0], [3, 1], [1, 1]]]),
        (["#.", "##"], [[[0, 0], [1, 0], [1, 1], [2, 1], [2, 2], [0, 2]]]),
        (["#.", ".#"], [[[0, 0], [1, 0], [1, 1], [0, 1]], [[1, 1], [2, 1], [2, 2], [1, 2]]]),
        ([".#", "#."], [[[1, 0], [2, 0], [2, 1], [1, 1]], [[0, 1], [1, 1], [1, 2], [0, 2]]]),
        (["###", "#.#", "###"], [[[0, 0], [3, 0], [3, 3], [0, 3]]]),  # the hole is filled
    ],
)
def test_corners_by_hand(rows, expected):
    assert corners(*rows) == expected


def test_an_island_in_a_hole_has_an_outline_too():
    assert corners("#####", "#...#", "#.#.#", "#...#", "#####") == [
        [[0, 0], [5, 0], [5, 5], [0, 5]],
        [[2, 2], [3, 2], [3, 3], [2, 3]],
    ]


@given(SHAPE)
def test_pycocotools_draws_the_shape_with_its_holes_filled(pixels):
    outlines = trace_outlines(pixels)
    assert len(outlines) == ndimage.label(pixels)[1]
    height, width = pixels.shape
    drawn = np.zeros_like(pixels)
    if outlines:
        polygons = [outline.ravel().tolist() for outline in outlines]
        drawn = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))).astype(bool)
    around, _ = ndimage.label(np.pad(~pixels, 1, constant_values=True), np.ones((3, 3)))
    filled = (around != around[0, 0])[1:-1, 1:-1]
    assert drawn.tolist() == filled.tolist()
