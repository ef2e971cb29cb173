"""The frozen CLIP that everything else looks through: texts, patch tokens, attention, last block with gradient."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

TEXT_BATCH = 256


@dataclass(frozen=True)
class Preprocess:
    """How images become CLIP's input.

    Attributes:
        mean: Channel means, in [0, 1].
        std: Channel standard deviations, in [0, 1].
        whole_image: PIL image → (3, S, S) float32 at CLIP's own size: open_clip's transform for zero-shot.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    whole_image: Callable[[Image.Image], torch.Tensor]


class ClipEngine:
    """A frozen open_clip ViT on one device.

    Letters: B images, D embedding width, W width of the image tower, H', W' network pixels, P = (H'/p)·(W'/p) patches
    in row-major order, L layers.

    Attributes:
        record: What a run writes down about the model (name, source, SHA-256, licence, precision, versions).
        preprocess: Mean, std, and the transform of whole images.
        device: Where it runs.
        dtype: Number format of the forward passes; the last block with gradient is always float32.
        patch_size: Side of a patch in pixels.
        embed_dim: D.
        num_layers: L, the blocks of the image tower.
        num_heads: Attention heads of each of them.
        width: W, the width of the image tower.
        image_size: Side of the square images that CLIP was trained on, in pixels.
        logit_scale: CLIP's own factor on cosines; 100 in OpenAI's.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Callable[[list[str]], torch.Tensor],
        *,
        preprocess: Preprocess,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        record: Mapping[str, str | bool] | None = None,
    ) -> None:
        """Wrap a model that is on `device`, frozen, in evaluation mode and made of open_clip's custom blocks."""
        self.record = dict(record or {})
        self.preprocess = preprocess
        self.device = device
        self.dtype = dtype
        self.tokenizer = tokenizer
        self.model = cast("Any", model)  # open_clip is untyped
        self._visual = self.model.visual
        self._blocks = self._visual.transformer.resblocks
        self.patch_size: int = self._visual.patch_size[0]
        self.embed_dim: int = self._visual.output_dim
        self.num_layers = len(self._blocks)
        self.num_heads: int = self._blocks[0].attn.num_heads
        self.width: int = len(self._visual.class_embedding)
        self.image_size: int = self._visual.image_size[0]
        self.logit_scale = float(self.model.logit_scale.exp())

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """The engine's precision; float32 leaves everything as it is."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            yield

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Text features, always computed in float32: there are few, and everything is compared with them.

        Returns:
            (T, D) float32, L2-normalised.
        """
        features = [
            self.model.encode_text(self.tokenizer(list(texts[i : i + TEXT_BATCH])).to(self.device), normalize=True)
            for i in range(0, len(texts), TEXT_BATCH)
        ]
        return torch.cat(features) if features else torch.empty(0, self.embed_dim, device=self.device)

    @torch.no_grad()
    def encode_images(self, images: Sequence[npt.NDArray[np.uint8]]) -> torch.Tensor:
        """CLIP's own image features, for zero-shot classification, in one batch.

        Args:
            images: (H, W, 3) uint8 each.

        Returns:
            (N, D) float32, L2-normalised.
        """
        pixels = torch.stack([self.preprocess.whole_image(Image.fromarray(image)) for image in images])
        with self.autocast():
            features = self.model.encode_image(pixels.to(self.device))
        return functional.normalize(features.float(), dim=-1)

    @torch.no_grad()
    def tokens_before_last_block(
        self, pixels: torch.Tensor, attention_layers: Sequence[int] = ()
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """Run all blocks but the last.

        Args:
            pixels: (B, 3, H', W') float32, normalised; sides are multiples of the patch.
            attention_layers: Layers, from 0, whose attention is wanted; the last one costs only its queries and keys.

        Returns:
            Tokens (B, 1 + P, W) float32, class token first; and by layer the patch-to-patch attention (B, P, P)
            float32, averaged over heads: [b, i, j] is how much patch i looks at patch j.
        """
        attentions: dict[int, torch.Tensor] = {}
        with self.autocast():
            tokens = self.embed(pixels.to(self.device))
            for layer, block in enumerate(self._blocks):
                if layer in attention_layers:
                    attentions[layer] = _patch_attention(block, tokens)
                if layer < self.num_layers - 1:
                    tokens = block(tokens)
        return tokens, attentions

    def norm_before_last_block(self, tokens: torch.Tensor) -> torch.Tensor:
        """Output of the last block's first LayerNorm, where GradCAM reads: (B, 1 + P, W) → the same shape."""
        normed: torch.Tensor = self._blocks[-1].ln_1(tokens)
        return normed

    def patch_features(self, tokens: torch.Tensor, normed: torch.Tensor) -> torch.Tensor:
        """Image features of CLIP-ES: the last block's patch tokens after ln_post, averaged, projected.

        Differentiable in `normed`; gradient with respect to it alone equals the full network's gradient there.

        Args:
            tokens: (B, 1 + P, W) before the last block: the residual branch, a constant.
            normed: (B, 1 + P, W) from `norm_before_last_block`.

        Returns:
            (B, D) float32, L2-normalised.
        """
        block = self._blocks[-1]
        hidden = tokens + block.ls_1(block.ln_attn(block.attn(normed)))
        hidden = hidden + block.ls_2(block.mlp(block.ln_2(hidden)))
        pooled = self._visual.ln_post(hidden)[:, 1:].mean(dim=1)
        return functional.normalize(pooled @ self._visual.proj, dim=-1)

    @property
    def blocks(self) -> Sequence[Any]:
        """The L blocks of the image tower: open_clip's custom ones, which are untyped."""
        return tuple(self._blocks)

    def norm_patches(self, tokens: torch.Tensor) -> torch.Tensor:
        """The patches of the tower's output after ln_post: (B, 1 + P, W) → (B, P, W)."""
        normed: torch.Tensor = self._visual.ln_post(tokens[:, 1:])
        return normed

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """Patches, class token, positions interpolated to the grid, ln_pre.

        Args:
            pixels: (B, 3, H', W') float32, normalised, on the engine's device; sides are multiples of the patch.

        Returns:
            (B, 1 + P, W) float32.
        """
        visual = self._visual
        patches = visual.conv1(pixels).float()  # the residual stream stays float32 in every precision
        grid = patches.shape[-2:]
        patches = patches.flatten(2).transpose(1, 2)
        class_token = visual.class_embedding.expand(len(patches), 1, -1)
        positions = resample_positions(visual.positional_embedding, visual.grid_size, grid)
        embedded: torch.Tensor = visual.ln_pre(torch.cat([class_token, patches], dim=1) + positions)
        return embedded


def resample_positions(positions: torch.Tensor, old: Sequence[int], new: Sequence[int]) -> torch.Tensor:
    """Position embedding at another grid: bicubic, antialiased, as open_clip and timm resize it; class row kept.

    Args:
        positions: (1 + P, W), class row first.
        old: (h, w) with P = h·w.
        new: (h', w').

    Returns:
        (1 + h'·w', W).
    """
    if tuple(old) == tuple(new):
        return positions
    table = positions[1:].T.reshape(1, -1, *old)
    table = functional.interpolate(table, size=tuple(new), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([positions[:1], table.flatten(2)[0].T])


def _patch_attention(block: Any, tokens: torch.Tensor) -> torch.Tensor:  # noqa: ANN401  # an untyped open_clip block
    """(B, P, P) float32: softmax over all tokens, averaged over heads, class row and column dropped.

    One image and head at a time: its (1 + P, 1 + P) weights stay in the processor's cache, which makes this three times
    faster on the CPU than all heads at once, and the weights of a whole batch would be the largest tensor of the run.
    """
    attention, (batch, num_tokens, width) = block.attn, tokens.shape
    bias = None if attention.in_proj_bias is None else attention.in_proj_bias[: 2 * width]
    query_key = functional.linear(block.ln_1(tokens), attention.in_proj_weight[: 2 * width], bias)
    query, key = query_key.reshape(batch, num_tokens, 2, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    query, key = attention.ln_q(query) / math.sqrt(query.shape[-1]), attention.ln_k(key)
    mean = torch.zeros(batch, num_tokens, num_tokens, device=tokens.device)
    for b in range(batch):
        for head in range(attention.num_heads):
            mean[b] += (query[b, head] @ key[b, head].T).float().softmax(-1)
    return mean[:, 1:, 1:].div_(attention.num_heads)
