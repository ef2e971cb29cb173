"""The default mask generator: a trained class head and attention fusion on the frozen image tower of CLIP.

Sources: the fusion is WeakTr's (Zhu et al. 2023, arXiv 2304.01184, section 3.2). CLIP has no class tokens, so there is
no cross attention: M = (A_p + r I) · ReLU(convolution). r I, what a patch keeps of its own evidence, stands for the
residual connections of the tower, as in attention rollout (Abnar & Zuidema 2020, arXiv 2005.00928); r = 0 is WeakTr's
form. docs/decisions/0007 says what it is worth.

Letters: B images, L layers, H heads, W tower width, d = W / H, F classes, K classes asked for, P = h·w patches.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from semples_cli.config import GeneratorSettings
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.generators.protocol import ClassMaps
from semples_cli.engine.tower_features import DropPath, TowerFeatures, read_tower

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


class ClipHead(nn.Module):
    """All that is trained: a 3×3 convolution from patch tokens to classes, and the attention fusion.

    Attributes:
        pooling: 'max' or 'avg': how the head features that it reads are pooled.
        num_classes: F.
        residual: r, what a patch keeps of its own evidence beside what attention brings it.
        shape: The arguments that it was made with, but the number of classes.
    """

    def __init__(
        self,
        width: int,
        num_layers: int,
        num_heads: int,
        num_classes: int,
        reduction: int = 8,
        pooling: str = "max",
        residual: float = 0.0,
    ) -> None:
        """Make the layers with torch's own random start."""
        super().__init__()
        self.pooling = pooling
        self.num_classes = num_classes
        self.residual = residual
        self.shape: dict[str, int | float | str] = {
            "width": width,
            "num_layers": num_layers,
            "num_heads": num_heads,
            "reduction": reduction,
            "pooling": pooling,
            "residual": residual,
        }
        self.head = nn.Conv2d(width, num_classes, kernel_size=3, padding=1)
        self.fusion = AttentionFusion(width // num_heads, num_layers, num_heads, reduction)

    def forward(self, features: TowerFeatures, columns: torch.Tensor | None = None) -> ClassMaps:
        """Class maps; see `MaskGenerator.class_maps`."""
        h, w = features.grid
        patches = features.patches.transpose(1, 2).reshape(len(features.patches), -1, h, w)
        coarse: torch.Tensor = self.head(patches)
        wanted = coarse if columns is None else coarse[torch.arange(len(coarse))[:, None], columns]
        evidence = rectify(wanted)
        weights = self.fusion(features.head_features)
        fine = spread(evidence.flatten(2).transpose(1, 2), features.queries, features.keys, weights)
        return ClassMaps(coarse, fine.transpose(1, 2).reshape(*wanted.shape) + self.residual * evidence)


class ClipGenerator:
    """The mask generator `clip_head`: a frozen CLIP and the head trained on it.

    Attributes:
        engine: The CLIP.
        head: The trained part, on the engine's device.
    """

    def __init__(self, engine: ClipEngine, head: ClipHead) -> None:
        """Put them together; the head goes to the engine's device."""
        self.engine = engine
        self.head = head.to(engine.device)

    def class_maps(
        self, pixels: torch.Tensor, columns: torch.Tensor | None = None, drop_path: DropPath | None = None
    ) -> ClassMaps:
        """Maps of a batch; gradients reach the head alone. See `MaskGenerator.class_maps`."""
        maps: ClassMaps = self.head(read_tower(self.engine, pixels, self.head.pooling, drop_path), columns)
        return maps


def build_clip_head(engine: ClipEngine, num_classes: int, settings: GeneratorSettings) -> ClipHead:
    """A head for a CLIP, its first weights drawn from `settings.seed`; torch's own random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return ClipHead(
            engine.width,
            engine.num_layers,
            engine.num_heads,
            num_classes,
            settings.reduction,
            settings.pooling,
            settings.residual,
        )


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
    value, where the class token's value is 0; exact, and as cheap as the tower's own attention. A training step with
    few of them builds each once and keeps it for the backward pass, which is then a matrix product. The patches of A
    are what remains of a softmax over all tokens; their sum stays below 1.

    Args:
        maps: (B, P, K), the C above.
        queries: (L, B, H, P, d), softmax scale included.
        keys: (L, B, H, 1 + P, d), class token first.
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
    attention = (query @ key.transpose(-1, -2)).softmax(dim=-1)[..., 1:]
    return attention @ maps[:, None]


def _spread_by_kernel(maps: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """The same without any map, by torch's attention kernel."""
    num_heads, head_width = query.shape[1], query.shape[-1]
    # As wide as the keys, because torch's fast CPU kernel takes no other: padded up to that, or cut into such slices.
    padded = functional.pad(maps, (0, -maps.shape[-1] % head_width, 1, 0))
    values = (value[:, None].expand(-1, num_heads, -1, -1) for value in torch.split(padded, head_width, dim=-1))
    spread_slices = [functional.scaled_dot_product_attention(query, key, value, scale=1.0) for value in values]
    return torch.cat(spread_slices, dim=-1)[..., : maps.shape[-1]]
