"""`semples check` from end to end."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from semples_cli.artifacts.mask_png import write_mask
from semples_cli.cli.app import app

WIDE = {"COLUMNS": "220", "TERM": "dumb"}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Two good masks with images and classes; runs the command in their folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        write_mask(tmp_path / f"masks/{name}.png", np.array([[0, 1], [1, 255]], np.uint8))
        Image.new("RGB", (2, 2)).save(tmp_path / f"images/{name}.jpg")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    (tmp_path / "labels.csv").write_text("image,labels\na.jpg,cat\nb.jpg,cat\n")
    return lambda *args: CliRunner().invoke(app, ["check", *map(str, args)], env=WIDE)


def rows(text):
    """(severity, code, found) of the table."""
    cells = (re.split(r"\s*[│┃|]\s*", line.strip("│┃| ")) for line in text.splitlines() if "│" in line)
    return [tuple(row[:3]) for row in cells]


def test_the_example_of_the_help_runs(run):
    (example,) = re.findall(r"Example: semples check (.*?)\s*$", run("--help").stdout, re.MULTILINE)
    done = run(*example.split())
    assert done.exit_code == 0, done.stderr


def test_good_masks_end_with_0_and_one_sentence(run):
    done = run("masks", "--images", "images", "--classes", "classes.txt", "--labels", "labels.csv")
    assert done.exit_code == 0
    assert [line.strip() for line in done.stdout.splitlines()] == [
        "nothing is wrong",
        "2 masks, 2 images, 2 classes, 2 compared with labels, coverage 75.0%",
    ]
    assert "labels.csv: read as list-column CSV" in done.stderr


def test_errors_end_with_3_and_are_listed_with_their_cure(run, tmp_path):
    (tmp_path / "masks/b.png").write_bytes(b"rubbish")
    write_mask(tmp_path / "masks/a.png", np.array([[0, 0], [7, 255]], np.uint8), mode="L")
    done = run("masks", "--images", "images", "--classes", "classes.txt")
    assert done.exit_code == 3
    assert rows(done.stdout) == [
        ("error", "unreadable", "1"),
        ("error", "no-class", "1"),
        ("info", "no-palette", "1"),
    ]
    assert "write or fetch the file again" in done.stdout
    assert "  unreadable: b: this file is not a PNG" in done.stderr
    assert "  no-class: a: 7; there are 2 classes" in done.stderr
    assert "  no-palette: a: grey PNG without colours" in done.stderr


def test_warnings_end_with_0(run, tmp_path):
    (tmp_path / "masks/c.png.partial").touch()
    done = run("masks")
    assert (done.exit_code, rows(done.stdout)) == (0, [("warning", "unfinished", "1")])
    assert "no images known: sizes are not compared; add --images" in done.stderr


def test_twenty_are_listed_and_all_are_in_the_json(run, tmp_path):
    for number in range(25):
        (tmp_path / f"masks/x{number:02}.png").write_bytes(b"rubbish")
    done = run("masks", "--json")
    assert done.exit_code == 3
    document = json.loads(done.stdout)
    assert [(each["code"], each["count"], len(each["items"])) for each in document["findings"]] == [
        ("unreadable", 25, 25)
    ]
    assert (document["ok"], document["masks"]) == (False, 27)
    assert "  unreadable: x19: " in done.stderr
    assert "x20" not in done.stderr
    assert "… and 5 more unreadable" in done.stderr


def test_several_image_folders_are_taken(run, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "images/b.jpg").rename(tmp_path / "more/b.jpg")
    assert run("masks", "--images", "images", "--images", "more").exit_code == 0
    assert run("masks", "--images", "images").exit_code == 3


def test_names_with_brackets_are_said_as_they_are(run, tmp_path):
    (tmp_path / "masks/[red]x.png").write_bytes(b"rubbish")
    assert "  unreadable: [red]x: " in run("masks").stderr


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["nowhere"], 1, "nowhere: no such folder; give the folder that holds the mask PNGs"),
        (["masks", "--labels", "labels.csv"], 2, "of which images is not known; add --images"),
        (["masks", "--images", "nowhere"], 1, "nowhere: no such file or folder"),
        (["masks", "--classes", "voc99"], 1, "voc99: no such class list"),
        (["masks", "--workers", "0"], 2, "--workers"),
    ],
)
def test_what_cannot_be_checked_is_refused(run, args, code, message):
    done = run(*args)
    assert done.exit_code == code
    assert message in " ".join(done.stderr.split())
    assert done.stdout == ""
