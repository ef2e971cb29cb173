"""The score that puts images in order, by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semples_cli.functional.image_scores import image_score
from semples_cli.functional.metrics import confusion_counts


def score(target, predicted, num_classes=4):
    return image_score(confusion_counts(np.array(target, np.uint8), np.array(predicted, np.uint8), num_classes))


@pytest.mark.parametrize(
    ("target", "predicted", "expected"),
    [
        ([[0, 0, 1, 1]], [[0, 0, 1, 1]], 1.0),
        ([[0, 0, 1, 1]], [[0, 0, 0, 0]], 0.0),  # missed: background does not make up for it
        ([[0, 0, 1, 1]], [[0, 1, 1, 1]], 2 / 3),
        ([[0, 0, 1, 1]], [[0, 2, 1, 1]], 0.5),  # a class that is not there counts as 0
        ([[0, 1, 2, 2]], [[0, 1, 2, 1]], 0.5),  # both halves of their union
        ([[0, 0, 1, 1]], [[0, 0, 1, 255]], 0.5),  # undecided is a miss
        ([[0, 0, 255, 255]], [[0, 0, 3, 3]], 1.0),  # 255 in the ground truth is not counted, whatever is there
        ([[0, 0, 0, 0]], [[0, 0, 0, 0]], 1.0),
        ([[0, 0, 0, 0]], [[0, 0, 0, 255]], 0.75),
        ([[0, 0, 0, 0]], [[0, 0, 0, 1]], 0.0),
    ],
)
def test_by_hand(target, predicted, expected):
    assert score(target, predicted) == pytest.approx(expected)


def test_nothing_counted_is_nan():
    assert math.isnan(score([[255, 255]], [[0, 1]]))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_it_lies_in_the_unit_interval_and_is_1_only_where_every_foreground_pixel_is_right(seed):
    rng = np.random.default_rng(seed)
    target, predicted = (rng.choice(np.array([0, 1, 2, 255], np.uint8), (3, 4)) for _ in range(2))
    counts = confusion_counts(target, predicted, 3)
    value = image_score(counts)
    if not counts.sum():
        assert math.isnan(value)
        return
    assert 0 <= value <= 1
    foreground_errors = counts.sum() - counts.diagonal().sum() - (counts[0, -1] if counts[1:].any() else 0)
    if counts[:, 1:-1].any():
        assert (value == 1) == (foreground_errors == 0)
