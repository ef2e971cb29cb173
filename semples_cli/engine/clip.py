"""The frozen CLIP that everything else looks through: texts, patch tokens, attention, last block with gradient."""

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

from semples_cli.engine.attention import finish_attention, mix_heads, project_heads
from semples_cli.engine.last_block import LastBlock

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
            attention_layers: Layers, from 0, whose attention is wanted; that of the last one is `last_block`'s.

        Returns:
            Tokens (B, 1 + P, W) float32, class token first; and by layer the patch-to-patch attention (B, P, P)
            float32, averaged over heads: [b, i, j] is how much patch i looks at patch j.
        """
        attentions: dict[int, torch.Tensor] = {}
        with self.autocast():
            tokens = self.embed(pixels.to(self.device))
            for layer, block in enumerate(self._blocks[:-1]):
                if layer in attention_layers:
                    tokens, attentions[layer] = _run_block(block, tokens)
                else:
                    tokens = block(tokens)
        return tokens, attentions

    def last_block(self, tokens: torch.Tensor, *, want_attention: bool = False) -> LastBlock:
        """The last block on the tokens before it, (B, 1 + P, W) float32."""
        return LastBlock(self._visual, tokens, want_attention=want_attention)

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


def _run_block(block: Any, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ANN401  # untyped
    """A block's output, and its attention (B, P, P) float32: averaged over heads, class row and column dropped."""
    mixed, mean = mix_heads(project_heads(block.attn, block.ln_1(tokens)))
    tokens = tokens + block.ls_1(block.ln_attn(finish_attention(block.attn, mixed)))
    return tokens + block.ls_2(block.mlp(block.ln_2(tokens))), mean[:, 1:, 1:]
