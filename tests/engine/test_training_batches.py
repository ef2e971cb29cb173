"""Batches follow from seed, epoch and image alone, whatever is read around them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_world import LABELS, SETTINGS, labelled_images, picture

from semples_cli.config import PUBLISHED_RAND_AUGMENT
from semples_cli.engine.preprocess import to_pixels
from semples_cli.engine.tower_features import DropPath
from semples_cli.engine.training_batches import LabelledImages, ViewBatches
from semples_cli.engine.views import random_view
from semples_cli.errors import DataError


@pytest.fixture
def batches_of(tiny_engine):
    def make(images=None, chosen=range(6), **settings):
        return ViewBatches(tiny_engine, images or labelled_images(), chosen, replace(SETTINGS, **settings))

    return make


def test_an_epoch_has_every_image_once_in_an_order_of_its_own(batches_of):
    batches = batches_of(epochs=3)
    assert batches.num_steps == 6
    read = list(batches.read(0))
    assert [len(batch.class_indices) for batch in read] == [4, 2] * 3
    epochs = [read[i].class_indices + read[i + 1].class_indices for i in (0, 2, 4)]
    assert all(sorted(epoch) == sorted(LABELS) for epoch in epochs)
    assert len(set(epochs)) > 1


def test_a_view_depends_on_seed_epoch_and_image_alone(batches_of, tiny_engine):
    size = tiny_engine.image_size
    for step, chosen, number in ((0, [5], 5), (1, [2, 5], 5)):
        batches = batches_of(chosen=chosen, batch_size=2)
        batch = batches.batch(step)
        view = random_view(picture(number), size, SETTINGS.crop_scale, np.random.default_rng((3, step, number)))
        pixels = to_pixels(view, (size, size), tiny_engine.preprocess.mean, tiny_engine.preprocess.std)
        assert any(torch.equal(pixels, each) for each in batch.pixels)


def test_reading_ahead_and_from_the_middle_gives_the_same(batches_of):
    batches = batches_of()
    for step, batch in enumerate(batches.read(1), 1):
        assert torch.equal(batch.pixels, batches.batch(step).pixels)
        assert batch.class_indices == batches.batch(step).class_indices
    assert step == batches.num_steps - 1


def test_nothing_is_left_to_read_at_the_end(batches_of):
    assert list(batches_of().read(4)) == []


def test_images_that_cannot_be_read_are_left_out(batches_of):
    batches = batches_of(labelled_images(broken=(0, 4)))
    assert sorted(batches.batch(0).class_indices + batches.batch(1).class_indices) == [(), (2,), (2, 3), (3,)]
    nothing = batches_of(labelled_images(broken=range(6))).batch(0)
    assert nothing.pixels.shape == (0, 3, 64, 64)
    assert nothing.class_indices == ()


def test_parts_of_a_batch(batches_of):
    batch = batches_of().batch(0)
    part = batch.part(1, 3)
    assert torch.equal(part.pixels, batch.pixels[1:3])
    assert part.class_indices == batch.class_indices[1:3]


def test_an_error_while_reading_comes_out(batches_of):
    def fail(i):
        raise DataError("no disk")

    with pytest.raises(DataError, match="no disk"):
        list(batches_of(LabelledImages(LABELS, fail)).read(0))


AUGMENTED = {"rand_augment": PUBLISHED_RAND_AUGMENT, "erasing": 1.0}


def test_augmentation_is_off_unless_asked_for(batches_of):
    plain = batches_of().batch(0).pixels
    for name, value in AUGMENTED.items():
        assert not torch.equal(batches_of(**{name: value}).batch(0).pixels, plain), name


def test_augmented_views_follow_from_seed_epoch_and_image_alone(batches_of):
    alone, together = batches_of(chosen=[5], **AUGMENTED), batches_of(chosen=[2, 5], **AUGMENTED)
    (view,) = alone.batch(0).pixels
    assert any(torch.equal(view, each) for each in together.batch(0).pixels)
    assert not torch.equal(view, alone.batch(1).pixels[0])
    for step, batch in enumerate(together.read(0)):  # in a thread of its own
        assert torch.equal(batch.pixels, together.batch(step).pixels)


def test_parts_pass_over_the_same(batches_of):
    drop_path = DropPath(0.5, torch.Generator())
    batch = replace(batches_of().batch(0), drop_path=drop_path)
    assert batch.part(0, 1).drop_path is drop_path
    assert batches_of().batch(0).drop_path is None
