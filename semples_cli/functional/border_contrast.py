"""A background score without ground truth: the one at which the borders of the masks lie on edges of the images.

Ours. A map that is cut too low runs over the object's edge into the background, one that is cut too high ends inside
the object; in both cases the border crosses smoother ground. Only images and maps are read, so it does for CAMs of any
origin. What it is worth, beside other rules: docs/results.md, "The background score without ground truth".

Letters: K classes present in one image, H, W pixels, S background scores.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from semples_cli.errors import DataError
from semples_cli.functional.masks import strongest_map

FloatArray = npt.NDArray[np.float32]
MaskArray = npt.NDArray[np.uint8]
ShareArray = npt.NDArray[np.float64]

Values = TypeVar("Values", MaskArray, FloatArray)

STEP = 0.02
# Width of the Gaussian that smooths the curve, in background scores: one image's edge must not decide for all.
SMOOTHING = 0.06


def candidate_scores() -> ShareArray:
    """The background scores that are compared: 0.06, 0.08, …, 0.94, (45,) float64."""
    return np.arange(3, 48, dtype=np.float64) * STEP


class BorderContrast:
    """How strong the edges under the borders are, as a curve over background scores, of one image after another.

    At a score, the border of an image is all pairs of neighbouring pixels that get different labels: background and a
    class, or two classes. Its contrast is the mean of the gradient over them, divided by the mean gradient of the
    image; an image without a border has contrast 0. The curve is the mean over the images, smoothed.

    Attributes:
        scores: (S,) float64, the background scores, ascending.
        num_images: Images so far.
    """

    def __init__(self) -> None:
        """Start with no image."""
        self.scores = candidate_scores()
        self.num_images = 0
        self._sum = np.zeros(len(self.scores))

    def update(self, luma: FloatArray, maps: FloatArray) -> None:
        """Add one image.

        Args:
            luma: (H, W) float32: the image's brightness, of any range.
            maps: (K, H, W) float32 in [0, 1], K >= 1.

        Raises:
            DataError: The sizes differ, or there is no map.
        """
        if maps.shape[1:] != luma.shape:
            msg = f"maps of {maps.shape[1:]} pixels for an image of {luma.shape}: resize the maps first"
            raise DataError(msg)
        position, best = strongest_map(maps)
        gradient = np.hypot(ndimage.sobel(luma, 0), ndimage.sobel(luma, 1))
        strength, count = np.zeros(len(self.scores) + 1), np.zeros(len(self.scores) + 1)
        for axis in (0, 1):
            of_pair = _neighbours(position, axis), _neighbours(best, axis), _neighbours(gradient, axis)
            self._add_pairs(strength, count, *of_pair)
        strength, count = strength.cumsum()[:-1], count.cumsum()[:-1]
        average = float(gradient.mean(dtype=np.float64))
        self.num_images += 1
        if average > 0:
            # The sums run up and down again; what is left of a rounding error is no border.
            self._sum += np.divide(strength, count * average, out=np.zeros_like(strength), where=count > 0.5)

    def _add_pairs(
        self,
        strength: ShareArray,
        count: ShareArray,
        position: tuple[MaskArray, MaskArray],
        best: tuple[FloatArray, FloatArray],
        gradient: tuple[FloatArray, FloatArray],
    ) -> None:
        """Note at which score each pair of neighbours becomes a border, and at which it is one no more.

        With one class on both sides it is one while just one side is above the score; with two, while any is.
        """
        low = np.where(position[0] == position[1], np.minimum(*best), np.float32(-1))
        scores = self.scores.astype(np.float32)  # as `masks.seed_mask` compares: foreground is strictly above
        first = np.searchsorted(scores, low.ravel(), "left")
        last = np.searchsorted(scores, np.maximum(*best).ravel(), "left")
        weights = (np.add(*gradient) / 2).ravel().astype(np.float64)
        for total, of_pair in ((strength, weights), (count, None)):
            total += np.bincount(first, of_pair, len(total)) - np.bincount(last, of_pair, len(total))

    def curve(self) -> ShareArray:
        """The smoothed mean contrast at each score, (S,) float64: 1 where borders lie anywhere, 0 before any image."""
        mean = self._sum / max(self.num_images, 1)
        smoothed: ShareArray = ndimage.gaussian_filter1d(mean, SMOOTHING / STEP, mode="nearest")
        return smoothed

    def best(self) -> int:
        """Index of the largest contrast, the lowest score among equals."""
        return int(self.curve().argmax())


def _neighbours(values: Values, axis: int) -> tuple[Values, Values]:
    """Of each pair of pixels that touch along an axis, the one and the other."""
    size = values.shape[axis]
    first, second = (slice(0, size - 1), slice(1, size))
    return (values[first], values[second]) if axis == 0 else (values[:, first], values[:, second])
