import json
import os
import re
import sys
from dataclasses import asdict, replace

import crf_tasks
import numpy as np
import pytest
from PIL import Image

from semples_cli.artifacts.cam_store import read_cam, write_cam
from semples_cli.artifacts.manifest import Manifest
from semples_cli.artifacts.manifest_entries import read_manifest
from semples_cli.artifacts.mask_png import find_masks, read_mask, write_mask
from semples_cli.artifacts.run_folder import RunFolder, class_record, read_class_set, read_run_record, write_run_record
from semples_cli.config import CRF_PRESETS
from semples_cli.data.image_folder import ImageFile
from semples_cli.errors import ArtifactError, DataError, EngineError, SettingsError
from semples_cli.functional.crf import DenseCrf, refine_labels, refine_scores
from semples_cli.functional.masks import resize_scores, seed_mask
from semples_cli.steps import apply_crf as step
from semples_cli.steps import crf_item
from semples_cli.steps.apply_crf import apply_crf
from semples_cli.steps.crf_source import find_kind
from semples_cli.steps.progress import silent
from semples_cli.types import Cam, ClassSet

LABELS, SCORES = CRF_PRESETS["semples-voc"], CRF_PRESETS["clip-es"]
CLASSES = ClassSet(("cat", "dog", "hen"))
SIZES = {"a/1": (17, 31), "a/2": (24, 20), "b": (16, 16), "none": (9, 9), "unknown": (9, 9)}


