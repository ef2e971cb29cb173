import numpy as np
import pytest
import torch

from semples_cli.config.tagging import TagSettings
from semples_cli.engine.tagging import ImageTagger
from semples_cli.errors import EngineError, SettingsError
from semples_cli.types import ClassSet

CLASSES = ClassSet(("boat", "cat", "dog"))


def image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_a_score_is_the_cosine_less_the_mean_of_all_texts(clip_engine):
    tagger = ImageTagger(clip_engine, CLASSES, TagSettings(background_words=("sea", "sky")))
    pixels = [tagger.pixels(image(24, 40, seed)) for seed in range(3)]
    scores = tagger.scores(pixels)
    texts = clip_engine.encode_texts([f"a photo of a {word}." for word in ("boat", "cat", "dog", "sea", "sky")])
    with torch.no_grad():
        features = clip_engine.model.encode_image(torch.stack(pixels))
    cosines = torch.nn.functional.normalize(features, dim=-1) @ texts.T
    expected = cosines[:, :3] - cosines.mean(1, keepdim=True)
    np.testing.assert_allclose(scores, expected.numpy(), atol=1e-5)
    assert (scores.shape, scores.dtype) == ((3, 3), np.float32)


def test_the_word_for_clip_is_what_is_looked_for(clip_engine):
    plain = ImageTagger(clip_engine, ClassSet(("boat", "cat")), TagSettings())
    named = ImageTagger(clip_engine, ClassSet(("ship no. 9", "cat"), ("boat", "cat")), TagSettings())
    pixels = [plain.pixels(image(8, 8))]
    np.testing.assert_array_equal(plain.scores(pixels), named.scores(pixels))


def test_a_class_does_not_compete_with_itself(clip_engine):
    tagger = ImageTagger(
        clip_engine, ClassSet(("Sea",), ("ocean",)), TagSettings(background_words=("sea", "OCEAN", "sky"))
    )
    assert tagger.background_words == ("sky",)


def test_one_class_alone_is_refused(clip_engine):
    with pytest.raises(SettingsError, match="'cat' alone has nothing to be compared with: give more classes"):
        ImageTagger(clip_engine, ClassSet(("cat",)), TagSettings(background_words=("cat",)))


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [
        ((64, 64), slice(0, 32), slice(0, 32)),
        ((24, 48), slice(8, 24), slice(0, 32)),
        ((48, 24), slice(0, 32), slice(8, 24)),
        ((1, 500), slice(15, 16), slice(0, 32)),
        ((17, 31), slice(7, 25), slice(0, 32)),
    ],
)
def test_the_whole_image_is_seen_on_the_mean_colour(clip_engine, size, rows, columns):
    tagger = ImageTagger(clip_engine, CLASSES, TagSettings())
    pixels = tagger.pixels(np.full((*size, 3), 255, np.uint8))
    assert (pixels.shape, pixels.dtype) == ((3, 32, 32), torch.float32)
    inside = torch.zeros(32, 32, dtype=torch.bool)
    inside[rows, columns] = True
    assert (pixels[:, inside] > 1).all()
    assert (pixels[:, ~inside] == 0).all()


def test_batches_do_not_change_the_scores(clip_engine):
    whole = ImageTagger(clip_engine, CLASSES, TagSettings(batch_size=8))
    single = ImageTagger(clip_engine, CLASSES, TagSettings(batch_size=1))
    pixels = [whole.pixels(image(20, 30, seed)) for seed in range(5)]
    np.testing.assert_allclose(whole.scores(pixels), single.scores(pixels), atol=1e-5)


def test_no_image_has_no_score(clip_engine):
    assert ImageTagger(clip_engine, CLASSES, TagSettings()).scores([]).shape == (0, 3)


def test_memory_that_runs_out_halves_the_batches(clip_engine, monkeypatch):
    tagger = ImageTagger(clip_engine, CLASSES, TagSettings(batch_size=8))
    pixels = [tagger.pixels(image(20, 30, seed)) for seed in range(7)]
    expected = tagger.scores(pixels)
    looked, encode = [], clip_engine.model.encode_image

    def small(batch, *args, **kwargs):
        looked.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError
        return encode(batch, *args, **kwargs)

    monkeypatch.setattr(clip_engine.model, "encode_image", small)
    np.testing.assert_allclose(tagger.scores(pixels), expected, atol=1e-5)
    assert looked == [7, 3, *[1] * 7]
    assert tagger.batch_size == 1


def test_memory_that_does_not_hold_one_image_says_so(clip_engine, monkeypatch):
    tagger = ImageTagger(clip_engine, CLASSES, TagSettings(batch_size=2))
    pixels = [tagger.pixels(image(20, 30, seed)) for seed in range(2)]

    def full(batch):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(clip_engine.model, "encode_image", full)
    with pytest.raises(EngineError, match="with a single image: give --device cpu"):
        tagger.scores(pixels)


def test_other_errors_are_not_taken_for_full_memory(clip_engine, monkeypatch):
    tagger = ImageTagger(clip_engine, CLASSES, TagSettings())

    def broken(batch):
        msg = "shapes do not match"
        raise RuntimeError(msg)

    monkeypatch.setattr(clip_engine.model, "encode_image", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        tagger.scores([torch.zeros(3, 32, 32)])
    assert tagger.batch_size == 32
