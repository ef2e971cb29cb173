"""Takes a mask apart into the shapes that tools know: one a class, or one a connected region."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from semples_cli.artifacts.export.protocol import Instances
from semples_cli.types import BACKGROUND_INDEX, IGNORE_INDEX, MaskArray

BoolArray = npt.NDArray[np.bool_]

# Pixels that touch by a corner only belong together, as an outline drawn around them would have it.
_EIGHT_NEIGHBOURS = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class Shape:
    """One shape, kept as its bounding box: a mask may have thousands of them.

    Attributes:
        class_index: In 1..F.
        top: First row of the box.
        left: First column of the box.
        pixels: (h, w) bool: the shape inside its box; every side of the box touches it.
        image_size: (H, W) of the mask.
    """

    class_index: int
    top: int
    left: int
    pixels: BoolArray
    image_size: tuple[int, int]

    def whole(self) -> BoolArray:
        """(H, W) bool: the shape in the image."""
        canvas = np.zeros(self.image_size, np.bool_)
        height, width = self.pixels.shape
        canvas[self.top : self.top + height, self.left : self.left + width] = self.pixels
        return canvas


def iterate_shapes(values: MaskArray, instances: Instances) -> Iterator[Shape]:
    """The shapes of a mask by class index, those of one class by their first pixel in row order.

    Args:
        values: (H, W) uint8: 0 background, 1..F classes, 255 ignore; neither of the two ends is a shape.
        instances: 'class': all pixels of a class are one shape; 'components': each 8-connected region is one.

    Yields:
        Each shape.
    """
    for index in np.unique(values).tolist():
        if index in (BACKGROUND_INDEX, IGNORE_INDEX):
            continue
        regions = (values == index).astype(np.int32)
        if instances == "components":
            ndimage.label(regions, _EIGHT_NEIGHBOURS, output=regions)
        for number, box in enumerate(ndimage.find_objects(regions), 1):
            top, left = box[0].start, box[1].start
            yield Shape(index, top, left, regions[box] == number, values.shape)
