"""Resizing of scores and the seed against the background score."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semples_cli.errors import DataError
from semples_cli.functional.masks import check_class_indices, resize_scores, seed_mask, strongest_map

UNIT = st.floats(0, 1, width=32)


def maps(most: int = 4, side: int = 6):
    shape = st.tuples(st.integers(1, most), st.integers(1, side), st.integers(1, side))
    return shape.flatmap(lambda s: hnp.arrays(np.float32, s, elements=UNIT))


class TestResizeScores:
    def test_half_pixel_centres_by_hand(self):
        # Output centres lie at 0.5 * (i + 0.5) - 0.5 = -0.25, 0.25, 0.75, 1.25 on the input's grid.
        resized = resize_scores(np.array([[[0.0], [1.0]]], np.float32), (4, 1))
        np.testing.assert_array_equal(resized[0, :, 0], np.array([0, 0.25, 0.75, 1], np.float32))

    def test_equals_bilinear_interpolation_written_plainly(self):
        scores = np.random.default_rng(0).random((2, 3, 5), np.float32)
        got = resize_scores(scores, (17, 31))
        expected = np.empty((2, 17, 31))
        for y in range(17):
            for x in range(31):
                v, u = (np.clip((p + 0.5) * n / m - 0.5, 0, n - 1) for p, n, m in ((y, 3, 17), (x, 5, 31)))
                top, left = int(v), int(u)
                down, right = min(top + 1, 2), min(left + 1, 4)
                b, a = v - top, u - left
                expected[:, y, x] = (1 - b) * ((1 - a) * scores[:, top, left] + a * scores[:, top, right]) + b * (
                    (1 - a) * scores[:, down, left] + a * scores[:, down, right]
                )
        np.testing.assert_allclose(got, expected, atol=1e-6)
        assert got.dtype == np.float32

    @given(maps(), st.tuples(st.integers(1, 20), st.integers(1, 20)))
    def test_stays_inside_the_range_of_each_map(self, scores, size):
        resized = resize_scores(scores, size)
        assert resized.shape == (len(scores), *size)
        for before, after in zip(scores, resized, strict=True):
            assert before.min() <= after.min()
            assert after.max() <= before.max()

    @given(UNIT, st.tuples(st.integers(1, 40), st.integers(1, 40)))
    def test_a_constant_map_stays_exactly_constant(self, value, size):
        resized = resize_scores(np.full((1, 3, 4), value, np.float32), size)
        assert (resized == np.float32(value)).all()

    def test_own_size_is_the_identity(self):
        scores = np.random.default_rng(1).random((3, 4, 7), np.float32)
        np.testing.assert_array_equal(resize_scores(scores, (4, 7)), scores)

    def test_a_map_that_is_not_contiguous(self):
        scores = np.random.default_rng(1).random((5, 4, 2), np.float32).transpose(2, 0, 1)
        np.testing.assert_array_equal(resize_scores(scores, (9, 9)), resize_scores(scores.copy(), (9, 9)))

    @pytest.mark.parametrize("dtype", [np.float16, np.float64])
    def test_maps_of_other_floats_are_resized_as_float32(self, dtype):
        scores = np.random.default_rng(2).random((2, 3, 4)).astype(dtype)
        resized = resize_scores(scores, (7, 5))
        np.testing.assert_array_equal(resized, resize_scores(scores.astype(np.float32), (7, 5)))
        assert resized.dtype == np.float32

    def test_no_map_gives_no_map(self):
        assert resize_scores(np.zeros((0, 3, 3), np.float32), (17, 31)).shape == (0, 17, 31)

    def test_a_single_map_without_its_axis_is_refused(self):
        with pytest.raises(DataError, match=r"\(3, 3\): expected one map for each class"):
            resize_scores(np.zeros((3, 3), np.float32), (5, 5))


class TestStrongestMap:
    @given(maps())
    def test_is_argmax_and_max(self, scores):
        position, best = strongest_map(scores)
        np.testing.assert_array_equal(position, scores.argmax(0))
        np.testing.assert_array_equal(best, scores.max(0))

    def test_leaves_its_input_alone(self):
        scores = np.array([[[0.1]], [[0.9]]], np.float32)
        before = scores.copy()
        strongest_map(scores)
        np.testing.assert_array_equal(scores, before)

    @pytest.mark.parametrize("dtype", [np.float16, np.float64])
    def test_the_largest_of_other_floats_is_float32(self, dtype):
        _, best = strongest_map(np.array([[[0.25]], [[0.1]]], dtype))
        assert (best.tolist(), best.dtype) == ([[0.25]], np.float32)

    def test_no_map_is_refused(self):
        with pytest.raises(DataError, match=r"^no map to take the largest of: an image without .* all background$"):
            strongest_map(np.zeros((0, 2, 2), np.float32))


class TestSeedMask:
    @given(maps(), UNIT)
    def test_is_argmax_over_background_and_maps(self, scores, background):
        indices = np.arange(len(scores)) * 7 + 3
        stacked = np.concatenate([np.full((1, *scores.shape[1:]), background, np.float32), scores])
        expected = np.array([0, *indices], np.uint8)[stacked.argmax(0)]
        got = seed_mask(scores, indices, background)
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == np.uint8

    def test_a_tie_goes_to_background_even_where_float32_rounds_up(self):
        assert float(np.float32(0.4)) > 0.4  # a comparison in float64 would call this pixel foreground
        tie = np.array([[[0.4, np.nextafter(np.float32(0.4), np.float32(1))]]], np.float32)
        assert seed_mask(tie, np.array([1]), 0.4).tolist() == [[0, 1]]

    def test_among_equal_maps_the_first_wins(self):
        assert seed_mask(np.full((2, 1, 1), 0.8, np.float32), np.array([9, 4]), 0.4).tolist() == [[9]]

    def test_no_class_gives_background_everywhere(self):
        mask = seed_mask(np.zeros((0, 17, 31), np.float32), np.array([], np.int64), 0.0)
        assert mask.shape == (17, 31)
        assert mask.dtype == np.uint8
        assert not mask.any()

    def test_largest_class_index_and_one_pixel(self):
        assert seed_mask(np.ones((1, 1, 1), np.float32), np.array([254]), 0.4).tolist() == [[254]]

    def test_nan_is_background(self):
        assert seed_mask(np.full((1, 1, 1), np.nan, np.float32), np.array([1]), 0.4).tolist() == [[0]]


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([1], "2 maps but class indices of shape .*one class index for each map"),
        ([0, 1], "class index 0, but the classes are 1..254: use the class list"),
        ([1, 255], "class index 255"),
        ([3, 3], "give each index once"),
    ],
)
def test_class_indices_that_do_not_go_with_the_maps(indices, message):
    with pytest.raises(DataError, match=message):
        seed_mask(np.zeros((2, 1, 1), np.float32), np.array(indices), 0.4)


def test_class_indices_above_the_class_list():
    with pytest.raises(DataError, match=r"class index 21, but the classes are 1\.\.20"):
        check_class_indices(np.zeros((1, 1, 1), np.float32), np.array([21]), 20)
