"""From image pixels to network input: sizes on the patch grid, resizing, normalising."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from semples_cli.errors import DataError

# Products such as 500 · 512 / 500 may exceed the whole number by a rounding error, which must not cost a patch.
ROUNDING = 1e-6


def network_size(image_size: tuple[int, int], longest: int, patch: int, scale: float = 1.0) -> tuple[int, int]:
    """Size at which the network reads an image.

    The longest side becomes `longest` pixels, but an image is never enlarged to that; then `scale` multiplies both
    sides, and each is rounded up to a multiple of the patch.

    Args:
        image_size: (H, W) in pixels.
        longest: Longest side in pixels.
        patch: Side of a patch in pixels.
        scale: Factor on the size; only a scale above 1 enlarges.

    Returns:
        (H', W'), each a positive multiple of `patch`.
    """
    factor = min(1.0, longest / max(image_size)) * scale
    height, width = (max(1, math.ceil(side * factor / patch - ROUNDING)) * patch for side in image_size)
    return height, width


def to_pixels(
    image: npt.NDArray[np.uint8], size: tuple[int, int], mean: Sequence[float], std: Sequence[float]
) -> torch.Tensor:
    """Resize (bicubic, antialiased) and normalise.

    Args:
        image: (H, W, 3) uint8, RGB.
        size: (H', W') of the result.
        mean: Channel means that CLIP was trained with, in [0, 1].
        std: Channel standard deviations, in [0, 1].

    Returns:
        (3, H', W') float32.

    Raises:
        DataError: The array is no RGB image.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        msg = f"an image is (H, W, 3) uint8, not {image.shape} {image.dtype}"
        raise DataError(msg)
    if image.shape[:2] != size:
        height, width = size
        image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
    levels = np.arange(256, dtype=np.float32)[:, None]
    table = (levels / 255 - np.array(mean, np.float32)) / np.array(std, np.float32)
    # There are 256 levels and hundreds of thousands of pixels: looked up, not computed.
    return torch.from_numpy(np.stack([np.take(table[:, c], image[..., c]) for c in range(3)]))
