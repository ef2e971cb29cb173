import json
import os
import threading
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_world import CLASSES, PHOTOS

from semples_cli.artifacts.cam_store import find_cams, read_cam, stored_scores
from semples_cli.artifacts.manifest import Manifest
from semples_cli.artifacts.manifest_entries import read_manifest
from semples_cli.artifacts.mask_png import find_masks, read_mask
from semples_cli.artifacts.overlay_png import write_overlay
from semples_cli.artifacts.run_folder import RunFolder, read_class_set, read_run_record
from semples_cli.config import CamSettings
from semples_cli.data.images import read_image
from semples_cli.engine.seeds import SeedGenerator
from semples_cli.errors import ArtifactError, DataError, EngineError, SettingsError
from semples_cli.functional.confidence import ignore_below, pixel_confidence
from semples_cli.functional.masks import resize_scores, seed_mask
from semples_cli.steps import cam_batch, cam_record
from semples_cli.steps.make_cams import make_cams
from semples_cli.steps.progress import silent
from semples_cli.types import ClassSet, Sample

CLASS_SET = ClassSet(CLASSES)
SETTINGS = CamSettings(size=40, batch_size=2, background_words=("sky", "water"))


def samples_of(folder):
    return [
        Sample(sample_id, folder / f"{sample_id}.jpg", tuple(CLASS_SET.index_of(name) for name in names))
        for sample_id, (_, names) in PHOTOS.items()
    ]


@pytest.fixture
def make(photos, clip_engine):
    """Make the CAMs of the photos; anything can be given otherwise."""

    def run(out="out", settings=SETTINGS, samples=None, class_set=CLASS_SET, engine=clip_engine, **options):
        options = {"progress": silent, "inputs": (photos,), **options}
        return make_cams(samples or samples_of(photos), class_set, engine, photos.parent / out, settings, **options)

    run.out = photos.parent / "out"
    run.photos = photos
    return run


def files_of(out):
    """Every mask, CAM and overlay of a run folder, with its bytes."""
    paths = [path for path in out.rglob("*") if path.suffix in (".png", ".npz")]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def entries_of(out):
    return read_manifest(RunFolder(out).manifest)


# What is written


def test_every_image_gets_a_cam_and_a_mask_of_its_size(make):
    summary = make()
    assert (summary.written, summary.resumed, summary.skipped, summary.failed) == (5, 0, (), ())
    assert set(find_masks(make.out)) == set(PHOTOS) == set(find_cams(make.out))
    for sample_id, (size, names) in PHOTOS.items():
        cam = read_cam(find_cams(make.out)[sample_id], sample_id)
        mask = read_mask(make.out / f"{sample_id}.png")
        assert mask.shape == size == cam.image_size
        assert [CLASS_SET.name_of(k) for k in cam.class_indices] == list(names)
        assert set(np.unique(mask)) <= {0, *cam.class_indices.tolist()}
        assert entries_of(make.out)[sample_id].output == f"{sample_id}.png"
        assert entries_of(make.out)[sample_id].seconds > 0
    assert any(read_mask(path).any() for path in find_masks(make.out).values())


def test_the_cam_is_what_the_generator_makes_of_the_image(make, clip_engine):
    make(settings=replace(SETTINGS, batch_size=1))
    generator = SeedGenerator(clip_engine, CLASS_SET, SETTINGS)
    for sample in samples_of(make.photos):
        (scores,) = generator.maps([read_image(sample.image_path)], [sample.class_indices])
        cam = read_cam(find_cams(make.out)[sample.id], sample.id)
        np.testing.assert_array_equal(cam.scores, stored_scores(scores))


@pytest.mark.parametrize("score", [0.0, 0.3, 1.0])
def test_the_mask_is_what_the_stored_cam_gives_at_the_background_score(make, score):
    make(settings=replace(SETTINGS, background_score=score))
    for sample_id, path in find_cams(make.out).items():
        cam = read_cam(path, sample_id)
        expected = seed_mask(resize_scores(cam.scores, cam.image_size), cam.class_indices, score)
        np.testing.assert_array_equal(read_mask(make.out / f"{sample_id}.png"), expected)


