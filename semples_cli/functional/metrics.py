"""Segmentation scores over a whole dataset: confusion counts, IoU and its kin.

Counts are int64 and add up over images and processes; scores are float64 quotients of counts. Pixels whose ground truth
is 255 are left out. A predicted 255 is a miss: it counts in the ground truth's class and in no predicted one.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from semples_cli.errors import DataError

IGNORE_INDEX = 255

MaskArray = npt.NDArray[np.uint8]
CountArray = npt.NDArray[np.int64]
ShareArray = npt.NDArray[np.float64]


class ClassCounts(NamedTuple):
    """Pixels of each class, all (C,) int64; of one image or of many, so a bootstrap can add up what it draws.

    Attributes:
        true_positive: Predicted as the class, and of the class.
        predicted: Predicted as the class.
        target: Of the class in the ground truth.
    """

    true_positive: CountArray
    predicted: CountArray
    target: CountArray


class DatasetScores(NamedTuple):
    """Shares of 1, float64; NaN where the denominator is empty.

    Attributes:
        iou: (C,) TP / (P + T - TP).
        precision: (C,) TP / P.
        recall: (C,) TP / T.
        fp_rate: (C,) (P - TP) / union.
        fn_rate: (C,) (T - TP) / union.
        miou: Mean IoU over the classes with a non-empty union; NaN if there is none.
        num_classes_averaged: How many classes that is.
        pixel_accuracy: Share of the counted pixels that are right.
        coverage: Share of the counted pixels that are not predicted 255.
    """

    iou: ShareArray
    precision: ShareArray
    recall: ShareArray
    fp_rate: ShareArray
    fn_rate: ShareArray
    miou: float
    num_classes_averaged: int
    pixel_accuracy: float
    coverage: float


def confusion_counts(target: MaskArray, predicted: MaskArray, num_classes: int) -> CountArray:
    """Count the pixels of one image by ground truth and prediction, in one bincount over pairs of bytes.

    Args:
        target: (H, W) uint8 ground truth: 0..C-1, or 255 for pixels that are left out.
        predicted: (H, W) uint8 mask: 0..C-1, or 255 for undecided.
        num_classes: C, background included; 1..255.

    Returns:
        (C, C + 1) int64: rows ground truth, columns prediction, last column predicted 255.

    Raises:
        DataError: Shapes differ, an array is not uint8, or a value is neither a class nor 255.

    >>> confusion_counts(np.array([[0, 1, 255]], np.uint8), np.array([[1, 255, 0]], np.uint8), 2).tolist()
    [[0, 1, 0], [0, 0, 1]]
    """
    check_label_map(target, "ground truth")
    check_label_map(predicted, "mask")
    if target.shape != predicted.shape:
        msg = f"the mask is {size_of(predicted)} but the ground truth is {size_of(target)}: both need the image's size"
        raise DataError(msg)
    pairs = target.astype(np.uint16) * 256 + predicted
    table = np.bincount(pairs.ravel(), minlength=65536).reshape(256, 256)
    check_label_values(table.sum(1), num_classes, "ground truth")
    check_label_values(table.sum(0), num_classes, "mask")
    return table[:num_classes, [*range(num_classes), IGNORE_INDEX]].astype(np.int64)


def class_counts(confusion: CountArray) -> ClassCounts:
    """True positive, predicted and ground-truth pixels of each class.

    Args:
        confusion: (C, C + 1) as `confusion_counts` gives it, of any number of images added up.

    Returns:
        Three (C,) arrays. Ground truth counts what is predicted 255, so that it is a miss.
    """
    return ClassCounts(confusion.diagonal().copy(), confusion[:, :-1].sum(0), confusion.sum(1))


def dataset_scores(confusion: CountArray) -> DatasetScores:
    """All scores of a dataset from its confusion counts.

    IoU_c = TP_c / (P_c + T_c - TP_c), with TP, P, T added up over the dataset: never a mean over images.

    Args:
        confusion: (C, C + 1) counts added up over all images; last column predicted 255.

    Returns:
        The scores. A class that is neither predicted nor in the ground truth has NaN and is left out of the mean.

    >>> dataset_scores(np.array([[3, 1, 0], [0, 2, 2]])).iou.tolist()
    [0.75, 0.4]
    """
    hit, predicted, target = class_counts(confusion)
    union = predicted + target - hit
    iou = _shares(hit, union)
    counted = union > 0
    total = confusion.sum()
    return DatasetScores(
        iou=iou,
        precision=_shares(hit, predicted),
        recall=_shares(hit, target),
        fp_rate=_shares(predicted - hit, union),
        fn_rate=_shares(target - hit, union),
        miou=float(iou[counted].mean()) if counted.any() else float("nan"),
        num_classes_averaged=int(counted.sum()),
        pixel_accuracy=float(_shares(hit.sum(), total)),
        coverage=float(_shares(total - confusion[:, -1].sum(), total)),
    )


def _shares(part: npt.ArrayLike, whole: npt.ArrayLike) -> ShareArray:
    whole = np.asarray(whole)
    shares: ShareArray = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return shares


def size_of(array: npt.NDArray[np.generic]) -> str:
    """Height and width of an array, the last two axes, as a message says them."""
    return " x ".join(map(str, array.shape[-2:])) + " (height x width)"


def check_label_map(values: MaskArray, what: str) -> None:
    """Refuse what is not (H, W) uint8; `what` names it in the message.

    Raises:
        DataError: Another dtype or number of axes.
    """
    if values.dtype != np.uint8 or values.ndim != 2:
        msg = f"the {what} is {values.shape} {values.dtype}: expected (height, width) uint8 class indices"
        raise DataError(msg)


def check_label_values(found: npt.NDArray[np.integer], num_classes: int, what: str) -> None:
    """Refuse values that are neither a class nor 255.

    Args:
        found: (256,) how many pixels have each value.
        num_classes: C, background included.
        what: Names the pixels in the message.

    Raises:
        DataError: A value in C..254 was found.
    """
    unknown = np.flatnonzero(found[num_classes:IGNORE_INDEX])
    if unknown.size:
        msg = (
            f"the {what} holds the value {num_classes + unknown[0]}, but there are {num_classes} classes "
            f"(0..{num_classes - 1}) and 255 for ignore: give the class list that belongs to it"
        )
        raise DataError(msg)
