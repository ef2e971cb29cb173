"""Shapes of a mask: every pixel of a class in exactly one of them, void and background in none."""

import numpy as np
import pytest
from export_world import MASKS
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from semples_cli.artifacts.export.instances import iterate_shapes

MASK = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 2, 254, 255]))


def test_regions_that_touch_by_a_corner_are_one():
    values = np.array([[1, 0, 2, 2], [0, 1, 0, 2], [0, 0, 0, 0], [1, 255, 0, 2]], np.uint8)
    found = [(shape.class_index, shape.top, shape.left) for shape in iterate_shapes(values, "components")]
    assert found == [(1, 0, 0), (1, 3, 0), (2, 0, 2), (2, 3, 3)]
    diagonal = next(iterate_shapes(values, "components"))
    assert diagonal.pixels.tolist() == [[True, False], [False, True]]
    assert diagonal.image_size == (4, 4)


def test_a_class_is_one_shape_however_many_parts_it_has():
    values = np.array([[0, 3, 0, 0], [0, 0, 0, 3]], np.uint8)
    (shape,) = iterate_shapes(values, "class")
    assert (shape.class_index, shape.top, shape.left) == (3, 0, 1)
    assert shape.pixels.tolist() == [[True, False, False], [False, False, True]]
    assert shape.whole().tolist() == (values == 3).tolist()


@pytest.mark.parametrize("instances", ["class", "components"])
@pytest.mark.parametrize("sample_id", ["a/void", "background"])
def test_without_a_class_there_is_no_shape(sample_id, instances):
    assert list(iterate_shapes(MASKS[sample_id], instances)) == []


@given(MASK, st.sampled_from(["class", "components"]))
def test_the_shapes_put_together_are_the_mask(values, instances):
    again = np.zeros_like(values)
    for shape in iterate_shapes(values, instances):
        whole = shape.whole()
        assert not again[whole].any()  # no pixel is in two
        again[whole] = shape.class_index
        sides = shape.pixels[0], shape.pixels[-1], shape.pixels[:, 0], shape.pixels[:, -1]
        assert all(side.any() for side in sides)  # the box is tight
    assert again.tolist() == np.where(values == 255, 0, values).tolist()
