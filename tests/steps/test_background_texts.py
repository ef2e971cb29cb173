from dataclasses import replace

import pytest
import torch
from generator_files import CLASS_SET, prompts_of

from semples_cli.engine.prompts import prompt_features
from semples_cli.errors import SettingsError
from semples_cli.steps.background_texts import prompt_texts, text_facts, word_texts
from semples_cli.types import ClassSet


def test_prompts_give_their_features(clip_engine):
    prompts = prompts_of(clip_engine)
    texts = prompt_texts(clip_engine, prompts, CLASS_SET)
    assert texts.features.shape == (3, clip_engine.embed_dim)
    assert not texts.features.requires_grad
    torch.testing.assert_close(texts.features, prompt_features(clip_engine, prompts).detach())
    assert texts.usable.tolist() == [True, True, True]


def test_prompts_that_could_not_be_learned_are_not_used(clip_engine):
    prompts = prompts_of(clip_engine, settings={"unlearned_classes": ["cat"]})
    assert prompt_texts(clip_engine, prompts, CLASS_SET).usable.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights_hash": "0" * 64}, "give --weights as when they were learned"),
        ({"quick_gelu": True}, "give --quick-gelu or --no-quick-gelu"),
        ({"class_names": ("boat", "cow", "dog")}, "differing: cat, cow"),
    ],
)
def test_prompts_of_another_clip_or_other_classes_are_refused(clip_engine, changes, message):
    with pytest.raises(SettingsError, match=message):
        prompt_texts(clip_engine, prompts_of(clip_engine, **changes), CLASS_SET)


def test_words_stand_for_every_class_without_those_that_are_classes(clip_engine):
    class_set = ClassSet(("boat", "tv"), ("boat", "Television"))
    texts = word_texts(clip_engine, ("sea", "Boat", "television", "sky"), class_set)
    expected = clip_engine.encode_texts(["a photo of sea.", "a photo of sky."])
    assert texts.features.shape == (2, 2, clip_engine.embed_dim)
    for features in texts.features:
        torch.testing.assert_close(features, expected)
    assert texts.usable.all()


def test_words_that_are_all_classes_are_refused(clip_engine):
    with pytest.raises(SettingsError, match="give at least one that is none"):
        word_texts(clip_engine, ("cat", "DOG"), CLASS_SET)


def test_facts_tell_prompts_and_words_apart(clip_engine):
    prompts = prompts_of(clip_engine)
    facts = [
        text_facts(prompts, ()),
        text_facts(prompts_of(clip_engine, seed=1), ()),
        text_facts(replace(prompts, template="{}"), ()),
        text_facts(replace(prompts, settings={"unlearned_classes": ["cat"]}), ()),
        text_facts(None, ("sea",)),
        text_facts(None, ("sky",)),
    ]
    assert all(one != other for i, one in enumerate(facts) for other in facts[:i])
    assert text_facts(prompts_of(clip_engine), ()) == facts[0]
