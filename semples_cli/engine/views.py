"""Random views of training images: a crop of random size, shape and place, perhaps mirrored."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional

NARROWEST, WIDEST = 3 / 4, 4 / 3
TRIES = 10


@dataclass(frozen=True)
class Crop:
    """A part of an image that a view shows, in pixels of the image.

    Attributes:
        top: First row.
        left: First column.
        height: Rows.
        width: Columns.
        mirrored: Left and right are swapped.
    """

    top: int
    left: int
    height: int
    width: int
    mirrored: bool


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
    return cut_image(image, size, random_crop((image.shape[0], image.shape[1]), crop_scale, rng))


def random_crop(image_size: tuple[int, int], crop_scale: float, rng: np.random.Generator) -> Crop:
    """A crop of random size, shape and place, mirrored every other time.

    Args:
        image_size: (H, W).
        crop_scale: Share of the image that the crop has at least, in (0, 1]; its shape is 3:4 to 4:3.
        rng: All randomness comes from here.
    """
    box = _random_box(*image_size, crop_scale, rng)
    return Crop(*box, mirrored=bool(rng.random() < 0.5))


def cut_image(image: npt.NDArray[np.uint8], size: int, crop: Crop) -> npt.NDArray[np.uint8]:
    """A crop resized to a square (bicubic, antialiased).

    Args:
        image: (H, W, 3) uint8.
        size: Side S of the view in pixels.
        crop: What to show.

    Returns:
        (S, S, 3) uint8.
    """
    box = (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
    view = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC, box=box))
    return np.ascontiguousarray(view[:, ::-1]) if crop.mirrored else view


def cut_maps(maps: torch.Tensor, image_size: tuple[int, int], size: int, crop: Crop) -> torch.Tensor:
    """The same crop of maps that lie over the whole image: bilinear, corners aligned.

    Args:
        maps: (K, h, w) float32.
        image_size: (H, W) of the image.
        size: Side S of the view in pixels.
        crop: What to show.

    Returns:
        (K, S, S) float32.
    """
    (height, width), steps = image_size, torch.linspace(0, 1, size)
    rows = (crop.top + steps * (crop.height - 1)) / max(1, height - 1) * 2 - 1
    columns = (crop.left + steps * (crop.width - 1)) / max(1, width - 1) * 2 - 1
    if crop.mirrored:
        columns = columns.flip(0)
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    return functional.grid_sample(maps[None], grid[None], mode="bilinear", padding_mode="border", align_corners=True)[0]


def _random_box(height: int, width: int, scale: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
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
