"""Foreground and background regions of an image, cut softly by a map.

Source: SemPLeS (Lin et al. 2025, arXiv 2401.11791, section 3.2).

Letters: N pairs of an image and a class, h, w map grid, H, W pixels of CLIP's input.
"""

import torch
from torch.nn import functional

from semples_cli.functional.cam import min_max


def region_maps(maps: torch.Tensor, size: tuple[int, int], epsilon: float) -> torch.Tensor:
    """Maps at the size of CLIP's input, stretched to [0, 1] there.

    Resized bilinearly with aligned corners first, min-max after.

    Args:
        maps: (N, h, w).
        size: (H, W).
        epsilon: Of the min-max; damps maps whose range is small beside it.

    Returns:
        (N, H, W) in [0, 1]; differentiable.

    Example:
        >>> region_maps(torch.tensor([[[0.0, 2.0]]]), (1, 3), 0.0)
        tensor([[[0.0000, 0.5000, 1.0000]]])
    """
    resized = functional.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=True)[:, 0]
    return min_max(resized, epsilon)


def sharpen_maps(maps: torch.Tensor, sharpness: float, border: float = 0.5) -> torch.Tensor:
    r"""Push maps to 0 and 1, so that what is cut away hardly shows in a region any more.

    .. math:: \sigma(\beta (M - b))

    CLIP recognises at half the contrast what a soft map only dims.

    Args:
        maps: (N, H, W) in [0, 1].
        sharpness: β; 0 leaves the maps as they are.
        border: b, the value that becomes one half.

    Returns:
        (N, H, W) in (0, 1); differentiable.

    Example:
        >>> sharpen_maps(torch.tensor([[[0.0, 0.5, 1.0]]]), 8.0)
        tensor([[[0.0180, 0.5000, 0.9820]]])
    """
    return maps if sharpness == 0 else torch.sigmoid(sharpness * (maps - border))


def cut_regions(pixels: torch.Tensor, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Foreground region :math:`M \odot X` and background region :math:`(1 - M) \odot X`.

    The pixels are normalised, so what a map takes away becomes CLIP's mean colour.

    Args:
        pixels: (N, 3, H, W), normalised.
        maps: (N, H, W) in [0, 1].

    Returns:
        Two (N, 3, H, W).

    Example:
        >>> foreground, background = cut_regions(torch.full((1, 3, 1, 2), 4.0), torch.tensor([[[1.0, 0.25]]]))
        >>> foreground[0, 0], background[0, 0]
        (tensor([[4., 1.]]), tensor([[0., 3.]]))
    """
    weights = maps[:, None]
    return pixels * weights, pixels * (1 - weights)
