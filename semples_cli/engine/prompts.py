"""Continuous prompts through CLIP's frozen text tower: one learned background prompt for each class.

A prompt reads [SOT] a photo of [L learnable tokens] . [EOT], and its feature is taken at EOT. The text tower's mask is
causal, so nothing past EOT is computed.

Source: SemPLeS (Lin et al. 2025, arXiv 2401.11791, section 3.3).

Letters: N prompts, F classes, L learnable tokens, W text width, D embedding width, T token window.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from semples_cli.config import PromptSettings
from semples_cli.engine.clip import TEXT_BATCH, ClipEngine
from semples_cli.errors import SettingsError
from semples_cli.types import ClassSet, PromptSet

# [SOT] "a photo of", and "." [EOT]. The published prompts end in token 13, where a tokenised sentence has 269.
BEFORE = (49406, 320, 1125, 539)
AFTER = (13, 49407)
NUM_FIXED = len(BEFORE) + len(AFTER)


class PromptEncoder(nn.Module):
    """Encodes continuous prompts; holds no trainable parameter of its own."""

    before: torch.Tensor
    after: torch.Tensor

    def __init__(self, engine: ClipEngine, before: tuple[int, ...] = BEFORE, after: tuple[int, ...] = AFTER) -> None:
        """Look up the fixed tokens.

        Args:
            engine: A frozen CLIP.
            before: Token ids in front of the learnable ones.
            after: Token ids behind them; the feature is read at the last.
        """
        super().__init__()
        self._engine = engine
        with torch.no_grad():
            for name, ids in (("before", before), ("after", after)):
                rows = engine.model.token_embedding(torch.tensor(ids, device=engine.device))
                self.register_buffer(name, rows.detach().clone(), persistent=False)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Text features of continuous prompts, in float32 whatever the engine's precision.

        Args:
            vectors: (N, L, W), on the engine's device.

        Returns:
            (N, D) float32, L2-normalised; differentiable in `vectors`.

        Raises:
            SettingsError: The prompts do not fit into the token window.
        """
        model, count = self._engine.model, len(vectors)
        check_prompt_length(self._engine, vectors.shape[1])
        parts = (self.before.expand(count, -1, -1), vectors, self.after.expand(count, -1, -1))
        tokens = torch.cat(parts, dim=1)
        length = tokens.shape[1]
        tokens = tokens + model.positional_embedding[:length]
        tokens = model.transformer(tokens, attn_mask=model.attn_mask[:length, :length])
        last = model.ln_final(tokens[:, -1])
        projection = model.text_projection
        projected = projection(last) if isinstance(projection, nn.Module) else last @ projection
        return functional.normalize(projected, dim=-1)


def check_prompt_length(engine: ClipEngine, length: int) -> None:
    """Refuse prompts that do not fit into CLIP's token window.

    Raises:
        SettingsError: L is too large; names the greatest that fits.
    """
    most = len(engine.model.positional_embedding) - NUM_FIXED
    if length > most:
        msg = f"prompt length {length}: this CLIP reads {most + NUM_FIXED} tokens; give --prompt-length {most} or less"
        raise SettingsError(msg)


def initial_vectors(engine: ClipEngine, num_classes: int, settings: PromptSettings) -> torch.Tensor:
    """The vectors that learning starts from.

    Args:
        engine: A CLIP.
        num_classes: F.
        settings: Start, length and seed. 'uniform': in [0, 1), as published; 'tokens': normal, with the mean and
            deviation of the token table's rows, those that are all 0 left out.

    Returns:
        (F, L, W) float32 on the engine's device.

    Raises:
        SettingsError: The prompts do not fit into the token window.
    """
    check_prompt_length(engine, settings.prompt_length)
    table: torch.Tensor = engine.model.token_embedding.weight.detach().float()
    shape = (num_classes, settings.prompt_length, table.shape[1])
    generator = torch.Generator().manual_seed(settings.seed)
    if settings.start == "uniform":
        return torch.rand(shape, generator=generator).to(engine.device)
    used = table[table.any(dim=1)]
    start = torch.randn(shape, generator=generator) * used.std().cpu() + used.mean().cpu()
    return start.to(engine.device)


@torch.no_grad()
def prompt_features(engine: ClipEngine, prompts: PromptSet) -> torch.Tensor:
    """Features of learned prompts.

    Returns:
        (F, D) float32, L2-normalised.
    """
    vectors = torch.from_numpy(np.ascontiguousarray(prompts.vectors)).to(engine.device)
    return torch.cat([PromptEncoder(engine)(part) for part in torch.split(vectors, TEXT_BATCH)])


def check_prompts(engine: ClipEngine, prompts: PromptSet, class_set: ClassSet | None = None) -> None:
    """Refuse prompts that were learned with another CLIP, or for other classes.

    Args:
        engine: The CLIP that they shall be used with.
        prompts: The prompts.
        class_set: The classes that they shall be used for; None: any.

    Raises:
        SettingsError: They do not go together; says what differs.
    """
    record = engine.record
    if prompts.weights_hash != record.get("weights_sha256"):
        msg = (
            f"the prompts were learned with {prompts.clip_name}, weights {prompts.weights_hash[:12]}…, but the loaded "
            f"{record.get('model')} has {str(record.get('weights_sha256'))[:12]}…: give --weights as when they were "
            "learned, or learn prompts with these"
        )
        raise SettingsError(msg)
    if prompts.quick_gelu != record.get("quick_gelu"):
        msg = (
            f"the prompts were learned with quick_gelu {prompts.quick_gelu}, but CLIP was loaded with "
            f"{record.get('quick_gelu')}: give --quick-gelu or --no-quick-gelu as when they were learned"
        )
        raise SettingsError(msg)
    if (width := prompts.vectors.shape[2]) != (ours := engine.model.token_embedding.weight.shape[1]):
        msg = f"the prompts are {width} numbers wide, the tokens of this CLIP {ours}: learn prompts for it"
        raise SettingsError(msg)
    if class_set is not None and class_set.names != prompts.class_names:
        differing = sorted(set(class_set.names) ^ set(prompts.class_names)) or ["their order"]
        msg = f"the prompts are for other classes (differing: {', '.join(differing[:10])}): learn prompts for these"
        raise SettingsError(msg)
