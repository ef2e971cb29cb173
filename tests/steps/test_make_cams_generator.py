"""`make_cams` with a trained generator: its maps are written, and its identity is part of what a run may go on with."""

import numpy as np
import pytest
import torch
from small_world import CLASSES, PHOTOS

from semples_cli.artifacts.cam_store import find_cams, read_cam, stored_scores
from semples_cli.artifacts.run_folder import read_run_record
from semples_cli.config import CamSettings, GeneratorSettings
from semples_cli.data.images import read_image
from semples_cli.engine.generator_cams import GeneratorCams
from semples_cli.engine.generators.clip_head import ClipGenerator, build_clip_head
from semples_cli.errors import SettingsError
from semples_cli.steps.make_cams import make_cams
from semples_cli.steps.progress import silent
from semples_cli.types import ClassSet, Sample

CLASS_SET = ClassSet(CLASSES)
SETTINGS = CamSettings(size=40, batch_size=2, affinity_layers="none")


@pytest.fixture
def generator_of(clip_engine):
    def make(seed=0, settings=SETTINGS):
        head = build_clip_head(clip_engine, len(CLASS_SET), GeneratorSettings(seed=seed))
        record = {"kind": "clip_head", "weights_sha256": f"hash of {seed}"}
        return GeneratorCams(clip_engine, ClipGenerator(clip_engine, head), CLASS_SET, settings, record)

    return make


@pytest.fixture
def make(photos, clip_engine):
    def run(generator, settings=SETTINGS, **options):
        samples = [
            Sample(sample_id, photos / f"{sample_id}.jpg", tuple(CLASS_SET.index_of(name) for name in names))
            for sample_id, (_, names) in PHOTOS.items()
        ]
        options = {"progress": silent, "inputs": (photos,), "generator": generator, **options}
        return make_cams(samples, CLASS_SET, clip_engine, photos.parent / "out", settings, **options)

    run.out, run.photos = photos.parent / "out", photos
    return run


def test_the_cams_are_those_of_the_generator(make, generator_of):
    assert make(generator_of()).written == len(PHOTOS)
    for sample_id, path in find_cams(make.out).items():
        image = read_image(make.photos / f"{sample_id}.jpg")
        classes = [CLASS_SET.index_of(name) for name in PHOTOS[sample_id][1]]
        (expected,) = generator_of().maps([image], [classes])
        np.testing.assert_allclose(read_cam(path, sample_id).scores, stored_scores(expected), atol=2e-3)


def test_the_record_names_the_generator(make, generator_of):
    make(generator_of())
    assert read_run_record(make.out)["generator"] == {"kind": "clip_head", "weights_sha256": "hash of 0"}
    make(None, overwrite=True)
    assert "generator" not in read_run_record(make.out)


def test_the_same_generator_goes_on_and_another_makes_all_again(make, generator_of):
    notes = []
    make(generator_of())
    assert make(generator_of(), note=notes.append).resumed == len(PHOTOS)
    assert notes == []
    summary = make(generator_of(seed=1), note=notes.append)
    assert (summary.written, summary.resumed) == (len(PHOTOS), 0)
    assert "because of other generator" in notes[0]


@pytest.mark.parametrize("generator_first", [True, False])
def test_seeds_and_generators_do_not_go_on_with_each_other(make, generator_of, generator_first):
    notes = []
    one, other = (generator_of(), None) if generator_first else (None, generator_of())
    make(one)
    assert make(other, note=notes.append).written == len(PHOTOS)
    assert "other generator" in notes[0]


def test_nothing_is_said_about_words_that_a_generator_does_not_read(make, generator_of):
    notes, settings = [], CamSettings(size=40, batch_size=2, background_words=("boat",))
    make(generator_of(settings=settings), settings, note=notes.append)
    assert notes == []


def test_a_generator_of_other_settings_is_refused(make, generator_of):
    with pytest.raises(SettingsError, match="give both the same"):
        make(generator_of(settings=CamSettings(size=32)))


def test_a_class_that_is_found_nowhere_is_named(make, generator_of):
    """As training may leave it: its logits are below 0 everywhere."""
    generator, notes = generator_of(), []
    lost = CLASS_SET.index_of(PHOTOS[next(iter(PHOTOS))][1][0])
    with torch.no_grad():
        generator._generator.network.head.bias[lost - 1] = -1e6
    make(generator, note=notes.append)
    count = sum(CLASS_SET.names[lost - 1] in names for _, names in PHOTOS.values())
    assert len(notes) == 1
    assert f"(how many): {CLASS_SET.names[lost - 1]} ({count}); check their labels" in notes[0]
