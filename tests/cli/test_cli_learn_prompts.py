"""`semples learn-prompts` from end to end on the small photos: from CAMs, from scratch, presets, what it refuses."""

import json
import os
import re
import shutil

import pytest
from small_world import CLASSES, PHOTOS
from typer.testing import CliRunner

from semples_cli.artifacts.cam_store import find_cams
from semples_cli.artifacts.file_lock import lock_file
from semples_cli.artifacts.generator_file import read_generator
from semples_cli.artifacts.prompts_file import read_prompt_training, read_prompts
from semples_cli.cli.app import app
from semples_cli.config import PROMPT_PRESETS

WIDE = {"COLUMNS": "200", "TERM": "dumb"}
ENGINE = ["--device", "cpu", "--precision", "fp32"]
SMALL = ["--prompt-length", "2", "--epochs", "1", "--size", "32", "--min-images", "1"]


@pytest.fixture
def folder(photos, monkeypatch, clip_dir):
    """The tests stand in the folder that holds `images/`, and `masks/` with their CAMs."""
    monkeypatch.chdir(photos.parent)
    command = ["cams", "images", "--out", "masks", "--weights", str(clip_dir), *ENGINE, "--size", "32"]
    assert CliRunner().invoke(app, command).exit_code == 0
    return photos.parent


@pytest.fixture
def learn(folder, clip_dir):
    def run(*args, small=SMALL, weights=clip_dir):
        command = ["learn-prompts", *map(str, args), "--weights", str(weights), *ENGINE, *small]
        return CliRunner().invoke(app, command, env=WIDE)

    return run


def test_the_examples_of_the_help_run(folder, clip_dir):
    shown = CliRunner().invoke(app, ["learn-prompts", "--help"], env=WIDE)
    examples = re.findall(r"Example: semples (learn-prompts .*?)\s*$", shown.stdout, re.MULTILINE)
    assert examples == [
        "learn-prompts --data ./voc --preset voc12",
        "learn-prompts images/ --labels labels.csv --cams masks/ --out prompts.safetensors",
    ]
    shutil.copytree(folder / "images", folder / "voc")
    shutil.move(folder / "images/labels.csv", folder / "labels.csv")
    for example in examples:
        done = CliRunner().invoke(app, [*example.split(), "--weights", str(clip_dir), *ENGINE, *SMALL])
        assert done.exit_code == 0, done.stderr
        assert done.stdout == ""
        assert read_prompts(folder / "prompts.safetensors").class_names == CLASSES


def test_from_cams_it_writes_one_file_and_says_how_to_look_at_it(learn, folder):
    before = {path.name for path in folder.iterdir()}
    done = learn("images", "--cams", "masks", "--out", "p.safetensors")
    assert done.exit_code == 0, done.stderr
    assert {path.name for path in folder.iterdir()} - before == {"p.safetensors"}
    assert "prompts of 3 classes: p.safetensors; look at them with `semples prompts show p.safetensors`" in done.stderr
    shown = CliRunner().invoke(app, ["prompts", "show", "p.safetensors", "--json", *ENGINE])
    assert [each["class"] for each in json.loads(shown.stdout)["prompts"]] == list(CLASSES)


def test_images_that_are_too_large_are_left_out_and_listed(learn):
    done = learn("images", "--cams", "masks", "--max-pixels", "100")
    assert done.exit_code == 1
    assert "no background region to learn from" in done.stderr


