"""Overlay pictures: the image with each class in its colour and a line along every border, for people to look at."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.artifacts.mask_png import voc_palette
from semples_cli.errors import ArtifactError
from semples_cli.types import BACKGROUND_INDEX, MaskArray

OPACITY = 0.5


def write_overlay(path: Path, image: npt.NDArray[np.uint8], values: MaskArray) -> None:
    """Write the picture of an image under its mask.

    Classes and ignored pixels are blended half and half with their VOC colour, background stays as it is, and the
    border of each region is drawn in the full colour of the region it belongs to.

    Args:
        path: The PNG to write; missing folders are made.
        image: (H, W, 3) uint8 RGB.
        values: (H, W) uint8: 0 background, 1..F classes, 255 ignore.

    Raises:
        ArtifactError: Image and mask are of different sizes.
    """
    if image.shape != (*values.shape, 3):
        msg = f"{path}: an image of shape {image.shape} does not go with a mask of shape {values.shape}"
        raise ArtifactError(msg)
    colour = voc_palette()[values]
    blend = np.rint((1 - OPACITY) * image + OPACITY * colour).astype(np.uint8)
    picture = np.where((values != BACKGROUND_INDEX)[..., None], blend, image)
    border = _borders(values)
    picture[border] = colour[border]
    with open_atomic(path) as handle:
        Image.fromarray(picture).save(handle, "PNG")


def _borders(values: MaskArray) -> npt.NDArray[np.bool_]:
    """Pixels of a class that touch another value above, below, left or right: the line lies inside the region."""
    border = np.zeros(values.shape, bool)
    down, right = values[1:] != values[:-1], values[:, 1:] != values[:, :-1]
    border[1:] |= down
    border[:-1] |= down
    border[:, 1:] |= right
    border[:, :-1] |= right
    border[values == BACKGROUND_INDEX] = False
    return border
