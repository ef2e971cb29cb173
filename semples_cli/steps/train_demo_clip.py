"""Trains the tiny CLIP of the built-in world from rendered image-caption pairs."""

from pathlib import Path

import numpy as np
import torch

from semples_cli.artifacts.file_lock import lock_file
from semples_cli.demo.captions import all_wordings, draw_captions
from semples_cli.demo.recipe import MODEL_CONFIG, DemoClipRecipe
from semples_cli.demo.views import ViewPool, Views
from semples_cli.engine.build import make_untrained
from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.engine.compact import save_compact_model_dir
from semples_cli.engine.contrastive import CaptionBatch, ContrastiveSettings, train_contrastive
from semples_cli.engine.model_dir import CLIP_MEAN, CLIP_STD
from semples_cli.steps.interruption import Interruption
from semples_cli.steps.progress import tqdm_progress
from semples_cli.types import Progress

CHECKPOINT = "training.ckpt"
CHECKPOINT_EVERY = 250


def train_demo_clip(out: Path, recipe: DemoClipRecipe, *, progress: Progress | None = None) -> list[float]:
    """Train a CLIP on the built-in world and write it as a model directory.

    Args:
        out: Directory to write; `training.ckpt` beside the weights holds the state of an interrupted training, from
            which the same command goes on to the same weights; that of another recipe is not taken up.
        recipe: Pool, schedule and seed.
        progress: Called with (steps done, steps).

    Returns:
        The loss of every step.
    """
    progress = progress or tqdm_progress("train tiny CLIP")
    out.mkdir(parents=True, exist_ok=True)
    model, tokenizer = make_untrained(MODEL_CONFIG, recipe.seed, recipe.patch_dropout)
    pool = ViewPool(recipe.world, recipe.num_objects, recipe.num_backgrounds)

    def draw_batch(step: int, rng: np.random.Generator) -> CaptionBatch:
        del step
        views = pool.draw(rng, recipe.batch_size, recipe.partial_share)
        captions = draw_captions(rng, views.present, recipe.num_pair_captions)
        tokens = tokenizer([caption for caption, _ in captions])
        return CaptionBatch(normalised_pixels(views), tokens, caption_signs(views, [named for _, named in captions]))

    settings = ContrastiveSettings(recipe.steps, recipe.learning_rate, seed=recipe.seed)
    checkpoint = Checkpoint(out / CHECKPOINT, repr(recipe), every=CHECKPOINT_EVERY)
    with lock_file(checkpoint.path):
        with Interruption() as interruption:
            losses = train_contrastive(model, draw_batch, settings, checkpoint, interruption.ending(progress))
        token_rows = {int(token) for text in all_wordings() for token in tokenizer([text]).flatten()}
        save_compact_model_dir(model, MODEL_CONFIG, token_rows, out, licence="Apache-2.0")
    return losses


def normalised_pixels(views: Views) -> torch.Tensor:
    """(B, 3, S, S) float32, CLIP's normalisation; blanked pixels become 0, CLIP's mean colour."""
    pixels = torch.from_numpy(views.images).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return (pixels - mean) / std * torch.from_numpy(views.kept)[:, None]


def caption_signs(views: Views, named: list[tuple[int, ...]]) -> torch.Tensor:
    """(B, T) float32: 1 where everything that the caption names can be seen, -1 where some of it cannot, else 0."""
    unseen = np.zeros((len(views.present), 1), bool)  # the column of UNSEEN_CONCEPT
    present = np.concatenate([views.present, unseen], axis=1)
    absent = np.concatenate([views.absent, ~unseen], axis=1)
    columns = [present[:, concepts].all(1).astype(np.float32) - absent[:, concepts].any(1) for concepts in named]
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))
