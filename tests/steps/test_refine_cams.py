"""Refinement as a whole: weights and masks in one folder, gone on with, and refused before anything expensive."""

from dataclasses import replace

import numpy as np
import pytest
from generator_files import CLASS_SET, SETTINGS, prompts_of, samples_of
from small_world import PHOTOS

from semples_cli.artifacts.cam_store import find_cams, read_cam, stored_scores
from semples_cli.artifacts.generator_file import read_generator
from semples_cli.artifacts.mask_png import find_masks
from semples_cli.artifacts.run_folder import RunFolder, read_run_record
from semples_cli.artifacts.run_lock import lock_run
from semples_cli.config import CamSettings
from semples_cli.data.images import read_image
from semples_cli.engine.generator_cams import GeneratorCams
from semples_cli.errors import ArtifactError, SettingsError
from semples_cli.steps.generator_weights import load_generator
from semples_cli.steps.make_cams import make_cams
from semples_cli.steps.mapped_images import given_cams
from semples_cli.steps.progress import silent
from semples_cli.steps.refine_cams import fitted_folder, fitted_path, refine_cams
from semples_cli.steps.train_generator import train_generator
from semples_cli.types import ClassSet

CAMS = CamSettings(size=32, batch_size=2, affinity_layers="none")


@pytest.fixture
def refine(photos, clip_engine, tmp_path):
    initial = tmp_path / "initial.safetensors"
    train_generator("initial", samples_of(photos), CLASS_SET, clip_engine, initial, SETTINGS, progress=silent)

    def run(
        settings=SETTINGS, cam_settings=CAMS, class_set=CLASS_SET, prompts=None, out=None, initial=initial, **options
    ):
        options = {"progress": silent, "training_progress": silent, **options}
        return refine_cams(
            samples_of(photos),
            class_set,
            clip_engine,
            prompts or prompts_of(clip_engine),
            initial,
            out or run.out,
            settings,
            cam_settings,
            **options,
        )

    run.out, run.photos = tmp_path / "refined", photos
    run.weights = run.out / ".semples" / "generator.safetensors"
    return run


def test_masks_cams_and_weights_lie_in_the_folder(refine, clip_engine):
    summary = refine()
    assert (summary.written, summary.failed) == (len(PHOTOS), ())
    assert set(find_masks(refine.out)) == set(PHOTOS)
    generator, weights = load_generator(refine.weights, clip_engine, CLASS_SET)
    assert weights.stage == "refined"
    cams = GeneratorCams(clip_engine, generator, CLASS_SET, CAMS, weights.record)
    for sample in samples_of(refine.photos):
        (expected,) = cams.maps([read_image(sample.image_path)], [sample.class_indices])
        cam = read_cam(find_cams(refine.out)[sample.id], sample.id)
        np.testing.assert_allclose(cam.scores, stored_scores(expected), atol=2e-3)


def test_the_record_says_how_it_was_made(refine):
    refine()
    record = read_run_record(refine.out)
    assert record["command"] == "refine"
    assert record["generator"] == read_generator(refine.weights).record
    assert record["settings"]["size"] == 32


def test_a_second_run_keeps_everything(refine):
    refine()
    called = []
    summary = refine(training_progress=lambda done, total: called.append(done))
    assert (summary.written, summary.resumed) == (0, len(PHOTOS))
    assert called == []


def test_other_training_settings_make_all_again_and_say_so(refine):
    notes = []
    refine()
    summary = refine(replace(SETTINGS, lambda_r=0.0), note=notes.append)
    assert summary.written == len(PHOTOS)
    assert "trained again" in notes[0]
    assert "because of other generator" in notes[-1]


def test_other_cam_settings_keep_the_weights(refine):
    refine()
    before, called = refine.weights.read_bytes(), []
    summary = refine(cam_settings=replace(CAMS, flips=True), training_progress=lambda d, t: called.append(d))
    assert summary.written == len(PHOTOS)
    assert called == []
    assert refine.weights.read_bytes() == before


def test_overwrite_does_everything_again(refine):
    refine()
    called = []
    assert refine(overwrite=True, training_progress=lambda d, t: called.append(d)).written == len(PHOTOS)
    assert called


