"""`semples labels` from end to end."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from semples_cli.cli.app import app
from semples_cli.data.labels.recognise import LABEL_FORMATS

WIDE = {"COLUMNS": "200", "TERM": "dumb"}
DOCS = Path(__file__).parents[2] / "docs" / "labels.md"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c"):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / f"images/{name}.jpg").touch()
    (tmp_path / "labels.csv").write_text("image,labels\na.jpg,cat|dog\nb.jpg,none\nc.jpg,dog\n")
    return lambda *args: CliRunner().invoke(app, ["labels", *map(str, args)], env=WIDE)


def row(text, first):
    """The cells of the row of a table that begins so."""
    found = (re.split(r"\s*[│┃|]\s*", line.strip("│┃| ")) for line in text.splitlines() if "│" in line)
    return next(cells for cells in found if cells[0] == first)


@pytest.mark.parametrize("command", ["inspect", "convert"])
def test_the_example_of_the_help_runs(run, command):
    (example,) = re.findall(
        rf"Example: semples labels ({command} .*?)\s*$", run(command, "--help").stdout, re.MULTILINE
    )
    done = run(*example.split())
    assert done.exit_code == 0, done.stderr


def test_inspect_counts_on_stdout_and_speaks_on_stderr(run):
    done = run("inspect", "images", "--labels", "labels.csv")
    assert done.exit_code == 0
    assert "labels.csv: read as list-column CSV: 2 classes, 3 images" in done.stderr
    assert row(done.stdout, "1") == ["1", "cat", "cat", "1", "1", "0", "0"]
    assert row(done.stdout, "2") == ["2", "dog", "dog", "2", "2", "0", "0"]
    assert row(done.stdout, "rows that say: nothing present") == ["rows that say: nothing present", "1"]
    assert row(done.stdout, "images")[1] == "3"
    assert row(done.stdout, "problems")[1] == "0"


def test_inspect_without_images_has_no_column_of_them(run):
    done = run("inspect", "--labels", "labels.csv")
    assert done.exit_code == 0
    assert row(done.stdout, "1") == ["1", "cat", "cat", "1", "0", "0"]
    assert "images without label" not in done.stdout


def test_inspect_lists_what_is_wrong_and_exits_3(run, tmp_path):
    (tmp_path / "labels.csv").write_text("image,labels\na.jpg,cat\nb.jpg,cats\ngone.jpg,cat\n")
    (tmp_path / "classes.txt").write_text("cat\nzebra\n")
    done = run("inspect", "images", "--labels", "labels.csv", "--classes", "classes.txt")
    assert done.exit_code == 3
    assert "problem: labels.csv:3:2: unknown class 'cats'; did you mean 'cat'?" in done.stderr
    assert "without label: b: no row names it" in done.stderr
    assert "without image: gone.jpg: no image here goes with this row" in done.stderr
    assert "warning: nothing shows zebra; check the names" in done.stderr
    assert row(done.stdout, "problems")[1] == "1"


def test_only_names_of_a_list_that_was_given_are_missed(run, tmp_path):
    (tmp_path / "labels.csv").write_text("filename,cat,dog\na.jpg,1,0\n")
    assert "nothing shows" not in run("inspect", "--labels", "labels.csv").stderr


def test_strict_takes_an_image_without_label_for_a_failure(run, tmp_path):
    (tmp_path / "images/new.jpg").touch()
    assert run("inspect", "images", "--labels", "labels.csv").exit_code == 0
    assert run("inspect", "images", "--labels", "labels.csv", "--strict").exit_code == 3


def test_inspect_json(run, tmp_path):
    (tmp_path / "labels.csv").write_text("filename,cat,dog\na.jpg,1,-1\nb.jpg,0,2\n")
    done = run("inspect", "images", "--json")
    assert done.exit_code == 3
    document = json.loads(done.stdout)
    assert document["form"] == "onehot-csv"
    assert document["classes"][1] == {
        "name": "dog",
        "prompt_name": "dog",
        "index": 2,
        "rows": 0,
        "images": 0,
        "absent": 0,
        "uncertain": 1,
    }
    assert document["unlabelled"] == ["b", "c"]
    assert document["problems"][0]["where"].endswith("labels.csv:3:3")


def test_a_format_of_other_tools_goes_the_same_way(run, tmp_path):
    np.save(tmp_path / "cls_labels.npy", {"a": np.array([0, 1]), "b": np.zeros(2), "c": np.ones(2)})
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    done = run("inspect", "images", "--labels", "cls_labels.npy", "--classes", "classes.txt")
    assert done.exit_code == 0, done.stderr
    assert "cls_labels.npy: read as cls_labels.npy: 2 classes, 3 images" in done.stderr
    assert row(done.stdout, "2") == ["2", "dog", "dog", "2", "2", "0", "0"]


def test_convert_says_what_it_wrote(run, tmp_path):
    done = run("convert", "labels.csv", "--to", "onehot-csv", "--out", "out.csv", "--json")
    assert done.exit_code == 0
    assert (tmp_path / "out.csv").read_text() == "filename,cat,dog\na.jpg,1,1\nb.jpg,0,0\nc.jpg,0,1\n"
    assert json.loads(done.stdout) == {
        "out": "out.csv",
        "to": "onehot-csv",
        "written": 3,
        "classes": ["cat", "dog"],
        "unlabelled": [],
        "unmatched_rows": [],
        "problems": [],
    }
    assert "out.csv: 3 images, 2 classes" in done.stderr


def test_convert_writes_the_rest_and_exits_3(run, tmp_path):
    (tmp_path / "labels.csv").write_text("filename,cat\na.jpg,1\nb.jpg,x\nc.jpg,0\n")
    done = run("convert", "labels.csv", "--to", "jsonl", "--out", "out.jsonl")
    assert done.exit_code == 3
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2
    assert "problem: labels.csv:3:2: 'x' is neither 0 nor 1" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["inspect"], 2, "nothing to inspect: name the labels by --labels FILE"),
        (["inspect", "--labels", "none.csv"], 1, "none.csv: no such file; correct the path"),
        (["inspect", "--labels", "labels.csv", "--labels-format", "csv"], 2, "choose one of auto, list-csv"),
        (["inspect", "--labels", "two.csv"], 1, "say which: --labels-format list-csv (a row an image) or"),
        (["convert", "labels.csv", "--out", "labels.csv"], 2, "must be different files"),
        (["convert", "labels.csv", "--out", "two.csv"], 2, "two.csv is there already; give --overwrite"),
        (["convert", "labels.csv", "--to", "xml", "--out", "x.xml"], 2, "--to xml: choose one of list-csv"),
    ],
)
def test_refusals(run, tmp_path, args, code, message):
    (tmp_path / "two.csv").write_text("image,label\na.jpg,cat\na.jpg,dog\n")
    done = run(*args)
    assert done.exit_code == code
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.output


def test_help_and_docs_name_every_format(run):
    shown = " ".join(re.sub(r"[│|]", " ", run("inspect", "--help").stdout).split())
    docs = DOCS.read_text(encoding="utf-8")
    numbered = [name for name in LABEL_FORMATS if "-from-" in name]  # help has each pair as one
    for name in LABEL_FORMATS:
        assert name in numbered or name in shown
        assert name == "auto" or f"`{name}`" in docs
    assert "wsss-list (-from-0, -from-1)" in shown
    assert "webdataset (-from-0, -from-1)" in shown


def samples():
    """Name of the format and text of each sample in the docs."""
    pattern = r"^### [^\n]*`([\w-]+)`\s*^```\w*\n(.*?)^```"
    return re.findall(pattern, DOCS.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(("name", "text"), samples())
def test_the_samples_of_the_docs_are_read_as_what_they_are(run, tmp_path, name, text):
    suffix = {"jsonl": ".jsonl", "label-studio": ".json", "labelme": ".json", "coco-json": ".json"}.get(name, ".csv")
    (tmp_path / f"sample{suffix}").write_text(text)
    (tmp_path / "class-descriptions.csv").write_text("/m/01yrx,Cat\n/m/0bt9lr,Dog\n")
    classes = ["--classes", "coco14"] if name == "wsss-list" else []
    done = run("inspect", "--labels", f"sample{suffix}", "--json", *classes)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["form"] == name


def test_the_docs_have_samples():
    assert {name for name, _ in samples()} >= {"list-csv", "onehot-csv", "long-csv", "wsss-list", "jsonl", "labelme"}
