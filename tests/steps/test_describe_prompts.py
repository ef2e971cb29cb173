"""Prompts that are made of a real word's tokens are described by that word; what is warned of and what is not."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from semples_cli.artifacts.prompts_file import NO_TRAINING, PromptTraining
from semples_cli.engine.prompts import PromptEncoder
from semples_cli.errors import SettingsError
from semples_cli.steps import describe_prompts as module
from semples_cli.steps.describe_prompts import (
    OWN_CLASS_MARGIN,
    PromptDescription,
    describe_prompts,
    descriptions_as_dict,
    training_as_dict,
)
from semples_cli.types import PromptSet

CLASSES = ("boat", "cat", "dog")
NOUNS = ("sea", "boat", "grass", "wall")


@pytest.fixture
def prompts_of(clip_engine):
    """Prompts that read 'a photo of {word}.', of one-token words."""

    def make(*words, **changes):
        ids = [clip_engine.tokenizer([word])[0, 1:2] for word in words]
        vectors = clip_engine.model.token_embedding(torch.stack(ids)).detach().numpy()
        record = clip_engine.record
        made = PromptSet(
            class_names=CLASSES[: len(words)],
            prompt_names=CLASSES[: len(words)],
            vectors=vectors,
            clip_name=record["model"],
            weights_hash=record["weights_sha256"],
            quick_gelu=record["quick_gelu"],
        )
        return replace(made, **changes)

    return make


@pytest.fixture
def planted(monkeypatch, clip_engine, prompts_of):
    """Describe prompts whose similarities to classes and nouns are given by hand."""

    def describe(to_classes, to_nouns, nouns=NOUNS, **changes):
        to_classes, to_nouns = torch.tensor(to_classes), torch.tensor(to_nouns)
        prompts = prompts_of(*CLASSES[: len(to_classes)], **changes)
        encoded = iter([to_classes.T, to_nouns.T])
        monkeypatch.setattr(module, "prompt_features", lambda engine, prompts: torch.eye(len(to_classes)))
        monkeypatch.setattr(type(clip_engine), "encode_texts", lambda self, texts: next(encoded))
        return describe_prompts(prompts, clip_engine, nouns)

    return describe


@pytest.fixture
def as_sentences(monkeypatch):
    """Let prompts end in token 269, the full stop of tokenised sentences, so that they can equal one."""

    def encode(engine, prompts):
        with torch.no_grad():
            return PromptEncoder(engine, after=(269, 49407))(torch.from_numpy(prompts.vectors))

    monkeypatch.setattr(module, "prompt_features", encode)


def test_a_prompt_of_a_word_s_own_tokens_is_that_word(prompts_of, clip_engine, as_sentences):
    words = ("sea", "wall", "grass")
    described = describe_prompts(prompts_of(*words), clip_engine, NOUNS, top=2)
    assert [each.class_name for each in described] == list(CLASSES)
    for each, word in zip(described, words, strict=True):
        assert each.learned
        assert not each.describes_own_class
        assert each.nouns[0] == (word, pytest.approx(1, abs=1e-6))
        assert len(each.nouns) == 2
        assert each.nouns[1][1] < 0.99


def test_a_prompt_of_its_own_class_is_warned_of(prompts_of, clip_engine, as_sentences):
    boat, cat, dog = describe_prompts(prompts_of("boat", "sea", "boat"), clip_engine, NOUNS)
    assert boat.describes_own_class
    assert boat.nearest_class == ("boat", pytest.approx(1, abs=1e-6))
    assert not cat.describes_own_class
    assert not dog.describes_own_class  # it is another class
    assert dog.nearest_class[0] == "boat"


def test_similarities_are_cosines_of_text_features(prompts_of, clip_engine):
    (boat, *_) = describe_prompts(prompts_of("sea", "wall", "grass"), clip_engine, NOUNS, top=9)
    feature = module.prompt_features(clip_engine, prompts_of("sea"))[0]
    texts = clip_engine.encode_texts([f"a photo of {word}." for word in (*NOUNS, *CLASSES)])
    expected = dict(zip((*NOUNS, *CLASSES), (texts @ feature).tolist(), strict=True))
    assert dict(boat.nouns) == pytest.approx({noun: expected[noun] for noun in NOUNS}, abs=1e-6)
    assert boat.own_similarity == pytest.approx(expected["boat"], abs=1e-6)
    name, value = boat.nearest_class
    assert value == pytest.approx(max(expected[each] for each in CLASSES), abs=1e-6)
    assert expected[name] == pytest.approx(value, abs=1e-6)


def test_the_words_for_clip_and_not_the_class_names_are_compared(prompts_of, clip_engine, as_sentences):
    prompts = prompts_of("sea", class_names=("Boote",), prompt_names=("sea",))
    (described,) = describe_prompts(prompts, clip_engine, ("wall",))
    assert described.class_name == described.nearest_class[0] == "Boote"
    assert described.own_similarity == pytest.approx(1, abs=1e-6)


OTHERS = [[0.1, 0.5, 0.2], [0.1, 0.2, 0.5]]


@pytest.mark.parametrize(
    ("own", "rival", "nouns", "warned"),
    [
        (0.9, 0.5, [0.3, 0.1, 0.2, 0.2], True),
        (0.9, 0.5, [0.3, 0.95, 0.2, 0.2], True),  # the noun is the class's own name
        (0.9, 0.5, [0.95, 0.1, 0.2, 0.2], False),  # it is nearer to 'sea'
        (0.9, 0.95, [0.3, 0.1, 0.2, 0.2], False),  # it is nearer to another class
        (0.9, 0.9 - OWN_CLASS_MARGIN / 2, [0.3, 0.1, 0.2, 0.2], False),  # hardly nearer than another class
    ],
)
def test_what_is_warned_of(planted, own, rival, nouns, warned):
    boat, cat, _ = planted([[own, rival, 0.1], *OTHERS], [nouns, [0.9, 0.1, 0.2, 0.3], [0.1, 0.2, 0.9, 0.3]])
    assert boat.describes_own_class is warned
    assert not cat.describes_own_class
    assert boat.own_similarity == pytest.approx(own)
    assert boat.nearest_class == (("boat", "cat")[rival > own], pytest.approx(max(own, rival)))


def test_nouns_come_nearest_first_and_equal_ones_in_their_order(planted):
    (only,) = planted([[0.1]], [[0.2, 0.4, 0.4, 0.3]])
    assert [noun for noun, _ in only.nouns] == ["boat", "grass", "wall", "sea"]


def test_a_single_class_has_no_rival(planted):
    (only,) = planted([[0.9]], [[0.2, 0.4, 0.4, 0.3]])
    assert only.describes_own_class
    assert only.nearest_class[0] == "boat"


def test_a_list_of_nothing_but_the_class_s_name(planted):
    (only,) = planted([[0.9]], [[0.9]], nouns=("Boat",))
    assert only.describes_own_class
    assert only.nouns[0][0] == "Boat"


def test_a_prompt_that_was_not_learned_is_said_and_not_warned_of(planted):
    settings = {"unlearned_classes": ["boat"]}
    (only,) = planted([[0.9]], [[0.2, 0.4, 0.4, 0.3]], settings=settings)
    assert not only.learned
    assert not only.describes_own_class


def test_prompts_of_another_clip_are_refused(prompts_of, clip_engine):
    with pytest.raises(SettingsError, match="give --weights as when they were learned"):
        describe_prompts(prompts_of("sea", weights_hash="0" * 64), clip_engine, NOUNS)
    with pytest.raises(SettingsError, match="give --quick-gelu or --no-quick-gelu"):
        describe_prompts(prompts_of("sea", quick_gelu=True), clip_engine, NOUNS)


@pytest.mark.parametrize(("nouns", "top"), [((), 5), (NOUNS, 0)])
def test_nothing_to_choose_from_is_refused(prompts_of, clip_engine, nouns, top):
    with pytest.raises(SettingsError, match="give at least one, and ask for 1 or more"):
        describe_prompts(prompts_of("sea"), clip_engine, nouns, top=top)


def test_clip_and_prompts_stay_as_they_were(prompts_of, clip_engine):
    prompts = prompts_of("sea", "wall", "grass")
    before = prompts.vectors.copy()
    first = describe_prompts(prompts, clip_engine, NOUNS)
    np.testing.assert_array_equal(prompts.vectors, before)
    assert describe_prompts(prompts, clip_engine, NOUNS) == first
    assert all(parameter.grad is None for parameter in clip_engine.model.parameters())


def test_descriptions_as_json_values():
    boat = PromptDescription("boat", True, (("sea", 0.5), ("sky", 0.25)), ("cat", 0.75), 0.125, False)
    trains = PromptDescription("Züge", False, (), ("Züge", 1.0), 1.0, True)
    assert descriptions_as_dict([boat, trains]) == {
        "prompts": [
            {
                "class": "boat",
                "learned": True,
                "nouns": [{"noun": "sea", "similarity": 0.5}, {"noun": "sky", "similarity": 0.25}],
                "nearest_class": "cat",
                "nearest_class_similarity": 0.75,
                "own_similarity": 0.125,
                "describes_own_class": False,
            },
            {
                "class": "Züge",
                "learned": False,
                "nouns": [],
                "nearest_class": "Züge",
                "nearest_class_similarity": 1.0,
                "own_similarity": 1.0,
                "describes_own_class": True,
            },
        ]
    }


LOSSES = [1.0, 4.0, 0.0, -1.0, math.inf, 0.0]


@pytest.mark.parametrize(
    ("facts", "losses", "means"),
    [
        ({"num_pairs": 3, "batch_size": 2}, LOSSES, [2.0, -1 / 3, None]),
        ({"num_pairs": 9, "batch_size": 3}, LOSSES[:3], [5 / 3]),
        ({"num_pairs": 1, "batch_size": 128}, LOSSES[:2], [1.0, 4.0]),
        ({"num_pairs": 3, "batch_size": 2}, [], []),
        ({"num_pairs": 3}, LOSSES, []),
        ({"batch_size": 2}, LOSSES, []),
        ({"num_pairs": 0, "batch_size": 2}, LOSSES, []),
        ({"num_pairs": 3, "batch_size": "2"}, LOSSES, []),
    ],
)
def test_the_training_as_json_values(prompts_of, facts, losses, means):
    prompts = prompts_of("sea", settings={"seed": 4, **facts})
    described = training_as_dict(prompts, PromptTraining({"loss": losses}))
    assert described["settings"] == {"seed": 4, **facts}
    assert described["loss_by_epoch"] == [mean if mean is None else pytest.approx(mean) for mean in means]
    json.dumps(described, allow_nan=False)


def test_prompts_that_were_not_trained_have_no_loss(prompts_of):
    assert training_as_dict(prompts_of("sea"), NO_TRAINING) == {"settings": {}, "loss_by_epoch": []}
