"""Maps of any range become scores in [0, 1]: only what must be changed is changed, and it is said."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from semples_cli.errors import DataError
from semples_cli.types import FloatArray

CLIPPED = "scores below 0 are set to 0"
DIVIDED = "a map with scores above 1 is divided by its largest score"


def unit_scores(path: Path, maps: npt.NDArray[Any]) -> tuple[FloatArray, tuple[str, ...]]:
    """Scores in [0, 1]: what is below 0 becomes 0, and then a map above 1 is divided by its own largest score.

    Maps within [0, 1] stay as they are: a class that nothing in the image looks like keeps its low scores.

    Args:
        path: The file, for messages.
        maps: (K, h, w) of floats.

    Returns:
        (K, h, w) float32 in [0, 1], and a sentence on each kind of change that was needed.

    Raises:
        DataError: A score is not finite.
    """
    with np.errstate(over="ignore"):
        maps = (
            maps.astype(np.float64) if maps.dtype.itemsize > 8 else maps
        )  # of longer floats the finite may be endless
    if not np.isfinite(maps).all():
        msg = f"{path}: a score is NaN or infinite; make the CAMs of this image again"
        raise DataError(msg)
    changes = []
    if maps.size and maps.min() < 0:
        maps = maps.clip(0)
        changes.append(CLIPPED)
    if maps.size and maps.max() > 1:
        maps = maps.astype(np.float64) / np.maximum(maps.max((1, 2), keepdims=True), 1)
        changes.append(DIVIDED)
    return maps.astype(np.float32), tuple(changes)
