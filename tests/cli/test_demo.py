import json
import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from semples_cli.cli.app import app
from semples_cli.config import EngineSettings, WorldSettings
from semples_cli.demo.model import model_dir
from semples_cli.errors import SettingsError
from semples_cli.steps.describe_prompts import PromptDescription
from semples_cli.steps.run_demo import DemoResult, DemoStage, demo_settings
from semples_cli.types import RunSummary


@pytest.fixture
def semples():
    def call(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return call


def test_demo_data_renders_a_world_and_says_what_comes_next(semples, tmp_path):
    out = tmp_path / "world"
    result = semples("demo-data", "--out", out, "--num-images", 3, "--size", 32, "--objects-per-image", 1)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "3 images written" in result.stderr
    assert f"semples cams --data {out}" in result.stderr
    assert len(list((out / "JPEGImages").iterdir())) == 3
    record = json.loads((out / "world.json").read_text())
    assert record["settings"]["max_objects"] == 1
    assert record["settings"]["size"] == 32


def test_demo_data_json_is_all_of_stdout(semples, tmp_path):
    out = tmp_path / "world"
    call = ("demo-data", "--out", out, "--num-images", 2, "--size", 16, "--seed", 4, "--pairing", 2, "--json")
    first = semples(*call)
    assert json.loads(first.stdout) == {"out": str(out), "num_images": 2, "written": 2, "resumed": 0}
    assert json.loads(semples(*call).stdout)["resumed"] == 2
    assert (out / "JPEGImages" / "4_2_000001.png").is_file()


def test_demo_data_refuses_another_world_with_exit_2_and_no_traceback(semples, tmp_path):
    semples("demo-data", "--out", tmp_path, "--num-images", 2, "--size", 16)
    result = semples("demo-data", "--out", tmp_path, "--num-images", 2, "--size", 16, "--bias", 0.3)
    assert result.exit_code == 2
    assert "bias 0.9, not 0.3" in result.stderr
    assert "--overwrite" in result.stderr
    assert "Traceback" not in result.stderr
    again = semples("demo-data", "--out", tmp_path, "--num-images", 2, "--size", 16, "--bias", 0.3, "--overwrite")
    assert again.exit_code == 0


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--num-images", 0, "1 or more"),
        ("--bias", 2, "lies in"),
        ("--objects-per-image", 9, "1 to 4"),
        ("--size", 4, "16 to 1024"),
        ("--seed", -1, "seed"),
        ("--pairing", -1, "pairing"),
    ],
)
def test_demo_data_refuses_values_out_of_range(semples, tmp_path, option, value, said):
    result = semples("demo-data", "--out", tmp_path / "world", option, value)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "world").exists()


SEEDS = DemoStage("seeds", 0.3512, 0.4004, 0.37, 0.25, RunSummary(5, 0, (), (), 1.0))
CRF = DemoStage("crf", 0.45, None, None, math.nan, RunSummary(2, 3, (), (), 1.0))
PROMPT = PromptDescription("boat", True, (("sea", 0.5), ("ocean", 0.25)), ("bird", 0.125), -0.25, False)


@pytest.fixture
def fake_run(monkeypatch):
    """In place of the step and of the engine: keeps what it was called with, and ends as told."""
    calls = SimpleNamespace(stages=(SEEDS, CRF), error=None)

    def run(out, world, engine, settings, **options):
        calls.out, calls.world, calls.engine, calls.settings, calls.options = out, world, engine, settings, options
        options["begin"]("world")(1, 2)
        options["begin"]("seeds")(2, 2)
        if calls.error:
            raise calls.error
        return DemoResult(
            world, calls.stages, (PROMPT,), out / "report.json", out / "overview.png", out / "report.html"
        )

    monkeypatch.setattr("semples_cli.steps.run_demo.run_demo", run)
    monkeypatch.setattr("semples_cli.engine.build.build_engine", lambda settings: settings)
    return calls


