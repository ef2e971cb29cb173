"""`semples train-generator`, and what learn-prompts, refine and cams make of its weights, from end to end."""

import json

import pytest
import torch
from small_world import CLASSES, PHOTOS
from typer.testing import CliRunner

from semples_cli.artifacts.generator_file import read_generator
from semples_cli.artifacts.mask_png import find_masks
from semples_cli.cli.app import app
from semples_cli.cli.train_generator import initial_settings
from semples_cli.config import GENERATOR_PRESETS

WIDE = {"COLUMNS": "200", "TERM": "dumb"}
ENGINE = ["--device", "cpu", "--precision", "fp32"]
VIT = ["--vit", "small_patch4_64", "--start", "scratch"]


@pytest.fixture
def run(photos, monkeypatch, clip_dir):
    monkeypatch.chdir(photos.parent)

    def invoke(*args):
        return CliRunner().invoke(app, [*map(str, args), "--weights", str(clip_dir), *ENGINE], env=WIDE)

    return invoke


def test_weaktr_goes_all_the_way(run, photos):
    done = run("train-generator", "images", *VIT, "--epochs", 1, "--out", "weaktr.safetensors", "--json")
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["kind"], result["stage"], result["classes"]) == ("weaktr", "initial", list(CLASSES))
    assert "go on with `semples learn-prompts --init weaktr.safetensors`" in done.stderr
    done = run(
        "learn-prompts", "images", "--init", "weaktr.safetensors", "--epochs", 1, "--prompt-length", 2, "--size", 32,
        "--min-images", 1,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    initial, given = (photos.parent / name for name in ("generator_initial.safetensors", "weaktr.safetensors"))
    assert initial.read_bytes() == given.read_bytes()
    assert read_generator(photos.parent / "generator_matched.safetensors").kind == "weaktr"
    done = run(
        "refine", "images", "--prompts", "prompts.safetensors", "--init", given, "--epochs", 1, "--size", 32,
        "--out", "refined",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert set(find_masks(photos.parent / "refined")) == set(PHOTOS)
    trained = photos.parent / "refined/.semples/generator.safetensors"
    assert read_generator(trained).record["kind"] == "weaktr"
    done = run("cams", "images", "--generator-weights", trained, "--size", 32, "--out", "new")
    assert done.exit_code == 0, done.stderr
    for name in PHOTOS:
        assert (photos.parent / f"new/{name}.png").read_bytes() == (photos.parent / f"refined/{name}.png").read_bytes()


def test_a_clip_head_can_be_trained_alone_too(run, photos):
    done = run("train-generator", "images", "--generator", "clip_head", "--epochs", 1)
    assert done.exit_code == 0, done.stderr
    assert read_generator(photos.parent / "generator_initial.safetensors").kind == "clip_head"


def test_presets_keep_their_fusion_and_weaktr_as_published_no_evidence_of_its_own():
    for name, preset in GENERATOR_PRESETS.items():
        settings = initial_settings(name, "weaktr")
        assert (settings.kind, settings.residual) == ("weaktr", 1.0 if name == "own" else 0.0)
        assert (settings.reduction, settings.pooling) == (preset.reduction, preset.pooling)
        assert initial_settings(name, "clip_head") == preset


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--generator", "resnet"], 2, "choose one of clip_head, weaktr"),
        (["--vit", "vit_huge"], 2, "choose one of deit_tiny_patch16_224"),
        (["--generator", "clip_head", "--start", "scratch"], 2, "a clip_head starts from nothing but its CLIP"),
        (["--start", "missing.pth"], 1, "missing.pth"),
        (["--pooling", "median", "--start", "scratch"], 2, "pooling 'median': choose one of max, avg"),
    ],
)
def test_refusals(run, options, code, message):
    done = run("train-generator", "images", *options)
    assert done.exit_code == code, done.stderr
    assert message in " ".join(done.stderr.split())


def test_init_and_cams_exclude_each_other(run):
    done = run("learn-prompts", "images", "--init", "a.safetensors", "--cams", "masks", "--prompt-length", 2)
    assert done.exit_code == 2
    assert "leave one out" in done.stderr


def test_labels_that_cannot_be_used_are_said_and_show_in_the_exit_code(run, photos):
    (photos.parent / "classes.txt").write_text("\n".join(CLASSES[:2]) + "\n")
    done = run("train-generator", "images", *VIT, "--epochs", 1, "--classes", "classes.txt")
    assert done.exit_code == 3, done.stderr
    assert f"unknown class {CLASSES[2]!r}" in done.stderr
    assert read_generator(photos.parent / "generator_initial.safetensors").class_names == CLASSES[:2]


def test_a_deit_of_another_width_is_refused_by_name(run, tmp_path):
    torch.save({"cls_token": torch.zeros(1, 1, 8), "pos_embed": torch.zeros(1, 5, 8)}, tmp_path / "vit.pth")
    done = run("train-generator", "images", "--vit", "small_patch4_64", "--start", tmp_path / "vit.pth")
    assert done.exit_code == 1
    assert "vit.pth" in done.stderr
    assert "bring those of a ViT of width 192, 4 layers and patches of 4 pixels" in " ".join(done.stderr.split())
