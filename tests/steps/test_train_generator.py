"""Files of trained generators: written, gone on with, kept, trained again; and every combination that is refused."""

import os
from dataclasses import replace

import numpy as np
import pytest
from generator_files import CLASS_SET, SETTINGS, prompts_of, samples_of

from semples_cli.artifacts.file_lock import lock_file
from semples_cli.artifacts.generator_file import read_generator
from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.errors import ArtifactError, DataError, SettingsError
from semples_cli.steps import train_generator as step
from semples_cli.steps.progress import silent
from semples_cli.steps.train_generator import train_generator
from semples_cli.types import ClassSet


class InterruptedTraining(BaseException):
    """Stands for Ctrl-C."""


@pytest.fixture
def train(photos, clip_engine, tmp_path):
    """Train a stage of the photos; `initial` is made where a stage needs it."""

    def run(stage="initial", name=None, settings=SETTINGS, samples=None, class_set=CLASS_SET, **options):
        if stage != "initial":
            options.setdefault("initial", run.folder / "initial.safetensors")
            if not options["initial"].exists():
                run("initial")
        out = run.folder / f"{name or stage}.safetensors"
        options = {"progress": silent, **options}
        return train_generator(stage, samples or samples_of(photos), class_set, clip_engine, out, settings, **options)

    run.folder = tmp_path / "weights"
    run.prompts = prompts_of(clip_engine)
    run.photos = photos
    return run


def same(one, other):
    return all(np.array_equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())


def test_every_stage_writes_what_it_returns(train):
    for stage, options in (
        ("initial", {}),
        ("matched", {}),
        ("refined", {"prompts": train.prompts}),
    ):
        weights = train(stage, **options)
        read = read_generator(train.folder / f"{stage}.safetensors")
        assert read.stage == stage
        assert same(weights, read)
        assert read.curves == weights.curves
        assert len(read.curves["loss"]) == (6 if stage == "initial" else 4)  # 5 photos, one of them without a class
        assert read.settings["seed"] == SETTINGS.seed
        assert "micro_batch" not in read.settings
    assert {path.name for path in train.folder.iterdir()} == {
        f"{s}.safetensors" for s in ("initial", "matched", "refined")
    }


def test_settings_name_what_the_stage_read(train):
    assert "lambda_b" not in train("initial").settings
    assert "lambda_r" not in train("matched").settings
    assert train("refined", prompts=train.prompts).settings["lambda_r"] == 1.0


@pytest.mark.parametrize(
    "change", [{"rand_augment": "rand-m9-mstd0.5-inc1"}, {"erasing": 0.5}, {"drop_path": 0.2}, {"refine_batch_size": 1}]
)
def test_views_are_part_of_what_a_training_followed_from(train, change):
    stages = {"initial": {}, "matched": {}, "refined": {"prompts": train.prompts}}
    for stage, options in stages.items():
        before = train(stage, **options).fingerprint
        other = train(stage, "other", settings=replace(SETTINGS, **change), **options)
        assert (other.fingerprint == before) == ("refine_batch_size" in change and stage != "refined")
        (train.folder / "other.safetensors").unlink()


def test_matching_and_refinement_both_start_from_the_initial_weights(train):
    matched = train("matched")
    refined = train("refined", prompts=train.prompts, settings=replace(SETTINGS, lambda_r=0.0))
    assert same(matched, refined)
    assert not same(matched, train("initial"))


def test_prompts_and_words_teach_something_else(train):
    by_prompts = train("refined", "one", prompts=train.prompts)
    by_words = train("refined", "two", background_words=("sea", "sky"))
    assert not same(by_prompts, by_words)
    assert by_words.curves["refinement"][0] > 0


def test_a_finished_training_is_kept(train):
    notes, path = [], train.folder / "initial.safetensors"
    first = train(note=notes.append)
    before = path.stat().st_mtime_ns
    called = []
    again = train(
        note=notes.append,
        progress=lambda done, total: called.append(done),
        settings=replace(SETTINGS, micro_batch=1, lambda_r=0.5),
    )
    assert called == []
    assert path.stat().st_mtime_ns == before
    assert same(first, again)
    assert notes == [f"{path}: kept, it was trained with the same settings on the same images"]


@pytest.mark.parametrize(
    "change",
    [
        {"settings": replace(SETTINGS, epochs=1)},
        {"settings": replace(SETTINGS, seed=1)},
        {"class_set": ClassSet(CLASS_SET.names, ("boat", "kitten", "dog"))},
        {"overwrite": True},
    ],
)
def test_another_training_is_done_again(train, change):
    notes, called = [], []
    train(note=notes.append)
    train(note=notes.append, progress=lambda done, total: called.append(done), **change)
    assert called
    assert notes == [] if "overwrite" in change else "trained again, because" in notes[0]


def test_changed_labels_and_changed_files_train_again(train, photos):
    samples, called = samples_of(photos), []
    train(samples=samples)
    train(samples=samples[1:], progress=lambda done, total: called.append("labels"))
    train(samples=samples)
    (photos / "b.jpg").write_bytes((photos / "a" / "1.jpg").read_bytes())
    train(samples=samples, progress=lambda done, total: called.append("files"))
    assert set(called) == {"labels", "files"}


def test_other_prompts_and_other_initial_weights_train_again(train, clip_engine):
    called = []

    def refine(**options):
        called.clear()
        train("refined", progress=lambda done, total: called.append(done), **{"prompts": train.prompts, **options})
        return bool(called)

    assert refine()
    assert not refine()
    assert refine(prompts=prompts_of(clip_engine, seed=1))
    train("initial", "other", settings=replace(SETTINGS, seed=7))
    assert refine(initial=train.folder / "other.safetensors", prompts=prompts_of(clip_engine, seed=1))


