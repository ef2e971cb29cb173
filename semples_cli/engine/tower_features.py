"""One pass of the frozen image tower that keeps what a mask generator needs: patches, attention, head features.

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


@torch.no_grad()
def read_tower(engine: ClipEngine, pixels: torch.Tensor, pooling: str) -> TowerFeatures:
    """Run the image tower once.

    Args:
        engine: A frozen CLIP; positions are interpolated to the grid.
        pixels: (B, 3, H', W') float32, normalised; sides are multiples of the patch.
        pooling: 'max' or 'avg': how the head features are pooled over the tokens.

    Raises:
        SettingsError: The pooling has another name.
    """
    if pooling not in ("max", "avg"):
        msg = f"pooling {pooling!r}: choose max or avg"
        raise SettingsError(msg)
    queries, keys, pooled = [], [], []
    with engine.autocast():
        tokens = engine.embed(pixels.to(engine.device))
        for block in engine.blocks:
            query, key, attended = _attend(block.attn, block.ln_1(tokens))
            queries.append(query[:, :, 1:].float() / math.sqrt(query.shape[-1]))
            keys.append(key.float())
            pooled.append(_pool_heads(attended.float(), block.attn.num_heads, pooling))
            tokens = tokens + block.ls_1(block.ln_attn(attended))
            tokens = tokens + block.ls_2(block.mlp(block.ln_2(tokens)))
        patches = engine.norm_patches(tokens).float()
    grid = (pixels.shape[-2] // engine.patch_size, pixels.shape[-1] // engine.patch_size)
    return TowerFeatures(patches, torch.stack(queries), torch.stack(keys), torch.stack(pooled, dim=1), grid)


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


def _pool_heads(attended: torch.Tensor, num_heads: int, pooling: str) -> torch.Tensor:
    """(B, 1 + P, W) → (B, H, d)."""
    pooled = attended.amax(dim=1) if pooling == "max" else attended.mean(dim=1)
    return pooled.reshape(len(pooled), -1, num_heads).transpose(1, 2)
