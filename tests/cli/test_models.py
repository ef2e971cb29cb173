"""`semples models`: list, pull, convert; what they print where, exit codes, and nothing slow at import time."""

import json
import re
import shlex
import subprocess
import sys
import urllib.error
import warnings

import pytest
from typer.testing import CliRunner

from semples_cli.cli.app import app
from semples_cli.config import EngineSettings


def run(line):
    return CliRunner().invoke(app, ["models", *shlex.split(line)])


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    """An empty cache and no network."""

    def unreachable(url, timeout):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("urllib.request.urlopen", unreachable)


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A TorchScript archive of a one-layer CLIP, whose architecture goes by the name ViT-mini."""
    import open_clip
    import torch
    from open_clip import factory

    config = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 16, "patch_size": 8, "layers": 1, "width": 16, "head_width": 8},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    monkeypatch.setitem(factory._MODEL_CONFIGS, "ViT-mini", config)
    model = open_clip.CLIP(**config).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inputs = torch.zeros(1, 3, 16, 16), torch.zeros(1, 8, dtype=torch.int64)
        torch.jit.trace(model, inputs, check_trace=False).save(tmp_path / "mini.pt")
    return tmp_path / "mini.pt"


def test_list_as_json():
    result = run("list --json")
    assert result.exit_code == 0
    by_name = {entry["model"]: entry["weights"] for entry in json.loads(result.stdout)["models"]}
    assert {"openai", "laion2b_s34b_b88k"} <= set(by_name["ViT-B-16"])
    assert "RN50" not in by_name


def test_list_as_a_table():
    result = run("list")
    assert result.exit_code == 0
    assert "ViT-B-16" in result.stdout
    assert "openai" in result.stdout
    assert "none: bring a file" in result.stdout
    assert result.stderr == ""


def test_pull_without_a_network_is_one_line_and_exit_1(no_hub):
    result = run("pull --model ViT-B-16 --weights openai")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "huggingface.co cannot be reached" in result.stderr
    assert "vit_base_patch16_clip_224.openai/resolve/main/open_clip_model.safetensors" in result.stderr
    assert "--weights PATH --quick-gelu" in result.stderr


def test_pull_prints_where_the_weights_lie(monkeypatch):
    monkeypatch.setattr("semples_cli.engine.build.pull_model", lambda model, weights: f"/cache/{model}/{weights}")
    result = run("pull --model ViT-L-14 --weights openai")
    assert (result.exit_code, result.stdout) == (0, "/cache/ViT-L-14/openai\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pull --model RN50", "model RN50 is not supported: its image tower is a ResNet"),
        ("pull --weights opnai", "did you mean 'openai'?"),
    ],
)
def test_pull_of_what_is_not_there(no_hub, line, message):
    result = run(line)
    assert result.exit_code == 1
    assert message in result.stderr


def test_convert_writes_a_directory_that_loads(archive, tmp_path):
    from semples_cli.engine.build import build_engine

    out = tmp_path / "dir"
    result = run(f"convert {archive} --model ViT-mini --out {out} --trust")
    assert (result.exit_code, result.stdout) == (0, f"{out}\n")
    assert f"--weights {out}" in result.stderr
    engine = build_engine(EngineSettings(weights=str(out), device="cpu", precision="fp32"))
    assert engine.record["quick_gelu"] is True
    assert engine.encode_texts(["boat"]).shape == (1, 8)


def test_convert_without_trust_is_a_settings_error(archive, tmp_path):
    result = run(f"convert {archive} --model ViT-mini --out {tmp_path / 'dir'}")
    assert result.exit_code == 2
    assert "add --trust" in result.stderr
    assert not (tmp_path / "dir").exists()


def test_convert_of_a_missing_file(tmp_path):
    result = run(f"convert {tmp_path / 'none.pt'} --out {tmp_path / 'dir'} --trust")
    assert result.exit_code == 1
    assert "no TorchScript archive" in result.stderr


@pytest.mark.parametrize("command", ["list", "pull", "convert"])
def test_every_help_has_an_example_whose_options_exist(command):
    text = " ".join(run(f"{command} --help").stdout.split())
    example = re.search(rf"Example: semples models {command}([^│╭]*)", text)
    assert example
    assert all(text.count(option) >= 2 for option in re.findall(r"--[a-z-]+", example[1]))


def test_without_a_command_the_help_is_shown():
    result = run("")
    assert result.exit_code == 2
    assert "convert" in result.output


def test_nothing_heavy_is_imported_for_the_help():
    code = "import sys, semples_cli.cli.models; print({'torch', 'open_clip', 'timm'} & set(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "torch" not in modules
    assert "open_clip" not in modules
    assert "timm" not in modules


def test_pull_of_a_vit_for_weaktr(monkeypatch):
    asked = []
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *names: None)
    monkeypatch.setattr("semples_cli.engine.vit_weights.download", lambda *names: asked.append(names) or "/cache/deit")
    result = run("pull --model deit_small_patch16_224 --weights timm")
    assert (result.exit_code, result.stdout) == (0, "/cache/deit\n")
    assert asked == [("timm/deit_small_patch16_224.fb_in1k", ("model.safetensors",))]
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *names: "/cache/here")
    assert run("pull --model deit_tiny_patch16_224 --weights timm").stdout == "/cache/here\n"
    assert len(asked) == 1


def test_pull_of_a_vit_without_a_network_or_weights(no_hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *names: None)
    result = run("pull --model deit_small_patch16_224 --weights timm")
    assert result.exit_code == 1
    assert "not downloaded" in result.stderr
    assert "resolve/main/model.safetensors and give `--start PATH`" in " ".join(result.stderr.split())
    result = run("pull --model small_patch4_64 --weights timm")
    assert result.exit_code == 1
    assert "no pretrained weights of small_patch4_64" in result.stderr
