"""--json on every command: the option is there, and on stdout is one document and nothing else, on exit 3 too."""

import json
import re

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from semples_cli.cli.app import app


def commands(group, path=()):
    """(words, command) of every command, those of groups too."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands(typer.main.get_command(app)))


def test_the_commands_are_found():
    assert {"cams", "tag", "run", "prompts show", "models convert", "labels inspect", "train-demo-clip"} <= set(
        COMMANDS
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_switch(name):
    found = [parameter for parameter in COMMANDS[name].params if "--json" in parameter.opts]
    assert len(found) == 1
    assert found[0].is_flag
    assert found[0].default is False
    assert re.search(r"JSON", found[0].help)


def run(*arguments, stdin=None):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    assert result.exit_code in (0, 3), result.stderr
    return result.exit_code, json.loads(result.stdout)


@pytest.fixture
def engine_options(clip_dir):
    return ["--weights", clip_dir, "--device", "cpu", "--precision", "fp32"]


@pytest.fixture
def masks(tmp_path):
    """masks/ with one good mask and one that is damaged."""
    folder = tmp_path / "masks"
    folder.mkdir()
    Image.fromarray(np.ones((4, 4), np.uint8)).save(folder / "good.png")
    (folder / "bad.png").write_bytes(b"no mask")
    (tmp_path / "classes.txt").write_text("cat\n")
    return folder


def test_cams_and_tag_with_a_damaged_image_are_exit_3_and_one_document(photos, tmp_path, engine_options):
    (photos / "b.jpg").write_bytes(b"no image")
    code, document = run("cams", photos, "--out", tmp_path / "masks", "--size", "32", "--json", *engine_options)
    assert (code, [item["id"] for item in document["failed"]]) == (3, ["b"])
    (tmp_path / "classes.txt").write_text("boat\ncat\ndog\n")
    options = ["--classes", tmp_path / "classes.txt", "--out", tmp_path / "labels.csv", "--json", *engine_options]
    code, document = run("tag", photos, *options)
    assert (code, [item["id"] for item in document["failed"]]) == (3, ["b"])


def test_a_problem_in_the_labels_is_in_the_document(photos, tmp_path, engine_options):
    with (photos / "labels.csv").open("a") as handle:
        handle.write("x.jpg\n")
    common = [photos, "--json", *engine_options]
    code, document = run("cams", *common, "--out", tmp_path / "masks", "--size", "32")
    assert (code, len(document["problems"])) == (3, 1)
    code, document = run("labels", "inspect", photos, "--json")
    assert (code, len(document["problems"])) == (3, 1)
    code, document = run(
        "train-generator", *common, "--out", tmp_path / "g.safetensors", "--generator", "clip_head", "--epochs", "1"
    )
    assert (code, len(document["problems"])) == (3, 1)


def test_damaged_masks_are_exit_3_and_one_document(masks, tmp_path):
    options = ["--classes", tmp_path / "classes.txt", "--json"]
    code, document = run("check", masks, "--workers", "1", *options)
    assert code == 3
    assert "bad" in json.dumps(document)
    images = tmp_path / "images"
    images.mkdir()
    for name in ("good", "bad"):
        Image.new("RGB", (4, 4)).save(images / f"{name}.jpg")
    code, document = run("crf", masks, "--images", images, "--out", tmp_path / "crf", "--workers", "1", "--json")
    assert (code, [item["id"] for item in document["failed"]]) == (3, ["bad"])
    code, document = run("export", masks, "--to", "coco", "--images", images, "--out", tmp_path / "coco", *options)
    assert (code, [item["id"] for item in document["failed"]]) == (3, ["bad"])


def test_models_say_where_the_weights_lie(monkeypatch, tmp_path):
    monkeypatch.setattr("semples_cli.engine.build.pull_model", lambda model, weights: tmp_path / weights)
    code, document = run("models", "pull", "--model", "ViT-L-14", "--weights", "openai", "--json")
    assert (code, document) == (0, {"model": "ViT-L-14", "weights": "openai", "path": str(tmp_path / "openai")})
    monkeypatch.setattr("semples_cli.engine.vit_weights.pull_vit", lambda model: tmp_path / model)
    code, document = run("models", "pull", "--model", "deit", "--weights", "timm", "--json")
    assert document["path"] == str(tmp_path / "deit")

    class Written:
        licence = "MIT"

    monkeypatch.setattr("semples_cli.engine.convert.convert_archive", lambda *a, **options: Written)
    code, document = run("models", "convert", "a.pt", "--out", tmp_path / "clip", "--trust", "--json")
    assert document == {"out": str(tmp_path / "clip"), "model": "ViT-B-16", "licence": "MIT"}


def test_the_hidden_training_has_a_document_too(monkeypatch, tmp_path):
    monkeypatch.setattr("semples_cli.steps.train_demo_clip.train_demo_clip", lambda *a, **options: [2.0, 1.5])
    code, document = run("train-demo-clip", "--out", tmp_path / "clip", "--steps", "2", "--json")
    assert (code, document) == (0, {"out": str(tmp_path / "clip"), "steps": 2, "last_loss": 1.5})


def test_an_error_leaves_stdout_empty(tmp_path):
    result = CliRunner().invoke(app, ["cams", str(tmp_path / "gone"), "--label", "cat", "--out", "m", "--json"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no such file or folder" in result.stderr
