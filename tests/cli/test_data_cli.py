"""`semples data coco-masks` from end to end."""

import json
import re

import pytest
from coco_files import document, write_coco
from typer.testing import CliRunner

from semples_cli.artifacts.mask_png import find_masks
from semples_cli.cli.app import app


@pytest.fixture
def run(tmp_path, monkeypatch):
    write_coco(tmp_path)
    monkeypatch.chdir(tmp_path)
    return lambda *args: CliRunner().invoke(app, ["data", "coco-masks", *args], env={"COLUMNS": "200", "TERM": "dumb"})


def test_the_example_of_the_help_runs(run, tmp_path):
    (example,) = re.findall(r"Example: semples data coco-masks (.*?)\s*$", run("--help").stdout, re.MULTILINE)
    done = run(*example.split())
    assert done.exit_code == 0, done.stderr
    assert done.stdout == ""
    assert "ground truth: ground_truth/val2014" in done.stderr
    assert len(find_masks(tmp_path / "ground_truth/val2014")) == 4


def test_json_and_a_region_that_fails(run, tmp_path):
    content = document()
    content["annotations"][0]["segmentation"] = [[1, 2]]
    (tmp_path / "annotations/instances_train2014.json").write_text(json.dumps(content))
    done = run("annotations/instances_train2014.json", "--out", "gt", "--json")
    assert done.exit_code == 3
    result = json.loads(done.stdout)
    assert (result["written"], len(result["failed"])) == (3, 1)
    assert "correct the file" in done.stderr


def test_the_images_that_are_there(run, tmp_path):
    for image in sorted((tmp_path / "val2014").iterdir())[1:]:
        image.unlink()
    (tmp_path / "val2014/ours.png").write_bytes(b"not listed, so not opened")
    done = run("annotations/instances_val2014.json", "--out", "gt", "--images", "val2014")
    assert done.exit_code == 0, done.stderr
    assert list(find_masks(tmp_path / "gt")) == ["COCO_val2014_000000000009"]
    assert "skipped: ours: not in annotations/instances_val2014.json" in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["annotations/instances_val2014.json", "--out", "gt", "--images", "train2014"], 1, "none of the images of"),
        (["none.json", "--out", "gt"], 1, "none.json: no such file"),
        (["annotations/instances_val2014.json", "--out", "gt", "--crowd", "no"], 2, "choose one of class, ignore"),
        (["annotations/instances_val2014.json", "--out", "gt", "--classes", "few.txt"], 1, "is no class of the list"),
    ],
)
def test_refusals(run, tmp_path, args, code, message):
    (tmp_path / "few.txt").write_text("dog\nperson\n")
    done = run(*args)
    assert done.exit_code == code
    assert message in " ".join(done.stderr.split())
