"""A background score from a handful of labelled images, and how far such a handful can be trusted.

The score is the one of best mIoU over the handful. Its interval comes from a bootstrap over the images (Efron 1979),
and what it is worth on images that it was not chosen by from leaving one image out at a time.

Letters: C classes with background, S background scores.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from semples_cli.errors import DataError
from semples_cli.functional.background_curve import BackgroundCurve
from semples_cli.functional.metrics import CountArray, dataset_scores

NUM_DRAWS = 200
# Shares of the draws between which the interval lies.
INTERVAL = (0.05, 0.95)


class Calibration(NamedTuple):
    """What a handful of labelled images says; shares of 1.

    Attributes:
        score: The background score of best mIoU over all of them, the lowest among equals.
        miou: That mIoU; too good, since the score was chosen by it.
        held_out_miou: mIoU when each image is cut at the score that the others choose; NaN for a single image.
        low: 90 % of the draws chose a score between this
        high: and this.
        curve: (score, mIoU) pairs over all of them, ascending in score.
    """

    score: float
    miou: float
    held_out_miou: float
    low: float
    high: float
    curve: tuple[tuple[float, float], ...]


def calibrate(curves: Sequence[BackgroundCurve], seed: int = 0) -> Calibration:
    """Choose the background score by labelled images.

    Args:
        curves: One for each image, all of the same classes and scores; one or more.
        seed: Of the bootstrap.

    Raises:
        DataError: There is no image.
    """
    if not curves:
        msg = "no labelled image to choose a background score by: give at least one, better ten"
        raise DataError(msg)
    counts = np.stack([curve.counts for curve in curves])
    whole = _curve_of(curves[0], counts.sum(0))
    best = whole.best()
    draws = np.random.default_rng(seed).integers(len(counts), size=(NUM_DRAWS, len(counts)))
    chosen = [whole.thresholds[_curve_of(whole, counts[drawn].sum(0)).best()] for drawn in draws]
    low, high = np.quantile(chosen, INTERVAL)
    miou = whole.miou()
    points = tuple(zip(whole.thresholds.tolist(), miou.tolist(), strict=True))
    return Calibration(points[best][0], float(miou[best]), _held_out(curves), float(low), float(high), points)


def _held_out(curves: Sequence[BackgroundCurve]) -> float:
    if len(curves) == 1:
        return float("nan")
    total = np.sum([curve.counts for curve in curves], axis=0)
    confusion = sum(curve.confusion(_curve_of(curve, total - curve.counts).best()) for curve in curves)
    return dataset_scores(np.asarray(confusion)).miou


def _curve_of(like: BackgroundCurve, counts: CountArray) -> BackgroundCurve:
    made = BackgroundCurve(len(like.counts), like.thresholds)
    made.counts = counts
    return made
