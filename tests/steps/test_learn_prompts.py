"""Prompts learned into a file: from a run's CAMs or from scratch, kept, learned again, cut off, and what is refused."""

import os
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from generator_files import CLASS_SET, samples_of
from generator_files import SETTINGS as GENERATOR_SETTINGS

from semples_cli.artifacts.cam_store import find_cams, read_cam, write_cam
from semples_cli.artifacts.file_lock import lock_file
from semples_cli.artifacts.generator_file import read_generator
from semples_cli.artifacts.prompts_file import read_prompt_training, read_prompts
from semples_cli.config import CamSettings, PromptSettings
from semples_cli.engine.background_regions import embed_background_regions
from semples_cli.engine.prompt_training import PromptLearning
from semples_cli.engine.prompts import check_prompts, initial_vectors
from semples_cli.errors import ArtifactError, DataError, SettingsError
from semples_cli.steps import learn_prompts as step
from semples_cli.steps.learn_prompts import learn_prompts
from semples_cli.steps.make_cams import make_cams
from semples_cli.steps.progress import silent
from semples_cli.types import ClassSet, Sample

SETTINGS = PromptSettings(prompt_length=2, epochs=3, batch_size=2, views=2, learning_rate=2.0, min_images=1)
CAM_SETTINGS = CamSettings(size=32, affinity_layers="none", batch_size=2)
NUM_STEPS = 9  # five pairs of image and class: three batches an epoch


class InterruptedTraining(BaseException):
    """Stands for Ctrl-C."""


def quiet(part):
    return silent


@pytest.fixture
def learn(photos, clip_engine, tmp_path, monkeypatch):
    """Learn from the CAMs of the photos, which are made once for the test; few as they are, nothing is said of it."""
    monkeypatch.setattr(step, "ENOUGH_IMAGES", 1)

    def run(name="prompts", settings=SETTINGS, samples=None, class_set=CLASS_SET, **options):
        options = {"cams": run.cams, "begin": quiet, "note": run.notes.append, **options}
        out = run.folder / f"{name}.safetensors"
        samples = samples_of(photos) if samples is None else samples
        return learn_prompts(samples, class_set, clip_engine, out, settings, **options)

    run.folder, run.cams, run.photos, run.notes = tmp_path / "out", tmp_path / "cams", photos, []
    make_cams(samples_of(photos), CLASS_SET, clip_engine, run.cams, CAM_SETTINGS, progress=silent)
    return run


def files(folder):
    return {path.name for path in folder.iterdir()}


def test_it_writes_what_it_returns_and_nothing_else(learn, clip_engine, clip_dir):
    prompts = learn()
    path = learn.folder / "prompts.safetensors"
    read = read_prompts(path)
    np.testing.assert_array_equal(read.vectors, prompts.vectors)
    assert replace(read, vectors=prompts.vectors) == prompts
    assert (read.class_names, read.vectors.shape) == (CLASS_SET.names, (3, 2, 16))
    assert read.settings["lambda_t"] == SETTINGS.lambda_t
    assert read.settings["unlearned_classes"] == []
    assert (read.settings["num_pairs"], read.settings["stopped_epoch"]) == (5, None)
    assert read.settings["engine"] == {"model": "small", "weights": str(clip_dir)}
    check_prompts(clip_engine, read, CLASS_SET)
    assert len(read_prompt_training(path).curves["loss"]) == NUM_STEPS
    assert files(learn.folder) == {"prompts.safetensors"}
    assert learn.notes == []


def test_the_prompts_have_learned_something(learn, clip_engine):
    start = initial_vectors(clip_engine, 3, SETTINGS).numpy()
    assert (np.abs(learn().vectors - start).max(axis=(1, 2)) > 0.01).all()


