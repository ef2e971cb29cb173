"""The last block of the image tower, with the gradients that Grad-CAM reads and no others.

Letters: B images, N = 1 + P tokens with the class token first, W width, D embedding width, K scores of each image.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch.nn import functional

from semples_cli.engine.attention import finish_attention, mix_heads, project_heads, summed_gradient


class LastBlock:
    """The last block on one batch of tokens, in float32 whatever the precision: these gradients are small numbers.

    Image features are those of CLIP-ES (Lin et al. 2023): the block's patch tokens after ln_post, averaged, projected.

    Attributes:
        normed: (B, N, W) output of the block's first LayerNorm, where Grad-CAM reads its activations.
        attention: (B, P, P) patch-to-patch attention averaged over heads; None where it is not wanted.
        features: (B, D) float32, L2-normalised image features, with what `channel_weights` needs to go back from them.
    """

    def __init__(self, visual: Any, tokens: torch.Tensor, *, want_attention: bool) -> None:  # noqa: ANN401
        """Run the block.

        Args:
            visual: open_clip's image tower, of custom blocks.
            tokens: (B, N, W) float32 before the block.
            want_attention: Keep the attention.
        """
        self._block = visual.transformer.resblocks[-1]
        with torch.no_grad():
            self.normed: torch.Tensor = self._block.ln_1(tokens)
            self._heads = project_heads(self._block.attn, self.normed)
            self.attention: torch.Tensor | None = None
            if want_attention:
                mixed, mean = mix_heads(self._heads)
                self.attention = mean[:, 1:, 1:]
            else:
                mixed = functional.scaled_dot_product_attention(*self._heads, scale=1.0).transpose(1, 2).flatten(2)
        self._mixed = mixed.requires_grad_()
        self.features = self._features(visual, tokens)

    def _features(self, visual: Any, tokens: torch.Tensor) -> torch.Tensor:  # noqa: ANN401  # open_clip is untyped
        block = self._block
        hidden = tokens + block.ls_1(block.ln_attn(finish_attention(block.attn, self._mixed)))
        hidden = hidden + block.ls_2(block.mlp(block.ln_2(hidden)))
        pooled = visual.ln_post(hidden)[:, 1:].mean(dim=1)
        return functional.normalize(pooled @ visual.proj, dim=-1)

    def channel_weights(self, scores: Iterable[torch.Tensor]) -> torch.Tensor:
        """Mean over the patches of each score's gradient at `normed`: Grad-CAM's weights of the channels.

        Autograd goes back to the mixed values only; what lies before them is `summed_gradient`'s.

        Args:
            scores: K times (B,), made of `features`; a score depends on its own image alone.

        Returns:
            (K, B, W) float32.
        """
        totals = [score.sum() for score in scores]
        last = len(totals) - 1
        found = [torch.autograd.grad(each, self._mixed, retain_graph=i < last)[0] for i, each in enumerate(totals)]
        summed = summed_gradient(self._heads, self._mixed.detach(), torch.stack(found))
        weights: torch.Tensor = summed @ self._block.attn.in_proj_weight.detach() / (self.normed.shape[1] - 1)
        return weights
