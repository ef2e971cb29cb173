import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from semples_cli.functional.confidence import class_means, coverage_of, ignore_below, pixel_confidence
from semples_cli.functional.masks import seed_mask

UNIT = st.floats(0, 1, width=32)
MAPS = arrays(np.float32, st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(1, 4)), elements=UNIT)


def test_the_winners_share_by_hand():
    scores = np.array([[[0.6, 0.2, 0.0, 0.4]], [[0.2, 0.6, 0.0, 0.4]]], np.float32)
    # Winner and runner-up: 0.6 and 0.4 (background); 0.6 and 0.4; 0.4 (background) and 0; all three tie.
    np.testing.assert_allclose(pixel_confidence(scores, 0.4), [[0.6, 0.6, 1.0, 0.5]], rtol=1e-6)


def test_without_a_map_background_is_sure():
    assert pixel_confidence(np.zeros((0, 2, 3), np.float32), 0.4).tolist() == [[1, 1, 1], [1, 1, 1]]


def test_where_nothing_has_a_score_there_is_no_doubt_and_no_division_by_zero():
    assert pixel_confidence(np.zeros((1, 1, 1), np.float32), 0.0).tolist() == [[1.0]]


@given(MAPS, UNIT)
def test_it_is_the_share_of_the_two_largest_of_a_sort(maps, score):
    found = pixel_confidence(maps, score)
    candidates = np.sort(np.concatenate([np.full((2, *maps.shape[1:]), [[[score]], [[0]]], np.float32), maps]), axis=0)
    total = candidates[-1] + candidates[-2]
    with np.errstate(invalid="ignore", divide="ignore"):
        np.testing.assert_allclose(found, np.where(total > 0, candidates[-1] / total, 1), rtol=1e-5)
    assert found.dtype == np.float32
    assert (found >= 0.5).all()
    assert (found <= 1).all()


@given(MAPS, UNIT)
def test_a_pixel_above_one_half_has_one_winner_that_the_seed_takes(maps, score):
    index = np.arange(1, len(maps) + 1)
    sure = pixel_confidence(maps, score) > np.float32(0.5)
    background = np.full((1, *maps.shape[1:]), score, np.float32)
    winner = np.concatenate([background, maps]).argmax(axis=0)
    np.testing.assert_array_equal(seed_mask(maps, index, score)[sure], winner[sure])


@pytest.mark.parametrize(("level", "expected"), [(0, [1, 2]), (0.5, [1, 2]), (0.51, [255, 2]), (1, [255, 255])])
def test_what_is_below_the_level_is_ignored(level, expected):
    values = np.array([[1, 2]], np.uint8)
    found = ignore_below(values, np.array([[0.5, 0.75]], np.float32), level)
    assert (found.tolist(), found.dtype) == ([expected], np.uint8)
    assert values.tolist() == [[1, 2]]


def test_a_level_that_float32_rounds_keeps_pixels_that_are_just_at_it():
    assert ignore_below(np.zeros((1, 1), np.uint8), np.array([[0.7]], np.float32), 0.7).tolist() == [[0]]


@pytest.mark.parametrize(("values", "share"), [([[0, 1]], 1.0), ([[255, 1]], 0.5), ([[255]], 0.0), ([[]], 1.0)])
def test_coverage(values, share):
    assert coverage_of(np.array(values, np.uint8)) == share


def test_means_are_of_classes_alone():
    values = np.array([[0, 3, 3, 254, 255]], np.uint8)
    confidence = np.array([[0.1, 0.5, 1.0, 0.25, 0.9]], np.float32)
    assert class_means(values, confidence) == {3: 0.75, 254: 0.25}
    assert class_means(np.zeros((2, 2), np.uint8), np.ones((2, 2), np.float32)) == {}


def test_a_mean_of_ones_does_not_exceed_one():
    confidence = np.full((100, 100), np.float32(1))
    assert class_means(np.ones((100, 100), np.uint8), confidence) == {1: 1.0}


def test_a_mask_without_pixels_has_no_means():
    assert class_means(np.zeros((0, 3), np.uint8), np.zeros((0, 3), np.float32)) == {}


@given(arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=UNIT))
def test_a_mean_never_leaves_the_range_of_its_values(confidence):
    (mean,) = class_means(np.full(confidence.shape, 7, np.uint8), confidence).values()
    assert confidence.min() <= mean <= confidence.max() or mean == pytest.approx(float(confidence.mean()), rel=1e-6)
    assert 0 <= mean <= 1