def test_a_folder_of_seeds_is_refused_before_training(refine, clip_engine):
    make_cams(samples_of(refine.photos), CLASS_SET, clip_engine, refine.out, CAMS, progress=silent)
    with pytest.raises(SettingsError, match="made by `semples cams`"):
        refine()
    assert not refine.weights.exists()


def test_the_folder_of_a_refinement_is_refused_by_others(refine, clip_engine):
    refine()
    with pytest.raises(SettingsError, match="made by `semples refine`"):
        make_cams(samples_of(refine.photos), CLASS_SET, clip_engine, refine.out, CAMS, progress=silent)


def test_the_folder_of_the_images_is_refused_before_training(refine):
    with pytest.raises(SettingsError, match="choose another folder"):
        refine(out=refine.photos)
    assert not (refine.photos / ".semples").exists()


def test_other_classes_are_refused(refine, clip_engine):
    names = ("boat", "dog", "cat")
    with pytest.raises(ArtifactError, match="class 2 is 'cat', here it is 'dog'"):
        refine(class_set=ClassSet(names), prompts=prompts_of(clip_engine, class_names=names, prompt_names=names))


def test_prompts_of_another_clip_are_refused(refine, clip_engine):
    with pytest.raises(SettingsError, match="the prompts were learned with"):
        refine(prompts=prompts_of(clip_engine, weights_hash="0" * 64))


def test_two_runs_do_not_write_into_one_folder(refine):
    lock = lock_run(RunFolder(refine.out).lock)
    with lock, pytest.raises(ArtifactError, match="another semples run"):
        refine()


def test_a_broken_image_fails_and_the_rest_is_done(refine):
    (refine.photos / "one.jpg").write_bytes(b"")
    summary = refine()
    assert [sample_id for sample_id, _ in summary.failed] == ["one"]
    assert summary.written == len(PHOTOS) - 1


def test_a_fit_to_given_cams_takes_the_place_of_initial_weights(refine, photos, clip_engine, tmp_path):
    make_cams(samples_of(photos), CLASS_SET, clip_engine, tmp_path / "seeds", CAMS, progress=silent)
    notes = []
    cams = given_cams(tmp_path / "seeds", samples_of(photos), CLASS_SET)
    summary = refine(initial=None, cams=cams, note=notes.append)
    assert summary.failed == ()
    assert fitted_folder(refine.out) == tmp_path / "refined-fitted"
    assert set(find_masks(refine.out)) == set(find_masks(tmp_path / "refined-fitted")) == set(PHOTOS)
    fitted, refined = read_generator(fitted_path(refine.out)), read_generator(refine.weights)
    assert (fitted.kind, fitted.stage, refined.stage) == ("clip_head", "fitted", "refined")
    assert set(fitted.curves) == {"present", "absent", "fine", "loss"}
    assert fitted.sha256 != refined.sha256
    recorded = read_run_record(tmp_path / "refined-fitted")["generator"]
    assert (recorded["stage"], recorded["weights_sha256"]) == ("fitted", fitted.sha256)
    before = fitted_path(refine.out).stat().st_mtime_ns, refine.weights.stat().st_mtime_ns
    assert refine(initial=None, cams=cams).resumed == len(PHOTOS)
    assert before == (fitted_path(refine.out).stat().st_mtime_ns, refine.weights.stat().st_mtime_ns)


def test_other_cams_are_fitted_anew(refine, photos, clip_engine, tmp_path):
    for name, settings in (("one", CAMS), ("two", replace(CAMS, template="{}"))):
        make_cams(samples_of(photos), CLASS_SET, clip_engine, tmp_path / name, settings, progress=silent)
    hashes = set()
    for name in ("one", "two"):
        refine(initial=None, cams=given_cams(tmp_path / name, samples_of(photos), CLASS_SET))
        hashes.add(read_generator(fitted_path(refine.out)).sha256)
    assert len(hashes) == 2


@pytest.mark.parametrize("options", [{"initial": None}, {"cams": "both"}])
def test_one_start_is_needed_and_one_alone(refine, options, photos, clip_engine, tmp_path):
    if "cams" in options:
        make_cams(samples_of(photos), CLASS_SET, clip_engine, tmp_path / "seeds", CAMS, progress=silent)
        options = {"cams": given_cams(tmp_path / "seeds", samples_of(photos), CLASS_SET)}
    with pytest.raises(SettingsError, match="from initial weights or from a fit to CAMs: give one of the two"):
        refine(**options)
