"""`semples run` from end to end on the small photos: its table, its JSON, its config file, and its exit codes."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from small_world import CLASSES, CLIP_CONFIG, PHOTOS
from typer.testing import CliRunner

from semples_cli.artifacts.cam_store import find_cams, read_cam
from semples_cli.artifacts.generator_file import read_generator
from semples_cli.artifacts.mask_png import find_masks
from semples_cli.artifacts.prompts_file import read_prompts
from semples_cli.artifacts.run_folder import read_run_record
from semples_cli.cli.app import app
from semples_cli.cli.run import cam_flags
from semples_cli.config import CRF_PRESETS, PROMPT_PRESETS
from semples_cli.steps.pipeline_settings import pipeline_settings

WIDE = {"COLUMNS": "300", "TERM": "dumb"}
SMALL = [
    "--device",
    "cpu",
    "--precision",
    "fp32",
    "--size",
    "32",
    "--epochs",
    "1",
    "--workers",
    "1",
    "--min-images",
    "1",
]
STAGES = ["prompts", "seeds", "refined", "crf"]


@pytest.fixture(scope="module")
def long_clip_dir(tmp_path_factory):
    """The small CLIP with a token window that holds prompts of the preset's 30 tokens."""
    import open_clip
    import torch

    from semples_cli.engine.model_dir import ModelDir, write_model_dir

    config = {**CLIP_CONFIG, "text_cfg": {**CLIP_CONFIG["text_cfg"], "context_length": 40}}
    folder = tmp_path_factory.mktemp("models") / "long"
    torch.manual_seed(0)
    write_model_dir(ModelDir(folder, config, licence="CC0"), open_clip.CLIP(**config).state_dict())
    return folder


@pytest.fixture
def folder(photos, monkeypatch):
    """The tests stand in the folder that holds `images/`."""
    monkeypatch.chdir(photos.parent)
    return photos.parent


@pytest.fixture
def run(folder, long_clip_dir):
    def invoke(*args, small=SMALL):
        return CliRunner().invoke(app, ["run", *map(str, args), "--weights", str(long_clip_dir), *small], env=WIDE)

    return invoke


def rows(stdout):
    """Cells of the table's rows by stage."""
    found = re.findall(rf"({'|'.join(STAGES)})\W+(\d+)\W+(\d+)\W+(\d+)\W+([\d.]+)", stdout)
    return {name: tuple(map(int, cells[:3])) for name, *cells in found}


def test_the_examples_of_the_help_run(run, folder):
    shown = CliRunner().invoke(app, ["run", "--help"], env=WIDE)
    examples = re.findall(r"Example: semples run (.*?)\s*$", shown.stdout, re.MULTILINE)
    assert examples == [
        "--data ./voc --out run/",
        "images/ --labels labels.csv --out run/ --overlay",
        "--config run.toml",
    ]
    shutil.copytree(folder / "images", folder / "voc")
    shutil.move(folder / "images/labels.csv", folder / "labels.csv")
    (folder / "run.toml").write_text('data = "voc"\nout = "run"\n')
    for example in examples:
        shutil.rmtree(folder / "run", ignore_errors=True)
        done = run(*example.split())
        assert done.exit_code == 0, done.stderr
        assert set(find_masks(folder / "run/crf")) == set(PHOTOS)
        assert (folder / "run/crf/overlays").exists() == ("--overlay" in example)


def test_it_ends_with_a_table_and_with_what_to_do_next(run, folder):
    done = run("images", "--out", "out")
    assert done.exit_code == 0, done.stderr
    assert rows(done.stdout) == {"prompts": (3, 0, 0), **dict.fromkeys(STAGES[1:], (5, 0, 0))}
    assert "semples evaluate out/crf GROUND_TRUTH" in done.stderr
    assert "semples prompts show out/prompts.safetensors" in done.stderr
    (advice,) = re.findall(r"semples (cams NEW/ .*)", done.stderr)
    followed = advice.replace("NEW/", "images").replace("--out OUT", "--out new").split()
    assert CliRunner().invoke(app, [*followed, "--device", "cpu"]).exit_code == 0
    assert set(find_masks(folder / "new")) == set(PHOTOS)


