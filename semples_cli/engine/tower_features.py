"""One pass of the frozen image tower that keeps what a mask generator needs: patches, attention, head features.

Source: drop path is stochastic depth (Huang et al. 2016, arXiv 1603.09382), its rates those of DeiT.
Letters: B images, L layers, H heads, W tower width, d = W / H, P = h·w patches in row-major order.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from semples_cli.engine.clip import ClipEngine
from semples_cli.errors import SettingsError


@dataclass(frozen=True)
class TowerFeatures:
    """What the tower says about a batch; all float32, without gradient.

    Attributes:
        patches: (B, P, W) final patch tokens after ln_post.
        queries: (L, B, H, P, d) queries of the patches, times the softmax scale d^-½.
        keys: (L, B, H, 1 + P, d) keys of all tokens, class token first.
        head_features: (B, L, H, d) output of each attention after its projection, pooled over all tokens, the class
            token among them; head j holds the channels j, j + H, j + 2H, …, as WeakTr orders them.
        grid: (h, w).
    """

    patches: torch.Tensor
    queries: torch.Tensor
    keys: torch.Tensor
    head_features: torch.Tensor
    grid: tuple[int, int]


@dataclass
class DropPath:
    """Halves of blocks that the images of one training step pass over.

    Attributes:
        rate: In (0, 1), of the last block; that of the first is 0, those between lie on a line.
        rng: On the CPU. Two batches one after the other draw what one of both would have drawn.
        before: Images of the step that other processes compute and that come before ours: what they draw is passed over
            at our first draw, and this is 0 from there on.
    """

    rate: float
    rng: torch.Generator
    before: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            msg = f"drop path {self.rate}: it lies in (0, 1); give none at all for 0"
            raise SettingsError(msg)

    def draw(self, batch: int, num_layers: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Factors (B,) of the attention and of the MLP of each block: 0, or 1 / (1 - its rate)."""
        rates = torch.linspace(0, self.rate, num_layers)[:, None]
        if self.before:
            torch.rand(self.before, num_layers, 2, generator=self.rng)
            self.before = 0
        # Image by image, so that the micro-batches of a batch draw what the whole batch would have drawn.
        drawn = torch.rand(batch, num_layers, 2, generator=self.rng)
        factors = (drawn >= rates) / (1 - rates)
        return [(attend, feed) for attend, feed in factors.permute(1, 2, 0)]


@torch.no_grad()
def read_tower(
    engine: ClipEngine, pixels: torch.Tensor, pooling: str, drop_path: DropPath | None = None
) -> TowerFeatures:
    """Run the image tower once.

    Args:
        engine: A frozen CLIP; positions are interpolated to the grid.
        pixels: (B, 3, H', W') float32, normalised; sides are multiples of the patch.
        pooling: 'max' or 'avg': how the head features are pooled over the tokens.
        drop_path: What is passed over in a training step; None: nothing.

    Raises:
        SettingsError: The pooling has another name.
    """
    if pooling not in ("max", "avg"):
        msg = f"pooling {pooling!r}: choose max or avg"
        raise SettingsError(msg)
    num_layers = len(engine.blocks)
    factors = drop_path.draw(len(pixels), num_layers) if drop_path else [(None, None)] * num_layers
    queries, keys, pooled = [], [], []
    with engine.autocast():
        tokens = engine.embed(pixels.to(engine.device))
        for block, (attend, feed) in zip(engine.blocks, factors, strict=True):
            query, key, attended = _attend(block.attn, block.ln_1(tokens))
            queries.append(query[:, :, 1:].float() / math.sqrt(query.shape[-1]))
            keys.append(key.float())
            pooled.append(pool_heads(attended.float(), block.attn.num_heads, pooling))
            tokens = tokens + scale_branch(block.ls_1(block.ln_attn(attended)), attend)
            tokens = tokens + scale_branch(block.ls_2(block.mlp(block.ln_2(tokens))), feed)
        patches = engine.norm_patches(tokens).float()
    grid = (pixels.shape[-2] // engine.patch_size, pixels.shape[-1] // engine.patch_size)
    return TowerFeatures(patches, torch.stack(queries), torch.stack(keys), torch.stack(pooled, dim=1), grid)


def scale_branch(branch: torch.Tensor, factors: torch.Tensor | None) -> torch.Tensor:
    """What a branch of a block adds, times the factors that `DropPath` drew: (B, N, W) times (B,); None: as it is."""
    return branch if factors is None else branch * factors[:, None, None].to(branch)


def _attend(attention: Any, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # noqa: ANN401
    """Queries and keys (B, H, 1 + P, d), and the projected output (B, 1 + P, W) of an open_clip attention.

    The same as its own forward, which keeps queries and keys to itself; projecting them a second time would cost a
    sixth of the block.
    """
    batch, num_tokens, width = tokens.shape
    projected = functional.linear(tokens, attention.in_proj_weight, attention.in_proj_bias)
    query, key, value = projected.reshape(batch, num_tokens, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    query, key = attention.ln_q(query), attention.ln_k(key)
    mixed = functional.scaled_dot_product_attention(query, key, value)
    if attention.head_scale is not None:
        mixed = mixed * attention.head_scale
    mixed = mixed.transpose(1, 2).reshape(batch, num_tokens, width)
    return query, key, attention.out_proj(attention.ln_inner(mixed))


def pool_heads(attended: torch.Tensor, num_heads: int, pooling: str) -> torch.Tensor:
    """Head features of an attention's output, pooled over its tokens.

    Args:
        attended: (B, N, W), after its projection.
        num_heads: H; head j holds the channels j, j + H, j + 2H, …, as WeakTr orders them.
        pooling: 'max' or 'avg'.

    Returns:
        (B, H, d).
    """
    pooled = attended.amax(dim=1) if pooling == "max" else attended.mean(dim=1)
    return pooled.reshape(len(pooled), -1, num_heads).transpose(1, 2)
