"""How sure a mask is of each pixel, from the scores alone; and 255 where that is not enough.

Letters: K classes present in one image, H, W image pixels.
"""

import numpy as np
import numpy.typing as npt

from semples_cli.functional.masks import MaskArray

FloatArray = npt.NDArray[np.float32]
IGNORE_INDEX = 255


def pixel_confidence(scores: FloatArray, background_score: float) -> FloatArray:
    """The winner's share of the two largest among background score and maps: 0.5 where they tie, 1 where one is alone.

    Args:
        scores: (K, H, W) float32 in [0, 1]; without a map all pixels are background for sure.
        background_score: What the argmax gives to background, in [0, 1].

    Returns:
        (H, W) float32 in [0.5, 1].

    >>> pixel_confidence(np.array([[[0.75, 0.25]]], np.float32), 0.25)
    array([[0.75, 0.5 ]], dtype=float32)
    """
    first = np.full(scores.shape[1:], background_score, np.float32)
    second = np.zeros_like(first)
    for each in scores:
        second = np.maximum(second, np.minimum(first, each))
        first = np.maximum(first, each)
    total = first + second
    shares: FloatArray = np.divide(first, total, out=np.ones_like(first), where=total > 0)
    return shares


def ignore_below(values: MaskArray, confidence: FloatArray, level: float) -> MaskArray:
    """The mask with 255 where the confidence is below a level.

    Args:
        values: (H, W) uint8.
        confidence: (H, W) float32 in [0, 1].
        level: In [0, 1]; 0 keeps all.

    Returns:
        (H, W) uint8, a copy.

    >>> ignore_below(np.array([[3, 0]], np.uint8), np.array([[0.9, 0.6]], np.float32), 0.7)
    array([[  3, 255]], dtype=uint8)
    """
    ignored: MaskArray = np.where(confidence < np.float32(level), np.uint8(IGNORE_INDEX), values)
    return ignored


def coverage_of(values: MaskArray) -> float:
    """Share of a mask's pixels that are not 255, in [0, 1]; 1 for a mask without pixels.

    >>> coverage_of(np.array([[0, 255, 1, 2]], np.uint8))
    0.75
    """
    return float(np.count_nonzero(values != IGNORE_INDEX) / values.size) if values.size else 1.0


def class_means(values: MaskArray, confidence: FloatArray) -> dict[int, float]:
    """Mean confidence over the pixels of each class of a mask.

    Args:
        values: (H, W) uint8: 0 background, class indices, 255 ignore; only classes are told.
        confidence: (H, W) float32 in [0, 1].

    Returns:
        By class index, ascending.

    >>> class_means(np.array([[0, 7, 7]], np.uint8), np.array([[1.0, 0.75, 0.25]], np.float32))
    {7: 0.5}
    """
    counts = np.bincount(values.ravel())
    sums = np.bincount(values.ravel(), confidence.ravel())
    return {int(k): float(sums[k] / counts[k]) for k in np.flatnonzero(counts[1:IGNORE_INDEX]) + 1}
