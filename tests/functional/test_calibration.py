import numpy as np
import pytest

from semples_cli.errors import DataError
from semples_cli.functional import calibration
from semples_cli.functional.background_curve import BackgroundCurve
from semples_cli.functional.calibration import calibrate
from semples_cli.functional.metrics import dataset_scores

SCORES = (0.2, 0.5, 0.8)


def curve_of(target, scores, thresholds=SCORES):
    """One image of one row, one class."""
    curve = BackgroundCurve(2, thresholds)
    curve.update(np.uint8([target]), np.float32([[scores]]), np.array([1]))
    return curve


# Cut at 0.2 / 0.5 / 0.8 the first has 4, 2, 1 pixels of the class where 2 are right, the second 3, 3, 1 where 3 are.
FIRST = curve_of([1, 1, 0, 0], [0.9, 0.6, 0.4, 0.3])
SECOND = curve_of([1, 1, 1, 0], [0.9, 0.7, 0.6, 0.1])


def test_the_best_score_by_hand():
    found = calibrate([FIRST, SECOND])
    assert found.score == 0.5
    assert found.miou == 1
    # At 0.2: class 5 of 7, background 1 of 3. At 0.8: class 2 of 5, background 3 of 6.
    assert found.curve == (
        (0.2, pytest.approx((5 / 7 + 1 / 3) / 2)),
        (0.5, pytest.approx(1)),
        (0.8, pytest.approx((2 / 5 + 3 / 6) / 2)),
    )


def test_each_image_is_held_out_and_cut_at_the_score_of_the_others():
    low = curve_of([1, 1, 1, 1, 0, 0], [0.9, 0.6, 0.4, 0.3, 0.1, 0.1])  # best at 0.2
    high = curve_of([1, 0, 0, 0, 0, 0], [0.9, 0.6, 0.6, 0.6, 0.6, 0.1])  # best at 0.8
    found = calibrate([low, high])
    # low at 0.8: 1 of 4 right and 5 called background, 2 of them right; high at 0.2: 5 called class, 1 of them right.
    counts = np.array([[2 + 1, 0 + 4, 0], [3 + 0, 1 + 1, 0]])
    assert found.held_out_miou == pytest.approx(dataset_scores(counts).miou)
    assert found.held_out_miou < found.miou


def test_a_single_image_cannot_be_held_out():
    found = calibrate([FIRST])
    assert (found.score, found.miou, found.low, found.high) == (0.5, 1, 0.5, 0.5)
    assert np.isnan(found.held_out_miou)


def test_the_interval_holds_the_scores_that_resamples_choose():
    low, high = curve_of([1, 1, 1, 0], [0.9, 0.7, 0.3, 0.1]), curve_of([1, 0, 0, 0], [0.9, 0.7, 0.6, 0.1])
    found = calibrate([low, high] * 3)
    assert found.low == 0.2  # where most are drawn that want little background
    assert found.high == 0.8
    assert calibrate([low, low]).high == calibrate([low, low]).low == 0.2


def test_the_interval_follows_from_the_seed(monkeypatch):
    monkeypatch.setattr(calibration, "NUM_DRAWS", 20)  # few draws: intervals differ more, and it is done sooner
    rng = np.random.default_rng(0)
    curves = [curve_of(rng.integers(0, 2, 30).tolist(), rng.random(30).tolist(), None) for _ in range(6)]
    found = [calibrate(curves, seed) for seed in range(6)]
    assert found == [calibrate(curves, seed) for seed in range(6)]
    assert calibrate(curves) == found[0]
    intervals = {each[3:5] for each in found}
    assert len(intervals) > 3
    assert all(0 <= low <= high <= 1 for low, high in intervals)
    assert len({each[:3] for each in found}) == 1  # no other figure does


def test_the_lowest_of_equal_scores_wins():
    assert calibrate([curve_of([1, 0], [0.9, 0.1])]).score == 0.2


def test_counts_that_are_given_stay_as_they_are():
    before = FIRST.counts.copy()
    calibrate([FIRST, SECOND])
    np.testing.assert_array_equal(FIRST.counts, before)


def test_no_image_is_refused_with_the_cure():
    with pytest.raises(DataError, match="give at least one, better ten"):
        calibrate([])
