"""Trains a small CLIP from image-caption pairs with the sigmoid loss, every true caption of an image a positive.

The loss is that of SigLIP (Zhai et al. 2023, arXiv 2303.15343), with more than one positive an image. Each step draws
its randomness from (seed, step) alone, so an interrupted training resumes to the same weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.types import Progress


@dataclass(frozen=True)
class CaptionBatch:
    """One training step's data.

    Attributes:
        pixels: (B, 3, S, S) float32, normalised.
        tokens: (T, L) int64 caption tokens.
        signs: (B, T) float32: 1 the caption is true of the image, -1 it is false, 0 undecided.
    """

    pixels: torch.Tensor
    tokens: torch.Tensor
    signs: torch.Tensor


@dataclass(frozen=True)
class ContrastiveSettings:
    """Optimisation settings: AdamW, linear warm-up, cosine to 0, gradient norm clipped at 1."""

    steps: int
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warm_up: int = 150
    seed: int = 0


def sigmoid_loss(logits: torch.Tensor, signs: torch.Tensor) -> torch.Tensor:
    """Mean over images of the summed −log σ(sign · logit); pairs of sign 0 do not count (SigLIP, equation 1).

    Args:
        logits: (B, T).
        signs: (B, T) of 1, -1 or 0.
    """
    return -(functional.logsigmoid(logits * signs) * (signs != 0)).sum() / logits.shape[0]


def train_contrastive(
    model: Any,  # noqa: ANN401  # an open_clip CLIP, which is untyped
    draw_batch: Callable[[int, np.random.Generator], CaptionBatch],
    settings: ContrastiveSettings,
    checkpoint: Checkpoint,
    progress: Progress,
) -> list[float]:
    """Train in place, with the token embedding frozen; leaves the model in evaluation mode.

    Args:
        model: CLIP with `logit_scale` and `logit_bias`.
        draw_batch: (step, generator) → the data of that step.
        settings: Optimisation settings.
        checkpoint: Taken up where it is of this training, and written now and then.
        progress: Called with (steps done, steps); a KeyboardInterrupt of it finds the state written.

    Returns:
        The loss of every step, of earlier runs too.

    Raises:
        ArtifactError: The checkpoint is damaged.
    """
    model.token_embedding.weight.requires_grad_(False)
    optimiser = torch.optim.AdamW(_parameter_groups(model, settings.weight_decay), betas=(0.9, 0.98))
    losses = _restore(checkpoint, model, optimiser)
    model.train()
    for step in range(len(losses), settings.steps):
        torch.manual_seed(settings.seed * 1_000_003 + step)
        batch = draw_batch(step, np.random.default_rng((settings.seed, step)))
        for group in optimiser.param_groups:
            group["lr"] = _learning_rate(settings, step)
        losses.append(_train_step(model, optimiser, batch))
        if (step + 1) % checkpoint.every == 0:
            _store(checkpoint, model, optimiser, losses)
        try:
            progress(step + 1, settings.steps)
        except KeyboardInterrupt:
            _store(checkpoint, model, optimiser, losses)
            raise
    model.eval()
    return losses


def _train_step(model: Any, optimiser: torch.optim.Optimizer, batch: CaptionBatch) -> float:  # noqa: ANN401
    images = model.encode_image(batch.pixels, normalize=True)
    texts = model.encode_text(batch.tokens, normalize=True)
    loss = sigmoid_loss(model.logit_scale.exp() * images @ texts.T + model.logit_bias, batch.signs)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; vectors, norms, the scale and the bias do not."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def _learning_rate(settings: ContrastiveSettings, step: int) -> float:
    warm = min(1.0, (step + 1) / settings.warm_up)
    return float(settings.learning_rate * warm * 0.5 * (1 + np.cos(np.pi * step / settings.steps)))


def _store(checkpoint: Checkpoint, model: nn.Module, optimiser: torch.optim.Optimizer, losses: list[float]) -> None:
    checkpoint.store({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "losses": losses})


def _restore(checkpoint: Checkpoint, model: nn.Module, optimiser: torch.optim.Optimizer) -> list[float]:
    """The losses of an interrupted run, whose state is put into model and optimiser; none where there was none."""
    state = checkpoint.restore(torch.device("cpu"))
    if state is None:
        return []
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    losses: list[float] = state["losses"]
    return losses
