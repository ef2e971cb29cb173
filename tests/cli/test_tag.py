import json
import re

import pytest
from typer.testing import CliRunner

from semples_cli.cli.app import app


@pytest.fixture
def tag(photos, clip_dir, tmp_path, monkeypatch):
    """Runs the command on the photos with the small CLIP, in a folder of its own."""
    (tmp_path / "classes.txt").write_text("boat\ncat\ndog\n")
    monkeypatch.chdir(tmp_path)

    def run(*arguments, images=("images",), stdin=None):
        fixed = ["--classes", "classes.txt", "--out", "labels.csv", "--weights", str(clip_dir)]
        engine = ["--device", "cpu", "--precision", "fp32"]
        return CliRunner().invoke(app, ["tag", *images, *fixed, *engine, *arguments], input=stdin)

    return run


def test_labels_are_proposed_and_the_rule_and_the_counts_are_said(tag, tmp_path):
    result = tag()
    assert result.exit_code == 0, result.stderr
    assert "5 images, 3 classes" in result.stderr
    assert re.search(
        r"proposed: what lies -?0\.\d{3} or more above the mean cosine of all texts \(where", result.stderr
    )
    assert "warning: the threshold is found from 15 scores only" in result.stderr
    assert "labels.csv: 5 images in" in result.stderr
    assert "correct the file, then make masks with the same --classes, by --labels labels.csv" in result.stderr
    assert [line.split()[1] for line in result.stdout.splitlines() if line.startswith("│")] == ["boat", "cat", "dog"]
    assert (tmp_path / "labels.csv").read_text().startswith("image,labels\n")
    assert (tmp_path / "labels.scores.csv").read_text().startswith("image,proposed,certainty,unsure,boat,cat,dog\n")


def test_masks_are_made_of_the_file_as_it_is(tag, clip_dir, tmp_path):
    assert tag("--threshold", "-2").exit_code == 0
    options = ["--weights", str(clip_dir), "--device", "cpu", "--size", "32", "--classes", "classes.txt"]
    result = CliRunner().invoke(app, ["cams", "images", "--labels", "labels.csv", "--out", "masks", "--json", *options])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["written"] == 5
    assert not json.loads(result.stdout)["unmatched_rows"]


def test_a_threshold_that_is_given_is_used_and_images_without_proposal_are_counted(tag, tmp_path):
    result = tag("--threshold", "2")
    assert result.exit_code == 0
    assert "what lies 2.000 or more above the mean cosine of all texts (as given)" in result.stderr
    assert "5 images have no proposal; their empty cells say that they show none of the classes" in result.stderr
    assert all(line.endswith(",") for line in (tmp_path / "labels.csv").read_text().splitlines()[1:])


def test_json_alone_is_on_stdout(tag):
    result = tag("--json", "--threshold", "-2")
    document = json.loads(result.stdout)
    assert document.pop("seconds") >= 0
    assert document == {
        "out": "labels.csv",
        "scores": "labels.scores.csv",
        "threshold": -2.0,
        "separation": None,
        "proposed": {"boat": 5, "cat": 5, "dog": 5},
        "written": 5,
        "empty": 0,
        "failed": [],
        "notes": [],
    }


def test_a_damaged_image_is_exit_3_with_the_others_done_and_json_whole(tag, photos):
    (photos / "bad.jpg").write_bytes(b"none")
    result = tag("--json")
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert document["written"] == 5
    assert [item["id"] for item in document["failed"]] == ["bad"]
    assert "failed: bad: " in result.stderr
    assert "; 1 failed" in result.stderr


def test_paths_from_stdin_are_named_as_in_the_folder(tag, photos, tmp_path):
    assert tag("--threshold", "0").exit_code == 0
    of_folder = (tmp_path / "labels.csv").read_text()
    listing = "\0".join(str(path.relative_to(tmp_path)) for path in sorted(photos.rglob("*.jpg")))
    assert tag("--threshold", "0", "--overwrite", images=["-"], stdin=listing).exit_code == 0
    assert (tmp_path / "labels.csv").read_text() == of_folder
    assert "a/2.jpg" in of_folder


def test_a_file_that_people_may_have_corrected_is_not_overwritten_unasked(tag, tmp_path):
    (tmp_path / "labels.csv").write_text("corrected")
    result = tag()
    assert result.exit_code == 2
    assert "labels.csv is there already, perhaps corrected by hand; give --overwrite" in result.stderr
    assert "loading" not in result.stderr
    assert (tmp_path / "labels.csv").read_text() == "corrected"
    assert tag("--overwrite").exit_code == 0
    assert (tmp_path / "labels.csv").read_text() != "corrected"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--threshold", "3"], 2, "threshold 3.0: a margin of cosines lies in [-2, 2]"),
        (["--threshold", "nan"], 2, "a margin of cosines lies in [-2, 2]"),
        (["--template", "a photo"], 2, "it needs '{}' where the class goes"),
        (["--batch-size", "0"], 2, "batch size 0: 1 or more"),
        (["--classes", "gone.txt"], 1, "gone.txt: no such class list"),
        (["--background-words", "gone"], 1, "gone: no such background words"),
        (["--out", "labels.txt"], 2, "proposed labels are a CSV file; call it labels.csv"),
        (["--max-pixels", "5"], 1, "no image could be read, so nothing is written"),
    ],
)
def test_refusals(tag, tmp_path, arguments, code, message):
    result = tag(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert not list(tmp_path.glob("labels*"))


def test_options_may_come_from_a_file(tag, tmp_path):
    (tmp_path / "tag.toml").write_text('threshold = 2\nbackground-words = "none"\njson = true\n')
    result = tag("--config", "tag.toml")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["empty"] == 5