def test_the_advice_makes_the_very_maps_of_the_preset(run, folder):
    """The size, the scales and flips of the preset and the background score are part of it."""
    done = run("images", "--out", "out", "--preset", "voc12", "--background-score", "0.3")
    assert done.exit_code == 0, done.stderr
    (advice,) = re.findall(r"semples (cams NEW/ .*)", done.stderr)
    assert "--size 32 --scales 1.0,1.2 --background-score 0.3 --flips --out OUT" in advice
    followed = advice.replace("NEW/", "images").replace("--out OUT", "--out new").split()
    assert CliRunner().invoke(app, [*followed, "--device", "cpu", "--precision", "fp32"]).exit_code == 0
    ours, theirs = find_cams(folder / "new"), find_cams(folder / "out/refined")
    for sample_id in PHOTOS:
        made, expected = (read_cam(paths[sample_id], sample_id).scores for paths in (ours, theirs))
        np.testing.assert_array_equal(made, expected)
        masks = [(folder / name / f"{sample_id}.png").read_bytes() for name in ("new", "out/refined")]
        assert masks[0] == masks[1]


def test_the_advice_leaves_out_what_is_usual():
    assert cam_flags(pipeline_settings().generator_cams) == []
    assert cam_flags(pipeline_settings("coco14").generator_cams) == ["--scales 1.0,0.8,1.2", "--flips"]
    changed = pipeline_settings(size=320, background_score=0.25).generator_cams
    assert cam_flags(changed) == ["--size 320", "--background-score 0.25"]


def test_a_second_run_keeps_everything_and_says_so(run):
    run("images", "--out", "out")
    again = run("images", "--out", "out")
    assert again.exit_code == 0
    assert rows(again.stdout) == {"prompts": (0, 3, 0), **dict.fromkeys(STAGES[1:], (0, 5, 0))}
    assert rows(run("images", "--out", "out", "--overwrite").stdout)["crf"] == (5, 0, 0)