def test_pixels_that_are_not_sure_enough_are_ignored_and_the_coverage_is_told(make):
    make(settings=replace(SETTINGS, min_confidence=0.6))
    partly = 0
    for sample_id, entry in entries_of(make.out).items():
        cam = read_cam(find_cams(make.out)[sample_id], sample_id)
        scores = resize_scores(cam.scores, cam.image_size)
        seed = seed_mask(scores, cam.class_indices, SETTINGS.background_score)
        expected = ignore_below(seed, pixel_confidence(scores, SETTINGS.background_score), 0.6)
        np.testing.assert_array_equal(read_mask(find_masks(make.out)[sample_id]), expected)
        assert entry.coverage == pytest.approx((expected != 255).mean(), abs=1e-6)
        partly += 0 < entry.coverage < 1
    assert partly > 0


def test_a_minimum_confidence_of_zero_shapes_nothing_and_older_runs_go_on(make):
    make()
    record = json.loads(RunFolder(make.out).record.read_text())
    del record["settings"]["min_confidence"]
    RunFolder(make.out).record.write_text(json.dumps(record))
    said = []
    assert (make(note=said.append).resumed, said) == (len(PHOTOS), [])


def test_an_image_without_classes_is_all_background(make):
    make()
    cam = read_cam(find_cams(make.out)["empty"], "empty")
    assert cam.scores.shape == (0, 3, 4)  # 17 × 31 in patches of 8
    assert not read_mask(make.out / "empty.png").any()


def test_a_turned_photograph_gets_an_upright_mask(make):
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    path = make.photos / "turned.jpg"
    Image.fromarray(np.zeros((24, 40, 3), np.uint8)).save(path, exif=exif)
    make(samples=[Sample("turned", path, (1,))])
    assert read_mask(make.out / "turned.png").shape == (40, 24)


@pytest.mark.parametrize(("mode", "pillow"), [("palette", "P"), ("L", "L")])
def test_mask_modes(make, mode, pillow):
    make(mask_mode=mode)
    with Image.open(make.out / "b.png") as image:
        assert image.mode == pillow
        assert set(np.unique(np.asarray(image))) <= {0, CLASS_SET.index_of("dog")}


def test_overlays_have_their_own_folder(make, tmp_path):
    make(overlays=True)
    assert {path.stem for path in (make.out / "overlays").rglob("*.png")} == {"1", "2", "b", "empty", "one"}
    write_overlay(tmp_path / "b.png", read_image(make.photos / "b.jpg"), read_mask(make.out / "b.png"))
    assert (make.out / "overlays/b.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert set(find_masks(make.out)) == set(PHOTOS)


def test_the_record_says_what_the_run_was_made_with(make, clip_engine):
    make()
    record = read_run_record(make.out)
    assert record["command"] == "cams"
    assert record["settings"]["background_words"] == ["sky", "water"]
    assert record["settings"]["background_score"] == SETTINGS.background_score
    assert record["engine"] == clip_engine.record
    assert record["engine"]["licence"] == "CC0"
    assert record["inputs"] == [str(make.photos)]
    assert read_class_set(make.out) == CLASS_SET


def test_without_inputs_the_record_names_the_folder_that_the_ids_are_relative_to(make):
    make(inputs=())
    assert read_run_record(make.out)["inputs"] == [str(make.photos)]


def test_images_may_lie_anywhere_for_a_caller_who_names_them_himself(make):
    make(samples=[Sample("deep/er/name", make.photos / "b.jpg", (1,))], inputs=())
    assert set(find_masks(make.out)) == {"deep/er/name"}


def test_progress_counts_every_item(make):
    seen = []
    (make.photos / "b.jpg").write_bytes(b"no image")
    make(skipped=[("x", "no label names it")], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 6) for n in range(1, 7)]


def test_skipped_images_are_in_summary_and_manifest(make):
    summary = make(skipped=[("x", "no label names it")])
    assert summary.skipped == (("x", "no label names it"),)
    assert entries_of(make.out)["x"].status == "skipped"


def test_images_are_read_and_masks_written_outside_the_main_thread(make, monkeypatch):
    readers, real = set(), cam_batch.read_image

    def spy(*args):
        readers.add(threading.current_thread())
        return real(*args)

    monkeypatch.setattr(cam_batch, "read_image", spy)
    make()
    assert readers
    assert threading.main_thread() not in readers


