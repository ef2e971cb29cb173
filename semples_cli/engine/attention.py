"""Attention of one block, written out where its weights are wanted, and its gradient where only a sum is wanted.

Letters: B images, N = 1 + P tokens with the class token first, W width, H heads of d channels, K scores of each image.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.nn import functional


class Heads(NamedTuple):
    """Queries, keys and values of a block's tokens.

    Attributes:
        query: (B, H, N, d), times the softmax scale d^-½.
        key: (B, H, N, d).
        value: (B, H, N, d).
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor


def finish_attention(attention: Any, mixed: torch.Tensor) -> torch.Tensor:  # noqa: ANN401  # open_clip is untyped
    """What an open_clip attention does after mixing: (B, N, W) → (B, N, W)."""
    if attention.head_scale is not None:
        batch, num_tokens, _ = mixed.shape
        scaled = mixed.reshape(batch, num_tokens, attention.num_heads, -1) * attention.head_scale[:, 0]
        mixed = scaled.flatten(2)
    finished: torch.Tensor = attention.out_proj(attention.ln_inner(mixed))
    return finished


def project_heads(attention: Any, normed: torch.Tensor) -> Heads:  # noqa: ANN401  # open_clip is untyped
    """Queries, keys and values of an open_clip attention from (B, N, W) tokens after its LayerNorm."""
    batch, num_tokens, _ = normed.shape
    projected = functional.linear(normed, attention.in_proj_weight, attention.in_proj_bias)
    query, key, value = projected.reshape(batch, num_tokens, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    query, key = attention.ln_q(query), attention.ln_k(key)
    return Heads(query / math.sqrt(query.shape[-1]), key, value)


@torch.no_grad()
def mix_heads(heads: Heads) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix the values by the attention, and keep its weights.

    What scaled_dot_product_attention gives, but that keeps its weights to itself; computing them a second time beside
    it would cost half of the block.

    Args:
        heads: Queries, keys, values.

    Returns:
        The mixed values (B, N, W); and (B, N, N) float32, the weights averaged over heads: [b, i, j] is how much token
        i looks at token j.
    """
    batch, num_heads, num_tokens, _ = heads.query.shape
    mixed = torch.empty_like(heads.value, memory_format=torch.contiguous_format)
    mean = torch.zeros(batch, num_tokens, num_tokens, device=mixed.device)
    for b, some, weights in _weights(heads):
        mean[b] += weights[0] if len(weights) == 1 else weights.sum(0)
        torch.bmm(weights.to(mixed.dtype), heads.value[b, some], out=mixed[b, some])
    return mixed.transpose(1, 2).flatten(2), mean.div_(num_heads)


@torch.no_grad()
def summed_gradient(heads: Heads, mixed: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    r"""Gradients of scores with respect to queries, keys and values, each summed over the patches.

    Grad-CAM asks for no more than the mean over patches of the gradient before the projections, and a sum passes
    through them as a vector. With weights A, mixed values m = A v, G = ∂/∂m and r_i = G_i · m_i,

    .. math::
        \sum_{j>0} \partial v_j &= \sum_i (1 - A_{i0})\, G_i \\
        \sum_{i>0} \partial q_i &= \sum_j \Big(\sum_{i>0} A_{ij}\, (G_i \cdot v_j - r_i)\Big)\, k_j \\
        \sum_{j>0} \partial k_j &= -\sum_i A_{i0}\, (G_i \cdot v_0 - r_i)\, q_i

    the last because the gradient of a softmax adds up to 0 over each row. One product with A serves all scores, where
    the whole gradient would take four for each.

    Args:
        heads: Queries, keys, values, float32.
        mixed: (B, N, W) from `mix_heads`.
        gradients: (K, B, N, W) of each score with respect to `mixed`; a score depends on its own image alone.

    Returns:
        (K, B, 3W): that of queries (without the softmax scale), keys and values, as the projection has its rows.
    """
    num_scores, batch, num_tokens, width = gradients.shape
    num_heads, depth = heads.query.shape[1], heads.query.shape[3]
    upstream = gradients.reshape(num_scores, batch, num_tokens, num_heads, depth).permute(1, 3, 2, 0, 4)  # (B,H,N,K,d)
    values = mixed.reshape(batch, num_tokens, num_heads, 1, depth).transpose(1, 2)
    summed = torch.empty(3, num_scores, batch, num_heads, depth, dtype=gradients.dtype, device=gradients.device)
    for b, some, weights in _weights(heads):
        query, key, value = (each[b, some] for each in heads)
        given, first = upstream[b, some], weights[:, :, 0]
        # G and r side by side, (heads, N, K, d + 1), so that one product with the weights does for both.
        both = torch.cat([given, (given * values[b, some]).sum(-1, keepdim=True)], dim=-1)
        flat = both.flatten(2)
        pulled = (weights[:, 1:].transpose(1, 2) @ flat[:, 1:]).reshape(both.shape)
        share = (pulled[..., :-1] * value[:, :, None]).sum(-1) - pulled[..., -1]
        back = first[..., None] * ((both[..., :-1] * value[:, :1, None]).sum(-1) - both[..., -1])
        kept = ((1 - first)[:, None] @ flat).reshape(-1, num_scores, depth + 1)[..., :-1]
        summed[0, :, b, some] = (share.transpose(1, 2) @ key).transpose(0, 1) / math.sqrt(depth)
        summed[1, :, b, some] = -(back.transpose(1, 2) @ query).transpose(0, 1)
        summed[2, :, b, some] = kept.transpose(0, 1)
    return summed.permute(1, 2, 0, 3, 4).reshape(num_scores, batch, 3 * width)


def _heads_at_once(query: torch.Tensor) -> int:
    return 1 if query.device.type == "cpu" else query.shape[1]


def _weights(heads: Heads) -> Iterator[tuple[int, slice, torch.Tensor]]:
    """Softmax weights, float32 at the least, portion by portion: image, range of heads, (heads, N, N) until the next.

    One head on the CPU: its weights stay in the processor's cache, always in the same memory, for new memory of this
    size would be asked of the system each time. All heads of an image elsewhere, where many small products would
    leave the device idle; those of a whole batch would be the largest tensor of the run.
    """
    query, key = heads.query, heads.key.transpose(2, 3)
    batch, num_heads, num_tokens, _ = query.shape
    at_once = _heads_at_once(query)
    dtype = torch.promote_types(query.dtype, torch.float32)
    weights = torch.empty(at_once, num_tokens, num_tokens, dtype=dtype, device=query.device)
    for b in range(batch):
        for start in range(0, num_heads, at_once):
            some = slice(start, start + at_once)
            if query.dtype == dtype:
                torch.bmm(query[b, some], key[b, some], out=weights)
            else:
                weights.copy_(torch.bmm(query[b, some], key[b, some]))
            yield b, some, torch.softmax(weights, -1, out=weights)