def make_world(root):
    """Images, masks and CAMs of five items: one without foreground, one that is all 255."""
    rng = np.random.default_rng(0)
    for number, (item, size) in enumerate(SIZES.items()):
        left = np.zeros(size, bool)
        left[:, : size[1] // 2] = True
        image = np.where(left[..., None], (200, 40, 40), (30, 60, 180)) + rng.integers(-15, 16, (*size, 3))
        path = root / "images" / f"{item}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.astype(np.uint8)).save(path)
        mask = np.where(left ^ (rng.random(size) < 0.1), number % 3 + 1, 0).astype(np.uint8)
        mask[0, :3] = 255
        mask = {"none": np.zeros_like(mask), "unknown": np.full_like(mask, 255)}.get(item, mask)
        write_mask(root / "masks" / f"{item}.png", mask)
        classes = np.array([] if item == "none" else [number % 3 + 1], np.int64)
        cam = Cam(item, classes, rng.random((len(classes), 4, 5), np.float32), size)
        write_cam(RunFolder(root / "masks").cams, cam, {})
    record = {
        "command": "cams",
        "settings": {"background_score": 0.4},
        "classes": class_record(CLASSES),
        "inputs": [str(root / "images")],
        "engine": {"licence": "MIT"},
    }
    write_run_record(root / "masks", record)


@pytest.fixture
def world(tmp_path):
    make_world(tmp_path)
    return tmp_path


def crf(world, *, kind="masks", settings=LABELS, workers=1, out="out", images="images", **options):
    options = {"progress": silent, **options}
    folder = world / images if isinstance(images, str) else images
    return apply_crf(world / "masks", folder, world / out, settings, kind=kind, workers=workers, **options)


def masks_of(folder):
    return {item: path.read_bytes() for item, path in find_masks(folder).items()}


def test_a_part_by_ids_is_gone_on_with(world):
    first = crf(world, only={"a/1", "b", "never made"})
    assert (first.written, first.resumed, first.skipped, first.failed) == (2, 0, (), ())
    assert set(masks_of(world / "out")) == {"a/1", "b"}
    rest = crf(world)
    assert (rest.written, rest.resumed) == (3, 2)
    crf(world, out="whole")
    assert masks_of(world / "out") == masks_of(world / "whole")


def image_of(world, item):
    return np.asarray(Image.open(world / "images" / f"{item}.png"))


def crf_of(settings):
    names = ("gaussian_sxy", "gaussian_compat", "bilateral_sxy", "bilateral_srgb", "bilateral_compat", "iterations")
    return DenseCrf(*(getattr(settings, name) for name in names))


def test_masks_are_refined_as_the_function_refines_them(world):
    summary = crf(world)
    assert (summary.written, summary.resumed, summary.skipped, summary.failed) == (5, 0, (), ())
    entries = read_manifest(RunFolder(world / "out").manifest)
    for item in SIZES:
        values, confidence = refine_labels(
            image_of(world, item), read_mask(world / "masks" / f"{item}.png"), 0.7, crf_of(LABELS)
        )
        np.testing.assert_array_equal(read_mask(world / "out" / f"{item}.png"), values)
        assert entries[item].status == "ok"
        assert entries[item].output == f"{item}.png"
        means = {str(k): confidence[values == k].mean(dtype=np.float64) for k in np.unique(values) if 0 < k < 255}
        assert entries[item].class_confidence == pytest.approx(means, abs=1e-6)
        assert entries[item].confidence == pytest.approx(min(means.values(), default=confidence.mean(dtype=np.float64)))
        assert entries[item].coverage == (0 if item == "unknown" else 1)
        assert entries[item].seconds > 0
    assert set(masks_of(world / "out")) == set(SIZES)
    assert (read_mask(world / "out/none.png") == 0).all()
    assert (read_mask(world / "out/unknown.png") == 255).all()


def test_pixels_below_the_level_are_ignored_and_the_coverage_is_told(world):
    crf(world, settings=replace(LABELS, min_confidence=0.99))
    entries = read_manifest(RunFolder(world / "out").manifest)
    covered = 0
    for item in SIZES:
        values, confidence = refine_labels(
            image_of(world, item), read_mask(world / "masks" / f"{item}.png"), 0.7, crf_of(LABELS)
        )
        kept = np.where(confidence < np.float32(0.99), 255, values)
        np.testing.assert_array_equal(read_mask(world / "out" / f"{item}.png"), kept)
        assert entries[item].coverage == pytest.approx((kept != 255).mean(), abs=1e-6)
        covered += entries[item].coverage
    assert 0 < covered < len(SIZES) - 1  # one of them is unknown as a whole


def test_cams_are_refined_as_the_function_refines_them(world):
    summary = crf(world, kind=None, settings=SCORES)
    assert summary.written == 5
    for item, size in SIZES.items():
        cam = read_cam(RunFolder(world / "masks").cams / f"{item}.npz", item)
        scores = resize_scores(cam.scores, size)
        values, _ = refine_scores(image_of(world, item), scores, cam.class_indices, crf_of(SCORES))
        np.testing.assert_array_equal(read_mask(world / "out" / f"{item}.png"), values)


def test_cams_with_a_label_unary_are_cut_at_the_score_of_their_run(world):
    assert crf(world, kind="cams").written == 5
    for item, size in SIZES.items():
        cam = read_cam(RunFolder(world / "masks").cams / f"{item}.npz", item)
        seed = seed_mask(resize_scores(cam.scores, size), cam.class_indices, 0.4)
        values, _ = refine_labels(image_of(world, item), seed, 0.7, crf_of(LABELS))
        np.testing.assert_array_equal(read_mask(world / "out" / f"{item}.png"), values)
    assert read_run_record(world / "out")["background_score"] == 0.4


@pytest.mark.parametrize(
    ("kind", "settings", "numbers"),
    [
        ("masks", replace(LABELS, backend="pydensecrf2"), (2, 3, 5)),
        ("cams", replace(SCORES, backend="pydensecrf2"), (3,)),
        ("masks", replace(LABELS, backend="sparse"), (2, 3, 5)),
        ("cams", replace(SCORES, backend="sparse"), (2, 3, 5)),
    ],
    ids=["masks by processes", "cams by processes", "masks by threads", "cams by threads"],
)
def test_any_number_of_workers_writes_the_same_bytes(world, kind, settings, numbers):
    if settings.backend == "pydensecrf2":
        pytest.importorskip("pydensecrf")
    one = crf(world, kind=kind, settings=settings, workers=1, out="1")
    known = read_manifest(RunFolder(world / "1").manifest)
    for workers in numbers:
        many = crf(world, kind=kind, settings=settings, workers=workers, out=str(workers))
        assert replace(many, seconds=0) == replace(one, seconds=0)
        assert masks_of(world / str(workers)) == masks_of(world / "1")
        found = read_manifest(RunFolder(world / str(workers)).manifest)
        assert found.keys() == known.keys()
        for item, entry in found.items():
            assert replace(entry, seconds=0) == replace(known[item], seconds=0)


def test_the_record_carries_classes_engine_settings_and_source(world):
    crf(world, kind="cams", settings=SCORES)
    record = read_run_record(world / "out")
    assert record["command"] == "crf"
    assert record["settings"] == asdict(SCORES)
    assert record["source"] == str(world / "masks")
    assert record["source_kind"] == "cams"
    assert record["inputs"] == [str(world / "images")]
    assert record["engine"] == {"licence": "MIT"}
    assert read_class_set(world / "out") == CLASSES


def test_the_folder_of_cams_itself_serves_too(world):
    cams = RunFolder(world / "masks").cams
    summary = apply_crf(cams, None, world / "out", LABELS, workers=1, progress=silent)
    assert summary.written == 5
    assert read_class_set(world / "out") == CLASSES


def test_the_output_is_a_source_for_the_next_command(world):
    crf(world)
    assert find_kind(world / "out") == "masks"
    summary = apply_crf(world / "out", None, world / "again", LABELS, workers=1, progress=silent)
    assert summary.written == 5


def test_images_are_found_where_the_source_says(world):
    assert crf(world, images=None).written == 5


def test_images_may_be_given_as_found(world):
    files = [ImageFile(item, world / "images" / f"{item}.png") for item in SIZES]
    assert crf(world, images=files).written == 5
    assert read_run_record(world / "out")["inputs"] == [str(world / "images")]


def test_pixels_below_the_confidence_become_ignore(world):
    crf(world, out="all")
    crf(world, settings=replace(LABELS, min_confidence=0.95), out="sure")
    values, confidence = refine_labels(image_of(world, "a/1"), read_mask(world / "masks/a/1.png"), 0.7, crf_of(LABELS))
    np.testing.assert_array_equal(read_mask(world / "sure/a/1.png"), np.where(confidence < 0.95, 255, values))
    crf(world, settings=replace(LABELS, min_confidence=1.0, iterations=1), out="certain")
    assert (read_mask(world / "certain/a/1.png") == 255).any()
    assert (read_mask(world / "certain/none.png") == 0).all()


def test_overlays_have_their_own_folder(world):
    crf(world, overlay=True)
    with Image.open(world / "out/overlays/a/1.png") as picture:
        assert picture.size == (31, 17)
    assert set(masks_of(world / "out")) == set(SIZES)


def test_progress_counts_every_item(world):
    seen = []
    (world / "masks/b.png").unlink()
    crf(world, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 5) for n in range(1, 6)]