def test_images_are_resized_outside_the_main_thread_and_only_those_with_a_class(make, monkeypatch):
    prepared, real = [], SeedGenerator.prepare

    def spy(self, image):
        prepared.append((threading.current_thread(), image.shape[:2]))
        return real(self, image)

    monkeypatch.setattr(SeedGenerator, "prepare", spy)
    make()
    assert threading.main_thread() not in {thread for thread, _ in prepared}
    assert sorted(size for _, size in prepared) == sorted(size for size, names in PHOTOS.values() if names)


def test_no_more_than_three_batches_are_held(make, monkeypatch):
    """One is read ahead, one is in the network, one is written: memory does not grow with the folder."""
    path = make.photos / "b.jpg"
    samples = [Sample(f"n{number:02}", path, (1,)) for number in range(20)]
    alive, most = 0, 0
    real_read, real_enter = cam_batch.BatchReader.read, Manifest.append

    def read(self, batch):
        nonlocal alive, most
        alive += len(batch)
        most = max(most, alive)
        return real_read(self, batch)

    def append(self, entry):
        nonlocal alive
        alive -= 1
        real_enter(self, entry)

    monkeypatch.setattr(cam_batch.BatchReader, "read", read)
    monkeypatch.setattr(Manifest, "append", append)
    assert make(samples=samples, inputs=()).written == 20
    assert alive == 0
    assert most <= 3 * SETTINGS.batch_size


def test_background_words_that_are_classes_are_said(make):
    notes = []
    make(settings=replace(SETTINGS, background_words=("sky", "boat")), note=notes.append)
    assert notes == ["background words that are classes here are left out: boat"]


# Resume


def test_a_second_run_writes_nothing(make):
    make(overlays=True)
    before = {path: path.stat().st_mtime_ns for path in make.out.rglob("*.png")}
    summary = make(overlays=True)
    assert (summary.written, summary.resumed) == (0, 5)
    assert {path: path.stat().st_mtime_ns for path in make.out.rglob("*.png")} == before


def spoil_mask(make):
    (make.out / "b.png").unlink()


def spoil_cam(make):
    (RunFolder(make.out).cams / "b.npz").unlink()


def touch(make):
    os.utime(make.photos / "b.jpg", ns=(1, 1))


def change(make):
    Image.fromarray(np.full((40, 24, 3), 9, np.uint8)).save(make.photos / "b.jpg")


@pytest.mark.parametrize(("spoil", "written"), [(spoil_mask, 1), (spoil_cam, 1), (touch, 0), (change, 1)])
def test_only_what_changed_is_done_again(make, spoil, written):
    make()
    spoil(make)
    summary = make()
    assert (summary.written, summary.resumed) == (written, 5 - written)


def test_a_batch_is_done_again_whole(make):
    """`a/1`, `a/2` and `one` are of one size: the batches are (a/2, one) and (a/1), b and empty stand alone."""
    make()
    before = files_of(make.out)
    (make.out / "one.png").unlink()
    summary = make()
    assert (summary.written, summary.resumed) == (2, 3)
    assert files_of(make.out) == before


class StopAfter:
    """A progress callback that interrupts the run."""

    def __init__(self, done):
        self.done = done

    def __call__(self, done, total):
        if done == self.done:
            raise KeyboardInterrupt


@pytest.mark.parametrize("done", [1, 2, 3, 4])
def test_an_interrupted_run_that_is_gone_on_with_gives_the_same_bytes(make, done):
    make(out="whole", overlays=True)
    with pytest.raises(KeyboardInterrupt):
        make(overlays=True, progress=StopAfter(done))
    assert not list(make.out.rglob("*.partial"))
    for path in find_masks(make.out).values():
        assert read_mask(path).size
    assert sum(entry.status == "ok" for entry in entries_of(make.out).values()) == done
    summary = make(overlays=True)
    assert summary.resumed < 5
    assert summary.written + summary.resumed == 5
    assert files_of(make.out) == files_of(make.out.parent / "whole")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"background_score": 0.6}, "background_score 0.4 → 0.6"),
        ({"size": 32}, "size 40 → 32"),
        ({"flips": True}, "flips false → true"),
        ({"background_words": ("a very long list", "of words that compete")}, "other background_words"),
    ],
)
def test_other_settings_redo_everything_and_say_so(make, settings, said):
    notes = []
    make(note=notes.append)
    assert notes == []
    summary = make(settings=replace(SETTINGS, **settings), note=notes.append)
    assert (summary.written, summary.resumed) == (5, 0)
    assert len(notes) == 1
    assert said in notes[0]


