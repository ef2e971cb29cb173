"""Random views of training images: a crop of random size, shape and place, perhaps mirrored."""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

NARROWEST, WIDEST = 3 / 4, 4 / 3
TRIES = 10


def random_view(
    image: npt.NDArray[np.uint8], size: int, crop_scale: float, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """A random resized crop (bicubic, antialiased), mirrored every other time.

    Args:
        image: (H, W, 3) uint8.
        size: Side S of the view in pixels.
        crop_scale: Share of the image that the crop has at least, in (0, 1]; its shape is 3:4 to 4:3.
        rng: All randomness comes from here.

    Returns:
        (S, S, 3) uint8.
    """
    top, left, height, width = _random_crop(image.shape[0], image.shape[1], crop_scale, rng)
    box = (left, top, left + width, top + height)
    view = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC, box=box))
    return np.ascontiguousarray(view[:, ::-1]) if rng.random() < 0.5 else view


def _random_crop(height: int, width: int, scale: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """(top, left, height, width): area uniform in [scale, 1] of the image's, logarithm of the shape uniform."""
    for _ in range(TRIES):
        area = height * width * rng.uniform(scale, 1)
        shape = math.exp(rng.uniform(math.log(NARROWEST), math.log(WIDEST)))
        h, w = round(math.sqrt(area / shape)), round(math.sqrt(area * shape))
        if 0 < h <= height and 0 < w <= width:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    return _largest_crop(height, width)


def _largest_crop(height: int, width: int) -> tuple[int, int, int, int]:
    """The middle of the image, as large as the shapes allow."""
    h = min(height, max(1, round(width / NARROWEST)))
    w = min(width, max(1, round(height * WIDEST)))
    return (height - h) // 2, (width - w) // 2, h, w