def test_one_seed_gives_the_same_bytes_and_another_others(learn):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        learn(name, replace(SETTINGS, seed=seed))
    a, b, c = ((learn.folder / f"{name}.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_maps_go_with_their_classes_whatever_order_they_are_stored_in(learn):
    learn("before")
    paths = find_cams(learn.cams)
    cam = read_cam(paths["a/2"], "a/2")
    assert len(cam.class_indices) == 2
    turned = replace(cam, class_indices=cam.class_indices[::-1].copy(), scores=cam.scores[::-1].copy())
    write_cam(paths["a/2"].parents[1], turned, {})
    np.testing.assert_array_equal(learn("after").vectors, read_prompts(learn.folder / "before.safetensors").vectors)


def test_the_label_decides_which_maps_count(learn, monkeypatch):
    seen = []

    def spy(engine, images, *rest):
        seen.append(images)
        return embed_background_regions(engine, images, *rest)

    monkeypatch.setattr(step, "embed_background_regions", spy)
    samples = [replace(each, class_indices=each.class_indices[:1]) for each in samples_of(learn.photos)]
    learn(samples=samples)
    assert list(seen[0].class_indices) == [each.class_indices for each in samples if each.class_indices]
    assert all(len(seen[0].read(i)[1]) == 1 for i in range(4))


# Kept and learned again


def test_a_second_run_keeps_the_file(learn, monkeypatch):
    first = learn()
    before = (learn.folder / "prompts.safetensors").stat().st_mtime_ns
    monkeypatch.setattr(step, "embed_background_regions", lambda *args: pytest.fail("nothing is left to do"))
    again = learn()
    np.testing.assert_array_equal(again.vectors, first.vectors)
    assert (learn.folder / "prompts.safetensors").stat().st_mtime_ns == before
    assert "kept, it was learned with the same settings from the same images" in learn.notes[0]


def test_changed_settings_labels_images_cams_or_classes_are_learned_again_and_said(learn, clip_engine):
    learn()
    changes = []

    def changed(**options):
        learn.notes.clear()
        learn(**options)
        changes.append([note for note in learn.notes if "learned again, because" in note])

    changed(settings=replace(SETTINGS, lambda_t=0.5))
    changed()
    fewer = [replace(each, class_indices=each.class_indices[:1]) for each in samples_of(learn.photos)]
    changed(samples=fewer)
    (learn.photos / "b.jpg").write_bytes((learn.photos / "b.jpg").read_bytes() + b"\0")
    changed()
    make_cams(
        samples_of(learn.photos), CLASS_SET, clip_engine, learn.cams, replace(CAM_SETTINGS, size=24), progress=silent
    )
    changed()
    changed(class_set=ClassSet(CLASS_SET.names, ("ship", "cat", "dog")))
    assert [len(each) for each in changes] == [1] * 6
    learn.notes.clear()
    learn(class_set=ClassSet(CLASS_SET.names, ("ship", "cat", "dog")))
    assert "kept" in learn.notes[0]


def test_cams_that_were_made_again_alike_change_nothing(learn, clip_engine):
    learn()
    make_cams(
        samples_of(learn.photos), CLASS_SET, clip_engine, learn.cams, CAM_SETTINGS, overwrite=True, progress=silent
    )
    learn()
    assert "kept" in learn.notes[0]


def test_overwrite_learns_again_to_the_same_bytes(learn, monkeypatch):
    learn()
    before, embedded = (learn.folder / "prompts.safetensors").read_bytes(), []

    def spy(*args):
        embedded.append(1)
        return embed_background_regions(*args)

    monkeypatch.setattr(step, "embed_background_regions", spy)
    learn(overwrite=True)
    assert embedded == [1]
    assert (learn.folder / "prompts.safetensors").read_bytes() == before


def test_a_damaged_file_is_learned_again_and_said(learn):
    learn()
    path = learn.folder / "prompts.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    learn()
    assert path.read_bytes() == whole
    assert "learned again: " in learn.notes[0]


def cut_off_after(count):
    def begin(part):
        def stop(done, total):
            if part == "prompts" and done == count:
                raise InterruptedTraining

        return stop

    return begin


def test_an_interrupted_training_resumes_to_the_same_bytes(learn, monkeypatch):
    learn("whole")
    real = step.Checkpoint
    monkeypatch.setattr(step, "Checkpoint", lambda *args: real(*args, every=2))
    with pytest.raises(InterruptedTraining):
        learn("cut", begin=cut_off_after(5))
    assert files(learn.folder) == {"whole.safetensors", "cut.safetensors.state"}
    steps = []
    learn("cut", begin=lambda part: lambda done, total: steps.append(done) if part == "prompts" else None)
    assert steps == list(range(5, NUM_STEPS + 1))
    whole, cut = ((learn.folder / f"{name}.safetensors").read_bytes() for name in ("whole", "cut"))
    assert whole == cut
    assert files(learn.folder) == {"whole.safetensors", "cut.safetensors"}


def test_an_interrupted_training_of_other_settings_is_not_gone_on_with(learn, monkeypatch):
    real = step.Checkpoint
    monkeypatch.setattr(step, "Checkpoint", lambda *args: real(*args, every=1))
    with pytest.raises(InterruptedTraining):
        learn(begin=cut_off_after(5))
    steps = []
    progress = lambda part: lambda done, total: steps.append(done) if part == "prompts" else None  # noqa: E731
    learn(settings=replace(SETTINGS, lambda_t=0.5), begin=progress)
    assert steps == list(range(1, NUM_STEPS + 1))


# Stopped on a plateau


def flat_losses(monkeypatch):
    """The steps are real, and their losses are as if nothing were learned."""
    real = PromptLearning._step
    monkeypatch.setattr(PromptLearning, "_step", lambda self, *batch: real(self, *batch) and 1.0)


def test_a_plateau_stops_on_request_and_note_and_file_say_when(learn, monkeypatch):
    flat_losses(monkeypatch)
    prompts = learn(settings=replace(SETTINGS, epochs=9, plateau_epochs=2))
    path = learn.folder / "prompts.safetensors"
    assert learn.notes == ["the loss of the prompts fell no more: stopped after epoch 3 of 9, as asked"]
    assert prompts.settings["stopped_epoch"] == read_prompts(path).settings["stopped_epoch"] == 3
    assert (prompts.settings["epochs"], prompts.settings["plateau_epochs"]) == (9, 2)
    assert len(read_prompt_training(path).curves["loss"]) == 9  # three steps an epoch
    learn.notes.clear()
    again = learn(settings=replace(SETTINGS, epochs=9, plateau_epochs=2))
    assert again.settings["stopped_epoch"] == 3
    assert len(learn.notes) == 1
    assert "kept" in learn.notes[0]


def test_nothing_stops_without_the_request(learn, monkeypatch):
    flat_losses(monkeypatch)
    assert learn(settings=replace(SETTINGS, epochs=9)).settings["stopped_epoch"] is None
    assert len(read_prompt_training(learn.folder / "prompts.safetensors").curves["loss"]) == 27
    assert learn.notes == []


@pytest.mark.parametrize("after", [4, 8, 9])
def test_an_interrupted_training_stops_at_the_same_step_with_the_same_bytes(learn, monkeypatch, after):
    flat_losses(monkeypatch)
    real, settings = step.Checkpoint, replace(SETTINGS, epochs=9, plateau_epochs=2)
    monkeypatch.setattr(step, "Checkpoint", lambda *args: real(*args, every=2))
    learn("whole", settings)
    with pytest.raises(InterruptedTraining):
        learn("cut", settings, begin=cut_off_after(after))
    learn("cut", settings)
    whole, cut = ((learn.folder / f"{name}.safetensors").read_bytes() for name in ("whole", "cut"))
    assert whole == cut


# Two at once


def test_a_second_run_on_the_same_file_is_told_who_writes_it(learn):
    path = learn.folder / "prompts.safetensors"
    message = rf"prompts.safetensors: another semples run \(process {os.getpid()}\) is writing here; wait until it ends"
    with lock_file(path):
        for options in ({}, {"overwrite": True}, {"cams": None}):
            with pytest.raises(ArtifactError, match=message):
                learn(**options)
        assert files(learn.folder) == {"prompts.safetensors.lock"}
    learn()
    assert files(learn.folder) == {"prompts.safetensors"}


def test_a_run_on_another_file_of_the_folder_is_free_but_for_the_generator_that_they_share(learn):
    settings = {"generator_settings": GENERATOR_SETTINGS, "cam_settings": CAM_SETTINGS}
    with lock_file(learn.folder / "one.safetensors"), lock_file(learn.folder / "generator_initial.safetensors"):
        learn("two")
        with pytest.raises(ArtifactError, match=r"generator_initial.safetensors: another semples run"):
            learn("three", cams=None, **settings)
    assert files(learn.folder) == {"two.safetensors"}


def test_the_file_is_locked_from_the_generator_to_the_prompts(learn):
    locked = {}

    def begin(part):
        locked[part] = (learn.folder / "prompts.safetensors.lock").exists()
        return silent

    learn(cams=None, generator_settings=GENERATOR_SETTINGS, cam_settings=CAM_SETTINGS, begin=begin)
    assert locked == dict.fromkeys(("generator", "matching", "matched", "background regions", "prompts"), True)


# From scratch


def test_without_cams_a_generator_is_trained_first_and_everything_is_kept_the_second_time(learn):
    parts = []

    def begin(part):
        parts.append(part)
        return silent

    options = {"cams": None, "generator_settings": GENERATOR_SETTINGS, "cam_settings": CAM_SETTINGS, "begin": begin}
    first = learn(**options)
    assert parts == ["generator", "matching", "matched", "background regions", "prompts"]
    names = {"prompts.safetensors", "generator_initial.safetensors", "generator_matched.safetensors", "matched"}
    assert files(learn.folder) == names
    for stage in ("initial", "matched"):
        assert read_generator(learn.folder / f"generator_{stage}.safetensors").stage == stage
    assert len(find_cams(learn.folder / "matched")) == 5
    learn.notes.clear()
    again = learn(**options)
    np.testing.assert_array_equal(again.vectors, first.vectors)
    assert sum("kept" in note for note in learn.notes) == 3
    from_its_cams = learn("other", cams=learn.folder / "matched")
    np.testing.assert_array_equal(from_its_cams.vectors, first.vectors)


def test_the_limit_on_pixels_is_that_of_the_generator_s_training_too(learn):
    settings = {"generator_settings": GENERATOR_SETTINGS, "cam_settings": CAM_SETTINGS}
    with pytest.raises(DataError, match="none of the images to train the mask generator on can be read"):
        learn(cams=None, max_pixels=100, **settings)


# What is left out


def test_a_class_without_images_is_said_and_left_out_of_use(learn):
    class_set = ClassSet((*CLASS_SET.names, "zebra"))
    (learn.cams / ".semples" / "run.json").unlink()
    prompts = learn(class_set=class_set)
    assert prompts.vectors.shape == (4, 2, 16)
    assert prompts.settings["unlearned_classes"] == ["zebra"]
    assert any("do without a prompt of these classes: zebra" in note for note in learn.notes)
    assert read_prompts(learn.folder / "prompts.safetensors").settings["unlearned_classes"] == ["zebra"]


def num_images(photos):
    counts = Counter(index for sample in samples_of(photos) for index in sample.class_indices)
    return {name: counts[index] for index, name in enumerate(CLASS_SET.names, 1)}


def test_a_class_with_too_few_images_is_said_and_left_out_of_use(learn):
    images = num_images(learn.photos)
    least = max(images.values())
    few = {name: count for name, count in images.items() if count < least}
    assert few
    prompts = learn(settings=replace(SETTINGS, min_images=least))
    assert prompts.settings["unlearned_classes"] == list(few)
    (note,) = [note for note in learn.notes if "too few" in note]
    assert note.endswith("add images, or use them all the same with --min-images 1")
    assert all(f"{name} ({count})" in note for name, count in few.items())


def test_classes_with_hardly_enough_images_are_used_and_named(learn, monkeypatch):
    monkeypatch.setattr(step, "ENOUGH_IMAGES", 8)
    images = num_images(learn.photos)
    prompts = learn()
    assert prompts.settings["unlearned_classes"] == []
    (note,) = [note for note in learn.notes if note.startswith("few images")]
    assert note.endswith(", ".join(f"{name} ({count})" for name, count in images.items()))


def test_an_image_without_cam_is_left_out_and_said(learn):
    find_cams(learn.cams)["one"].unlink()
    learn()
    assert learn.notes == ["1 labelled images have no CAM and are left out, the first of them one"]


def test_a_broken_image_and_a_broken_cam_are_left_out_and_said(learn):
    (learn.photos / "one.jpg").write_bytes(b"nonsense")
    find_cams(learn.cams)["b"].write_bytes(b"nonsense")
    learn()
    reasons = sorted(note for note in learn.notes if "is left out" in note)
    assert len(reasons) == 2
    assert reasons[0].startswith("b is left out: ")
    assert "not a readable CAM" in reasons[0]
    assert reasons[1].startswith("one is left out: ")


def test_a_label_that_the_cam_has_no_map_of_is_left_out_and_said(learn):
    samples = [replace(each, class_indices=(1, 3)) if each.id == "b" else each for each in samples_of(learn.photos)]
    learn(samples=samples)
    (note,) = learn.notes
    assert note.startswith("b is left out: ")
    assert "its CAM has no map of class 1; make the CAMs again with these labels" in note


# Refusals


@pytest.mark.parametrize("samples", [[], "unlabelled", "elsewhere"])
def test_nothing_to_learn_from_is_refused(learn, samples):
    if samples == "unlabelled":
        samples = [replace(each, class_indices=()) for each in samples_of(learn.photos)]
    elif samples == "elsewhere":
        samples = [Sample("elsewhere", learn.photos / "b.jpg", (1,))]
    with pytest.raises(DataError, match="no labelled image has a CAM: give the --cams folder"):
        learn(samples=samples)
    assert not learn.folder.exists()


def test_images_of_which_none_can_be_read_are_refused(learn):
    for each in samples_of(learn.photos):
        each.image_path.write_bytes(b"nonsense")
    with pytest.raises(DataError, match="no background region to learn from"):
        learn()


def test_a_folder_without_cams_is_refused(learn, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match="no CAMs here; give the folder that `semples cams"):
        learn(cams=tmp_path / "empty")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("cat", "boat", "dog"), "its class 1 is 'boat', here it is 'cat'; give its class list by --classes"),
        (("boat", "cat"), "made for 3 classes, but there are 2; give its class list by --classes"),
    ],
)
def test_cams_of_other_classes_are_refused(learn, names, message):
    with pytest.raises(ArtifactError, match=message):
        learn(class_set=ClassSet(names), samples=samples_of(learn.photos)[:1])