def test_json_is_one_document_on_stdout(learn):
    done = learn("images", "--cams", "masks", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == {
        "out": "prompts.safetensors",
        "classes": list(CLASSES),
        "prompt_length": 2,
        "unlearned_classes": [],
        "stopped_epoch": None,
        "problems": [],
    }


def test_a_class_without_images_is_in_the_result(learn, folder):
    (folder / "classes.txt").write_text("boat\ncat\ndog\nzebra\n")
    # The CAMs alone: the run folder names its classes, and others are refused.
    done = learn("images", "--classes", "classes.txt", "--cams", "masks/.semples/cams", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["unlearned_classes"] == ["zebra"]
    assert "zebra" in done.stderr


def test_options_reach_the_settings(learn, folder):
    options = {
        "--batch-size": "3",
        "--learning-rate": "0.5",
        "--lambda-t": "0.25",
        "--repulsion": "log-s",
        "--similarity": "clamp",
        "--start": "uniform",
        "--seed": "9",
    }
    done = learn("images", "--cams", "masks", *(part for option in options.items() for part in option))
    assert done.exit_code == 0, done.stderr
    settings = read_prompts(folder / "prompts.safetensors").settings
    for name, value in {"--prompt-length": "2", "--epochs": "1", **options}.items():
        assert str(settings[name[2:].replace("-", "_")]) == value
    assert len(read_prompt_training(folder / "prompts.safetensors").curves["loss"]) == 2  # five pairs, three a step


def test_patience_stops_on_a_plateau_and_says_so(learn, folder):
    still = ["--learning-rate", "1e-9", "--prompt-length", "2", "--size", "32", "--epochs", "50", "--patience", "2"]
    done = learn("images", "--cams", "masks", "--json", small=still)
    assert done.exit_code == 0, done.stderr
    stopped = json.loads(done.stdout)["stopped_epoch"]
    assert 2 < stopped < 50
    assert f"the loss of the prompts fell no more: stopped after epoch {stopped} of 50, as asked" in done.stderr
    settings = read_prompts(folder / "prompts.safetensors").settings
    assert (settings["plateau_epochs"], settings["stopped_epoch"]) == (2, stopped)


def test_without_patience_the_prompts_are_trained_to_the_end(learn, folder):
    still = ["--learning-rate", "1e-9", "--prompt-length", "2", "--size", "32", "--epochs", "6"]
    assert "stopped" not in learn("images", "--cams", "masks", small=still).stderr
    assert len(read_prompt_training(folder / "prompts.safetensors").curves["loss"]) == 6


def test_region_epsilon_is_that_of_the_generator(learn, folder):
    done = learn("images", "--out", "new/prompts.safetensors", "--region-epsilon", "1e6")
    assert done.exit_code == 0, done.stderr
    assert read_generator(folder / "new/generator_matched.safetensors").settings["region_epsilon"] == 1e6
    assert read_prompts(folder / "new/prompts.safetensors").settings["region_epsilon"] == 1e-4
    assert "the ε of 1e+06 damps to less than half" in done.stderr
    assert "train with a smaller --region-epsilon" in done.stderr


@pytest.mark.parametrize("preset", sorted(PROMPT_PRESETS))
def test_a_preset_brings_its_settings(learn, folder, preset):
    done = learn("images", "--cams", "masks", "--preset", preset)
    assert done.exit_code == 0, done.stderr
    settings, expected = read_prompts(folder / "prompts.safetensors").settings, PROMPT_PRESETS[preset]
    for name in ("lambda_t", "repulsion", "similarity", "start", "learning_rate", "crop_scale", "seed"):
        assert settings[name] == getattr(expected, name)


def test_without_cams_the_generator_s_weights_and_maps_lie_beside_the_prompts(learn, folder):
    done = learn("images", "--out", "new/prompts.safetensors", "--seed", "4", "--similarity", "clamp")
    assert done.exit_code == 0, done.stderr
    names = {"prompts.safetensors", "generator_initial.safetensors", "generator_matched.safetensors", "matched"}
    assert {path.name for path in (folder / "new").iterdir()} == names
    assert set(find_cams(folder / "new/matched")) == set(PHOTOS)
    settings = read_generator(folder / "new/generator_matched.safetensors").settings
    assert (settings["epochs"], settings["seed"], settings["similarity"]) == (1, 4, "clamp")


def test_the_same_command_again_keeps_all_and_says_so(learn, folder):
    learn("images", "--cams", "masks")
    before = (folder / "prompts.safetensors").stat().st_mtime_ns
    again = learn("images", "--cams", "masks")
    assert "kept" in again.stderr
    assert (folder / "prompts.safetensors").stat().st_mtime_ns == before
    assert "kept" not in learn("images", "--cams", "masks", "--overwrite").stderr
    changed = learn("images", "--cams", "masks", "--lambda-t", "0.5")
    assert "learned again, because settings" in changed.stderr


def test_a_config_file_sets_options_and_the_command_line_wins(learn, folder):
    (folder / "run.toml").write_text('cams = "masks"\nlambda-t = 0.5\nseed = 3\nout = "p.safetensors"\n')
    done = learn("images", "--config", "run.toml", "--seed", "4")
    assert done.exit_code == 0, done.stderr
    settings = read_prompts(folder / "p.safetensors").settings
    assert (settings["lambda_t"], settings["seed"]) == (0.5, 4)


def test_limit_takes_the_first_images(learn):
    done = learn("images", "--cams", "masks", "--limit", "1", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["unlearned_classes"] == ["boat", "dog"]


def test_a_bad_row_is_listed_and_exits_3_and_the_rest_is_learned_from(learn, folder):
    (folder / "classes.txt").write_text("boat\ncat\ndog\n")
    (folder / "images/labels.csv").write_text("image,labels\nb.jpg,dgo\none.jpg,boat\n")
    done = learn("images", "--classes", "classes.txt", "--cams", "masks")
    assert done.exit_code == 3
    assert "did you mean 'dog'?" in done.stderr
    assert read_prompts(folder / "prompts.safetensors").settings["unlearned_classes"] == ["cat", "dog"]


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--preset", "lvis"], 2, "--preset 'lvis': choose one of own, voc12, coco14"),
        (["--prompt-length", "11"], 2, "give --prompt-length 10 or less"),
        (["--prompt-length", "0"], 2, "prompt length 0: 1 or more"),
        (["--repulsion", "log"], 2, "choose one of log-s, log-one-minus-s"),
        (["--similarity", "cosine"], 2, "choose one of clamp, half"),
        (["--start", "zero"], 2, "choose one of uniform, tokens"),
        (["--learning-rate", "0"], 2, "above 0"),
        (["--batch-size", "0"], 2, "1 or more"),
        (["--patience", "-1"], 2, "--patience"),
        (["--region-epsilon", "0.01"], 2, "which --cams does without: leave --region-epsilon out"),
        (["--out", "generator_initial.safetensors"], 2, "give the prompts another one, by --out"),
        (["--cams", "images"], 1, "no CAMs here"),
        (["--cams", "nowhere"], 1, "no CAMs here"),
        (["--out", "images"], 2, "this is a folder"),
        (["--limit", "0"], 2, "--limit"),
        (["--config", "gone.toml"], 2, "No such file"),
    ],
)
def test_what_does_not_go_is_refused_and_nothing_is_written(learn, folder, args, code, message):
    before = sorted(folder.rglob("*"))
    done = learn("images", "--cams", "masks", small=[*SMALL, *args])
    assert done.exit_code == code, done.stderr
    assert message in re.sub(r"[\s│]+", " ", done.stderr)
    assert "Traceback" not in done.output
    assert sorted(folder.rglob("*")) == before


def test_a_second_run_is_told_who_writes_the_file(learn, folder):
    with lock_file(folder / "prompts.safetensors"):
        done = learn("images", "--cams", "masks")
    assert done.exit_code == 1
    assert f"prompts.safetensors: another semples run (process {os.getpid()}) is writing here" in done.stderr
    assert not list(folder.glob("prompts*"))


def test_cams_of_other_classes_are_refused(learn, folder):
    (folder / "classes.txt").write_text("dog\ncat\nboat\n")
    done = learn("images", "--classes", "classes.txt", "--cams", "masks")
    assert done.exit_code == 1
    assert "its class 1 is 'boat', here it is 'dog'; give its class list by --classes" in done.stderr
