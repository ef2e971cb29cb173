"""Regions against pycocotools where it can be trusted, by hand, and every refusal where it cannot."""

import numpy as np
import pytest
from coco_files import box, rle
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_strategies
from pycocotools import mask as coco_mask

from semples_cli.data.coco_shapes import draw_region
from semples_cli.errors import DataError

SHAPES = st.tuples(st.integers(1, 23), st.integers(1, 31))
REGIONS = SHAPES.flatmap(lambda shape: np_strategies.arrays(bool, shape))
SIZE = (12, 16)


@given(region=REGIONS, compressed=st.booleans())
def test_rle_of_both_kinds_is_drawn_as_it_was_written(region, compressed):
    np.testing.assert_array_equal(draw_region(rle(region, compressed), region.shape), region)


def test_long_runs_and_falling_ones_survive_compression():
    region = np.zeros((300, 400), bool)
    region[5:290, 3:390] = True
    region[100:110, 50:60] = False
    region[7, 200] = False
    np.testing.assert_array_equal(draw_region(rle(region), region.shape), region)


@settings(deadline=None)
@given(shape=SHAPES, data=st.data())
def test_polygons_are_drawn_as_pycocotools_draws_them(shape, data):
    height, width = shape
    point = st.tuples(st.floats(-1, width + 1), st.floats(-1, height + 1))
    polygons = st.lists(st.lists(point, min_size=3, max_size=6), min_size=1, max_size=3)
    parts = [[number for pair in polygon for number in pair] for polygon in data.draw(polygons)]
    expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(parts, height, width))).astype(bool)
    np.testing.assert_array_equal(draw_region(parts, shape), expected)


def test_a_rectangle_by_hand():
    region = draw_region(box(2, 3, 5, 4), SIZE)
    expected = np.zeros(SIZE, bool)
    expected[3:7, 2:7] = True
    np.testing.assert_array_equal(region, expected)


@pytest.mark.parametrize("line", [[1.0, 1.0], [1, 1, 9, 9], []])
@pytest.mark.parametrize("first", [True, False])
def test_a_line_beside_polygons_has_no_area(line, first):
    whole = box(2, 3, 5, 4)
    parts = [line, *whole] if first else [*whole, line]
    np.testing.assert_array_equal(draw_region(parts, SIZE), draw_region(whole, SIZE))


def test_a_polygon_may_reach_past_the_border():
    np.testing.assert_array_equal(draw_region(box(-9, -9, 40, 35), SIZE), np.ones(SIZE, bool))


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "neither polygons nor RLE"),
        ("1 2 3", "neither polygons nor RLE"),
        ([], "no polygon of three points"),
        ([[]], "no polygon of three points"),
        ([[1, 2, 3, 4]], "no polygon of three points"),
        ([1, 2, 3, 4, 5, 6], "a polygon of it is no list"),
        ([[1, 2, 3, 4, 5, 6, 7]], "a polygon of it is no list"),
        ([["1", "2", "3", "4", "5", "6"]], "a polygon of it is no list"),
        ([[1, 1, float("nan"), 1, 5, 5]], r"reaches nan, far outside the 12 × 16"),
        ([[1, 1, float("inf"), 1, 5, 5]], "reaches inf, far outside"),
        ([[1, 1, 1e30, 1, 5, 5]], r"reaches 1e\+30, far outside"),
        ([[1, 1, 5, 1, 5, -17]], "reaches -17, far outside"),
        ([[1, 1, 33, 1, 5, 5]], "reaches 33, far outside"),
        ([[1, 1, 5, 29, 5, 5]], "reaches 29, far outside"),
        ({}, "of size None, the image of"),
        ({"size": 5, "counts": [192]}, "of size 5, the image of"),
        ({"size": [16, 12], "counts": [192]}, r"of size \[16, 12\], the image of \[12, 16\]"),
        ({"size": [12, 16]}, "no list of whole numbers"),
        ({"size": [12, 16], "counts": [-5, 197]}, "no list of whole numbers"),
        ({"size": [12, 16], "counts": [1.5, 190.5]}, "no list of whole numbers"),
        ({"size": [12, 16], "counts": [5]}, "cover 5 of 192 pixels"),
        ({"size": [12, 16], "counts": ""}, "cover 0 of 192 pixels"),
        ({"size": [12, 16], "counts": "00"}, "cover 0 of 192 pixels"),
        ({"size": [12, 16], "counts": "é"}, "the character 'é'"),
        ({"size": [12, 16], "counts": "5 5"}, "the character ' '"),
        ({"size": [12, 16], "counts": "o"}, "end within a number"),
        ({"size": [12, 16], "counts": "O"}, "no list of whole numbers"),  # a run of -1
    ],
)
def test_what_cannot_be_drawn_is_refused(segmentation, message):
    with pytest.raises(DataError, match=message):
        draw_region(segmentation, SIZE)


def test_a_number_without_end_is_refused_before_it_takes_the_time_of_its_square():
    with pytest.raises(DataError, match="a number that no image has pixels for"):
        draw_region({"size": [2, 2], "counts": "o" * 1_000_000}, (2, 2))
