"""`semples export` of CAMs and of masks: what it writes and says, exit codes, and what it refuses."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from export_world import CLASSES, MASKS, files_in, write_images
from fake_ray import FakeRay
from typer.testing import CliRunner

from semples_cli.artifacts.cam_store import write_cam
from semples_cli.artifacts.mask_png import write_mask
from semples_cli.artifacts.run_folder import class_record, write_run_record
from semples_cli.cli.app import app
from semples_cli.types import Cam

WIDE = {"COLUMNS": "200", "TERM": "dumb"}


@pytest.fixture
def world(tmp_path, monkeypatch):
    """masks/ with CAMs of two images; the tests stand in the folder that holds it."""
    for sample_id in ("1", "a/2"):
        scores = np.random.default_rng(0).random((1, 3, 4), np.float32)
        write_cam(tmp_path / "masks/.semples/cams", Cam(sample_id, np.array([5]), scores, (12, 15)), {})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args):
    return CliRunner().invoke(app, ["export", *args], env=WIDE)


def test_the_example_of_the_help_runs(world):
    example = re.search(r"Example: semples (export masks/ --to irn --out irn_cams/)", run("--help").stdout)
    done = CliRunner().invoke(app, example.group(1).split())
    assert done.exit_code == 0, done.stderr
    assert done.stdout == ""
    assert "2 CAMs written" in done.stderr
    content = np.load(world / "irn_cams/a/2.npy", allow_pickle=True).item()
    assert content["keys"].tolist() == [4]
    assert content["high_res"].shape == (1, 12, 15)


def test_json_is_one_document_and_a_second_run_keeps_the_files(world):
    done = run("masks", "--out", "irn", "--json")
    document = json.loads(done.stdout)
    assert document.pop("seconds") >= 0
    assert document == {"out": "irn", "to": "irn", "written": 2, "resumed": 0, "failed": []}
    assert json.loads(run("masks", "--out", "irn", "--json").stdout)["resumed"] == 2
    assert json.loads(run("masks", "--out", "irn", "--json", "--overwrite").stdout)["written"] == 2


def test_a_failed_item_is_listed_and_exits_3(world):
    (world / "masks/.semples/cams/1.npz").write_bytes(b"")
    done = run("masks", "--out", "irn", "--json")
    assert done.exit_code == 3
    document = json.loads(done.stdout)
    assert document["written"] == 1
    assert [entry["id"] for entry in document["failed"]] == ["1"]
    assert "failed: 1: " in done.stderr
    assert not (world / "irn/1.npy").exists()


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["masks"], 2, "--out"),
        (["masks", "--out", "irn", "--to", "pascal"], 2, "--to pascal: choose one of coco, cvat, hf, label-studio"),
        (["masks", "--out", "masks/irn"], 2, "lie inside each other"),
        (["nowhere", "--out", "irn"], 1, "no CAMs here"),
        (["masks", "--out", "irn", "--instances", "class"], 2, "--instances: --to irn exports CAMs; leave it out, or"),
        (["masks", "--out", "irn", "--images", "i", "--polygons"], 2, "--images, --polygons: --to irn exports CAMs"),
        (["masks", "--out", "irn", "--to", "coco", "--cams-map", "cam"], 2, "--cams-map: --to coco exports masks;"),
        (["masks", "--out", "irn", "--to", "voc", "--polygons"], 2, "--polygons: --to voc does not have this; leave"),
        (["masks", "--out", "irn", "--to", "cvat", "--shard-size", "200"], 2, "--shard-size: --to cvat does not have"),
        (["masks", "--out", "irn", "--to", "coco", "--instances", "all"], 2, "choose one of class, components"),
        (["masks", "--out", "irn", "--to", "coco", "--classes", "nope.txt"], 1, "nope.txt: no such class list"),
        (["masks", "--out", "irn", "--to", "coco"], 1, "masks: no mask PNGs here"),
        (["masks", "--out", "irn", "--shard", "1/2"], 2, "--shard: --to irn exports CAMs; leave it out, or"),
        (["masks", "--out", "irn", "--backend", "ray"], 2, "--backend: --to irn exports CAMs; leave it out, or"),
        (["masks", "--out", "irn", "--ray-cpus", "2"], 2, "--ray-cpus: --to irn exports CAMs; leave it out, or"),
        (["masks", "--out", "irn", "--to", "coco", "--shard", "0/2"], 2, "shards are numbered from 1, such as 1/2"),
        (["masks", "--out", "irn", "--cams-numbering", "1"], 2, "leave --cams-numbering out"),
        (["masks", "--out", "irn", "--cams-format", "coco"], 2, "--cams-format coco: choose one of auto, semples"),
    ],
)
def test_refusals_are_one_line_and_nothing_is_written(world, args, code, message):
    done = run(*args)
    assert done.exit_code == code, done.output
    assert message in re.sub(r"[\s│]+", " ", done.stderr)
    assert "Traceback" not in done.output
    assert not (world / "irn").exists()


# Masks


@pytest.fixture
def masks_world(tmp_path, monkeypatch):
    """masks/, a run over images/; the tests stand in the folder that holds both."""
    write_images(tmp_path / "images")
    for sample_id, values in MASKS.items():
        write_mask(tmp_path / f"masks/{sample_id}.png", values)
    record = {"command": "cams", "inputs": [str(tmp_path / "images")], "classes": class_record(CLASSES)}
    write_run_record(tmp_path / "masks", record)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_example_of_masks_runs_and_says_where_the_index_is(masks_world):
    example = re.search(r"Example: semples (export masks/ --to coco --out coco/)", run("--help").stdout)
    done = CliRunner().invoke(app, example.group(1).split(), env=WIDE)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == ""
    assert f"{len(MASKS)} masks written" in done.stderr
    assert "coco: coco/instances.json" in done.stderr
    assert (masks_world / "coco/instances.json").is_file()


@pytest.mark.parametrize("to", ["coco", "cvat", "hf", "voc"])
def test_json_of_masks_is_one_document(masks_world, to):
    (masks_world / "masks/one.png").unlink()
    done = run("masks", "--to", to, "--out", "out", "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document.pop("seconds") >= 0
    files = document.pop("files")
    assert files
    assert all((masks_world / path).is_file() for path in files)
    assert document == {
        "out": "out",
        "to": to,
        "written": len(MASKS) - 1,
        "resumed": 0,
        "failed": [],
        "skipped": [{"id": "one", "reason": "no mask in masks"}],
    }
    again = json.loads(run("masks", "--to", to, "--out", "out", "--json").stdout)
    assert (again["written"], again["resumed"], again["files"]) == (0, len(MASKS) - 1, files)
    assert json.loads(run("masks", "--to", to, "--out", "out", "--json", "--overwrite").stdout)["resumed"] == 0


def test_a_damaged_mask_is_listed_the_rest_written_and_the_exit_code_3(masks_world):
    (masks_world / "masks/one.png").write_bytes(b"")
    done = run("masks", "--to", "cvat", "--out", "out", "--json")
    assert done.exit_code == 3
    document = json.loads(done.stdout)
    assert [entry["id"] for entry in document["failed"]] == ["one"]
    assert document["written"] == len(MASKS) - 1
    assert "failed: one: masks/one.png: this file is empty" in done.stderr


def test_void_is_said_on_stderr(masks_world):
    done = run("masks", "--to", "cvat", "--out", "out")
    assert re.search(r"\d+ pixels of 255 \(ignore\) in 3 masks are written as 0, background", done.stderr)


def test_options_reach_the_exporter(masks_world):
    (masks_world / "names.txt").write_text("a\nb\nc\nd\n")
    write_mask(masks_world / "plain/full.png", MASKS["full"])
    args = ("--images", "images", "--classes", "names.txt", "--polygons", "--instances", "components")
    done = run("plain", "--to", "coco", "--out", "out", *args)
    assert done.exit_code == 0, done.stderr
    document = json.loads((masks_world / "out/instances.json").read_bytes())
    assert [category["name"] for category in document["categories"]] == ["a", "b", "c", "d"]
    assert document["annotations"][0]["segmentation"] == [[0, 0, 9, 0, 9, 6, 0, 6]]


def test_images_are_copied_where_that_is_wished(masks_world):
    run("masks", "--to", "hf", "--out", "out", "--copy-images")
    assert not (masks_world / "out/images/one.jpg").samefile(masks_world / "images/one.jpg")


def test_shards_are_exports_of_their_own(masks_world):
    documents = [
        json.loads(run("masks", "--to", "voc", "--out", "out", "--shard", f"{i}/2", "--json").stdout) for i in (1, 2)
    ]
    assert [(each["shard"], each["written"]) for each in documents] == [("1/2", 4), ("2/2", 3)]
    assert [each["out"] for each in documents] == ["out", "out"]
    lists = [(masks_world / f"out/shard-{i}of2/splits/train.txt").read_text().splitlines() for i in (1, 2)]
    assert lists == [sorted(MASKS)[0::2], sorted(MASKS)[1::2]]
    assert all(path.startswith("out/shard-2of2/") for path in documents[1]["files"])


@pytest.mark.parametrize("count", [2, 9])
def test_ray_writes_the_exports_of_the_shards(masks_world, monkeypatch, count):
    monkeypatch.setitem(sys.modules, "ray", FakeRay({"CPU": 2.0}))
    options = ("--backend", "ray", "--num-shards", str(count))
    done = run("masks", "--to", "voc", "--out", "out", "--json", *options)
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["written"], document["resumed"]) == (7, 0)
    assert document["folders"] == [f"out/shard-{i}of{count}" for i in range(1, count + 1)]
    assert f"voc: out/shard-1of{count} to {count}" in done.stderr
    lists = [Path(folder, "splits/train.txt").read_text().splitlines() for folder in document["folders"]]
    assert lists == [sorted(MASKS)[i::count] for i in range(count)]
    assert json.loads(run("masks", "--to", "voc", "--out", "out", "--json", *options).stdout)["resumed"] == 7


def test_ray_wants_to_know_how_many_exports(masks_world):
    done = run("masks", "--to", "voc", "--out", "out", "--backend", "ray")
    assert done.exit_code == 2
    assert "say by --num-shards how many" in done.stderr


def test_something_else_in_the_folder_is_refused_and_stays(masks_world):
    run("masks", "--to", "voc", "--out", "out")
    before = files_in(masks_world / "out")
    done = run("masks", "--to", "hf", "--out", "out")
    assert done.exit_code == 2
    assert "was made by `semples export --to voc`" in done.stderr
    assert files_in(masks_world / "out") == before


def test_export_starts_without_torch():
    code = (
        "import sys; from semples_cli.cli.app import app; from semples_cli.steps.export_masks import load_exporter\n"
        "[load_exporter(name) for name in ('coco', 'cvat', 'hf', 'voc')]\n"
        "print([name for name in ('torch', 'open_clip', 'supervision', 'label_studio_sdk') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
