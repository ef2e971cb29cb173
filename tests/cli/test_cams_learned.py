"""`semples cams` with learned prompts and with a trained generator: what they name is taken from them, or refused."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from small_world import PHOTOS
from typer.testing import CliRunner

from semples_cli.artifacts.cam_store import find_cams, read_cam
from semples_cli.artifacts.generator_file import read_generator, write_generator
from semples_cli.artifacts.mask_png import find_masks
from semples_cli.artifacts.prompts_file import read_prompts, write_prompts
from semples_cli.artifacts.run_folder import read_run_record
from semples_cli.cli.app import app
from semples_cli.config import GeneratorSettings
from semples_cli.engine.generators.clip_head import ClipGenerator, build_clip_head
from semples_cli.steps.engine_source import engine_source
from semples_cli.steps.generator_weights import pack_generator
from semples_cli.types import ClassSet, PromptSet

SMALL = ["--device", "cpu", "--precision", "fp32", "--size", "40", "--batch-size", "2"]
WIDE = {"COLUMNS": "300", "TERM": "dumb"}
# Neither the order of the labels (boat, cat, dog) nor only what they name.
CLASS_SET = ClassSet(("dog", "bird", "cat", "boat"))
PROMPTS, GENERATOR = "prompts.safetensors", "refined/.semples/generator.safetensors"


@pytest.fixture
def folder(photos, monkeypatch, clip_engine):
    """The tests stand in the folder that holds `images/`, and prompts and a generator of the small CLIP."""
    monkeypatch.chdir(photos.parent)
    record = clip_engine.record
    prompts = PromptSet(
        class_names=CLASS_SET.names,
        prompt_names=CLASS_SET.prompt_names,
        vectors=np.random.default_rng(0).standard_normal((4, 2, 16)).astype(np.float32),
        clip_name=str(record["model"]),
        weights_hash=str(record["weights_sha256"]),
        quick_gelu=bool(record["quick_gelu"]),
        settings={"engine": engine_source(record)},
    )
    write_prompts(photos.parent / PROMPTS, prompts)
    generator = ClipGenerator(clip_engine, build_clip_head(clip_engine, len(CLASS_SET), GeneratorSettings()))
    packed = pack_generator(generator, "refined", CLASS_SET, settings={}, curves={}, fingerprint="f")
    write_generator(photos.parent / GENERATOR, packed)
    return photos.parent


@pytest.fixture
def cams(folder):
    def run(*args):
        return CliRunner().invoke(app, ["cams", *map(str, args), *SMALL], env=WIDE)

    return run


def learned(kind):
    return ["--prompts", PROMPTS] if kind == "prompts" else ["--generator-weights", GENERATOR]


BOTH = pytest.mark.parametrize("kind", ["prompts", "generator"])


def test_the_examples_of_the_help_run(cams, folder):
    shown = CliRunner().invoke(app, ["cams", "--help"], env=WIDE)
    examples = re.findall(r"Example: semples cams (.*?)\s*$", shown.stdout, re.MULTILINE)[2:]
    assert [example.split()[1] for example in examples] == ["--prompts", "--generator-weights"]
    shutil.copytree(folder / "images", folder / "new")
    for example in examples:
        done = cams(*example.split(), "--overwrite")
        assert done.exit_code == 0, done.stderr
        assert done.stdout == ""
        assert set(find_masks(folder / "masks")) == set(PHOTOS)


@BOTH
def test_model_weights_and_classes_come_from_the_file(cams, folder, clip_dir, kind):
    done = cams("images", *learned(kind), "--out", "masks", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["classes"] == list(CLASS_SET.names)
    record = read_run_record(folder / "masks")
    assert record["classes"]["names"] == list(CLASS_SET.names)
    assert (record["engine"]["model"], record["engine"]["weights"]) == ("small", str(clip_dir))
    assert record["settings"]["background_words"] == []
    for sample_id, (_, names) in PHOTOS.items():
        cam = read_cam(find_cams(folder / "masks")[sample_id], sample_id)
        assert {CLASS_SET.name_of(k) for k in cam.class_indices} == set(names)


def test_the_record_says_what_made_the_cams(cams, folder):
    made = {}
    for kind in ("prompts", "generator"):
        assert cams("images", *learned(kind), "--out", kind).exit_code == 0
        made[kind] = read_run_record(folder / kind)["generator"]
    assert (made["prompts"]["kind"], len(made["prompts"]["sha256"])) == ("learned prompts", 64)
    assert made["generator"] == read_generator(folder / GENERATOR).record


@BOTH
def test_the_same_is_kept_and_another_one_makes_all_again(cams, folder, kind):
    cams("images", *learned(kind), "--out", "masks")
    assert "5 kept from an earlier run" in cams("images", *learned(kind), "--out", "masks").stderr
    if kind == "prompts":
        prompts = read_prompts(folder / PROMPTS)
        write_prompts(folder / PROMPTS, replace(prompts, vectors=prompts.vectors + 1))
    else:
        weights = read_generator(folder / GENERATOR)
        turned = {name: tensor + np.float32(1) for name, tensor in weights.tensors.items()}
        write_generator(folder / GENERATOR, replace(weights, tensors=turned))
    done = cams("images", *learned(kind), "--out", "masks")
    assert "5 masks written" in done.stderr
    assert "because of other generator" in done.stderr


@BOTH
def test_one_label_for_all_images(cams, folder, kind):
    done = cams("images/b.jpg", "--label", "boat", *learned(kind), "--out", "masks")
    assert done.exit_code == 0, done.stderr
    assert read_cam(find_cams(folder / "masks")["b"], "b").class_indices.tolist() == [4]


@BOTH
def test_only_the_true_class_order_is_said(cams, kind):
    done = cams("images", *learned(kind), "--out", "masks")
    assert re.findall(r"\d+ classes, in the order of [\w./]+", done.stderr) == [
        f"4 classes, in the order of {learned(kind)[1]}"
    ]
    assert "read as list-column CSV" in done.stderr
    assert "3 classes, in the order of sorted names; --classes" in cams("images", "--out", "seeds").stderr


@BOTH
def test_a_label_that_it_does_not_know_is_refused(cams, folder, kind):
    done = cams("images/b.jpg", "--label", "boot", *learned(kind), "--out", "masks")
    assert done.exit_code == 1
    assert "unknown class 'boot'; did you mean 'boat'?" in done.stderr
    assert not (folder / "masks").exists()


@BOTH
def test_a_dry_run_writes_nothing(cams, folder, kind):
    before = sorted(folder.rglob("*"))
    done = cams("images", *learned(kind), "--out", "masks", "--dry-run", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["num_images"] == 5
    assert sorted(folder.rglob("*")) == before


@BOTH
def test_weights_may_lie_elsewhere_now(cams, folder, clip_dir, kind):
    shutil.copytree(clip_dir, folder / "elsewhere")
    done = cams("images", *learned(kind), "--weights", "elsewhere", "--out", "masks")
    assert done.exit_code == 0, done.stderr
    assert read_run_record(folder / "masks")["engine"]["weights"] == "elsewhere"


@BOTH
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--model", "ViT-L-14"], "leave --model out"),
        (["--quick-gelu"], "leave --quick-gelu out"),
        (["--background-words", "voc"], "does without --background-words: leave --background-words out"),
        (["--classes", "voc12"], "leave --classes out"),
    ],
)
def test_a_conflicting_option_is_refused_by_name(cams, folder, kind, args, message):
    done = cams("images/b.jpg", "--label", "cat", *learned(kind), "--out", "masks", *args)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (folder / "masks").exists()


@pytest.mark.parametrize("option", ["--template", "--affinity-layers", "--affinity-steps", "--box-threshold"])
def test_what_a_generator_does_not_read_is_refused_with_it_alone(cams, option):
    value = {"--template": "a {}", "--affinity-layers": "none", "--affinity-steps": "1", "--box-threshold": "0.4"}
    done = cams("images", *learned("generator"), "--out", "masks", option, value[option])
    assert done.exit_code == 2
    assert f"--generator-weights does without {option}" in done.stderr
    assert cams("images", *learned("prompts"), "--out", "masks", option, value[option]).exit_code == 0


@BOTH
def test_a_conflict_from_a_config_file_is_refused_too(cams, folder, kind):
    (folder / "run.toml").write_text('background-words = "voc"\n')
    done = cams("images", *learned(kind), "--out", "masks", "--config", "run.toml")
    assert done.exit_code == 2
    assert "does without --background-words" in done.stderr


@BOTH
def test_weights_of_another_clip_are_refused(cams, folder, kind, clip_dir):
    if kind == "prompts":
        write_prompts(folder / PROMPTS, replace(read_prompts(folder / PROMPTS), weights_hash="0" * 64))
    else:
        write_generator(folder / GENERATOR, replace(read_generator(folder / GENERATOR), weights_hash="0" * 64))
    done = cams("images", *learned(kind), "--out", "masks", "--weights", clip_dir)
    assert done.exit_code == 2
    assert f"--weights {clip_dir}" in done.stderr
    assert "was learned with other weights" in done.stderr


def test_both_at_once_are_refused(cams):
    done = cams("images", *learned("prompts"), *learned("generator"), "--out", "masks")
    assert done.exit_code == 2
    assert "leave one of the two out" in done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--prompts", GENERATOR], "this is a mask generator; give the prompts.safetensors"),
        (["--generator-weights", PROMPTS], "not a mask generator of semples"),
        (["--prompts", "gone"], "gone: no such file; learn them again"),
        (["--generator-weights", "gone"], "gone: no such file; train it again"),
    ],
)
def test_files_that_are_not_what_they_should_be_are_refused(cams, folder, args, message):
    done = cams("images", *args, "--out", "masks")
    assert done.exit_code == 1
    assert message in done.stderr
    assert not (folder / "masks").exists()
