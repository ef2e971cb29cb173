"""How much of the own background a mask calls by the object's name: the failing that SemPLeS is about, measured."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from semples_cli.artifacts.mask_png import read_mask
from semples_cli.demo.names import BACKGROUNDS, paired_backgrounds
from semples_cli.steps.render_demo import BACKGROUND_MASKS
from semples_cli.types import Sample


def measure_leakage(masks: Path, world: Path, samples: Iterable[Sample], pairing: int) -> float:
    """Of the pixels of class k's own background in images that hold k, the share that the masks call k.

    Args:
        masks: Folder of mask PNGs; images without one are left out.
        world: What `render_demo` wrote.
        samples: The images and their classes.
        pairing: The world's; it says which background is whose own.

    Returns:
        The mean over the classes that have such pixels, in [0, 1]; NaN where none has.
    """
    own = [BACKGROUNDS.index(name) + 1 for name in paired_backgrounds(pairing)]
    called, pixels = np.zeros(len(own)), np.zeros(len(own))
    for sample in samples:
        path = masks / f"{sample.id}.png"
        if not path.is_file():
            continue
        mask, backgrounds = read_mask(path), read_mask(world / BACKGROUND_MASKS / f"{sample.id}.png")
        for k in sample.class_indices:
            values = mask[backgrounds == own[k - 1]]
            called[k - 1] += np.count_nonzero(values == k)
            pixels[k - 1] += values.size
    seen = pixels > 0
    return float((called[seen] / pixels[seen]).mean()) if seen.any() else float("nan")
