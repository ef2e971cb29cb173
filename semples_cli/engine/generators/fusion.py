"""Attention fusion: one weight for each attention head of a ViT, and maps spread by the weighted mean of all of them.

Source: the Adaptive Attention Fusion of WeakTr (Zhu et al. 2023, arXiv 2304.01184, section 3.2).

Letters: B images, L layers, H heads, W tower width, d = W / H, K classes, T class tokens, P = h·w patches.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

BACKWARD_SLOPE = 0.1
"""Share of the gradient that passes a ReLU whose input is below 0."""

KEPT_ATTENTION = 2**28
"""Bytes of attention maps that a training step may keep, to be faster."""


class AttentionFusion(nn.Module):
    """One weight for each layer and head, from what that head says about the image (Adaptive Attention Fusion)."""

    def __init__(self, head_width: int, num_layers: int, num_heads: int, reduction: int) -> None:
        """Make the layers; d = `head_width`."""
        super().__init__()
        num_maps = num_layers * num_heads
        self.feature_score = nn.Sequential(
            nn.Linear(head_width, max(1, head_width // 8)), nn.Linear(max(1, head_width // 8), 1)
        )
        self.map_weight = nn.Sequential(
            nn.Linear(num_maps, max(1, num_maps // reduction), bias=False),
            nn.ReLU(),
            nn.Linear(max(1, num_maps // reduction), num_maps, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, head_features: torch.Tensor) -> torch.Tensor:
        """Weights in (0, 1).

        Args:
            head_features: (B, L, H, d).

        Returns:
            (B, L, H); inside, maps are ordered head by head, layers within a head, as WeakTr orders them.
        """
        batch, num_layers, num_heads, _ = head_features.shape
        scores = self.feature_score(head_features.transpose(1, 2)).reshape(batch, num_heads * num_layers)
        weights: torch.Tensor = self.map_weight(scores)
        return weights.reshape(batch, num_heads, num_layers).transpose(1, 2)


class _Rectify(torch.autograd.Function):
    """ReLU forward; backward, a share of the gradient passes where it cuts."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        ctx.save_for_backward(values)
        return values.relu()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        (values,) = ctx.saved_tensors
        return torch.where(values > 0, gradients[0], BACKWARD_SLOPE * gradients[0])


def rectify(values: torch.Tensor) -> torch.Tensor:
    """ReLU whose backward pass has the slope of a leaky ReLU.

    A class whose logits fall below 0 everywhere would get no gradient any more, and stay without a map for good.

    Args:
        values: Of any shape.

    Returns:
        max(values, 0). The gradient is 1 above 0 and BACKWARD_SLOPE elsewhere.

    Example:
        >>> rectify(torch.tensor([-2.0, 3.0]))
        tensor([0., 3.])
    """
    result: torch.Tensor = _Rectify.apply(values)
    return result


def spread(maps: torch.Tensor, queries: torch.Tensor, keys: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    r"""Maps spread by the weighted mean of all attention maps.

    .. math:: M = \frac{1}{LH} \sum_{l,h} w_{lh} A_{lh} C, \quad A_{lh} = \mathrm{softmax}(q_{lh} k_{lh}^T)

    Without gradients, or where the maps are many, none of them is ever built: A · C is attention with the map as its
    value, where the class tokens' value is 0; exact, and as cheap as the tower's own attention. A training step with
    few of them builds each once and keeps it for the backward pass, which is then a matrix product. The patches of A
    are what remains of a softmax over all tokens; their sum stays below 1.

    Args:
        maps: (B, P, K), the C above.
        queries: (L, B, H, P, d) of the patches, softmax scale included.
        keys: (L, B, H, T + P, d) of all tokens, class tokens first.
        weights: (B, L, H).

    Returns:
        (B, P, K); differentiable in maps and weights.
    """
    num_layers, batch, num_heads, num_patches, _ = queries.shape
    kept = num_layers * batch * num_heads * num_patches**2 * queries.element_size()
    build = torch.is_grad_enabled() and maps.requires_grad and kept <= KEPT_ATTENTION
    by_head = _spread_by_built if build else _spread_by_kernel
    total = torch.zeros_like(maps)
    for query, key, weight in zip(queries, keys, weights.unbind(1), strict=True):
        total = total + torch.einsum("bhpk,bh->bpk", by_head(maps, query, key), weight)
    return total / (num_layers * num_heads)


def _spread_by_built(maps: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """(B, H, P, K) of one layer, by its attention maps."""
    attention = (query @ key.transpose(-1, -2)).softmax(dim=-1)[..., -maps.shape[1] :]
    return attention @ maps[:, None]


def _spread_by_kernel(maps: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """The same without any map, by torch's attention kernel."""
    num_heads, head_width = query.shape[1], query.shape[-1]
    # As wide as the keys, because torch's fast CPU kernel takes no other: padded up to that, or cut into such slices.
    padded = functional.pad(maps, (0, -maps.shape[-1] % head_width, key.shape[-2] - maps.shape[1], 0))
    values = (value[:, None].expand(-1, num_heads, -1, -1) for value in torch.split(padded, head_width, dim=-1))
    spread_slices = [functional.scaled_dot_product_attention(query, key, value, scale=1.0) for value in values]
    return torch.cat(spread_slices, dim=-1)[..., : maps.shape[-1]]


def cross_attention(queries: torch.Tensor, keys: torch.Tensor, weights: torch.Tensor, num_patches: int) -> torch.Tensor:
    r"""The weighted mean of all attention maps from class tokens to patches.

    .. math:: A_c = \frac{1}{LH} \sum_{l,h} w_{lh} \mathrm{softmax}(q_{lh} k_{lh}^T)

    Args:
        queries: (L, B, H, K, d) of the class tokens that are wanted, softmax scale included.
        keys: (L, B, H, T + P, d) of all tokens, patches last.
        weights: (B, L, H).
        num_patches: P.

    Returns:
        (B, K, P); differentiable in everything. What class tokens give to each other is left out.
    """
    num_layers, batch, num_heads, num_classes, _ = queries.shape
    total = queries.new_zeros(batch, num_classes, num_patches)
    for query, key, weight in zip(queries, keys, weights.unbind(1), strict=True):
        attention = (query @ key.transpose(-1, -2)).softmax(dim=-1)[..., -num_patches:]
        total = total + torch.einsum("bhkp,bh->bkp", attention, weight)
    return total / (num_layers * num_heads)
