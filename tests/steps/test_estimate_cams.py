import pytest
from small_world import CLASSES, PHOTOS

from semples_cli.config import CamSettings
from semples_cli.errors import DataError
from semples_cli.steps import estimate_cams as step
from semples_cli.steps.estimate_cams import Estimate, estimate_cams
from semples_cli.steps.make_cams import make_cams
from semples_cli.steps.progress import silent
from semples_cli.types import ClassSet, Sample

CLASS_SET = ClassSet(CLASSES)
SETTINGS = CamSettings(size=40)


def samples_of(folder):
    return [
        Sample(sample_id, folder / f"{sample_id}.jpg", tuple(CLASS_SET.index_of(name) for name in names))
        for sample_id, (_, names) in PHOTOS.items()
    ]


def test_hours_and_gigabytes_are_for_all_images():
    estimate = Estimate(seconds_per_image=1.8, bytes_per_image=5000, num_images=1_000_000)
    assert estimate.hours == pytest.approx(500)
    assert estimate.gigabytes == pytest.approx(5)


def test_nothing_is_left_on_disk(photos, clip_engine, monkeypatch, tmp_path_factory):
    scratch = tmp_path_factory.mktemp("scratch")
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    before = sorted(photos.parent.rglob("*"))
    estimate = estimate_cams(samples_of(photos), CLASS_SET, clip_engine, SETTINGS)
    assert estimate.num_images == 5
    assert estimate.seconds_per_image > 0
    assert sorted(photos.parent.rglob("*")) == before
    assert list(scratch.iterdir()) == []


def test_bytes_are_those_of_a_run_with_the_same_images(photos, clip_engine, tmp_path):
    chosen = [sample for sample in samples_of(photos) if sample.id in ("a/1", "b", "one")]
    estimate = estimate_cams(chosen, CLASS_SET, clip_engine, SETTINGS, overlays=True)
    make_cams(chosen, CLASS_SET, clip_engine, tmp_path / "out", SETTINGS, overlays=True, progress=silent)
    written = [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".png", ".npz")]
    assert len(written) == 9
    # Batches may move the last bits of a CAM, and compression then some bytes.
    assert estimate.bytes_per_image == pytest.approx(sum(path.stat().st_size for path in written) / 3, rel=0.01)


def test_the_timed_images_lie_all_over_the_list_and_have_classes(photos, clip_engine, monkeypatch):
    (full, *_) = [sample for sample in samples_of(photos) if sample.id == "b"]
    samples = [Sample(f"n{n}", full.image_path, full.class_indices) for n in range(300)]
    samples += [Sample(f"e{n}", full.image_path, ()) for n in range(300)]
    written = []
    monkeypatch.setattr(step.CamOutput, "write", lambda self, sample, image, scores: written.append(sample.id))
    estimate_cams(samples, CLASS_SET, clip_engine, SETTINGS)
    assert written == ["n0", "n100", "n200"]


def test_bad_images_are_passed_over(photos, clip_engine, monkeypatch):
    (photos / "a/1.jpg").write_bytes(b"")
    written = []
    monkeypatch.setattr(step.CamOutput, "write", lambda self, sample, image, scores: written.append(sample.id))
    assert estimate_cams(samples_of(photos), CLASS_SET, clip_engine, SETTINGS).num_images == 5
    assert len(written) == 3
    assert "a/1" not in written


def test_one_image_is_enough_and_one_without_classes_too(photos, clip_engine):
    samples = {sample.id: sample for sample in samples_of(photos)}
    for sample_id in ("b", "empty"):
        estimate = estimate_cams([samples[sample_id]], CLASS_SET, clip_engine, SETTINGS)
        assert estimate.num_images == 1
        assert estimate.bytes_per_image > 0


def test_no_image_that_can_be_read_is_an_error_that_says_where_the_reasons_are(photos, clip_engine):
    with pytest.raises(DataError, match=r"none of the 5 images can be read; a run without --dry-run says why"):
        estimate_cams(samples_of(photos), CLASS_SET, clip_engine, SETTINGS, max_pixels=1)