# Resume


def touch(path):
    os.utime(path, ns=(1, 1))


def test_a_second_run_keeps_everything(world):
    crf(world)
    before = {path: path.stat().st_mtime_ns for path in (world / "out").rglob("*.png")}
    summary = crf(world)
    assert (summary.written, summary.resumed) == (0, 5)
    assert {path: path.stat().st_mtime_ns for path in (world / "out").rglob("*.png")} == before


@pytest.mark.parametrize(
    ("change", "written"),
    [
        (lambda world: (world / "out/b.png").unlink(), 1),
        (lambda world: touch(world / "images/b.png"), 0),
        (lambda world: Image.fromarray(255 - image_of(world, "b")).save(world / "images/b.png"), 1),
        (lambda world: write_mask(world / "masks/b.png", np.ones(SIZES["b"], np.uint8)), 1),
    ],
    ids=["mask gone", "image touched", "image changed", "source mask changed"],
)
def test_only_what_changed_is_done_again(world, change, written):
    crf(world)
    change(world)
    summary = crf(world)
    assert (summary.written, summary.resumed) == (written, 5 - written)


def test_other_settings_redo_everything(world):
    crf(world)
    assert crf(world, settings=replace(LABELS, iterations=5)).written == 5
    assert crf(world, settings=replace(LABELS, iterations=5)).resumed == 5


def test_a_new_version_of_the_step_redoes_everything(world, monkeypatch):
    crf(world)
    monkeypatch.setattr(step, "STEP_VERSION", 10**6)
    assert crf(world).written == 5


def test_overlays_asked_for_later_are_made(world):
    crf(world)
    assert crf(world, overlay=True).written == 5
    assert crf(world, overlay=True).resumed == 5


def test_overwrite_redoes_everything(world):
    crf(world)
    assert crf(world, overwrite=True).written == 5


def test_a_torn_manifest_line_costs_one_item(world):
    crf(world)
    manifest = RunFolder(world / "out").manifest
    manifest.write_bytes(manifest.read_bytes()[:-20])
    summary = crf(world)
    assert (summary.written, summary.resumed) == (1, 4)
    assert crf(world).resumed == 5


def test_another_class_list_is_refused_unless_overwritten(world):
    crf(world)
    record = read_run_record(world / "masks")
    write_run_record(world / "masks", {**record, "classes": class_record(ClassSet(("dog", "cat", "hen")))})
    with pytest.raises(SettingsError, match=r"class 1 was 'cat', is 'dog'.*--overwrite"):
        crf(world)
    assert crf(world, overwrite=True).written == 5


