"""`--background-score auto` and `--calibrate` on the command line."""

import json
import subprocess
import sys

import numpy as np
import pytest
from small_world import PHOTOS
from typer.testing import CliRunner

from semples_cli.artifacts.mask_png import read_mask, write_mask
from semples_cli.artifacts.run_folder import read_run_record
from semples_cli.cli.app import app
from semples_cli.cli.background import parse_score, read_background
from semples_cli.config import DEFAULT_BACKGROUND_SCORE
from semples_cli.errors import SettingsError
from semples_cli.steps.choose_background import BackgroundRule

SMALL = ["--device", "cpu", "--precision", "fp32", "--size", "40", "--batch-size", "2", "--background-words", "none"]


@pytest.fixture
def folder(photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    return photos.parent


@pytest.fixture
def cams(folder, clip_dir):
    def run(*args):
        command = ["cams", "images", "--out", "masks", "--weights", str(clip_dir), *SMALL, *args]
        return CliRunner().invoke(app, command)

    return run


@pytest.fixture
def truth(folder, cams):
    """Masks of two photos as `cams` cuts them at 0.6."""
    cams("--background-score", "0.6", "--out", "right")
    for name in ("a/1", "b"):
        write_mask(folder / f"truth/{name}.png", read_mask(folder / f"right/{name}.png"))
    return folder / "truth"


def test_what_is_asked_for(tmp_path):
    assert read_background(None, None) == (DEFAULT_BACKGROUND_SCORE, None)
    assert read_background("0.25", None) == (0.25, None)
    assert read_background("auto", None) == (DEFAULT_BACKGROUND_SCORE, BackgroundRule())
    for score in (None, "auto"):
        assert read_background(score, tmp_path) == (DEFAULT_BACKGROUND_SCORE, BackgroundRule(tmp_path))
    with pytest.raises(SettingsError, match=r"--background-score 0\.25 and --calibrate, which chooses it: leave one"):
        read_background("0.25", tmp_path)
    for text in ("", "Auto", "0,4", "half"):
        with pytest.raises(SettingsError, match="give a number from 0 to 1, or auto"):
            parse_score(text)


def test_a_score_that_is_given_needs_no_torch():
    code = (
        "import sys; from semples_cli.cli.background import read_background; read_background('0.3', None);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_auto_says_what_it_chose_and_records_it(cams, folder):
    done = cams("--background-score", "auto", "--json")
    assert done.exit_code == 0, done.stderr
    choice = read_run_record(folder / "masks")["background_choice"]
    assert choice["rule"] == "border contrast"
    assert f"background score {choice['score']:.2f}, where mask borders lie best on edges" in done.stderr
    assert json.loads(done.stdout)["written"] == len(PHOTOS)
    again = cams("--background-score", "auto", "--json")
    assert json.loads(again.stdout)["resumed"] == len(PHOTOS)
    assert "background score" not in again.stderr  # chosen once


def test_calibrate_says_what_it_chose_and_how_sure_it_is(cams, folder, truth):
    done = cams("--calibrate", str(truth))
    assert done.exit_code == 0, done.stderr
    choice = read_run_record(folder / "masks")["background_choice"]
    assert choice["images"] == ["a/1", "b"]
    assert choice["calibration"]["miou"] > 0.95
    said = " ".join(done.stderr.split())
    assert "the best of 2 images with ground truth (90 % of resamples:" in said
    assert "do not count them when you evaluate" in said


def test_a_run_from_a_toml_file_may_choose_too(cams, folder):
    (folder / "run.toml").write_text('background-score = "auto"\n')
    assert cams("--config", "run.toml").exit_code == 0
    assert "background_choice" in read_run_record(folder / "masks")


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--background-score", "0.3", "--calibrate", "truth"], 2, "leave one of them out"),
        (["--background-score", "much"], 2, "give a number from 0 to 1, or auto"),
        (["--background-score", "1.5"], 2, "it lies in [0, 1]"),
        (["--calibrate", "nowhere"], 1, "--calibrate nowhere"),
        (["--calibrate", "images"], 1, "no PNGs"),
    ],
)
def test_refusals(cams, folder, args, code, said):
    done = cams(*args)
    assert done.exit_code == code
    assert said in " ".join(done.stderr.split())
    assert not list((folder / "masks").rglob("*.png"))


def test_ground_truth_of_another_size_stops_the_run_by_name(cams, folder, truth):
    write_mask(truth / "b.png", np.zeros((3, 3), np.uint8))
    done = cams("--calibrate", "truth")
    assert done.exit_code == 1
    said = " ".join(done.stderr.split())
    assert "truth/b.png" in said
    assert "correct it, or take it away" in said


def test_the_masks_that_a_choice_gave_are_evaluated_like_any(cams, folder, truth):
    cams("--background-score", "auto")
    done = CliRunner().invoke(app, ["evaluate", "masks", "truth", "--json"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["num_images"] == 2


@pytest.mark.parametrize("command", ["cams", "refine", "run"])
def test_the_commands_that_cut_masks_know_both_options(command):
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).stdout
    assert "--calibrate" in shown
    assert "chosen from images and CAMs" in shown
