"""`semples export`: what it writes and says, exit codes, and what it refuses."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from semples_cli.artifacts.cam_store import write_cam
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
