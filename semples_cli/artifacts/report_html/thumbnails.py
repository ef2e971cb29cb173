"""Small pictures as data URIs: image, mask, CAM, and where mask and ground truth differ.

The same pixels give the same bytes. Background is transparent in masks, so that the browser lays one over the image at
any opacity, and no overlay is stored.
"""

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from semples_cli.artifacts.mask_png import voc_palette
from semples_cli.types import BACKGROUND_INDEX, IGNORE_INDEX, FloatArray, MaskArray

LONGEST_SIDE = 160
LONGEST_CAM_SIDE = 32
CAM_LEVELS = 32
WEBP_QUALITY = 70

Size = tuple[int, int]

# What a pixel of the error picture says, in the order of its palette; colours as in report.css.
RIGHT, MISSED, EXTRA, CONFUSED, UNDECIDED, NOT_COUNTED = range(6)
ERROR_COLOURS = ((255, 255, 255), (227, 92, 68), (58, 134, 214), (172, 95, 196), (214, 174, 60), (150, 150, 150))


def thumbnail_size(image_size: Size) -> Size:
    """(H, W) of the thumbnail: the longest side is LONGEST_SIDE at most, and no side is 0."""
    shrink = min(1.0, LONGEST_SIDE / max(image_size))
    height, width = (max(1, round(side * shrink)) for side in image_size)
    return height, width


def image_uri(image: npt.NDArray[np.uint8]) -> str:
    """The image, (H, W, 3) uint8 RGB, as a WebP thumbnail."""
    height, width = thumbnail_size((image.shape[0], image.shape[1]))
    small = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return _as_uri(small, "WEBP", quality=WEBP_QUALITY)


def mask_uri(values: MaskArray) -> str:
    """The mask, (H, W) uint8, as a palette PNG of the colours that it has; background is transparent."""
    found, positions = np.unique(_shrink(values), return_inverse=True)
    positions = positions.reshape(thumbnail_size(values.shape))
    return _palette_png(positions, voc_palette()[found], found == BACKGROUND_INDEX)


def error_uri(target: MaskArray, predicted: MaskArray) -> str:
    """Where a mask is wrong: missed, extra, another class, undecided (255), not counted; what is right is transparent.

    Args:
        target: (H, W) uint8 ground truth.
        predicted: (H, W) uint8 mask.
    """
    target, predicted = _shrink(target), _shrink(predicted)
    kinds = np.full(target.shape, CONFUSED, np.uint8)
    kinds[predicted == BACKGROUND_INDEX] = MISSED
    kinds[target == BACKGROUND_INDEX] = EXTRA
    kinds[predicted == target] = RIGHT
    kinds[predicted == IGNORE_INDEX] = UNDECIDED
    kinds[target == IGNORE_INDEX] = NOT_COUNTED
    found, positions = np.unique(kinds, return_inverse=True)
    return _palette_png(positions.reshape(kinds.shape), np.array(ERROR_COLOURS, np.uint8)[found], found == RIGHT)


def cam_uri(scores: FloatArray) -> str:
    """One map, (h, w) float32 in [0, 1], as a grey PNG of CAM_LEVELS levels; the browser enlarges and colours it."""
    if max(scores.shape) > LONGEST_CAM_SIDE:
        shrink = LONGEST_CAM_SIDE / max(scores.shape)
        height, width = (max(1, round(side * shrink)) for side in scores.shape)
        scores = np.asarray(Image.fromarray(scores).resize((width, height), Image.Resampling.BOX))
    levels = np.rint(np.rint(scores * (CAM_LEVELS - 1)) * (255 / (CAM_LEVELS - 1))).astype(np.uint8)
    return _as_uri(Image.fromarray(levels), "PNG", optimize=True)


def _shrink(values: MaskArray) -> MaskArray:
    height, width = thumbnail_size(values.shape)
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.NEAREST))


def _palette_png(
    positions: npt.NDArray[np.integer], colours: npt.NDArray[np.uint8], transparent: npt.NDArray[np.bool_]
) -> str:
    picture = Image.fromarray(positions.astype(np.uint8))
    picture.putpalette(colours.tobytes())
    alpha = np.where(transparent, 0, 255).astype(np.uint8).tobytes()
    return _as_uri(picture, "PNG", optimize=True, transparency=alpha)


def _as_uri(picture: Image.Image, fmt: str, **options: object) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, fmt, **options)
    return f"data:image/{fmt.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