def test_demo_prints_one_table_and_says_that_it_is_not_voc(semples, fake_run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    result = semples("demo", "--out", "somewhere")
    assert result.exit_code == 0
    rows = {cells[0]: cells[1:] for line in result.stdout.splitlines() if (cells := re.findall(r"[\w.-]+", line))}
    assert rows["seeds"] == ["35.1", "40.0", "0.37", "25.0"]
    assert rows["crf"] == ["45.0", "-", "-", "-"]
    assert rows["boat"] == ["sea", "0.50", "ocean", "0.25"]
    assert "seed 0, pairing 0, bias 0.9, 200 images" in result.stdout
    assert "not of VOC" in result.stdout
    assert "somewhere/overview.png" in result.stderr
    assert "open in a browser: somewhere/report.html" in result.stderr
    assert "5 masks of seeds written" in result.stderr
    assert "3 kept from an earlier run" in result.stderr


def test_demo_json_is_all_of_stdout_and_has_shares_of_1(semples, fake_run):
    result = semples("demo", "--json", "--seed", 7)
    document = json.loads(result.stdout)
    assert document["stages"] == [
        {"name": "seeds", "miou": 0.3512, "miou_best": 0.4004, "best_background_score": 0.37, "leakage": 0.25},
        {"name": "crf", "miou": 0.45, "miou_best": None, "best_background_score": None, "leakage": None},
    ]
    assert document["prompts"][0]["nouns"][0] == {"noun": "sea", "similarity": 0.5}
    assert document["world"]["seed"] == 7
    assert "not of VOC" in document["note"]


def test_demo_options_reach_the_step(semples, fake_run):
    options = ("--seed", 3, "--pairing", 2, "--bias", 0.5, "--num-images", 12, "--workers", 2, "--overwrite")
    assert semples("demo", "--out", "there", *options).exit_code == 0
    assert fake_run.out == Path("there")
    assert fake_run.world == WorldSettings(seed=3, num_images=12, bias=0.5, pairing=2)
    assert fake_run.settings == demo_settings()
    assert (fake_run.options["workers"], fake_run.options["overwrite"]) == (2, True)


def test_demo_uses_the_built_in_model_at_one_precision_everywhere(semples, fake_run):
    semples("demo")
    assert fake_run.out == Path("demo-out")
    assert fake_run.engine == EngineSettings(weights=str(model_dir()), device="cpu", precision="fp32")


def test_demo_with_failed_items_ends_with_3_and_lists_them(semples, fake_run):
    fake_run.stages = (SEEDS, replace(CRF, summary=RunSummary(4, 0, (), (("0_0_000002", "no memory"),), 1.0)))
    result = semples("demo")
    assert result.exit_code == 3
    assert "0_0_000002: no memory" in result.stderr
    assert "seeds" in result.stdout


def test_demo_shows_an_error_as_one_line(semples, fake_run):
    fake_run.error = SettingsError("demo-out/world holds another world: choose another --out, or --overwrite")
    result = semples("demo")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "holds another world" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("option", "value"), [("--num-images", 0), ("--bias", -0.1), ("--seed", -2), ("--pairing", -1)]
)
def test_demo_refuses_values_out_of_range_before_any_work(semples, fake_run, option, value):
    assert semples("demo", option, value).exit_code == 2
    assert not hasattr(fake_run, "world")


@pytest.mark.parametrize("command", ["demo", "demo-data"])
def test_the_example_in_the_help_runs(semples, command, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    example = re.search(r"Example: semples (.+?)\s*$", semples(command, "--help").stdout, re.MULTILINE).group(1)
    assert example.split()[0] == command
    monkeypatch.chdir(tmp_path)
    result = semples(*example.split())
    assert result.exit_code == 0, result.stderr
    assert any(tmp_path.rglob("JPEGImages/*.png"))


def test_the_built_in_model_finds_objects_in_a_world_that_it_was_not_trained_on(semples, tmp_path):
    result = semples("demo", "--out", tmp_path, "--num-images", 40, "--seed", 1, "--workers", 1, "--json")
    assert result.exit_code == 0, result.stderr
    stages = {stage["name"]: stage for stage in json.loads(result.stdout)["stages"]}
    assert list(stages) == ["seeds", "generator", "matched", "seeds+prompts", "refined", "crf"]
    assert 0.25 < stages["seeds"]["miou"] <= stages["seeds"]["miou_best"]  # all background scores below 0.08
    assert stages["seeds+prompts"]["miou"] > 0.2
    assert (tmp_path / "overview.png").is_file()
    assert len(list((tmp_path / "crf" / "overlays").glob("*.png"))) == 40