def test_batch_size_may_change_from_run_to_run(make):
    make()
    notes = []
    assert make(settings=replace(SETTINGS, batch_size=3), note=notes.append).resumed == 5
    assert notes == []


def test_other_weights_redo_everything_and_say_so(make, clip_engine):
    notes = []
    make()
    other = copy(clip_engine)
    other.record = {**clip_engine.record, "weights_sha256": "0" * 64}
    assert make(engine=other, note=notes.append).written == 5
    assert "other weights_sha256" in notes[0]


def test_another_prompt_name_redoes_the_images_of_its_class(make):
    notes = []
    make()
    summary = make(class_set=ClassSet(CLASSES, ("boat", "cat", "hound")), note=notes.append)
    assert summary.written == 3  # a/2 and b show a dog; one shares a batch with a/2
    assert "prompt_names" in notes[0]


def test_other_labels_redo_their_image(make):
    make()
    samples = [
        replace(sample, class_indices=(1,)) if sample.id == "b" else sample for sample in samples_of(make.photos)
    ]
    assert make(samples=samples).written == 1
    assert set(np.unique(read_mask(make.out / "b.png"))) <= {0, 1}


def test_a_new_version_of_the_step_redoes_everything(make, monkeypatch):
    make()
    monkeypatch.setattr(cam_record, "STEP_VERSION", 10**6)
    assert make().written == 5


def test_overwrite_redoes_everything_without_a_word(make):
    notes = []
    make()
    summary = make(
        settings=replace(SETTINGS, size=32), class_set=ClassSet(("a", "b", "c")), overwrite=True, note=notes.append
    )
    assert (summary.written, notes) == (5, [])


def test_overlays_asked_for_later_are_made_and_stale_ones_go(make):
    make()
    assert make(overlays=True).written == 5
    assert make().resumed == 5
    assert (make.out / "overlays/b.png").is_file()
    make(settings=replace(SETTINGS, background_score=0.6))
    assert not (make.out / "overlays/b.png").exists()


def test_another_class_list_is_refused(make):
    make()
    with pytest.raises(SettingsError, match=r"class 1 was 'boat', is 'cat'.*--overwrite"):
        make(class_set=ClassSet(("cat", "boat", "dog")))


def test_a_run_that_stops_between_file_and_manifest_line_is_not_taken_for_the_old_one(make, monkeypatch):
    """Old settings, then new ones that are interrupted, then the old ones again: the same bytes as at first."""
    make()
    before = files_of(make.out)
    real = cam_batch.CamOutput.write

    def write(self, sample, image, scores):
        mask = real(self, sample, image, scores)
        if sample.id == "b":
            raise KeyboardInterrupt
        return mask

    monkeypatch.setattr(cam_batch.CamOutput, "write", write)
    with pytest.raises(KeyboardInterrupt):
        make(settings=replace(SETTINGS, background_score=0.7))
    monkeypatch.setattr(cam_batch.CamOutput, "write", real)
    make()
    assert files_of(make.out) == before


# Bad items


def cut(path):
    """The header is whole, the pixels are not."""
    path.write_bytes(path.read_bytes()[:-60])


def behead(path):
    path.write_bytes(path.read_bytes()[:300])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (cut, "damaged or incomplete image"),
        (behead, "damaged or incomplete image"),
        (lambda path: path.write_bytes(b""), "not an image"),
        (lambda path: path.unlink(), "no such image"),
    ],
)
def test_a_bad_image_fails_by_name_and_the_rest_is_written(make, spoil, reason):
    make(overlays=True)
    spoil(make.photos / "a/2.jpg")
    summary = make(settings=replace(SETTINGS, background_score=0.5), overlays=True)
    ((sample_id, said),) = summary.failed
    assert (summary.written, sample_id) == (4, "a/2")
    assert reason in said
    assert "2.jpg" in said
    left = set(PHOTOS) - {"a/2"}  # nothing of the first run is left of it
    assert set(find_masks(make.out)) == set(find_cams(make.out)) == left
    assert not (make.out / "overlays/a/2.png").exists()
    assert (entries_of(make.out)["a/2"].status, entries_of(make.out)["a/2"].reason) == ("failed", said)


