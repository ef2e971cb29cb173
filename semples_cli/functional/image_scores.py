"""A score of one image, to put images in order: the worst first. It is never averaged into a figure of the dataset."""

import numpy as np
import numpy.typing as npt

from semples_cli.functional.metrics import class_counts


def image_score(confusion: npt.NDArray[np.int64]) -> float:
    """Mean IoU over the foreground classes of one image, within that image.

    A class counts that has a pixel in the mask or in the ground truth. Where none has, the IoU of background stands
    alone: 1 for an image without any object in which none was found. Background counts nowhere else, because an object
    that was missed altogether would then score close to one half. mIoU is another thing: its counts are added up over
    the dataset before anything is divided.

    Args:
        confusion: (C, C + 1) counts of the image as `metrics.confusion_counts` gives them, background first.

    Returns:
        A share of 1; NaN where no pixel of the ground truth is counted.

    >>> image_score(np.array([[6, 1, 0, 0], [1, 2, 0, 0], [0, 0, 0, 0]]))
    0.5
    >>> image_score(np.array([[9, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]))
    1.0
    """
    hit, predicted, target = class_counts(confusion)
    union = predicted + target - hit
    found = np.flatnonzero(union[1:]) + 1
    counted = found if found.size else np.flatnonzero(union[:1])
    return float((hit[counted] / union[counted]).mean()) if counted.size else float("nan")
