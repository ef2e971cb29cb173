"""Which images go with which CAMs: the label decides, what cannot be used is said, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from generator_files import CLASS_SET, samples_of

from semples_cli.artifacts.cam_store import find_cams, read_cam
from semples_cli.config import CamSettings
from semples_cli.data.images import read_image
from semples_cli.errors import ArtifactError, DataError
from semples_cli.steps.cam_source import open_cams
from semples_cli.steps.make_cams import make_cams
from semples_cli.steps.mapped_images import given_cams, mapped_images
from semples_cli.steps.progress import silent
from semples_cli.types import ClassSet


@pytest.fixture
def run(photos, clip_engine, tmp_path):
    """A run folder with CAMs of the photos."""
    settings = CamSettings(size=32, affinity_layers="none")
    make_cams(samples_of(photos), CLASS_SET, clip_engine, tmp_path / "run", settings, progress=silent)
    return tmp_path / "run"


def test_image_and_maps_are_those_of_the_files_in_the_order_of_the_labels(run, photos):
    samples, notes = samples_of(photos), []
    source = given_cams(run, samples, CLASS_SET)
    assert source.paths == find_cams(run)
    images = mapped_images(samples, source, 10**9, notes.append)
    labelled = [sample for sample in samples if sample.class_indices]
    assert list(images.class_indices) == [sample.class_indices for sample in labelled]
    for i, sample in enumerate(labelled):
        image, maps = images.read(i)
        cam = read_cam(source.paths[sample.id], sample.id)
        np.testing.assert_array_equal(image, read_image(sample.image_path))
        for k, of_class in zip(sample.class_indices, maps, strict=True):
            np.testing.assert_array_equal(of_class, cam.scores[cam.class_indices.tolist().index(k)])
    assert notes == []


def test_too_large_an_image_is_left_out_and_said(run, photos):
    notes = []
    assert mapped_images(samples_of(photos), open_cams(run, CLASS_SET), 10, notes.append).read(0) is None
    assert len(notes) == 1
    assert " is left out: " in notes[0]


def test_labelled_images_without_cam_are_counted(run, photos):
    notes, samples = [], samples_of(photos)
    images = mapped_images([*samples, replace(samples[0], id="new")], open_cams(run, CLASS_SET), 10**9, notes.append)
    assert notes == ["1 labelled images have no CAM and are left out, the first of them new"]
    assert len(images.class_indices) == sum(bool(sample.class_indices) for sample in samples)


def test_cams_of_other_images_are_refused(run, photos):
    samples = [replace(sample, id=f"other/{sample.id}") for sample in samples_of(photos)]
    with pytest.raises(DataError, match="no labelled image has a CAM: give the --cams folder that was made of these"):
        given_cams(run, samples, CLASS_SET)


def test_cams_of_other_classes_are_refused_where_the_folder_says_its_classes(run, photos):
    turned = ClassSet(CLASS_SET.names[::-1])
    with pytest.raises(ArtifactError, match="give its class list by --classes"):
        given_cams(run, samples_of(photos), turned)
    assert len(given_cams(run / ".semples/cams", samples_of(photos), turned).paths) == 5