def test_a_bad_image_is_tried_again_and_costs_its_batch_only_once_it_is_good(make):
    path = make.photos / "a/2.jpg"
    data = path.read_bytes()
    cut(path)
    make()
    summary = make()
    assert (summary.written, summary.resumed, len(summary.failed)) == (0, 4, 1)
    path.write_bytes(data)
    summary = make()
    assert (summary.written, summary.resumed, summary.failed) == (2, 3, ())
    make(out="fresh")
    assert files_of(make.out) == files_of(make.out.parent / "fresh")


def test_images_over_max_pixels_are_refused_with_the_cure(make):
    summary = make(max_pixels=24 * 40 - 1)
    assert len(summary.failed) == 4
    assert all("--max-pixels" in reason for _, reason in summary.failed)
    assert summary.written == 1


def test_a_mask_that_cannot_be_written_fails_its_image(make, monkeypatch):
    real = cam_batch.write_mask

    def write(path, *args):
        if path.stem == "b":
            raise OSError(28, "No space left on device", str(path))
        real(path, *args)

    monkeypatch.setattr(cam_batch, "write_mask", write)
    summary = make()
    assert summary.written == 4
    assert summary.failed == (("b", f"{make.out / 'b.png'}: No space left on device"),)
    assert set(find_cams(make.out)) == set(PHOTOS) - {"b"}


def test_a_bug_in_a_thread_is_not_swallowed(make, monkeypatch):
    def broken(*args):
        msg = "a bug"
        raise ZeroDivisionError(msg)

    monkeypatch.setattr(cam_batch, "read_image", broken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        make()
    monkeypatch.undo()
    monkeypatch.setattr(cam_batch, "write_mask", broken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        make()


def test_out_of_memory_with_one_image_stops_the_run_with_the_cure(make, monkeypatch):
    def full(self, prepared, classes, image_size):
        raise MemoryError

    monkeypatch.setattr(SeedGenerator, "_batch_maps", full)
    with pytest.raises(EngineError, match="--size"):
        make()


def test_a_batch_that_does_not_fit_is_halved(make, monkeypatch):
    real, tried = SeedGenerator._batch_maps, []

    def small(self, prepared, classes, image_size):
        tried.append(len(prepared))
        if len(prepared) > 1:
            raise MemoryError
        return real(self, prepared, classes, image_size)

    monkeypatch.setattr(SeedGenerator, "_batch_maps", small)
    assert make().written == 5
    assert 2 in tried


# Refusals


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"mask_mode": "rgb"}, SettingsError, "choose one of palette, L"),
        ({"out": "images"}, SettingsError, "choose another folder"),
        ({"out": "images", "inputs": ()}, SettingsError, "choose another folder"),
        ({"settings": replace(SETTINGS, affinity_layers="9")}, SettingsError, "no layer 9"),
    ],
)
def test_refusals_name_the_cure(make, options, kind, message):
    before = files_of(make.photos.parent)
    with pytest.raises(kind, match=message):
        make(**options)
    assert files_of(make.photos.parent) == before


def test_two_images_of_one_name_are_refused(make):
    samples = [Sample("x", make.photos / "b.jpg", ()), Sample("x", make.photos / "one.jpg", ())]
    with pytest.raises(DataError, match=r"b\.jpg and .*one\.jpg would both be written as 'x': rename one"):
        make(samples=samples)


def test_a_folder_called_overlays_is_refused(make):
    with pytest.raises(DataError, match="rename the folder 'overlays'"):
        make(samples=[Sample("overlays/x", make.photos / "b.jpg", ())])


def test_a_sample_of_another_class_list_is_refused(make):
    with pytest.raises(DataError, match="class index 4, but there are only 3 classes"):
        make(samples=[Sample("b", make.photos / "b.jpg", (4,))])


def test_a_second_run_at_the_same_time_is_refused(make):
    with Manifest(RunFolder(make.out)), pytest.raises(ArtifactError, match="another semples run"):
        make()


def test_the_manifest_is_json_lines_with_the_files_hash(make):
    make()
    lines = RunFolder(make.out).manifest.read_text().splitlines()
    assert len(lines) == 5
    first = json.loads(lines[0])
    assert first["status"] == "ok"
    assert len(first["files"][0]["sha256"]) == 64
    assert Path(first["files"][0]["path"]).is_file()
