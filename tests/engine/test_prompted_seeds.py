"""Seeds in which learned prompts take the place of background words."""

import numpy as np
import torch

from semples_cli.config import CamSettings
from semples_cli.engine.seeds import CompetingPrompts, SeedGenerator
from semples_cli.types import ClassSet

CLASSES = ClassSet(("cat", "dog", "boat"))
PLAIN = CamSettings(size=48, affinity_layers="none", template="a photo of a {}.")


def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40, 48, 3), np.uint8) for _ in range(2)]


def text_features(engine, *words):
    return engine.encode_texts([PLAIN.template.replace("{}", word) for word in words])


def with_words(engine, words, present):
    settings = CamSettings(**{**vars(PLAIN), "background_words": words})
    return SeedGenerator(engine, CLASSES, settings).maps(images(), present)


def test_prompts_that_read_like_words_give_the_maps_of_those_words(clip_engine):
    features = text_features(clip_engine, "grass", "street", "sea")
    prompts = CompetingPrompts(features, torch.ones(3, dtype=torch.bool))
    made = SeedGenerator(clip_engine, CLASSES, PLAIN, prompts).maps(images(), [(3,), (1, 2)])
    words = with_words(clip_engine, ("grass", "street", "sea"), [(3,), (1, 2)])
    fewer = with_words(clip_engine, ("sea",), [(3,), (1, 2)])
    for ours, all_words, one_word in zip(made, words, fewer, strict=True):
        assert np.abs(ours - all_words).max() < 1e-5
        assert np.abs(ours - one_word).max() > 1e-4


def test_an_unusable_prompt_does_not_compete(clip_engine):
    features = text_features(clip_engine, "grass", "street", "sea")
    prompts = CompetingPrompts(features, torch.tensor([True, True, False]))
    made = SeedGenerator(clip_engine, CLASSES, PLAIN, prompts).maps(images(), [(3,), (2, 3)])
    for ours, words in zip(made, with_words(clip_engine, ("grass", "street"), [(3,), (2, 3)]), strict=True):
        assert np.abs(ours - words).max() < 1e-5


def test_background_words_are_left_out_and_the_record_names_the_prompts(clip_engine):
    settings = CamSettings(**{**vars(PLAIN), "background_words": ("wall",)})
    prompts = CompetingPrompts(text_features(clip_engine, "a", "b", "c"), torch.ones(3, dtype=torch.bool), {"sha": "1"})
    maker = SeedGenerator(clip_engine, CLASSES, settings, prompts)
    assert maker.background_words == ()
    assert maker.record == {"sha": "1"}
    assert SeedGenerator(clip_engine, CLASSES, settings).record == {}
