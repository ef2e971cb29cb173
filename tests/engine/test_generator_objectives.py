"""The terms against accounts in float64 numpy written apart; parts of a batch add up to the whole."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional
from training_world import NAMES, SETTINGS, labelled_images, make_generator

from semples_cli.engine import generator_objectives
from semples_cli.engine.generator_objectives import (
    BackgroundTexts,
    ClassificationObjective,
    RegionObjective,
    _pairs,
)
from semples_cli.engine.generator_training import encode_labels
from semples_cli.engine.region_features import encode_regions
from semples_cli.engine.training_batches import ViewBatch, ViewBatches
from semples_cli.functional.losses import matching_loss
from semples_cli.functional.regions import cut_regions, region_maps


@pytest.fixture
def generator(tiny_engine):
    return make_generator(tiny_engine)


@pytest.fixture
def batch(tiny_engine):
    """Four images, one of them perhaps without a class."""
    return ViewBatches(tiny_engine, labelled_images(), [0, 1, 3, 4], SETTINGS).batch(0)


def texts_of(engine, words=0, usable=(True, True, True)):
    shape = (3, words, engine.embed_dim) if words else (3, engine.embed_dim)
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(5))
    return BackgroundTexts(functional.normalize(drawn, dim=-1), torch.tensor(usable))


def test_classification_against_a_plain_account(tiny_engine, generator, batch):
    batch = ViewBatch(batch.pixels, ((1,), (), (2, 3), (1, 2, 3)))
    objective = ClassificationObjective(tiny_engine, 3)
    assert objective.num_items(batch) == 4
    assert dict(objective.weights) == {"coarse": 1.0, "fine": 1.0}
    terms = objective.terms(generator, batch)
    maps = generator.class_maps(batch.pixels)
    targets = np.array([[1, 0, 0], [0, 0, 0], [0, 1, 1], [1, 1, 1]])
    for name, values in (("coarse", maps.coarse), ("fine", maps.fine)):
        logits = values.detach().numpy().astype(np.float64).mean((2, 3))
        chances = 1 / (1 + np.exp(-logits))
        expected = -(targets * np.log(chances) + (1 - targets) * np.log(1 - chances)).mean()
        assert float(terms[name].detach()) == pytest.approx(expected, rel=1e-5)


def plain_terms(engine, generator, batch, settings, texts=None, usable=(True,) * 3):
    """Pair by pair: map, resize with aligned corners, min-max, sharpen, cut, encode, logarithm."""
    labels = encode_labels(engine, NAMES).numpy().astype(np.float64)
    found = {"foreground": [], "background": [], "refinement": [], "range": []}
    for image, indices in zip(batch.pixels, batch.class_indices, strict=True):
        fine = generator.class_maps(image[None]).fine[0].detach()
        for k in indices:
            large = functional.interpolate(fine[None, None, k - 1], size=64, mode="bilinear", align_corners=True)[0, 0]
            cut = (large - large.min()) / (large.max() - large.min() + settings.region_epsilon)
            if settings.region_sharpness:
                cut = 1 / (1 + torch.exp(-settings.region_sharpness * (cut - 0.5)))
            inside, outside = (
                encode_regions(engine, (image * weight)[None])[0].detach().numpy().astype(np.float64)
                for weight in (cut, 1 - cut)
            )
            found["range"].append(float(fine[k - 1].max() - fine[k - 1].min()))
            found["foreground"].append(-np.log((1 + inside @ labels[k - 1]) / 2))
            found["background"].append(-np.log(1 - (1 + outside @ labels[k - 1]) / 2))
            if texts is not None:
                own = np.atleast_2d(texts[k - 1].numpy().astype(np.float64))
                pushes = [-np.log(1 - (1 + inside @ text) / 2) for text in own]
                found["refinement"].append(np.mean(pushes) if usable[k - 1] else 0.0)
    return {name: np.mean(values) for name, values in found.items() if values}


@pytest.mark.parametrize("words", [0, 4])
@pytest.mark.parametrize("usable", [(True, True, True), (True, False, True), (False, False, False)])
def test_regions_against_a_plain_account(tiny_engine, generator, batch, words, usable):
    texts = texts_of(tiny_engine, words, usable)
    objective = RegionObjective(tiny_engine, encode_labels(tiny_engine, NAMES), SETTINGS, texts)
    assert dict(objective.weights) == {"foreground": 1.0, "background": 0.3, "range": 0.0, "refinement": 0.15}
    assert objective.num_items(batch) == 7
    terms = objective.terms(generator, batch)
    expected = plain_terms(tiny_engine, generator, batch, SETTINGS, texts.features, usable)
    for name, value in terms.items():
        assert float(value.detach()) == pytest.approx(expected[name], rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("sharpness", [0.0, 8.0])
def test_maps_are_sharpened_before_they_cut(monkeypatch, tiny_engine, generator, batch, sharpness):
    """0 is the published way; what goes into CLIP is looked at, for a random CLIP hardly tells regions apart."""
    cut = []
    monkeypatch.setattr(generator_objectives, "cut_regions", lambda x, maps: cut.append(maps) or cut_regions(x, maps))
    settings = replace(SETTINGS, region_sharpness=sharpness)
    RegionObjective(tiny_engine, encode_labels(tiny_engine, NAMES), settings).terms(generator, batch)
    rows, slots, _, columns = _pairs(batch.class_indices)
    soft = region_maps(generator.class_maps(batch.pixels, columns).fine[rows, slots], (64, 64), settings.region_epsilon)
    expected = soft if sharpness == 0 else torch.sigmoid(8 * (soft - 0.5))
    torch.testing.assert_close(cut[0], expected)
    assert expected.max() > 0.6


def test_without_texts_there_is_matching_alone(tiny_engine, generator, batch):
    objective = RegionObjective(tiny_engine, encode_labels(tiny_engine, NAMES), SETTINGS)
    terms = objective.terms(generator, batch)
    assert set(terms) == set(objective.weights) == {"foreground", "background", "range"}
    assert terms["foreground"].requires_grad
    assert not terms["range"].requires_grad


def test_the_weighted_terms_are_the_matching_loss():
    foreground, background = torch.rand(5), torch.rand(5)
    pull, push = -foreground.log().mean(), -(1 - background).log().mean()
    torch.testing.assert_close(matching_loss(foreground, background, 2.4), pull + 2.4 * push)


def test_parts_weighted_by_their_items_add_up_to_the_whole(tiny_engine, generator, batch):
    texts = texts_of(tiny_engine, 2, (True, False, True))
    for objective in (
        ClassificationObjective(tiny_engine, 3),
        RegionObjective(tiny_engine, encode_labels(tiny_engine, NAMES), SETTINGS, texts),
    ):
        whole = objective.terms(generator, batch)
        parts = [batch.part(0, 1), batch.part(1, 4)]
        for name, value in whole.items():
            summed = sum(
                objective.terms(generator, part)[name] * objective.num_items(part) / objective.num_items(batch)
                for part in parts
            )
            torch.testing.assert_close(summed, value, rtol=1e-4, atol=1e-6)


def test_pairs_by_hand():
    rows, slots, classes, columns = _pairs([(2,), (), (1, 3)])
    assert rows.tolist() == [0, 2, 2]
    assert slots.tolist() == [0, 0, 1]
    assert classes.tolist() == [1, 0, 2]
    assert columns.tolist() == [[1, 0], [0, 0], [0, 2]]


def test_the_label_text_is_a_photo_of_the_class(tiny_engine):
    torch.testing.assert_close(
        encode_labels(tiny_engine, ("cat", "{}")), tiny_engine.encode_texts(["a photo of cat.", "a photo of {}."])
    )
