"""The whole background-score curve from one pass over the pixels."""

import numpy as np
import numpy.typing as npt

from semples_cli.errors import DataError
from semples_cli.functional.masks import check_class_indices, strongest_map
from semples_cli.functional.metrics import check_label_map, check_label_values, dataset_scores, size_of

MOST_CELLS = 2**16

MaskArray = npt.NDArray[np.uint8]
CountArray = npt.NDArray[np.int64]
ShareArray = npt.NDArray[np.float64]


def default_thresholds() -> ShareArray:
    """The background scores 0.00, 0.01, …, 1.00, (101,) float64, each the number that one would type."""
    return np.arange(101) / 100


class BackgroundCurve:
    """Confusion counts at every background score from one pass over the pixels.

    What a pixel becomes depends on two things only: the class a of its largest map, and b, the number of background
    scores that lie below that map's value. It is of class a at the first b background scores and background at the
    others. So one bincount of (ground truth, a, b) per image holds the confusion counts of all of them.

    The comparison is `masks.seed_mask`'s: background scores are rounded to float32, and a pixel is foreground where
    its score is strictly larger. The counts equal those of cutting at each background score separately.

    Attributes:
        thresholds: (S,) float64, the background scores.
        counts: (C, C, S + 1) int64: pixels by ground truth, a, b; counts of several curves may be added up.
    """

    def __init__(self, num_classes: int, thresholds: npt.ArrayLike | None = None) -> None:
        """Start with no image.

        Args:
            num_classes: C, background included; 1..255.
            thresholds: Background scores in [0, 1], ascending; 0.00 to 1.00 in steps of 0.01 by default.

        Raises:
            DataError: Not ascending, outside [0, 1], or two closer than about 1/65536.
        """
        self.thresholds = np.array(default_thresholds() if thresholds is None else thresholds, np.float64)
        _check_thresholds(self.thresholds)
        self.counts: CountArray = np.zeros((num_classes, num_classes, len(self.thresholds) + 1), np.int64)
        self._bins = _Bins(self.thresholds.astype(np.float32))

    def update(self, target: MaskArray, scores: npt.NDArray[np.float32], class_indices: npt.NDArray[np.int64]) -> None:
        """Add one image.

        Args:
            target: (H, W) uint8 ground truth: 0..C-1, or 255 for pixels that are left out.
            scores: (K, H, W) float32 in [0, 1]; K may be 0.
            class_indices: (K,) in 1..C-1; map k belongs to class_indices[k].

        Raises:
            DataError: Sizes differ, a score lies outside [0, 1], or a value is neither a class nor 255.
        """
        num_classes = len(self.counts)
        check_class_indices(scores, class_indices, num_classes - 1)
        check_label_map(target, "ground truth")
        if scores.shape[1:] != target.shape:
            msg = f"the maps are {size_of(scores)} but the ground truth is {size_of(target)}: resize the maps first"
            raise DataError(msg)
        if not len(scores):  # background at every background score: a = 0, b = 0
            found = np.bincount(target.ravel(), minlength=256)
            check_label_values(found, num_classes, "ground truth")
            self.counts[:, 0, 0] += found[:num_classes]
            return
        position, best = strongest_map(scores)
        num_maps, num_bins = len(scores), self.counts.shape[2]
        cell = (target.ravel().astype(np.int64) * num_maps + position.ravel()) * num_bins + self._bins(best.ravel())
        found = np.bincount(cell, minlength=256 * num_maps * num_bins).reshape(256, num_maps, num_bins)
        check_label_values(found.sum((1, 2)), num_classes, "ground truth")
        self.counts[:, class_indices] += found[:num_classes]

    def confusion(self, index: int) -> CountArray:
        """Confusion counts at thresholds[index], (C, C + 1) int64; nothing is predicted 255."""
        confusion = np.zeros((len(self.counts), len(self.counts) + 1), np.int64)
        confusion[:, :-1] = self.counts[:, :, index + 1 :].sum(2)
        confusion[:, 0] += self.counts[:, :, : index + 1].sum((1, 2))
        return confusion

    def miou(self) -> ShareArray:
        """Score of the dataset, mIoU, at each background score, (S,) float64."""
        return np.array([dataset_scores(self.confusion(i)).miou for i in range(len(self.thresholds))])

    def best(self) -> int:
        """Index of the true maximum of the whole curve; the lowest background score among equals, 0 if all are NaN."""
        return int(np.argmax(self.miou()))  # one is NaN where all are: no pixel is counted


class _Bins:
    """Number of thresholds strictly below each score: searchsorted by a table, five times faster.

    [0, 1] is cut into a power of two of cells, so fine that each holds at most one threshold. Thresholds in lower cells
    are below the score, those in higher cells above it, and the one in the same cell is compared.
    """

    def __init__(self, thresholds: npt.NDArray[np.float32]) -> None:
        self._num_cells = 1
        while len(np.unique(self._cells(thresholds))) < len(thresholds):
            self._num_cells *= 2
            if self._num_cells > MOST_CELLS:
                msg = f"two background scores are closer than 1/{MOST_CELLS}: give fewer, further apart"
                raise DataError(msg)
        cells = self._cells(thresholds)
        self._below = np.searchsorted(cells, np.arange(self._num_cells + 1))
        self._inside = np.full(self._num_cells + 1, np.inf, np.float32)
        self._inside[cells] = thresholds

    def _cells(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
        return (scores * np.float32(self._num_cells)).astype(np.intp)

    def __call__(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
        """Bin (n,) float32 scores in [0, 1]."""
        if scores.size and not 0 <= scores.min() <= scores.max() <= 1:
            msg = f"scores from {scores.min()} to {scores.max()}: maps are finite and lie in [0, 1]"
            raise DataError(msg)
        cells = self._cells(scores)
        return np.take(self._below, cells) + (np.take(self._inside, cells) < scores)


def _check_thresholds(thresholds: ShareArray) -> None:
    ascending = thresholds.ndim == 1 and thresholds.size and (np.diff(thresholds) > 0).all()
    if not (ascending and thresholds[0] >= 0 and thresholds[-1] <= 1):
        msg = f"background scores {thresholds.tolist()}: give at least one, ascending, in [0, 1]"
        raise DataError(msg)
