"""CAMs of a generator against its own maps: scales and flips summed as they are, then stretched; batches and sizes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional
from training_world import NAMES, make_generator

from semples_cli.config import CamSettings
from semples_cli.engine.generator_cams import GeneratorCams
from semples_cli.engine.preprocess import to_pixels
from semples_cli.errors import DataError, EngineError
from semples_cli.types import ClassSet

CLASSES = ClassSet(NAMES)
SETTINGS = CamSettings(size=64, batch_size=4, background_words=(), affinity_layers="none")
RECORD = {"kind": "clip_head", "weights_sha256": "0"}


def picture(seed, size=(48, 64)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


@pytest.fixture
def generator(tiny_engine):
    return make_generator(tiny_engine)


@pytest.fixture
def cams_of(tiny_engine, generator):
    def make(images, classes, **settings):
        cams = GeneratorCams(tiny_engine, generator, CLASSES, replace(SETTINGS, **settings), RECORD)
        return cams.maps(images, classes)

    return make


def fine_of(engine, generator, image, size, flipped=False):
    pixels = to_pixels(image, size, engine.preprocess.mean, engine.preprocess.std)[None]
    with torch.no_grad():
        fine = generator.class_maps(pixels.flip(-1) if flipped else pixels).fine[0]
    return fine.flip(-1) if flipped else fine


def stretched(maps):
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    return (maps - low) / (high - low)


def test_a_cam_is_the_stretched_fine_map_of_its_class(tiny_engine, generator, cams_of):
    image = picture(0)
    (cam,) = cams_of([image], [(3, 1)])
    fine = fine_of(tiny_engine, generator, image, (48, 64)).numpy()[[2, 0]]
    assert cam.shape == (2, 6, 8)
    assert cam.dtype == np.float32
    np.testing.assert_allclose(cam, stretched(fine), atol=1e-5)


def test_scales_and_flips_are_summed_before_they_are_stretched(tiny_engine, generator, cams_of):
    image = picture(1, (64, 64))
    (cam,) = cams_of([image], [(1, 2, 3)], scales=(1.0, 0.5), flips=True)
    total = torch.zeros(3, 8, 8)
    for size in ((64, 64), (32, 32)):
        for flipped in (False, True):
            fine = fine_of(tiny_engine, generator, image, size, flipped)
            total += functional.interpolate(fine[None], size=(8, 8), mode="bilinear", align_corners=False)[0]
    np.testing.assert_allclose(cam, stretched(total.numpy()), atol=1e-5)


def test_any_batch_gives_the_same(cams_of):
    images = [picture(0), picture(1, (64, 64)), picture(2), picture(3, (17, 31))]
    classes = [(1,), (1, 2, 3), (2, 3), ()]
    whole = cams_of(images, classes)
    assert [cam.shape for cam in whole] == [(1, 6, 8), (3, 8, 8), (2, 6, 8), (0, 3, 4)]
    for one, other in zip(whole, cams_of(images, classes, batch_size=1), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_class_that_is_seen_nowhere_has_an_empty_map(generator, cams_of):
    with torch.no_grad():
        generator.network.head.weight[1] = 0
        generator.network.head.bias[1] = -1
    (cam,) = cams_of([picture(0)], [(2, 3)])
    assert (cam[0] == 0).all()
    assert cam[1].max() == 1


def test_no_gradient_is_kept(generator, cams_of):
    cams_of([picture(0)], [(1,)])
    assert all(parameter.grad is None for parameter in generator.network.parameters())


def test_what_it_says_about_itself(tiny_engine, generator):
    cams = GeneratorCams(tiny_engine, generator, CLASSES, SETTINGS, RECORD)
    assert cams.record == RECORD
    assert cams.background_words == ()
    assert cams.settings == SETTINGS
    assert cams.grid_size((48, 64)) == (6, 8)


def test_classes_that_it_does_not_have_are_refused(cams_of):
    with pytest.raises(DataError, match=r"must lie in 1\.\.3"):
        cams_of([picture(0)], [(4,)])


def test_a_full_memory_halves_the_batch_and_at_last_is_said(tiny_engine, generator, monkeypatch):
    cams = GeneratorCams(tiny_engine, generator, CLASSES, SETTINGS, RECORD)
    expected = cams.maps([picture(i) for i in range(4)], [(1,)] * 4)
    real, most = generator.class_maps, 2

    def full(pixels, columns=None):
        if len(pixels) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(pixels, columns)

    monkeypatch.setattr(generator, "class_maps", full)
    for one, other in zip(cams.maps([picture(i) for i in range(4)], [(1,)] * 4), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert cams.batch_size == 2
    most = 0
    with pytest.raises(EngineError, match="single image at size 64: give a smaller --size, or --device cpu"):
        cams.maps([picture(0)], [(1,)])


def test_classes_without_a_map_are_counted_over_all_calls(tiny_engine, generator):
    with torch.no_grad():
        generator.network.head.bias[1] = -1e6
    cams = GeneratorCams(tiny_engine, generator, CLASSES, SETTINGS, RECORD)
    assert cams.never_found == {}
    cams.maps([picture(0), picture(1)], [(1, 2), (2,)])
    cams.maps([picture(2)], [(2, 3)])
    assert cams.never_found == {2: 3}
    with torch.no_grad():
        generator.network.head.bias[1] = 10
    cams.maps([picture(0)], [(2,)])
    assert cams.never_found == {}
