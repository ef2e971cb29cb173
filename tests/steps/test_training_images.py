import os

import numpy as np
from generator_files import samples_of
from tar_files import write_tar

from semples_cli.data.images import read_image
from semples_cli.steps.training_images import image_facts, training_images
from semples_cli.types import Sample


def test_images_and_labels_are_those_of_the_samples(photos):
    samples, notes = samples_of(photos), []
    images = training_images(samples, notes.append)
    assert list(images.class_indices) == [sample.class_indices for sample in samples]
    for i, sample in enumerate(samples):
        np.testing.assert_array_equal(images.read(i), read_image(sample.image_path))
    assert notes == []


def test_few_images_are_kept_in_memory_and_many_are_read_again(photos):
    samples = samples_of(photos)
    size = 24 * 40 * 3
    kept, read_again = (training_images(samples[:2], [].append, cache_bytes=n) for n in (2 * size, 2 * size - 1))
    for images in (kept, read_again):
        assert images.read(0) is not None
        assert images.read(1) is not None
    samples[0].image_path.unlink()
    samples[1].image_path.unlink()
    assert kept.read(1) is not None
    assert read_again.read(0) is not None  # the first is kept, for the second no memory was left
    assert read_again.read(1) is None


def test_a_broken_image_is_said_once_and_passed_over(photos):
    samples, notes = samples_of(photos), []
    samples[0].image_path.write_bytes(b"no picture")
    images = training_images([*samples, Sample("none", photos / "none.jpg", (1,))], notes.append)
    for _ in range(2):
        assert images.read(0) is None
        assert images.read(len(samples)) is None
        assert images.read(1) is not None
    assert len(notes) == 2
    assert notes[0].startswith("a/1 is left out of the training: ")
    assert notes[1].startswith("none is left out of the training: ")


def test_images_that_are_too_large_are_passed_over(photos):
    notes = []
    assert training_images(samples_of(photos), notes.append, max_pixels=10).read(0) is None
    assert "a/1 is left out" in notes[0]


def test_facts_tell_when_a_file_a_label_or_the_order_changed(photos):
    samples = samples_of(photos)
    facts = image_facts(samples)
    assert facts == image_facts(samples)
    assert image_facts(samples[::-1]) != facts
    relabelled = [Sample(samples[0].id, samples[0].image_path, (1,)), *samples[1:]]
    assert image_facts(relabelled) != facts
    os.utime(samples[0].image_path, ns=(1, 1))
    touched = image_facts(samples)
    assert touched[0] != facts[0]
    assert touched[1:] == facts[1:]
    samples[0].image_path.unlink()
    assert image_facts(samples)[0] == (samples[0].id, samples[0].class_indices, None, None)


def test_facts_of_images_in_a_tar_are_those_of_their_members(photos):
    content = (photos / "b.jpg").read_bytes()
    tar = write_tar(photos.parent / "t.tar", {"b.jpg": content})
    samples = [Sample("t/b", tar / "b.jpg", (1,)), Sample("t/none", tar / "none.jpg", ())]
    assert image_facts(samples) == [
        ("t/b", (1,), len(content), tar.stat().st_mtime_ns),
        ("t/none", (), None, None),
    ]
