"""Trains the tiny CLIP of the built-in world from rendered image-caption pairs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semples_cli.demo.captions import draw_captions
from semples_cli.demo.recipe import DemoClipRecipe
from semples_cli.demo.views import ViewPool, Views
from semples_cli.engine.contrastive import CaptionBatch, ContrastiveSettings, train_contrastive
from semples_cli.steps.progress import tqdm_progress
from semples_cli.types import Progress

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

Tokenizer = Callable[[list[str]], torch.Tensor]


def train_demo_clip(
    model: Any,  # noqa: ANN401  # an open_clip CLIP, which is untyped
    tokenizer: Tokenizer,
    recipe: DemoClipRecipe,
    checkpoint: Path,
    *,
    progress: Progress | None = None,
) -> list[float]:
    """Train an untrained CLIP on the built-in world, in place.

    Args:
        model: CLIP made from `demo.recipe.MODEL_CONFIG`.
        tokenizer: Its tokenizer.
        recipe: Pool, schedule and seed.
        checkpoint: State of an interrupted training; found again, it goes on from there to the same weights.
        progress: Called with (steps done, steps).

    Returns:
        The loss of every step.
    """
    progress = progress or tqdm_progress("train tiny CLIP")
    pool = ViewPool(recipe.world, recipe.num_objects, recipe.num_backgrounds)

    def draw_batch(step: int, rng: np.random.Generator) -> CaptionBatch:
        del step
        views = pool.draw(rng, recipe.batch_size, recipe.partial_share)
        captions = draw_captions(rng, views.present, recipe.num_pair_captions)
        tokens = tokenizer([caption for caption, _ in captions])
        return CaptionBatch(normalised_pixels(views), tokens, caption_signs(views, [named for _, named in captions]))

    settings = ContrastiveSettings(recipe.steps, recipe.learning_rate, seed=recipe.seed)
    return train_contrastive(model, draw_batch, settings, checkpoint, progress)


def normalised_pixels(views: Views) -> torch.Tensor:
    """(B, 3, S, S) float32, CLIP's normalisation; blanked pixels become 0, CLIP's mean colour."""
    pixels = torch.from_numpy(views.images).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return (pixels - mean) / std * torch.from_numpy(views.kept)[:, None]


def caption_signs(views: Views, named: list[tuple[int, ...]]) -> torch.Tensor:
    """(B, T) float32: 1 where everything that the caption names can be seen, -1 where some of it cannot, else 0."""
    columns = [
        views.present[:, concepts].all(1).astype(np.float32) - views.absent[:, concepts].any(1) for concepts in named
    ]
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))
