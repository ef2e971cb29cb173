"""What the tests of training steps share: samples of the small photos, quick settings, prompts of the small CLIP."""

import numpy as np
from small_world import CLASSES, PHOTOS

from semples_cli.config import GeneratorSettings
from semples_cli.types import ClassSet, PromptSet, Sample

CLASS_SET = ClassSet(CLASSES)
SETTINGS = GeneratorSettings(
    reduction=2, epochs=2, batch_size=2, micro_batch=2, initial_learning_rate=0.5, learning_rate=0.5, lambda_r=1.0
)


def samples_of(folder):
    return [
        Sample(sample_id, folder / f"{sample_id}.jpg", tuple(CLASS_SET.index_of(name) for name in names))
        for sample_id, (_, names) in PHOTOS.items()
    ]


def prompts_of(engine, seed=0, **changes):
    record = engine.record
    vectors = np.random.default_rng(seed).standard_normal((len(CLASS_SET), 2, 16)).astype(np.float32)
    values = {
        "class_names": CLASS_SET.names,
        "prompt_names": CLASS_SET.prompt_names,
        "vectors": vectors,
        "clip_name": str(record["model"]),
        "weights_hash": str(record["weights_sha256"]),
        "quick_gelu": bool(record["quick_gelu"]),
        **changes,
    }
    return PromptSet(**values)
