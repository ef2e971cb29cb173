"""How the tiny CLIP of the built-in world is made: architecture, pool of scenes, schedule."""

import math
from dataclasses import dataclass
from typing import Any

from semples_cli.config import WorldSettings

IMAGE_SIZE = 64
TOKEN_WINDOW = 48

MODEL_CONFIG: dict[str, Any] = {
    "embed_dim": 128,
    "init_logit_scale": math.log(10),
    "init_logit_bias": -5.0,
    "vision_cfg": {
        "image_size": IMAGE_SIZE,
        "patch_size": 4,
        "layers": 4,
        "width": 96,
        "head_width": 32,
        "pool_type": "avg",
        "final_ln_after_pool": False,
    },
    "text_cfg": {
        "context_length": TOKEN_WINDOW,
        "vocab_size": 49408,
        "width": 128,
        "heads": 4,
        "layers": 2,
    },
}


# No world of this seed is ever used for a measurement.
TRAINING_WORLD = WorldSettings(seed=10_000, num_images=20_000, bias=0.4)


@dataclass(frozen=True)
class DemoClipRecipe:
    """Everything that the weights in the package follow from.

    Attributes:
        world: The scenes it is trained on.
        num_objects: Objects alone on a plain canvas.
        num_backgrounds: Bare backgrounds.
        partial_share: Share of the views with a rectangle kept or blanked.
        patch_dropout: Share of the patches left out while training.
        num_pair_captions: Captions a step that name two things.
        batch_size: Images a step.
        steps: Optimiser steps.
        learning_rate: Peak of the schedule.
        seed: Seeds weights, order and wording.
    """

    world: WorldSettings = TRAINING_WORLD
    num_objects: int = 10_000
    num_backgrounds: int = 5_000
    partial_share: float = 0.9
    patch_dropout: float = 0.6
    num_pair_captions: int = 28
    batch_size: int = 64
    steps: int = 4_000
    learning_rate: float = 2e-3
    seed: int = 0
