"""What changes a training view beyond its crop: RandAugment before it is normalised, random erasing after.

Sources: RandAugment (Cubuk et al. 2020, arXiv 1909.13719) is timm's, the one that DeiT, WeakTr and SemPLeS train with;
random erasing is of Zhong et al. 2017 (arXiv 1708.04896).
"""

import math
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

SMALLEST, LARGEST = 0.02, 1 / 3
NARROWEST, WIDEST = 0.3, 1 / 0.3
TRIES = 10

_global_states = threading.Lock()


def rand_augment(
    view: npt.NDArray[np.uint8], recipe: str, mean: Sequence[float], rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Apply timm's RandAugment.

    Args:
        view: (H, W, 3) uint8.
        recipe: In timm's words, such as 'rand-m9-mstd0.5-inc1'.
        mean: Channel means in [0, 1], the colour of what comes in from outside the view.
        rng: All randomness comes from here.

    Returns:
        (H, W, 3) uint8.
    """
    transform = _make_transform(recipe, tuple(round(255 * channel) for channel in mean))
    with _seeded(int(rng.integers(2**32))):
        return np.asarray(transform(Image.fromarray(view)))


def erase(pixels: torch.Tensor, probability: float, rng: np.random.Generator) -> torch.Tensor:
    """Put noise in place of a random rectangle.

    Args:
        pixels: (3, H, W) float32, normalised.
        probability: That there is a rectangle at all, in [0, 1].
        rng: All randomness comes from here.

    Returns:
        (3, H, W) float32: new where something is erased, else `pixels` itself. Each erased pixel is standard normal.
    """
    box = random_rectangle(pixels.shape[1], pixels.shape[2], rng) if rng.random() < probability else None
    if box is None:
        return pixels
    top, left, height, width = box
    erased = pixels.clone()
    noise = rng.standard_normal((len(pixels), height, width), np.float32)
    erased[:, top : top + height, left : left + width] = torch.from_numpy(noise)
    return erased


def random_rectangle(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int] | None:
    """A rectangle of random size, shape and place.

    Args:
        height: H, of the image.
        width: W, of the image.
        rng: All randomness comes from here.

    Returns:
        (top, left, height, width) in pixels: a share of the area uniform in [0.02, 1/3], the logarithm of height /
        width uniform between those of 0.3 and 1 / 0.3; None where ten tries gave none that fits.
    """
    for _ in range(TRIES):
        area = height * width * rng.uniform(SMALLEST, LARGEST)
        shape = math.exp(rng.uniform(math.log(NARROWEST), math.log(WIDEST)))
        h, w = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < h < height and 0 < w < width:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    return None


@cache
def _make_transform(recipe: str, fill: tuple[int, ...]) -> Callable[[Image.Image], Image.Image]:
    from timm.data.auto_augment import rand_augment_transform

    transform: Callable[[Image.Image], Image.Image] = rand_augment_transform(
        recipe, {"img_mean": fill, "interpolation": Image.Resampling.BICUBIC}
    )
    return transform


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The global states of `random` and `numpy.random`, from which timm draws, seeded, and restored afterwards.

    One thread at a time: two that took turns at the states would get each other's numbers.
    """
    with _global_states:
        python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002
