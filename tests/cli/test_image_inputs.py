import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from semples_cli.cli import image_inputs
from semples_cli.cli.app import app
from semples_cli.cli.image_inputs import ImagesArgument

echo = typer.Typer()


@echo.command()
def show(images: ImagesArgument = None) -> None:
    """Print the images that a command would be given."""
    sys.stdout.write(json.dumps([os.fsencode(path).hex() for path in images or ()]))


def listed(stdin, *arguments):
    result = CliRunner().invoke(echo, arguments or ["-"], input=stdin)
    assert result.exit_code == 0, result.stderr
    return [os.fsdecode(bytes.fromhex(name)) for name in json.loads(result.stdout)]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "two words.jpg", "Füße.jpg", "sub/b.jpg", " edge .jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


@pytest.mark.parametrize(
    ("stdin", "expected"),
    [
        ("a.jpg\nsub/b.jpg\n", ["a.jpg", "sub/b.jpg"]),
        ("a.jpg\r\nsub/b.jpg", ["a.jpg", "sub/b.jpg"]),
        ("\n  \na.jpg\n\n", ["a.jpg"]),
        ("two words.jpg\nFüße.jpg\n", ["two words.jpg", "Füße.jpg"]),
        (" edge .jpg\n", [" edge .jpg"]),
        ("./a.jpg\nsub\n", ["a.jpg", "sub"]),
        ("a.jpg\0two words.jpg\0", ["a.jpg", "two words.jpg"]),
        ("a.jpg\0", ["a.jpg"]),
    ],
)
def test_a_path_a_line_or_between_nuls(here, stdin, expected):
    assert listed(stdin) == expected


def test_a_line_end_within_a_name_survives_nuls(here):
    (here / "odd\nname.jpg").touch()
    assert listed("odd\nname.jpg\0a.jpg\0") == ["odd\nname.jpg", "a.jpg"]


def test_names_that_are_no_utf8_are_kept(here):
    name = os.fsdecode(b"caf\xe9.jpg")
    (here / name).touch()
    assert listed(b"caf\xe9.jpg\na.jpg\n") == [name, "a.jpg"]


def test_other_inputs_do_not_touch_stdin(here):
    assert listed("sub/b.jpg\n", "a.jpg", "sub") == ["a.jpg", "sub"]


def test_a_file_of_that_name_is_given_by_its_path(here):
    (here / "-").touch()
    assert listed("a.jpg\n", str(here / "-")) == [str(here / "-")]


@pytest.mark.parametrize(
    ("stdin", "arguments", "code", "message"),
    [
        ("", ["-"], 1, "stdin lists no image: write one path a line"),
        ("\n \n", ["-"], 1, "stdin lists no image"),
        ("\0\0", ["-"], 1, "stdin lists no image"),
        ("a.jpg\n", ["-", "sub"], 2, "it stands alone: leave the others out"),
        ("a.jpg\ngone.jpg\n", ["-"], 1, "stdin: gone.jpg: no such file or folder; paths are relative to the working"),
        ("no.jpg\na.jpg\ngone.jpg\n", ["-"], 1, "stdin: no.jpg: no such file or folder, and 1 more of 3"),
    ],
)
def test_refusals(here, stdin, arguments, code, message):
    result = CliRunner().invoke(echo, arguments, input=stdin)
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stdout == ""


def test_a_terminal_gets_a_hint(here, monkeypatch):
    said = []
    monkeypatch.setattr(image_inputs, "say", said.append)

    class Terminal:
        buffer = type("Buffer", (), {"read": staticmethod(lambda: b"a.jpg\n")})

        @staticmethod
        def isatty():
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    assert image_inputs.read_inputs([Path("-")]) == [Path("a.jpg")]
    assert len(said) == 1
    assert "Ctrl-D" in said[0]


@pytest.mark.parametrize("command", ["cams", "refine", "learn-prompts", "run", "train-generator"])
def test_every_command_with_images_reads_stdin(here, command):
    result = CliRunner().invoke(app, [command, "-", "--out", "out"], input="")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "stdin lists no image" in result.stderr


def test_labels_are_inspected_with_the_images_of_a_list(photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    listing = "\n".join(f"images/{name}.jpg" for name in ("a/1", "a/2", "b"))
    result = CliRunner().invoke(app, ["labels", "inspect", "-", "--json"], input=listing)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["images"], document["unlabelled"]) == (3, [])
    assert sorted(document["unmatched_rows"]) == ["empty.jpg", "one.jpg"]


def test_cams_of_a_list_are_those_of_the_folder_and_later_commands_find_the_images(photos, clip_dir, tmp_path):
    options = ["--weights", str(clip_dir), "--device", "cpu", "--precision", "fp32", "--size", "64"]
    listing = subprocess.run(["find", "images", "-name", "*.jpg", "-print0"], cwd=tmp_path, capture_output=True).stdout
    code = "import sys; from semples_cli.__main__ import main; main()"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    piped = subprocess.run(
        [sys.executable, "-c", code, "cams", "-", "--out", "piped", "--json", *options],
        cwd=tmp_path, input=listing, capture_output=True, env=environment, check=False,
    )  # fmt: skip
    assert piped.returncode == 0, piped.stderr
    whole = CliRunner().invoke(app, ["cams", str(photos), "--out", str(tmp_path / "whole"), *options])
    assert whole.exit_code == 0, whole.stderr
    masks = {path.relative_to(tmp_path / "whole"): path.read_bytes() for path in tmp_path.glob("whole/**/*.png")}
    assert len(masks) == json.loads(piped.stdout)["written"] > 1
    assert any(len(name.parts) > 1 for name in masks)
    assert {p.relative_to(tmp_path / "piped"): p.read_bytes() for p in tmp_path.glob("piped/**/*.png")} == masks
    crf = CliRunner().invoke(app, ["crf", str(tmp_path / "piped"), "--out", str(tmp_path / "crf"), "--workers", "1"])
    assert crf.exit_code == 0, crf.stderr
    assert {path.relative_to(tmp_path / "crf") for path in tmp_path.glob("crf/**/*.png")} == set(masks)
