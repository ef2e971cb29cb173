"""`semples refine` from end to end on the small photos, and what its options and files refuse."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from foreign_files import clip_es, irn, save, weaktr
from small_world import PHOTOS
from typer.testing import CliRunner

from semples_cli.artifacts.file_lock import lock_file
from semples_cli.artifacts.generator_file import read_generator
from semples_cli.artifacts.mask_png import find_masks, write_mask
from semples_cli.artifacts.prompts_file import write_prompts
from semples_cli.artifacts.run_folder import read_run_record
from semples_cli.cli.app import app
from semples_cli.config import GENERATOR_PRESETS
from semples_cli.steps.pipeline_settings import PRESET_VIEWS
from semples_cli.steps.progress import silent
from semples_cli.steps.train_generator import train_generator
from semples_cli.types import ClassSet, PromptSet, Sample

# Neither the order of the labels (boat, cat, dog) nor only what they name.
CLASS_SET = ClassSet(("dog", "bird", "cat", "boat"))
SMALL = ["--device", "cpu", "--precision", "fp32", "--size", "32", "--epochs", "1"]


@pytest.fixture
def prompts(clip_engine):
    record = clip_engine.record
    return PromptSet(
        class_names=CLASS_SET.names,
        prompt_names=CLASS_SET.prompt_names,
        vectors=np.random.default_rng(0).standard_normal((4, 2, 16)).astype(np.float32),
        clip_name=str(record["model"]),
        weights_hash=str(record["weights_sha256"]),
        quick_gelu=bool(record["quick_gelu"]),
    )


@pytest.fixture
def folder(photos, monkeypatch, clip_engine, prompts):
    """The tests stand in the folder that holds `images/`, prompts and initial weights."""
    monkeypatch.chdir(photos.parent)
    samples = [
        Sample(name, photos / f"{name}.jpg", tuple(sorted(CLASS_SET.index_of(each) for each in names)))
        for name, (_, names) in PHOTOS.items()
    ]
    settings = replace(GENERATOR_PRESETS["own"], epochs=1)
    initial = photos.parent / "generator_initial.safetensors"
    train_generator("initial", samples, CLASS_SET, clip_engine, initial, settings, progress=silent)
    write_prompts(photos.parent / "prompts.safetensors", prompts)
    return photos.parent


@pytest.fixture
def refine(folder, clip_dir):
    def run(*args, prompts="prompts.safetensors", weights=clip_dir):
        given = ["--prompts", prompts, "--weights", weights]
        return CliRunner().invoke(app, ["refine", *map(str, [*args, *given]), *SMALL])

    return run


def test_the_examples_of_the_help_run(folder, clip_dir):
    shown = CliRunner().invoke(app, ["refine", "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    examples = re.findall(r"Example: semples (refine .*?)\s*$", shown.stdout, re.MULTILINE)
    assert len(examples) == 2
    seeds = ["cams", "images", "--weights", str(clip_dir), "--classes", "classes.txt", "--out", "cams"]
    (folder / "classes.txt").write_text("\n".join(CLASS_SET.names) + "\n")
    assert CliRunner().invoke(app, [*seeds, *SMALL[:-2]]).exit_code == 0
    for example in examples:
        done = CliRunner().invoke(app, [*example.split(), "--weights", str(clip_dir), *SMALL])
        assert done.exit_code == 0, done.stderr
        assert done.stdout == ""
        assert set(find_masks(folder / "refined")) == set(PHOTOS)
        assert read_run_record(folder / "refined")["command"] == "refine"


def test_maps_that_epsilon_damps_are_said_with_the_option_that_helps(refine):
    damped = refine("images", "--out", "out", "--region-epsilon", "1e6")
    assert damped.exit_code == 0, damped.stderr
    assert "train with a smaller --region-epsilon" in damped.stderr
    assert "--region-epsilon" not in refine("images", "--out", "out", "--region-epsilon", "1e-9").stderr


def test_only_the_true_class_order_is_said(refine):
    said = refine("images", "--out", "out").stderr
    assert re.findall(r"in the order of [\w. ]+", said) == ["in the order of prompts.safetensors"]


def test_a_training_that_another_run_is_at_is_left_to_it(refine, folder):
    with lock_file(folder / "out/.semples/generator.safetensors"):
        done = refine("images", "--out", "out")
    assert done.exit_code == 1
    assert "generator.safetensors: another semples run (process" in done.stderr
    assert refine("images", "--out", "out").exit_code == 0
    assert not list(folder.rglob("*.lock"))


def test_classes_are_those_of_the_prompts(refine, folder):
    assert refine("images", "--out", "out").exit_code == 0
    assert read_run_record(folder / "out")["classes"]["names"] == list(CLASS_SET.names)
    assert read_generator(folder / "out/.semples/generator.safetensors").class_names == CLASS_SET.names


def test_the_result_for_machines(refine):
    done = refine("images", "--out", "out", "--json")
    result = json.loads(done.stdout)
    assert result["written"] == len(PHOTOS)
    assert result["classes"] == list(CLASS_SET.names)
    assert result["generator"] == "out/.semples/generator.safetensors"


def test_a_second_run_keeps_everything(refine):
    refine("images", "--out", "out")
    again = refine("images", "--out", "out")
    assert again.exit_code == 0
    assert f"{len(PHOTOS)} kept from an earlier run" in again.stderr
    assert "kept, it was trained with the same settings" in again.stderr


def test_options_reach_the_training_and_the_cams(refine, folder):
    options = ["--lambda-b", "0.5", "--lambda-r", "0", "--seed", "9", "--scales", "1.0,0.5", "--flips"]
    options += ["--region-epsilon", "0.01"]
    assert refine("images", "--out", "out", "--background-score", "0.6", "--micro-batch", "1", *options).exit_code == 0
    settings = read_generator(folder / "out/.semples/generator.safetensors").settings
    assert (settings["lambda_b"], settings["lambda_r"], settings["seed"], settings["epochs"]) == (0.5, 0, 9, 1)
    assert settings["region_epsilon"] == 0.01
    cams = read_run_record(folder / "out")["settings"]
    assert (cams["scales"], cams["flips"], cams["background_score"]) == ([1.0, 0.5], True, 0.6)


def test_a_preset_brings_its_training_and_its_scales(refine, folder):
    assert refine("images", "--out", "out", "--preset", "voc12").exit_code == 0
    settings = read_generator(folder / "out/.semples/generator.safetensors").settings
    assert settings["learning_rate"] == GENERATOR_PRESETS["voc12"].learning_rate
    cams = read_run_record(folder / "out")["settings"]
    assert (tuple(cams["scales"]), cams["flips"]) == PRESET_VIEWS["voc12"]


def test_initial_weights_may_lie_elsewhere(refine, folder):
    (folder / "elsewhere").mkdir()
    (folder / "generator_initial.safetensors").rename(folder / "elsewhere/i.safetensors")
    missing = refine("images", "--out", "out")
    assert missing.exit_code == 1
    assert "generator_initial.safetensors: no such file; train it again" in missing.stderr
    assert refine("images", "--out", "out", "--initial", "elsewhere/i.safetensors").exit_code == 0


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--preset", "best"], 2, "choose one of own, voc12, coco14"),
        (["--scales", "big"], 2, "give numbers with commas"),
        (["--lambda-r", "-1"], 2, "lambda_b and lambda_r: 0 or more"),
        (["--region-epsilon", "-1"], 2, "region epsilon -1.0: 0 or more"),
        (["--model", "ViT-L-14"], 2, "leave --model out"),
    ],
)
def test_options_that_do_not_fit_are_refused(refine, folder, args, code, message):
    done = refine("images", "--out", "out", *args)
    assert done.exit_code == code
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert not written_masks(folder / "out")


def written_masks(out):
    return list(out.rglob("*.png")) if out.exists() else []


def test_prompts_that_are_not_there_are_said(refine):
    done = refine("images", "--out", "out", prompts="none")
    assert done.exit_code == 1
    assert "none: no such file; learn them again with `semples learn-prompts`" in done.stderr


def test_the_two_files_are_not_confused(refine):
    done = refine("images", "--out", "out", prompts="generator_initial.safetensors")
    assert done.exit_code == 1
    assert "give the prompts.safetensors" in done.stderr
    done = refine("images", "--out", "out", "--initial", "prompts.safetensors")
    assert done.exit_code == 1
    assert "not a mask generator of semples" in done.stderr


def test_a_label_that_the_prompts_do_not_have_is_refused(refine, folder):
    labels = folder / "images/labels.csv"
    labels.write_text(labels.read_text().replace("one.jpg,boat", "one.jpg,boot"))
    done = refine("images", "--out", "out")
    assert done.exit_code == 1
    assert "unknown class 'boot'; did you mean 'boat'?" in done.stderr


def test_a_broken_image_is_listed_and_ends_with_3(refine, folder):
    (folder / "images/one.jpg").write_bytes(b"\xff\xd8 no picture")
    done = refine("images", "--out", "out")
    assert done.exit_code == 3
    assert "failed: one:" in done.stderr
    assert set(find_masks(folder / "out")) == set(PHOTOS) - {"one"}


def write_foreign(folder, form):
    """CAMs of the photos as a project writes them; `keys` count from 0."""
    for name, ((height, width), names) in PHOTOS.items():
        keys = [CLASS_SET.index_of(each) - 1 for each in names]
        if not keys and form != "png":
            continue
        maps = np.random.default_rng(len(name)).random((len(keys), height, width)).astype(np.float32)
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        if form == "clip-es":
            save(path, clip_es(keys, maps))
        elif form == "irn":
            save(path, irn(keys, maps[:, ::4, ::4], maps))
        elif form == "weaktr":
            save(path, weaktr(keys, maps))
        elif form == "npz":
            np.savez(path.with_suffix(".npz"), scores=maps, class_indices=np.array(keys, np.int64))
        else:
            mask = np.zeros((height, width), np.uint8)
            for slot, key in enumerate(keys):
                mask[:, slot::4] = key + 1
            write_mask(path.with_suffix(".png"), mask)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("clip-es", "keys counted from 0"),
        ("irn", "keys counted from 0"),
        ("weaktr", "keys counted from 0"),
        ("npz", "keys counted from 0"),
        ("png", "read as masks"),
    ],
)
def test_cams_of_another_project_take_the_place_of_initial_weights(refine, folder, form, said):
    write_foreign(folder / "foreign", form)
    (folder / "generator_initial.safetensors").unlink()  # it is not needed
    numbering = ["--cams-numbering", "0"] if form == "npz" else []
    done = refine("images", "--cams", "foreign", *numbering, "--out", "refined", "--json")
    assert done.exit_code == 0, done.stderr
    assert said in done.stderr
    assert "masks of the fit alone, to compare with: refined-fitted" in done.stderr
    result = json.loads(done.stdout)
    assert result["fitted"] == "refined-fitted"
    assert set(find_masks(folder / "refined-fitted")) == set(find_masks(folder / "refined")) == set(PHOTOS)


def test_options_about_cams_need_cams_and_cams_go_without_initial_weights(refine, folder, clip_dir):
    done = refine("images", "--cams-numbering", "1", "--out", "refined")
    assert done.exit_code == 2
    assert "give CAMs by --cams" in done.stderr
    samples = ["cams", "images", "--weights", str(clip_dir), "--classes", "classes.txt", "--out", "cams", *SMALL[:-2]]
    (folder / "classes.txt").write_text("\n".join(CLASS_SET.names) + "\n")
    assert CliRunner().invoke(app, samples).exit_code == 0
    done = refine("images", "--cams", "cams", "--init", "generator_initial.safetensors", "--out", "refined")
    assert done.exit_code == 2
    assert "give one of the two" in done.stderr
