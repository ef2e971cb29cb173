"""Image features of regions through the frozen CLIP, differentiable in their pixels."""

import torch
from torch.nn import functional

from semples_cli.engine.clip import ClipEngine


def encode_regions(engine: ClipEngine, pixels: torch.Tensor) -> torch.Tensor:
    """CLIP's own image features of regions.

    Args:
        engine: A frozen CLIP: no parameter gets a gradient, the pixels do.
        pixels: (N, 3, S, S) normalised with CLIP's own mean and deviation, on the engine's device; S is CLIP's input
            size.

    Returns:
        (N, D) float32, L2-normalised.
    """
    with engine.autocast():
        features: torch.Tensor = engine.model.encode_image(pixels)
    return functional.normalize(features.float(), dim=-1)
