"""What a file of another project holds, before its numbers become our classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from semples_cli.errors import DataError

HIGH_RES = "high_res"
STRIDED = "cam"
MAP_NAMES = (HIGH_RES, STRIDED)


@dataclass(frozen=True)
class ForeignMaps:
    """Maps of one image, as they are in the file.

    Attributes:
        path: The file.
        keys: Class numbers, counted as the project does, or class names.
        maps: (K, h, w) of floats, of any range.
        at_image_size: Whether the project writes such maps at the size of the image; else they are on a grid.
    """

    path: Path
    keys: tuple[int, ...] | tuple[str, ...]
    maps: npt.NDArray[Any]
    at_image_size: bool

    def __post_init__(self) -> None:
        if self.maps.ndim != 3 or (len(self.maps) and 0 in self.maps.shape):
            msg = f"{self.path}: maps of shape {self.maps.shape}; CAMs are (classes, height, width)"
            raise DataError(msg)
        if not np.issubdtype(self.maps.dtype, np.floating):
            msg = f"{self.path}: maps of {self.maps.dtype}; save them as float32 between 0 and 1"
            raise DataError(msg)


def whole_numbers(path: Path, keys: object) -> tuple[int, ...]:
    """The keys of a file as numbers.

    Args:
        path: The file, for messages.
        keys: An array or a list.

    Raises:
        DataError: They are no whole numbers, or a number comes twice.
    """
    array = np.asarray(keys, None if np.size(keys) else np.int64)  # type: ignore[arg-type]
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        msg = f"{path}: keys of shape {array.shape} and {array.dtype}; they are a list of class numbers"
        raise DataError(msg)
    numbers = tuple(int(key) for key in array)
    if len(set(numbers)) < len(numbers):
        msg = f"{path}: keys {numbers}; each class has one map, so give each number once"
        raise DataError(msg)
    return numbers


def stack_maps(path: Path, maps: Sequence[object]) -> npt.NDArray[Any]:
    """One (K, h, w) array of K maps.

    Args:
        path: The file, for messages.
        maps: (h, w) each; none give (0, 1, 1).

    Raises:
        DataError: Their shapes differ.
    """
    arrays = [np.asarray(each) for each in maps]
    if not arrays:
        return np.zeros((0, 1, 1), np.float32)
    if len(shapes := {array.shape for array in arrays}) > 1:
        msg = f"{path}: maps of shapes {sorted(shapes)}; all maps of an image have one size"
        raise DataError(msg)
    return np.stack(arrays)