def test_an_interrupt_leaves_whole_masks_and_the_next_run_goes_on(world, monkeypatch):
    real, done = crf_item.refine_item, []

    def interrupted(job):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(job.id)
        return real(job)

    monkeypatch.setattr(step, "refine_item", interrupted)
    with pytest.raises(KeyboardInterrupt):
        crf(world)
    assert not list((world / "out").rglob("*.partial"))
    assert sorted(masks_of(world / "out")) == sorted(done)
    monkeypatch.setattr(step, "refine_item", real)
    summary = crf(world)
    assert (summary.written, summary.resumed) == (3, 2)


def test_a_second_run_at_the_same_time_is_refused(world):
    with Manifest(RunFolder(world / "out")), pytest.raises(ArtifactError, match="another semples run"):
        crf(world)


# Bad items


def remove(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:40])


def resize(path):
    Image.open(path).resize((12, 10)).save(path)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("kind", "settings", "spoil", "victim", "reason"),
    [
        ("masks", LABELS, cut, "masks/b.png", r"masks/b\.png"),
        ("masks", replace(LABELS, backend="sparse"), cut, "masks/b.png", r"masks/b\.png"),
        ("masks", LABELS, cut, "images/b.png", r"images/b\.png"),
        ("masks", LABELS, remove, "images/b.png", "no image with this id; give the image folder"),
        ("masks", LABELS, resize, "images/b.png", "the image is 10×12 .* its mask is for 16×16: give the images"),
        ("cams", SCORES, resize, "images/b.png", "the image is 10×12 .* its CAM is for 16×16: give the images"),
        ("cams", SCORES, cut, "masks/.semples/cams/b.npz", r"b\.npz: not a readable CAM .* run `semples cams` again"),
        ("cams", LABELS, cut, "masks/.semples/cams/b.npz", r"b\.npz: not a readable CAM .* run `semples cams` again"),
    ],
)
def test_a_bad_item_fails_by_name_and_the_rest_is_written(world, kind, settings, spoil, victim, reason, workers):
    crf(world, kind=kind, settings=settings)
    spoil(world / victim)
    summary = crf(world, kind=kind, settings=replace(settings, iterations=9), workers=workers)
    assert summary.written == 4
    ((item, said),) = summary.failed
    assert item == "b"
    assert re.search(reason, said), said
    assert set(masks_of(world / "out")) == set(SIZES) - {"b"}  # the mask of the first run is gone too
    entry = read_manifest(RunFolder(world / "out").manifest)["b"]
    assert (entry.status, entry.reason) == ("failed", said)


def test_a_bad_item_is_tried_again_and_then_kept(world):
    data = (world / "images/b.png").read_bytes()
    cut(world / "images/b.png")
    assert crf(world).failed
    (world / "images/b.png").write_bytes(data)
    summary = crf(world)
    assert (summary.written, summary.resumed, summary.failed) == (1, 4, ())


def test_a_file_that_vanishes_while_the_run_goes_on_fails_its_item(world):
    files = [ImageFile(item, world / "images" / f"{item}.png") for item in SIZES]
    (world / "images/b.png").unlink()
    summary = crf(world, images=files)
    assert summary.written == 4
    assert summary.failed == (("b", f"{world / 'images/b.png'}: No such file or directory"),)


def test_images_without_a_mask_are_skipped_and_said(world):
    (world / "masks/b.png").unlink()
    summary = crf(world)
    assert summary.skipped == (("b", f"no mask in {world / 'masks'}"),)
    assert (summary.written, summary.failed) == (4, ())


# Refusals


def test_no_id_in_common_shows_both_sides(world):
    with pytest.raises(
        DataError, match=r"images are '1', '2', the masks in .* are 'a/1', 'a/2', 'b', …; give the image"
    ):
        crf(world, images="images/a")


def test_scores_from_masks_are_refused(world):
    with pytest.raises(SettingsError, match=r"masks carry no scores; choose a preset with labels \(semples-voc\)"):
        crf(world, settings=SCORES)


def test_cams_without_a_recorded_score_are_not_cut_by_guess(world):
    write_run_record(world / "masks", {"command": "cams", "inputs": [str(world / "images")]})
    with pytest.raises(SettingsError, match=r"which background score .*refine from their masks, or .*clip-es"):
        crf(world, kind="cams")
    assert crf(world, kind="cams", settings=SCORES).written == 5


def test_no_images_known_asks_for_them(world):
    RunFolder(world / "masks").record.unlink()
    with pytest.raises(SettingsError, match="give them with --images FOLDER"):
        crf(world, images=None)


