"""Confusion counts and the scores of a dataset, against counts written plainly."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semples_cli.errors import DataError
from semples_cli.functional.metrics import class_counts, confusion_counts, dataset_scores, size_of


def plain_counts(images, num_classes):
    """Dataset-wide TP, P, T of each class, pixel by pixel, in float64."""
    hit, predicted, target = (np.zeros(num_classes, np.float64) for _ in range(3))
    right = total = undecided = 0.0
    for truth, guess in images:
        for t, p in zip(truth.ravel().tolist(), guess.ravel().tolist(), strict=True):
            if t == 255:
                continue
            total += 1
            target[t] += 1
            if p == 255:
                undecided += 1
                continue
            predicted[p] += 1
            if p == t:
                hit[t] += 1
                right += 1
    return hit, predicted, target, right, total, undecided


def dataset(seed, num_classes, sizes, ignore=0.1):
    rng = np.random.default_rng(seed)
    images = []
    for size in sizes:
        truth, guess = (rng.integers(0, num_classes, size).astype(np.uint8) for _ in range(2))
        guess = np.where(rng.random(size) < 0.6, truth, guess).astype(np.uint8)
        truth[rng.random(size) < ignore] = 255
        guess[rng.random(size) < ignore] = 255
        images.append((truth, guess))
    return images


def counted(images, num_classes):
    return sum(confusion_counts(truth, guess, num_classes) for truth, guess in images)


@pytest.mark.parametrize("num_classes", [2, 21, 255])
def test_equals_the_plain_count_exactly(num_classes):
    images = dataset(num_classes, num_classes, [(17, 31), (1, 1), (40, 23), (1, 64)])
    hit, predicted, target, right, total, undecided = plain_counts(images, num_classes)
    confusion = counted(images, num_classes)
    for got, expected in zip(class_counts(confusion), (hit, predicted, target), strict=True):
        np.testing.assert_array_equal(got, expected)
    scores = dataset_scores(confusion)
    with np.errstate(invalid="ignore"):
        union = predicted + target - hit
        np.testing.assert_array_equal(scores.iou, hit / union)
        np.testing.assert_array_equal(scores.precision, hit / predicted)
        np.testing.assert_array_equal(scores.recall, hit / target)
        np.testing.assert_array_equal(scores.fp_rate, (predicted - hit) / union)
        np.testing.assert_array_equal(scores.fn_rate, (target - hit) / union)
    present = [h / u for h, u in zip(hit, union, strict=True) if u]
    assert scores.miou == np.mean(present)
    assert scores.num_classes_averaged == len(present)
    assert scores.pixel_accuracy == right / total
    assert scores.coverage == (total - undecided) / total


def test_the_dataset_is_counted_and_not_the_mean_of_images():
    # Two images of 100 pixels: one full of the class and found but for one pixel, one without it and one false pixel.
    # A mean over images would give the class (0.99 + 0) / 2, about 0.50.
    truth = [np.ones((10, 10), np.uint8), np.zeros((10, 10), np.uint8)]
    guess = [image.copy() for image in truth]
    guess[1][3, 4] = 1
    iou = dataset_scores(counted(zip(truth, guess, strict=True), 2)).iou
    assert iou.tolist() == [99 / 100, 100 / 101]
    assert round(float(iou[1]), 3) == 0.990


def test_counts_by_hand():
    truth = np.array([[0, 0, 1], [1, 2, 255]], np.uint8)
    guess = np.array([[0, 1, 1], [255, 0, 2]], np.uint8)
    confusion = confusion_counts(truth, guess, 3)
    assert confusion.tolist() == [[1, 1, 0, 0], [0, 1, 0, 1], [1, 0, 0, 0]]
    assert confusion.dtype == np.int64
    scores = dataset_scores(confusion)
    np.testing.assert_array_equal(scores.iou, [1 / 3, 1 / 3, 0])
    np.testing.assert_array_equal(scores.precision, [1 / 2, 1 / 2, np.nan])
    np.testing.assert_array_equal(scores.recall, [1 / 2, 1 / 2, 0])
    np.testing.assert_array_equal(scores.fp_rate, [1 / 3, 1 / 3, 0])
    np.testing.assert_array_equal(scores.fn_rate, [1 / 3, 1 / 3, 1])
    assert scores.pixel_accuracy == 2 / 5
    assert scores.coverage == 4 / 5


def test_an_absent_class_is_nan_and_left_out_of_the_mean():
    mask = np.array([[0, 2]], np.uint8)
    scores = dataset_scores(confusion_counts(mask, mask, 4))
    np.testing.assert_array_equal(scores.iou, [1, np.nan, 1, np.nan])
    assert scores.miou == 1
    assert scores.num_classes_averaged == 2


def test_a_class_that_is_only_predicted_counts_as_zero():
    scores = dataset_scores(confusion_counts(np.array([[0, 0]], np.uint8), np.array([[0, 1]], np.uint8), 2))
    np.testing.assert_array_equal(scores.iou, [0.5, 0])
    np.testing.assert_array_equal(scores.recall, [0.5, np.nan])
    assert scores.num_classes_averaged == 2


def test_all_ignore_gives_nan_and_no_warning():
    truth = np.full((17, 31), 255, np.uint8)
    confusion = confusion_counts(truth, np.zeros_like(truth), 3)
    assert not confusion.any()
    scores = dataset_scores(confusion)
    assert scores.num_classes_averaged == 0
    for value in (*scores.iou, scores.miou, scores.pixel_accuracy, scores.coverage):
        assert math.isnan(value)


def test_predicted_255_is_a_miss_and_not_a_false_positive():
    truth = np.array([[1, 1, 0, 0]], np.uint8)
    guess = np.array([[1, 255, 0, 0]], np.uint8)
    scores = dataset_scores(confusion_counts(truth, guess, 2))
    assert scores.iou.tolist() == [1, 0.5]
    assert scores.precision.tolist() == [1, 1]
    assert scores.fn_rate.tolist() == [0, 0.5]
    assert scores.coverage == 0.75


def test_predicted_255_on_ignored_pixels_does_not_lower_the_coverage():
    scores = dataset_scores(confusion_counts(np.array([[0, 255]], np.uint8), np.array([[0, 255]], np.uint8), 2))
    assert scores.coverage == 1


labels = st.sampled_from([0, 1, 2, 255])


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
        lambda size: st.tuples(*(hnp.arrays(np.uint8, size, elements=labels) for _ in range(2)))
    )
)
def test_counts_add_up(pair):
    truth, guess = pair
    confusion = confusion_counts(truth, guess, 3)
    assert confusion.sum() == (truth != 255).sum()
    halves = [confusion_counts(t, g, 3) for t, g in ((truth[:1], guess[:1]), (truth[1:], guess[1:]))]
    np.testing.assert_array_equal(sum(halves), confusion)
    hit, predicted, target = class_counts(confusion)
    assert (hit <= np.minimum(predicted, target)).all()
    scores = dataset_scores(confusion)
    shares = scores.iou + scores.fp_rate + scores.fn_rate
    np.testing.assert_allclose(shares[~np.isnan(shares)], 1)


@pytest.mark.parametrize("value", [3, 254])
def test_values_that_are_no_class_are_named(value):
    good, bad = np.zeros((2, 2), np.uint8), np.array([[0, 0], [0, value]], np.uint8)
    with pytest.raises(DataError, match=rf"ground truth holds the value {value}, .*\(0\.\.2\).*give the class list"):
        confusion_counts(bad, good, 3)
    with pytest.raises(DataError, match=rf"mask holds the value {value}, but there are 3 classes"):
        confusion_counts(good, bad, 3)


def test_a_wrong_value_under_an_ignored_pixel_is_refused_too():
    with pytest.raises(DataError, match="mask holds the value 9"):
        confusion_counts(np.array([[255]], np.uint8), np.array([[9]], np.uint8), 3)


def test_sizes_that_differ_are_both_named():
    with pytest.raises(DataError, match=r"mask is 2 x 3 \(height x width\) but the ground truth is 3 x 2"):
        confusion_counts(np.zeros((3, 2), np.uint8), np.zeros((2, 3), np.uint8), 2)


@pytest.mark.parametrize("array", [np.zeros((2, 2), np.int64), np.zeros((2, 2, 3), np.uint8)])
def test_what_is_not_a_mask_is_refused(array):
    good = np.zeros((2, 2), np.uint8)
    with pytest.raises(DataError, match=r"the mask is .*expected \(height, width\) uint8"):
        confusion_counts(good, array, 2)
    with pytest.raises(DataError, match="the ground truth is"):
        confusion_counts(array, good, 2)


def test_a_size_is_that_of_the_last_two_axes():
    assert size_of(np.zeros((4, 3, 2))) == size_of(np.zeros((3, 2))) == "3 x 2 (height x width)"
