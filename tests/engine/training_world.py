"""A few random images with labels, for the trainings of the mask generator."""

from dataclasses import replace

import numpy as np

from semples_cli.config import GeneratorSettings
from semples_cli.engine.generators.clip_head import ClipGenerator, build_clip_head
from semples_cli.engine.training_batches import LabelledImages

NAMES = ("boat", "cat", "dog")
LABELS = ((1,), (2, 3), (), (3,), (1, 2, 3), (2,))
SETTINGS = GeneratorSettings(
    reduction=2, epochs=2, batch_size=4, micro_batch=4, initial_learning_rate=0.5, learning_rate=0.5, seed=3
)


def picture(i):
    return np.random.default_rng(i).integers(0, 256, (30 + i, 40, 3), np.uint8)


def labelled_images(labels=LABELS, broken=()):
    return LabelledImages(labels, lambda i: None if i in broken else picture(i))


def make_generator(engine, **settings):
    return ClipGenerator(engine, build_clip_head(engine, len(NAMES), replace(SETTINGS, **settings)))


def silent(done, total):
    pass
