import math

import numpy as np
import pytest
import torch

from semples_cli.config.tagging import TagSettings
from semples_cli.engine.region_match import RegionMatcher
from semples_cli.errors import SettingsError
from semples_cli.types import ClassSet

CLASSES = ClassSet(("boat", "train", "bird"))
SETTINGS = TagSettings(background_words=("sky", "sea", "boat"))


@pytest.fixture
def matcher(tiny_engine):
    return RegionMatcher(tiny_engine, CLASSES, SETTINGS)


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(1, 255, (height, width, 3), np.uint8)


def test_the_probability_is_clip_s_among_classes_and_background_words(matcher, tiny_engine):
    image, mask = picture(64, 64), np.zeros((64, 64), np.uint8)
    mask[10:40, 5:60] = 2
    (region,) = matcher.regions(image, mask, [2])
    words = ("boat", "train", "bird", "sky", "sea")  # the word that is a class does not compete with it
    assert matcher.background_words == ("sky", "sea")
    texts = tiny_engine.encode_texts([SETTINGS.template.replace("{}", word) for word in words])
    with torch.no_grad():
        feature = torch.nn.functional.normalize(tiny_engine.model.encode_image(region[None]), dim=-1)
    expected = (100 * feature @ texts.T).softmax(-1)[0]
    for index in (1, 2, 3):
        (found,) = matcher.confidences([region], [index])
        assert found == pytest.approx(float(expected[index - 1]), rel=1e-4)


def test_the_probability_by_hand(matcher, monkeypatch):
    # Three classes and two background words; the second region is like none more than any other.
    cosines = np.array([[0.30, 0.28, 0.25, 0.29, 0.10], [0.2] * 5], np.float32)
    monkeypatch.setattr(matcher._tagger, "cosines", lambda regions: cosines)
    total = 1 + math.exp(-2) + math.exp(-5) + math.exp(-1) + math.exp(-20)
    found = matcher.confidences([torch.zeros(1)] * 2, [2, 3])
    assert found.tolist() == pytest.approx([math.exp(-2) / total, 0.2], rel=1e-4)


def test_all_but_the_region_is_clip_s_mean_colour(matcher):
    image, mask = picture(64, 64), np.zeros((64, 64), np.uint8)
    mask[:32], mask[32:, :16] = 1, 3
    first, third = matcher.regions(image, mask, [1, 3])
    whole = matcher._tagger.pixels(image)
    np.testing.assert_array_equal(first[:, :32], whole[:, :32])
    assert not first[:, 32:].any()
    np.testing.assert_array_equal(third[:, 32:, :16], whole[:, 32:, :16])
    assert not third[:, :32].any()
    assert not third[:, :, 16:].any()


@pytest.mark.parametrize("size", [(32, 128), (128, 32), (100, 100), (10, 40)])
def test_the_region_lies_where_the_image_lies_in_the_square(matcher, size):
    image = picture(*size)
    (all_of_it,) = matcher.regions(image, np.ones(size, np.uint8), [1])
    np.testing.assert_array_equal(all_of_it, matcher._tagger.pixels(image))


@pytest.mark.parametrize(
    ("size", "placed"),
    [  # of CLIP's square of 64: size there, and left, right, top, bottom
        ((64, 64), ((64, 64), (0, 0, 0, 0))),
        ((100, 50), ((64, 32), (16, 16, 0, 0))),
        ((25, 100), ((16, 64), (0, 0, 24, 24))),
        ((64, 63), ((64, 63), (0, 1, 0, 0))),
        ((1000, 1), ((64, 1), (31, 32, 0, 0))),
    ],
)
def test_an_image_lies_whole_in_the_middle_of_the_square(matcher, tiny_engine, size, placed):
    assert tiny_engine.image_size == 64
    assert matcher._tagger.place(size) == placed


def test_a_speck_does_not_vanish_when_the_image_is_made_small(matcher):
    mask = np.zeros((640, 640), np.uint8)
    mask[321, 17] = 1
    (region,) = matcher.regions(picture(640, 640), mask, [1])
    assert region.any(0).sum() == 1
    assert region[:, 32, 1].any()


def test_regions_together_have_the_confidences_that_they_have_alone(matcher):
    regions = [matcher.regions(picture(64, 64, i), np.ones((64, 64), np.uint8), [1])[0] for i in range(3)]
    together = matcher.confidences(regions, [1, 2, 3])
    alone = [matcher.confidences([region], [k])[0] for region, k in zip(regions, (1, 2, 3), strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-4)
    assert ((together > 0) & (together < 1)).all()


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_each_region_is_looked_at_once_in_batches_of_the_settings(tiny_engine, monkeypatch, batch_size):
    matcher = RegionMatcher(tiny_engine, CLASSES, TagSettings(background_words=("sky",), batch_size=batch_size))
    regions = [matcher.regions(picture(64, 64, i), np.ones((64, 64), np.uint8), [1])[0] for i in range(5)]
    sizes, whole = [], matcher._tagger._cosines
    monkeypatch.setattr(matcher._tagger, "_cosines", lambda batch: sizes.append(len(batch)) or whole(batch))
    found = matcher.confidences(regions, [1, 2, 3, 1, 2])
    assert sizes == [min(batch_size, 5 - start) for start in range(0, 5, batch_size)]
    alone = [matcher.confidences([region], [k])[0] for region, k in zip(regions, (1, 2, 3, 1, 2), strict=True)]
    np.testing.assert_allclose(found, alone, rtol=1e-4)


def test_no_region_has_no_confidence(matcher):
    assert matcher.regions(picture(8, 8), np.zeros((8, 8), np.uint8), []) == []
    assert matcher.confidences([], []).shape == (0,)


def test_one_class_alone_has_nothing_to_be_compared_with(tiny_engine):
    with pytest.raises(SettingsError, match="or --background-words voc"):
        RegionMatcher(tiny_engine, ClassSet(("boat",)), TagSettings())
