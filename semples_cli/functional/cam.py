"""Gradient-weighted class activation maps against competing texts.

Sources: Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391, equations 1 and 2); softmax-GradCAM as in CLIP-ES (Lin et
al. 2023, arXiv 2212.09506, section 3.2).

Letters: B images, T texts, K classes, P patches, W channels, h, w patch grid.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional

from semples_cli.errors import SettingsError


def class_margins(logits: torch.Tensor, competing: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    r"""Log-odds of the target in a softmax over the competing texts.

    .. math:: m = z_t - \log \sum_{j \ne t} e^{z_j} = \log \frac{p_t}{1 - p_t}

    Its gradient is that of the softmax score p divided by p (1 - p), a positive number for each image and class: after
    min-max the maps of both are the same. But p saturates: where it rounds to 1 its gradient is 0 or noise, and this
    one's is not. A target without any competitor has p = 1 always; then its logit alone is taken (plain Grad-CAM).

    Args:
        logits: (B, T) logit scale times cosine.
        competing: (B, T) bool: texts that take part in an image's softmax; classes that are absent do not.
        targets: (B,) int64: the text that each image's map is for.

    Returns:
        (B,) margins.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0, 9.0]])
        >>> competing = torch.tensor([[True, True, False]])
        >>> class_margins(logits, competing, torch.tensor([0]))
        tensor([2.])
    """
    targets = targets[:, None]
    others = competing.scatter(1, targets, False)
    alone = ~others.any(dim=1)
    # A row of -inf only would give NaN gradients even where it is masked afterwards.
    rivals = logits.masked_fill(~others & ~alone[:, None], -torch.inf)
    strongest = torch.logsumexp(rivals, dim=1).masked_fill(alone, 0.0)
    return logits.gather(1, targets)[:, 0] - strongest


def grad_cam(activations: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    r"""ReLU of the activations weighted by the mean gradient of each channel.

    .. math:: \mathrm{map}_p = \mathrm{ReLU}\Big(\sum_w \big(\tfrac1P \sum_q g_{qw}\big)\, a_{pw}\Big)

    Args:
        activations: (B, P, W).
        weights: (..., B, W): mean over the patches of the gradient g of a score with respect to the activations.

    Returns:
        (..., B, P), 0 or above.

    Example:
        >>> activations = torch.tensor([[[1.0, 2.0], [3.0, 1.0]]])
        >>> gradients = torch.tensor([[[1.0, 0.0], [1.0, -2.0]]])
        >>> grad_cam(activations, gradients.mean(dim=1))
        tensor([[0., 2.]])
    """
    return (activations @ weights.unsqueeze(-1)).squeeze(-1).relu()


def min_max(maps: torch.Tensor, eps: float = 0.0) -> torch.Tensor:
    r"""Stretch each map to [0, 1]; a constant map becomes 0.

    .. math:: (m - \min m) / (\max m - \min m + \varepsilon)

    Args:
        maps: (..., h, w).
        eps: 0 or above; damps maps whose range is small beside it.

    Returns:
        (..., h, w) in [0, 1].

    Example:
        >>> min_max(torch.tensor([[1.0, 2.0], [3.0, 5.0]]))
        tensor([[0.0000, 0.2500],
                [0.5000, 1.0000]])
    """
    low = maps.amin(dim=(-2, -1), keepdim=True)
    spread = maps.amax(dim=(-2, -1), keepdim=True) - low + eps
    return (maps - low) / spread.masked_fill(spread == 0, 1.0)


def average_maps(maps: Sequence[torch.Tensor], grid: tuple[int, int]) -> torch.Tensor:
    """Mean of maps from several scales, resized bilinearly (corners not aligned) to one grid.

    Args:
        maps: (K, h_i, w_i) each.
        grid: (h, w).

    Returns:
        (K, h, w).

    Raises:
        SettingsError: There is no map.

    Example:
        >>> average_maps([torch.zeros(1, 1, 1), torch.ones(1, 2, 2)], (2, 2))
        tensor([[[0.5000, 0.5000],
                 [0.5000, 0.5000]]])
    """
    if not maps:
        msg = "no map to average: give at least one scale"
        raise SettingsError(msg)
    resized = [m if m.shape[-2:] == grid else _resize(m, grid) for m in maps]
    return torch.stack(resized).mean(dim=0)


def _resize(maps: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    return functional.interpolate(maps[None], size=grid, mode="bilinear", align_corners=False)[0]
