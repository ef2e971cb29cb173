"""Counting by threads: the same counts, the same order and the same errors as by one."""

import threading
import time

import numpy as np
import pytest
from foreign_files import clip_es, save

from semples_cli.artifacts.cam_store import write_cam
from semples_cli.artifacts.mask_png import write_mask
from semples_cli.errors import ArtifactError, DataError, SettingsError
from semples_cli.steps import count_pixels
from semples_cli.steps.count_pixels import MOST_THREADS
from semples_cli.steps.evaluate_masks import compare_cams, compare_masks, evaluate_cams, evaluate_masks, report_of
from semples_cli.steps.process_pool import JOBS_PER_WORKER
from semples_cli.steps.progress import silent
from semples_cli.types import Cam, ClassSet

CLASSES = ClassSet(("cat", "dog", "emu"))
IDS = tuple(f"{number:02}" for number in range(25))
SIZE = (7, 9)


@pytest.fixture
def world(tmp_path):
    """truth/, masks/, cams/, and irn/: the CAMs of another project, with scores above 1 from the fourth on."""
    rng = np.random.default_rng(0)
    for number, sample_id in enumerate(IDS):
        write_mask(tmp_path / f"truth/{sample_id}.png", rng.choice(np.array([0, 1, 2, 255], np.uint8), SIZE))
        write_mask(tmp_path / f"masks/{sample_id}.png", rng.choice(np.array([0, 1, 3, 255], np.uint8), SIZE))
        write_cam(tmp_path / "cams", Cam(sample_id, np.array([1, 3]), rng.random((2, 3, 4), np.float32), SIZE), {})
        maps = rng.random((1, *SIZE)) * (2 if number >= 3 else 1)
        save(tmp_path / f"foreign/{sample_id}.npy", clip_es([1], maps))
    return tmp_path


def compare(world, kind, **options):
    how = compare_masks if kind == "masks" else compare_cams
    return how(world / kind, world / "truth", CLASSES, **options)


@pytest.mark.parametrize("workers", [2, 3, 64, None])
@pytest.mark.parametrize("kind", ["masks", "cams", "cut"])
def test_any_number_of_workers_counts_the_same_in_the_same_order(world, kind, workers):
    comparison = compare(world, "cams", background_score=0.4) if kind == "cut" else compare(world, kind)
    seen, counts = ({}, {}), []
    for found, threads in zip(seen, (1, workers), strict=True):
        counts.append(comparison.count(progress=silent, workers=threads, observe=found.__setitem__))
    assert list(seen[0]) == list(seen[1]) == ([] if kind == "cams" else list(IDS))
    assert all((seen[0][sample_id] == seen[1][sample_id]).all() for sample_id in seen[0])
    np.testing.assert_array_equal(counts[0].confusion, counts[1].confusion)
    np.testing.assert_array_equal(counts[0].curve, counts[1].curve)
    assert counts[0].confusion.sum() == (0 if kind == "cams" else sum(each.sum() for each in seen[0].values()))
    assert counts[0].curve.shape == (4, 4, 1 if kind == "masks" else 102)
    assert (counts[0].curve.sum() > 0) == (kind != "masks")


@pytest.mark.parametrize("strip", [1, 9, 20, 62])
def test_cams_counted_in_strips_are_counted_whole(world, monkeypatch, strip):
    whole = compare(world, "cams").count(progress=silent).curve
    monkeypatch.setattr(count_pixels, "STRIP", strip)
    np.testing.assert_array_equal(compare(world, "cams").count(progress=silent).curve, whole)


def test_workers_of_the_functions(world):
    for how, kind in ((evaluate_masks, "masks"), (evaluate_cams, "cams")):
        one, many = (
            how(world / kind, world / "truth", CLASSES, progress=silent, workers=workers) for workers in (1, 3)
        )
        assert (one.miou, one.curve, one.num_images) == (many.miou, many.curve, many.num_images)
        with pytest.raises(SettingsError, match="0 workers: 1 or more"):
            how(world / kind, world / "truth", CLASSES, progress=silent, workers=0)


def threads_seen(monkeypatch, seen):
    def read(path):
        seen.add(threading.get_ident())
        time.sleep(0.02)
        return original(path)

    original = count_pixels.read_mask
    monkeypatch.setattr(count_pixels, "read_mask", read)


@pytest.mark.parametrize(
    ("workers", "cores", "threads"), [(1, 8, 1), (2, 8, 2), (None, 2, 2), (None, 64, MOST_THREADS)]
)
def test_how_many_threads_there_are(world, monkeypatch, workers, cores, threads):
    seen = set()
    threads_seen(monkeypatch, seen)
    monkeypatch.setattr(count_pixels, "available_cores", lambda: cores)
    compare(world, "masks").count(progress=silent, workers=workers)
    assert len(seen) == threads
    assert (threading.get_ident() in seen) == (threads == 1)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_first_of_two_errors_is_raised_whoever_meets_it_first(world, workers, monkeypatch):
    (world / "masks/04.png").write_bytes(b"")
    (world / "masks/05.png").write_bytes(b"")
    original, seen = count_pixels.read_mask, []

    def read(path):
        time.sleep(0.1 if path.stem == "04" else 0)
        return original(path)

    monkeypatch.setattr(count_pixels, "read_mask", read)
    with pytest.raises(ArtifactError, match=r"04\.png"):
        compare(world, "masks").count(progress=silent, workers=workers, observe=lambda key, _: seen.append(key))
    assert seen == ["00", "01", "02", "03"]


def test_few_images_are_read_ahead(world, monkeypatch):
    original, read, most = count_pixels.read_mask, [], []
    monkeypatch.setattr(count_pixels, "read_mask", lambda path: read.append(path) or original(path))

    def progress(done, total):
        time.sleep(0.005)
        most.append(len(read) - done)

    compare(world, "masks").count(progress=progress, workers=2)
    assert max(most) < 2 * JOBS_PER_WORKER


@pytest.mark.parametrize("workers", [1, 3])
def test_changes_to_scores_are_said_once_with_the_first_image(world, workers):
    said = []
    comparison = compare(world, "foreign", note=said.append)
    said.clear()
    comparison.count(progress=silent, workers=workers)
    assert len(said) == 1
    assert said[0].startswith(f"{world / 'foreign'}: ")
    assert said[0].endswith(", as in 03")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_ground_truth_is_named_with_both_paths(world, workers):
    write_mask(world / "truth/07.png", np.full(SIZE, 9, np.uint8))
    with pytest.raises(DataError, match=r"masks/07\.png against .*truth/07\.png: .*value 9, but there are 4 classes"):
        compare(world, "masks").count(progress=silent, workers=workers)


def test_the_report_of_no_image_has_no_figures(world):
    comparison = compare(world, "masks")
    nothing = type(comparison.matched)((), ())
    report = report_of(type(comparison)(comparison.class_names, nothing).count(progress=silent))
    assert report.num_images == report.num_classes_averaged == 0
    assert np.isnan(report.miou)


def test_the_fingerprint_is_that_of_files_and_settings_and_nothing_else(world):
    first = compare(world, "masks").fingerprint
    assert compare(world, "masks", note=print).fingerprint == first
    assert len(first) == 64
    others = [
        compare(world, "cams"),
        compare(world, "cams", background_score=0.4),
        compare(world, "cams", background_score=0.5),
        compare(world, "foreign"),
        compare_masks(world / "masks", world / "truth", ClassSet(("cat", "dog", "rex"))),
        compare_masks(world / "truth", world / "truth", CLASSES),
    ]
    assert len({first, *(each.fingerprint for each in others)}) == 1 + len(others)