def test_json_is_one_document_on_stdout(run):
    done = run("images", "--out", "out", "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["out"], document["classes"]) == ("out", list(CLASSES))
    assert [stage["name"] for stage in document["stages"]] == STAGES
    assert [stage["output"] for stage in document["stages"]][::3] == ["out/prompts.safetensors", "out/crf"]
    for stage in document["stages"]:
        assert stage["seconds"] >= 0
        assert (stage["resumed"], stage["skipped"], stage["failed"]) == (0, [], [])
    assert (document["problems"], document["unmatched_rows"]) == ([], [])


def test_options_reach_the_stages(run, folder):
    changes = ["--background-score", "0.6", "--region-epsilon", "0.01"]
    backend = ["--crf-backend", "sparse", "--crf-max-pixels", "400"]
    done = run("images", "--out", "out", *changes, *backend, "--preset", "coco14", "--limit", "3")
    assert done.exit_code == 0, done.stderr
    prompts = read_prompts(folder / "out/prompts.safetensors").settings
    wanted = replace(PROMPT_PRESETS["coco14"], epochs=1)
    assert (prompts["epochs"], prompts["lambda_t"], prompts["start"]) == (1, wanted.lambda_t, wanted.start)
    generator = read_generator(folder / "out/refined/.semples/generator.safetensors").settings
    assert (generator["epochs"], generator["pooling"], generator["region_epsilon"]) == (1, "avg", 0.01)
    seeds, refined, crf = (read_run_record(folder / "out" / name)["settings"] for name in STAGES[1:])
    assert (seeds["size"], seeds["background_score"], seeds["background_words"]) == (32, 0.6, [])
    assert (refined["scales"], refined["flips"], refined["background_score"]) == ([1.0, 0.8, 1.2], True, 0.6)
    assert (crf["backend"], crf["max_pixels"]) == ("sparse", 400)
    assert crf["bilateral_compat"] == CRF_PRESETS["semples-coco"].bilateral_compat
    assert len(find_masks(folder / "out/crf")) == 3


def test_the_config_file_sets_options_and_the_command_line_wins(run, folder):
    (folder / "run.toml").write_text(
        'images = ["images"]\nout = "out"\nlimit = 3\nbackground-score = 0.2\njson = true\n'
    )
    done = run("--config", "run.toml", "--background-score", "0.3")
    assert done.exit_code == 0, done.stderr
    assert [stage["written"] for stage in json.loads(done.stdout)["stages"]][1:] == [3, 3, 3]
    assert read_run_record(folder / "out/seeds")["settings"]["background_score"] == 0.3


def test_classes_without_images_get_no_prompt_and_the_rest_is_done(run, folder):
    (folder / "classes.txt").write_text("boat\ncat\ndog\nzebra\n")
    done = run("images", "--classes", "classes.txt", "--out", "out")
    assert done.exit_code == 0, done.stderr
    assert "skipped: zebra: too few images to learn its prompt from" in done.stderr
    assert rows(done.stdout) == {"prompts": (3, 0, 0), **dict.fromkeys(STAGES[1:], (5, 0, 0))}


def test_a_broken_image_is_counted_and_ends_with_3(run, folder):
    (folder / "images/one.jpg").write_bytes(b"\xff\xd8 no picture")
    done = run("images", "--out", "out")
    assert done.exit_code == 3
    assert "failed: one:" in done.stderr
    assert rows(done.stdout)["seeds"] == rows(done.stdout)["refined"] == (4, 0, 1)
    assert "Traceback" not in done.output


def test_a_bad_row_ends_with_3_and_the_rest_is_done(run, folder):
    (folder / "classes.txt").write_text("boat\ncat\ndog\n")
    labels = folder / "images/labels.csv"
    labels.write_text(labels.read_text().replace("one.jpg,boat", "one.jpg,boot"))
    done = run("images", "--classes", "classes.txt", "--out", "out", "--json")
    assert done.exit_code == 3
    document = json.loads(done.stdout)
    assert "did you mean 'boat'?" in document["problems"][0]["message"]
    assert [stage["written"] for stage in document["stages"]] == [3, 4, 4, 4]
    assert document["stages"][1]["skipped"] == [{"id": "one", "reason": "no label names it"}]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--preset", "best"], "choose one of own, voc12, coco14"),
        (["--epochs", "0"], "--epochs"),
        (["--workers", "0"], "--workers"),
        (["--background-score", "2"], "it lies in [0, 1]"),
        (["--region-epsilon", "-1"], "region epsilon -1.0: 0 or more"),
        (["--data", "images"], "both images and --data"),
        (["--out", "images"], "choose another folder"),
    ],
)
def test_options_that_do_not_fit_are_refused(run, folder, args, message):
    done = run("images", "--out", "out", small=[*SMALL, *args])
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert not list(folder.rglob("*.safetensors"))


def test_prompts_that_do_not_fit_into_the_clip_are_refused_before_training(folder, clip_dir):
    done = CliRunner().invoke(app, ["run", "images", "--out", "out", "--weights", str(clip_dir), *SMALL])
    assert done.exit_code == 2
    assert "prompt" in done.stderr
    assert not list(folder.rglob("*.safetensors"))


def test_all_stages_go_on_from_initial_weights_that_are_given(run, folder, long_clip_dir):
    vit = ["--vit", "small_patch4_64", "--start", "scratch", "--epochs", "1", "--weights", str(long_clip_dir)]
    done = CliRunner().invoke(app, ["train-generator", "images", "--out", "weaktr.safetensors", *vit, *SMALL[:4]])
    assert done.exit_code == 0, done.stderr
    done = run("images", "--init", "weaktr.safetensors", "--out", "run")
    assert done.exit_code == 0, done.stderr
    given, initial = folder / "weaktr.safetensors", folder / "run/generator_initial.safetensors"
    assert initial.read_bytes() == given.read_bytes()
    assert read_generator(folder / "run/refined/.semples/generator.safetensors").kind == "weaktr"
    assert set(find_masks(folder / "run/crf")) == set(PHOTOS)
