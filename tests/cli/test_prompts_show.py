"""`semples prompts show` on prompts of the small CLIP: table, JSON, warnings, where the CLIP comes from, refusals."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from semples_cli.artifacts.prompts_file import PromptTraining, write_prompts
from semples_cli.cli.app import app
from semples_cli.steps import describe_prompts as step
from semples_cli.steps.describe_prompts import PromptDescription, describe_prompts
from semples_cli.types import PromptSet

NOUNS = ("sea", "boat", "grass", "wall", "[tag]")


@pytest.fixture
def prompts(clip_engine, clip_dir):
    record = clip_engine.record
    return PromptSet(
        class_names=("boat", "cat"),
        prompt_names=("boat", "cat"),
        vectors=np.random.default_rng(0).standard_normal((2, 3, 16)).astype(np.float32),
        clip_name=str(record["model"]),
        weights_hash=str(record["weights_sha256"]),
        quick_gelu=bool(record["quick_gelu"]),
        settings={"unlearned_classes": ["cat"], "engine": {"model": record["model"], "weights": str(clip_dir)}},
    )


@pytest.fixture
def folder(tmp_path, monkeypatch, prompts):
    """The tests stand in the folder that holds `prompts.safetensors` and `nouns.txt`."""
    monkeypatch.chdir(tmp_path)
    write_prompts(tmp_path / "prompts.safetensors", prompts)
    (tmp_path / "nouns.txt").write_text("\n".join(NOUNS))
    return tmp_path


@pytest.fixture
def show(folder):
    def run(*args, file="prompts.safetensors"):
        command = ["prompts", "show", file, "--device", "cpu", "--precision", "fp32", *map(str, args)]
        return CliRunner().invoke(app, command, env={"COLUMNS": "200", "TERM": "dumb"})

    return run


def test_the_example_of_the_help_runs(folder):
    shown = CliRunner().invoke(app, ["prompts", "show", "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    (example,) = re.findall(r"Example: semples (prompts show .*?)\s*$", shown.stdout, re.MULTILINE)
    done = CliRunner().invoke(app, example.split())
    assert done.exit_code == 0, done.stderr
    assert "boat" in done.stdout


def test_json_holds_what_the_step_found(show, prompts, clip_engine):
    done = show("--nouns", "nouns.txt", "--top", 2, "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    boat, cat = document.pop("prompts")
    assert document == {
        "file": "prompts.safetensors",
        "clip": prompts.clip_name,
        "prompt_length": 3,
        "settings": prompts.settings,
        "loss_by_epoch": [],
    }
    described = describe_prompts(prompts, clip_engine, NOUNS, top=2)
    for shown, each in zip((boat, cat), described, strict=True):
        assert shown["class"] == each.class_name
        assert [(noun["noun"], noun["similarity"]) for noun in shown["nouns"]] == [
            (noun, pytest.approx(value, abs=1e-6)) for noun, value in each.nouns
        ]
        assert shown["nearest_class"] == each.nearest_class[0]
        assert shown["nearest_class_similarity"] == pytest.approx(each.nearest_class[1], abs=1e-6)
        assert shown["own_similarity"] == pytest.approx(each.own_similarity, abs=1e-6)
        assert shown["describes_own_class"] is each.describes_own_class
    assert (boat["learned"], cat["learned"]) == (True, False)


def test_json_tells_how_the_prompts_were_learned(show, folder, prompts):
    settings = {**prompts.settings, "num_pairs": 3, "batch_size": 2, "lambda_t": 0.5, "stopped_epoch": 2}
    training = PromptTraining({"loss": [3.0, 6.0, 2.0, float("nan")]}, "f")
    write_prompts(folder / "prompts.safetensors", replace(prompts, settings=settings), training)
    done = show("--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["settings"] == settings
    assert document["loss_by_epoch"] == [4.0, None]


def test_the_table_shows_every_class_its_nouns_and_that_it_was_not_learned(show):
    done = show("--nouns", "nouns.txt")
    assert done.exit_code == 0, done.stderr
    rows = re.sub(r"\s+", " ", done.stdout)
    assert "cat (not used: too few images)" in rows
    assert all(re.search(rf"{re.escape(noun)} -?\d\.\d{{3}}", rows) for noun in NOUNS)
    assert "loading " in done.stderr


def test_five_nouns_of_the_built_in_list_are_shown_unless_told(show):
    done = show("--json")
    assert [len(each["nouns"]) for each in json.loads(done.stdout)["prompts"]] == [5, 5]


@pytest.mark.parametrize("as_json", [True, False])
def test_a_prompt_of_its_own_class_is_warned_of_on_stderr(show, monkeypatch, as_json):
    own = PromptDescription("boat", True, (("sea", 0.25),), ("boat", 0.75), 0.75, True)
    other = replace(own, class_name="cat", own_similarity=0.125, describes_own_class=False)
    monkeypatch.setattr(step, "describe_prompts", lambda *args, **kwargs: (own, other))
    done = show(*(["--json"] if as_json else []))
    assert done.exit_code == 0
    assert "the prompt of 'boat' describes the class itself" in done.stderr
    assert "larger --lambda-t" in done.stderr
    assert "the prompt of 'cat'" not in done.stderr
    assert as_json or "0.750 !" in done.stdout


def test_the_weights_may_be_said_where_the_file_s_are_gone(show, folder, prompts, clip_dir):
    gone = {**prompts.settings, "engine": {"model": prompts.clip_name, "weights": "gone/clip.pt"}}
    write_prompts(folder / "prompts.safetensors", replace(prompts, settings=gone, clip_name="ViT-B-16"))
    done = show()
    assert done.exit_code == 1
    assert "prompts.safetensors: the CLIP that it was learned with, ViT-B-16 from gone/clip.pt, cannot" in done.stderr
    assert "say by --weights where its weights lie" in done.stderr
    assert show("--weights", clip_dir).exit_code == 0


def test_other_weights_than_the_prompts_are_refused(show, folder, prompts):
    write_prompts(folder / "prompts.safetensors", replace(prompts, weights_hash="0" * 64))
    done = show()
    assert done.exit_code == 2
    assert "prompts.safetensors was learned with other weights" in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--model", "ViT-L-14"], 2, "leave --model out"),
        (["--nouns", "none.txt"], 1, "give builtin, or a file with one word a line"),
        (["--top", "0"], 2, "--top"),
        (["--weights", "none/there.pt"], 1, "small from none/there.pt, cannot be loaded"),
    ],
)
def test_what_does_not_go_is_refused(show, args, code, message):
    done = show(*args)
    assert done.exit_code == code
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_a_missing_file_is_refused(show):
    done = show(file="none.safetensors")
    assert done.exit_code == 1
    assert "none.safetensors: no such file; learn them again with `semples learn-prompts`" in done.stderr


def test_without_a_command_the_commands_are_shown():
    assert "show" in CliRunner().invoke(app, ["prompts"], env={"COLUMNS": "200"}).output
