import json
import re
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from semples_cli.artifacts.cam_store import write_cam
from semples_cli.artifacts.mask_png import find_masks, read_mask, write_mask
from semples_cli.artifacts.run_folder import RunFolder, class_record, read_run_record, write_run_record
from semples_cli.cli.app import app
from semples_cli.cli.crf import choose_settings
from semples_cli.config import CRF_PRESETS
from semples_cli.errors import SettingsError
from semples_cli.types import Cam, ClassSet

IDS = ("1", "2")


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Two images, their masks and their CAMs; the tests stand in the folder that holds them."""
    rng = np.random.default_rng(0)
    cams = RunFolder(tmp_path / "seeds").cams
    (tmp_path / "images").mkdir()
    for item in IDS:
        Image.fromarray(rng.integers(0, 256, (12, 15, 3), np.uint8)).save(tmp_path / f"images/{item}.png")
        mask = np.zeros((12, 15), np.uint8)
        mask[:, :7] = 1
        write_mask(tmp_path / f"masks/{item}.png", mask)
        write_mask(tmp_path / f"seeds/{item}.png", mask)
        write_cam(cams, Cam(item, np.array([1]), rng.random((1, 3, 4), np.float32), (12, 15)), {})
    classes = class_record(ClassSet(("cat",)))
    settings = {"background_score": 0.4}
    record = {"command": "cams", "settings": settings, "classes": classes, "inputs": [str(tmp_path / "images")]}
    write_run_record(tmp_path / "seeds", record)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args, workers=1):
    return CliRunner().invoke(app, ["crf", *args, "--workers", str(workers)])


def settings_of(out):
    return read_run_record(out)["settings"]


def test_the_example_of_the_help_runs(world):
    shown = CliRunner().invoke(app, ["crf", "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0
    example = re.search(r"Example: semples (crf masks/ --images images/ --out refined/)", shown.stdout)
    assert example, shown.stdout
    done = CliRunner().invoke(app, example.group(1).split())
    assert done.exit_code == 0, done.stderr
    assert set(find_masks(world / "refined")) == set(IDS)
    assert done.stdout == ""
    assert "2 masks written" in done.stderr


def test_masks_take_the_preset_for_labels_by_default(world):
    assert run("masks", "--images", "images", "--out", "out").exit_code == 0
    assert settings_of(world / "out")["unary"] == "labels"
    assert settings_of(world / "out")["bilateral_sxy"] == 83


def test_cams_take_the_preset_for_scores_by_default(world):
    assert run("seeds", "--out", "out").exit_code == 0
    assert settings_of(world / "out")["unary"] == "scores"
    assert read_run_record(world / "out")["source_kind"] == "cams"


def test_from_masks_reads_the_masks_where_cams_lie_beside_them(world):
    assert run("seeds", "--from", "masks", "--out", "out").exit_code == 0
    assert read_run_record(world / "out")["source_kind"] == "masks"
    assert settings_of(world / "out")["unary"] == "labels"


def test_presets_and_free_parameters_meet(world):
    kernels = ["--gaussian", "2", "1.5", "--bilateral", "40", "6", "7", "--gt-prob", "0.8"]
    others = ["--preset", "semples-coco", "--iterations", "3", "--min-confidence", "1"]
    backend = ["--crf-backend", "sparse", "--crf-max-pixels", "90"]
    assert run("masks", "--images", "images", "--out", "out", *kernels, *others, *backend).exit_code == 0
    assert settings_of(world / "out") == {
        "unary": "labels",
        "gt_prob": 0.8,
        "gaussian_sxy": 2,
        "gaussian_compat": 1.5,
        "bilateral_sxy": 40,
        "bilateral_srgb": 6,
        "bilateral_compat": 7,
        "iterations": 3,
        "min_confidence": 1,
        "backend": "sparse",
        "max_pixels": 90,
    }
    assert (read_mask(world / "out/1.png") == 255).any()


def test_json_is_one_document_on_stdout(world):
    result = run("seeds", "--out", "out", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document.pop("seconds") >= 0
    expected = {"out": "out", "preset": "clip-es", "written": 2, "resumed": 0, "skipped": [], "failed": []}
    assert document == expected
    assert json.loads(run("seeds", "--out", "out", "--json").stdout)["resumed"] == 2
    assert json.loads(run("seeds", "--out", "out", "--json", "--overwrite").stdout)["written"] == 2


def test_overlays_on_request(world):
    assert run("seeds", "--out", "out").exit_code == 0
    assert not (world / "out/overlays").exists()
    assert run("seeds", "--out", "out", "--overlay").exit_code == 0
    assert (world / "out/overlays/2.png").is_file()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failed_item_is_listed_and_exits_3(world, workers):
    (world / "images/2.png").write_bytes(b"not an image")
    result = run("seeds", "--out", "out", "--json", workers=workers)
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert document["written"] == 1
    assert [entry["id"] for entry in document["failed"]] == ["2"]
    assert "failed: 2: " in result.stderr
    assert set(find_masks(world / "out")) == {"1"}


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["masks", "--out", "out"], 2, "--images FOLDER"),
        (["masks", "--images", "images", "--out", "out", "--preset", "voc"], 2, "clip-es, semples-voc, semples-coco"),
        (["masks", "--images", "images", "--out", "out", "--preset", "clip-es"], 2, "masks carry no scores"),
        (["seeds", "--out", "out", "--gt-prob", "0.5"], 2, "--gt-prob is for hard labels"),
        (["seeds", "--out", "out", "--from", "scores"], 2, "choose one of cams, masks"),
        (["seeds", "--out", "out", "--iterations", "0"], 2, "iterations 0: 1 or more"),
        (["seeds", "--out", "out", "--crf-backend", "fast"], 2, "choose one of auto, sparse, pydensecrf2"),
        (["seeds", "--out", "out", "--crf-max-pixels", "0"], 2, "CRF on at most 0 pixels: 1 or more"),
        (["seeds", "--out", "out", "--min-confidence", "95"], 2, "it lies in [0, 1]"),
        (["seeds", "--out", "seeds"], 2, "lie inside each other"),
        (["seeds"], 2, "--out"),
        (["absent", "--images", "images", "--out", "out"], 1, "absent"),
        (["images/1.png", "--images", "images", "--out", "out"], 1, "1.png"),
    ],
)
def test_refusals_are_one_line_with_the_right_code(world, args, code, message):
    result = run(*args)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not (world / "out").exists()


def test_a_backend_that_is_missing_is_told_with_what_to_do(world, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    result = run("seeds", "--out", "out", "--crf-backend", "pydensecrf2")
    assert result.exit_code == 1
    assert "take --crf-backend sparse" in result.stderr
    assert not (world / "out").exists()
    assert run("seeds", "--out", "out").exit_code == 0


def test_choose_settings_changes_only_what_is_given():
    assert choose_settings("clip-es", {}) == CRF_PRESETS["clip-es"]
    assert choose_settings("semples-voc", {"iterations": 5}).bilateral_sxy == 83
    with pytest.raises(SettingsError, match="choose one of clip-es"):
        choose_settings("voc", {})