def test_prompts_that_do_not_fit_the_window_are_refused_before_anything_is_trained(learn):
    with pytest.raises(SettingsError, match="give --prompt-length 10 or less"):
        learn(settings=replace(SETTINGS, prompt_length=11), cams=None)
    assert not learn.folder.exists()


def test_a_folder_as_output_is_refused_before_anything_is_trained(learn):
    (learn.folder / "prompts.safetensors").mkdir(parents=True)
    with pytest.raises(SettingsError, match="this is a folder; give the file to write as --out"):
        learn(cams=None)
    assert files(learn.folder) == {"prompts.safetensors"}


@pytest.mark.parametrize("name", ["generator_initial", "generator_matched"])
def test_the_name_of_the_generator_s_weights_as_output_is_refused(learn, name):
    with pytest.raises(SettingsError, match="weights of the mask generator have this name; give the prompts another"):
        learn(name, cams=None)
    assert not learn.folder.exists()


def test_without_callbacks_bars_are_drawn_on_stderr(photos, learn, clip_engine, capsys):
    learn_prompts(samples_of(photos), CLASS_SET, clip_engine, learn.folder / "p", SETTINGS, cams=learn.cams)
    drawn = capsys.readouterr()
    assert drawn.out == ""
    assert "background regions" in drawn.err
    assert "prompts" in drawn.err