def test_a_damaged_file_is_trained_again(train):
    notes = []
    first = train()
    (train.folder / "initial.safetensors").write_bytes(b"damaged")
    assert same(first, train(note=notes.append))
    assert notes[0].startswith("trained again: ")


def test_an_interrupted_training_goes_on_to_the_same_bytes(train, monkeypatch):
    monkeypatch.setattr(step, "Checkpoint", lambda path, fingerprint: Checkpoint(path, fingerprint, every=1))
    train(name="whole")

    def stop(done, total):
        if done == 3:
            raise InterruptedTraining

    with pytest.raises(InterruptedTraining):
        train(name="cut", progress=stop)
    assert {path.name for path in train.folder.iterdir()} == {"whole.safetensors", "cut.safetensors.state"}
    seen = []
    train(name="cut", progress=lambda done, total: seen.append(done))
    assert seen == [4, 5, 6]
    assert (train.folder / "cut.safetensors").read_bytes() == (train.folder / "whole.safetensors").read_bytes()
    assert not (train.folder / "cut.safetensors.state").exists()


@pytest.mark.parametrize("options", [{}, {"overwrite": True}])
def test_a_file_that_another_run_trains_is_left_to_it_and_it_is_said_who_that_is(train, options):
    path = train.folder / "initial.safetensors"
    message = rf"initial.safetensors: another semples run \(process {os.getpid()}\) is writing here; wait until it ends"
    with lock_file(path), pytest.raises(ArtifactError, match=message):
        train(**options)
    assert not path.exists()
    train(**options)
    assert [each.name for each in train.folder.iterdir()] == ["initial.safetensors"]


def test_the_lock_is_held_while_it_trains_and_another_stage_is_free(train):
    held = []

    def look(done, total):
        held.append((train.folder / "initial.safetensors.lock").exists())
        with lock_file(train.folder / "matched.safetensors"):
            pass

    train(progress=look)
    assert held == [True] * 6


def test_overwrite_forgets_what_was_interrupted(train, monkeypatch):
    monkeypatch.setattr(step, "Checkpoint", lambda path, fingerprint: Checkpoint(path, fingerprint, every=1))

    def stop(done, total):
        if done == 3:
            raise InterruptedTraining

    with pytest.raises(InterruptedTraining):
        train(progress=stop)
    seen = []
    train(progress=lambda done, total: seen.append(done), overwrite=True)
    assert seen[0] == 1


def test_a_broken_image_is_said_and_left_out(train, photos):
    notes = []
    (photos / "one.jpg").write_bytes(b"")
    train(note=notes.append)
    assert len(notes) == 1
    assert notes[0].startswith("one is left out of the training")


@pytest.mark.parametrize(("epsilon", "said"), [(1e-6, False), (1e6, True)])
def test_maps_that_epsilon_damps_are_said(train, epsilon, said):
    notes = []
    weights = train("matched", settings=replace(SETTINGS, region_epsilon=epsilon), note=notes.append)
    assert weights.curves["range"][-1] > 0
    assert [("train with a smaller --region-epsilon" in each) for each in notes if "range" in each] == [True] * said


@pytest.mark.parametrize(
    ("stage", "options", "message"),
    [
        ("best", {}, "choose one of initial, fitted, matched, refined"),
        ("initial", {"initial": "x"}, "'initial' and 'fitted' start from nothing"),
        ("matched", {"initial": None}, "the others need the file of the initial weights"),
        ("refined", {}, "'refined' needs prompts or words"),
        ("refined", {"prompts": "x", "background_words": ("sea",)}, "with 2 kinds of background texts"),
        ("matched", {"background_words": ("sea",)}, "others none"),
        ("initial", {"prompts": "x"}, "others none"),
    ],
)
def test_what_does_not_go_together_is_refused(photos, clip_engine, tmp_path, stage, options, message):
    options = {"initial": None if stage == "initial" else tmp_path / "i", **options}
    with pytest.raises(SettingsError, match=message):
        train_generator(stage, samples_of(photos), CLASS_SET, clip_engine, tmp_path / "g", SETTINGS, **options)


def test_weights_of_another_stage_are_no_initial_weights(train):
    train("matched")
    with pytest.raises(SettingsError, match="weights of stage 'matched'; give those of 'initial'"):
        train("matched", initial=train.folder / "matched.safetensors")


@pytest.mark.parametrize("change", [{"reduction": 4}, {"pooling": "avg"}, {"residual": 0.0}, {"kind": "weaktr"}])
def test_the_file_of_the_initial_weights_is_believed_about_their_shape(train, change):
    expected = train("matched")
    weights = train("matched", "other", settings=replace(SETTINGS, **change))
    assert weights.shape == expected.shape
    assert weights.kind == "clip_head"
    assert weights.fingerprint == expected.fingerprint
    assert same(weights, expected)


def test_missing_initial_weights_are_said(train, tmp_path):
    train("initial")
    with pytest.raises(ArtifactError, match="no such file; train it again with `semples learn-prompts`"):
        train_generator(
            "matched", samples_of(train.photos), CLASS_SET, None, tmp_path / "g", SETTINGS, initial=tmp_path / "none"
        )


def test_images_without_any_class_are_refused_where_regions_are_matched(train, photos):
    train("initial")
    empty = [sample for sample in samples_of(photos) if not sample.class_indices]
    with pytest.raises(DataError, match="label at least one image"):
        train("matched", samples=empty)