def test_an_empty_folder_has_no_masks(world):
    (world / "empty").mkdir()
    with pytest.raises(ArtifactError, match=r"empty: no mask PNGs here; give the folder that holds <id>\.png"):
        apply_crf(world / "empty", world / "images", world / "out", LABELS, progress=silent)


@pytest.mark.parametrize("out", ["masks", "masks/refined", "."])
def test_an_output_that_holds_or_lies_in_the_source_is_refused(world, out):
    with pytest.raises(SettingsError, match="lie inside each other: choose a folder apart"):
        crf(world, out=out)


def test_an_output_that_would_replace_the_images_is_refused(world):
    before = masks_of(world / "images")
    with pytest.raises(SettingsError, match=r"is where the images lie: .* choose another folder"):
        crf(world, out="images")
    assert masks_of(world / "images") == before


@pytest.mark.parametrize(
    ("options", "message"), [({"workers": 0}, "0 workers: 1 or more"), ({"kind": "seeds"}, "choose one of cams, masks")]
)
def test_options_without_meaning_are_refused(world, options, message):
    with pytest.raises(SettingsError, match=message):
        crf(world, **options)


def test_a_missing_backend_stops_before_anything_is_written(world, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(EngineError, match="take --crf-backend sparse, or pip install pydensecrf2"):
        crf(world, settings=replace(LABELS, backend="pydensecrf2"))
    assert not (world / "out").exists()


@pytest.mark.parametrize(
    ("backend", "is_missing", "workers"),
    [
        ("sparse", False, "threads"),
        ("sparse", True, "threads"),
        ("auto", True, "threads"),
        ("auto", False, "processes"),
        ("pydensecrf2", False, "processes"),
    ],
)
def test_workers_are_threads_where_nothing_holds_the_lock(world, monkeypatch, backend, is_missing, workers):
    if not is_missing:
        pytest.importorskip("pydensecrf")
    seen = []
    pools = {"thread_each": "threads", "process_each": "processes"}
    for name, kind in pools.items():
        pool = getattr(step, name)
        monkeypatch.setattr(step, name, lambda *args, pool=pool, kind=kind: seen.append(kind) or pool(*args))
    if is_missing:
        monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    assert crf(world, settings=replace(LABELS, backend=backend)).written == 5
    assert seen == [workers]


@pytest.mark.parametrize("backend", ["auto", "sparse"])
def test_no_other_backend_is_needed(world, monkeypatch, backend):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    assert crf(world, settings=replace(LABELS, backend=backend)).written == 5


def test_backends_write_the_same_masks(world):
    pytest.importorskip("pydensecrf")
    crf(world, settings=replace(LABELS, backend="sparse"), out="sparse")
    crf(world, settings=replace(LABELS, backend="pydensecrf2"), out="reference")
    for item in SIZES:
        ours, theirs = (read_mask(world / out / f"{item}.png") for out in ("sparse", "reference"))
        assert (ours == theirs).mean() > 0.99


def test_a_limit_on_the_pixels_is_part_of_the_settings(world):
    crf(world)
    small = replace(LABELS, max_pixels=100)
    assert crf(world, settings=small).written == 5
    assert crf(world, settings=small).resumed == 5
    assert read_run_record(world / "out")["settings"]["max_pixels"] == 100
    values, _ = refine_labels(
        image_of(world, "b"), read_mask(world / "masks/b.png"), 0.7, replace(crf_of(LABELS), max_pixels=100)
    )
    np.testing.assert_array_equal(read_mask(world / "out/b.png"), values)


def test_another_backend_redoes_everything_and_the_same_one_nothing(world):
    crf(world)
    assert crf(world, settings=replace(LABELS, backend="sparse")).written == 5
    assert crf(world, settings=replace(LABELS, backend="sparse")).resumed == 5


def test_a_worker_that_is_killed_fails_its_item(world, monkeypatch):
    pytest.importorskip("pydensecrf")  # without it workers are threads, and the task would end pytest
    monkeypatch.setattr(step, "refine_item", crf_tasks.die_on_b)
    summary = crf(world, workers=2)
    assert summary.written == 4
    ((item, reason),) = summary.failed
    assert item == "b"
    assert "its worker process died" in reason


def test_the_manifest_is_plain_json_lines(world):
    crf(world)
    lines = RunFolder(world / "out").manifest.read_text().splitlines()
    assert {json.loads(line)["id"] for line in lines} == set(SIZES)
