"""The curve in one pass equals cutting at each background score separately, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semples_cli.errors import DataError
from semples_cli.functional.background_curve import BackgroundCurve, default_thresholds
from semples_cli.functional.masks import seed_mask
from semples_cli.functional.metrics import confusion_counts, dataset_scores

GRID = default_thresholds().astype(np.float32)
NUM_CLASSES = 5
# Values on the thresholds and their neighbours in float32, where a comparison goes wrong first, and any others.
NEAR = sorted(
    {float(v) for t in GRID for v in (t, np.nextafter(t, np.float32(1)), max(np.nextafter(t, np.float32(0)), 0))}
)
VALUES = st.sampled_from(NEAR) | st.floats(0, 1, width=32)


@st.composite
def images(draw):
    height, width, num_maps = (draw(st.integers(low, high)) for low, high in ((1, 6), (1, 6), (0, 4)))
    target = draw(hnp.arrays(np.uint8, (height, width), elements=st.sampled_from([0, 1, 2, 3, 4, 255])))
    scores = draw(hnp.arrays(np.float32, (num_maps, height, width), elements=VALUES))
    indices = np.array(draw(st.permutations([1, 2, 3, 4]))[:num_maps], np.int64)
    return target, scores, indices


def plain_loop(dataset, thresholds):
    """One pass over the dataset for each background score."""
    return [
        sum(confusion_counts(t, seed_mask(s, k, float(score)), NUM_CLASSES) for t, s, k in dataset)
        for score in thresholds
    ]


def assert_equals_the_loop(dataset, thresholds=None):
    curve = BackgroundCurve(NUM_CLASSES, thresholds)
    for image in dataset:
        curve.update(*image)
    expected = plain_loop(dataset, curve.thresholds)
    for index, confusion in enumerate(expected):
        np.testing.assert_array_equal(curve.confusion(index), confusion)
    np.testing.assert_array_equal(curve.miou(), [dataset_scores(confusion).miou for confusion in expected])


@given(st.lists(images(), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_equals_the_plain_loop(dataset):
    assert_equals_the_loop(dataset)


@given(
    st.lists(images(), min_size=1, max_size=2),
    st.lists(st.integers(0, 4096), min_size=1, max_size=12, unique=True).map(lambda n: np.sort(n) / 4096),
)
@settings(max_examples=40, deadline=None)
def test_equals_the_plain_loop_at_any_thresholds(dataset, thresholds):
    assert_equals_the_loop(dataset, thresholds)


def test_every_value_next_to_a_threshold():
    scores = np.array(NEAR, np.float32)[None, None]
    target = np.arange(scores.shape[2], dtype=np.uint8)[None] % 2
    assert_equals_the_loop([(target, scores, np.array([1]))])


def test_an_odd_size_with_smooth_maps():
    rng = np.random.default_rng(0)
    target = rng.integers(0, NUM_CLASSES, (17, 31)).astype(np.uint8)
    target[:3] = 255
    assert_equals_the_loop([(target, rng.random((3, 17, 31), np.float32), np.array([4, 1, 2]))])


def test_equals_a_count_by_hand():
    target = np.array([[1, 1, 0, 255]], np.uint8)
    curve = BackgroundCurve(2, [0.2, 0.5, 0.9])
    curve.update(target, np.array([[[0.2, 0.9, 0.6, 1.0]]], np.float32), np.array([1]))
    assert curve.confusion(0).tolist() == [[0, 1, 0], [1, 1, 0]]  # 0.2 ties with 0.2: background
    assert curve.confusion(1).tolist() == [[0, 1, 0], [1, 1, 0]]
    assert curve.confusion(2).tolist() == [[1, 0, 0], [2, 0, 0]]  # 0.9 ties with 0.9
    assert curve.confusion(0).dtype == np.int64
    assert curve.miou().tolist() == [(0 + 1 / 3) / 2, (0 + 1 / 3) / 2, (1 / 3 + 0) / 2]
    assert curve.best() == 0  # the lowest of three equals


def test_default_thresholds_are_the_numbers_one_types():
    assert default_thresholds().tolist() == [float(f"{i / 100:.2f}") for i in range(101)]


def test_the_best_is_the_true_maximum_past_a_dip():
    # Rising, falling, then rising higher: a search that stops at the first decrease would stay at 0.1.
    target = np.array([[0, 1, 1, 0, 0, 0]], np.uint8)
    scores = np.array([[[0.1, 0.2, 0.9, 0.3, 0.3, 0.3]]], np.float32)
    curve = BackgroundCurve(2, [0.0, 0.1, 0.2, 0.3])
    curve.update(target, scores, np.array([1]))
    miou = curve.miou()
    assert miou[0] < miou[1]
    assert miou[2] < miou[1]
    assert miou[3] > miou[1]
    assert curve.best() == 3


def test_all_ignore_is_nan_and_takes_the_first():
    curve = BackgroundCurve(2)
    curve.update(np.full((2, 2), 255, np.uint8), np.ones((1, 2, 2), np.float32), np.array([1]))
    assert np.isnan(curve.miou()).all()
    assert curve.best() == 0


def test_counts_of_two_processes_add_up():
    rng = np.random.default_rng(3)
    dataset = [
        (rng.integers(0, 5, (9, 9)).astype(np.uint8), rng.random((2, 9, 9), np.float32), np.array([k, 4]))
        for k in (1, 2, 3)
    ]
    whole, first, second = (BackgroundCurve(NUM_CLASSES) for _ in range(3))
    for image in dataset:
        whole.update(*image)
    first.update(*dataset[0])
    for image in dataset[1:]:
        second.update(*image)
    np.testing.assert_array_equal(first.counts + second.counts, whole.counts)


def test_the_largest_number_of_classes():
    target = np.array([[254, 0]], np.uint8)
    curve = BackgroundCurve(255, [0.5])
    curve.update(target, np.array([[[0.9, 0.1]]], np.float32), np.array([254]))
    assert curve.miou().tolist() == [1.0]


@pytest.mark.parametrize("thresholds", [[], [0.5, 0.5], [0.5, 0.4], [-0.1, 0.5], [0.5, 1.1], [np.nan], [[0.1, 0.2]]])
def test_thresholds_that_make_no_curve(thresholds):
    with pytest.raises(DataError, match=r"give at least one, ascending, in \[0, 1\]"):
        BackgroundCurve(2, thresholds)


def test_thresholds_that_float32_cannot_tell_apart():
    with pytest.raises(DataError, match="closer than 1/65536: give fewer, further apart"):
        BackgroundCurve(2, [0.4, 0.4 + 1e-12])


@pytest.mark.parametrize(
    ("target", "scores", "indices", "message"),
    [
        ([[0, 7]], [[[0.1, 0.2]]], [1], "ground truth holds the value 7"),
        ([[0, 7]], np.zeros((0, 1, 2)), [], "ground truth holds the value 7"),
        ([[0, 1]], [[[0.1]]], [1], r"maps are 1 x 1 \(height x width\) but the ground truth is 1 x 2.*resize"),
        ([[0, 1]], [[[0.1, 1.5]]], [1], r"lie in \[0, 1\]"),
        ([[0, 1]], [[[-0.5, 0.5]]], [1], r"lie in \[0, 1\]"),
        ([[0, 1]], [[[np.nan, 0.5]]], [1], "maps are finite"),
        ([[0, 1]], [[[0.1, 0.2]]], [3], r"class index 3, but the classes are 1\.\.2"),
        ([[0, 1]], [[[0.1, 0.2]]], [1, 2], "1 maps but class indices"),
    ],
)
def test_images_that_cannot_be_counted(target, scores, indices, message):
    curve = BackgroundCurve(3)
    with pytest.raises(DataError, match=message):
        curve.update(np.array(target, np.uint8), np.array(scores, np.float32), np.array(indices, np.int64))
    assert not curve.counts.any()


def test_an_image_without_maps_is_background_below_every_score():
    curve = BackgroundCurve(3, [0.2, 0.5])
    curve.update(np.array([[0, 1, 1, 255]], np.uint8), np.zeros((0, 1, 4), np.float32), np.array([], np.int64))
    assert curve.counts[:, 0, 0].tolist() == [1, 2, 0]
    assert curve.counts.sum() == 3


@pytest.mark.parametrize("target", [np.zeros((1, 2), np.int64), np.zeros((1, 2, 1), np.uint8)])
def test_ground_truth_that_is_no_mask_is_named(target):
    with pytest.raises(DataError, match=r"^the ground truth is \(1, 2.*: expected \(height, width\) uint8"):
        BackgroundCurve(3).update(target, np.zeros((1, 1, 2), np.float32), np.array([1]))


@pytest.mark.parametrize("thresholds", [[0, 1], np.array([0, 1], np.float32), (0.0, 1.0)])
def test_what_a_curve_holds_is_of_the_promised_kind(thresholds):
    curve = BackgroundCurve(3, thresholds)
    assert (curve.thresholds.tolist(), curve.thresholds.dtype) == ([0.0, 1.0], np.float64)
    assert (curve.counts.shape, curve.counts.dtype) == ((3, 3, 3), np.int64)
