"""The recipes of VOC 2012 and COCO 2014: their dry run, and every command of them on miniatures of the real layouts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from coco_files import names, write_coco
from PIL import Image

from semples_cli.artifacts.generator_file import read_generator
from semples_cli.artifacts.mask_png import find_masks, write_mask
from semples_cli.artifacts.prompts_file import read_prompts
from semples_cli.data.class_list import read_class_list
from semples_cli.demo.model import model_dir

EXAMPLES = Path(__file__).parents[1] / "examples"
VOC_LABELS = {"2007_000032": ("aeroplane", "person"), "2008_000008": ("horse",), "2011_003271": ("boat",)}
VOC_VAL = "2007_000033"
TINY = {
    "WEIGHTS": str(model_dir()),
    "MODEL": "",
    "VIT": "small_patch4_64",
    "START": "scratch",
    "EPOCHS": "1",
    "SIZE": "32",
    "PROMPT_LENGTH": "2",
    "OMP_NUM_THREADS": "1",
}


def run(recipe, *arguments, **environment):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ["bash", str(EXAMPLES / recipe / "run.sh"), *map(str, arguments)]
    return subprocess.run(
        command, env={**os.environ, "PATH": path, **environment}, capture_output=True, text=True, check=False
    )


def annotation_xml(names):
    objects = "".join(f"<object><name>{name}</name></object>" for name in names)
    return f"<annotation>{objects}</annotation>"


@pytest.fixture
def voc(tmp_path):
    """VOC's own folders: 2012's images in Main, 2007's in an XML alone, three splits, val's ground truth too."""
    devkit = tmp_path / "VOC2012"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Segmentation", "ImageSets/Main", "SegmentationClass"):
        (devkit / folder).mkdir(parents=True)
    classes = read_class_list("voc12")
    for seed, (name, labels) in enumerate({**VOC_LABELS, VOC_VAL: ("dog",)}.items()):
        rng = np.random.default_rng(seed)
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(devkit / f"JPEGImages/{name}.jpg")
        (devkit / f"Annotations/{name}.xml").write_text(annotation_xml(labels))
        target = np.zeros((40, 50), np.uint8)
        target[5:20, 5:30], target[20] = classes.index_of(labels[0]), 255
        write_mask(devkit / f"SegmentationClass/{name}.png", target)
    for name in classes.names:
        lines = [f"{key} {1 if name in VOC_LABELS[key] else -1:2d}" for key in list(VOC_LABELS)[1:]]
        (devkit / f"ImageSets/Main/{name}_trainval.txt").write_text("\n".join(lines) + "\n")
    for split, ids in {"train_aug": list(VOC_LABELS), "train": list(VOC_LABELS)[:2], "val": [VOC_VAL]}.items():
        (devkit / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(ids) + "\n")
    return devkit


@pytest.mark.parametrize("recipe", ["voc12", "coco14"])
def test_a_dry_run_prints_every_command_and_does_nothing(recipe, voc, tmp_path):
    data = voc if recipe == "voc12" else write_coco(tmp_path / "coco")
    done = run(recipe, "--dry-run", data, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    commands = [line.removeprefix("+ semples ") for line in done.stderr.splitlines() if line.startswith("+ ")]
    stages = [command.split()[0] for command in commands]
    expected = ["train-generator", "learn-prompts", "prompts", "refine", "crf", "evaluate", "evaluate"]
    if recipe == "coco14":
        expected.insert(5, "data")
    assert stages == expected
    assert all(f"--preset {recipe}" in commands[i] for i in (0, 1, 3))
    assert all("--model ViT-B-32 --weights openai" in commands[i] for i in (0, 1))
    assert "--start timm --vit deit_small_patch16_224" in commands[0]
    assert not any(option in done.stderr for option in ("--epochs", "--size", "--prompt-length"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("recipe", ["voc12", "coco14"])
def test_missing_data_are_named_before_anything_runs(recipe, tmp_path):
    done = run(recipe, tmp_path, tmp_path / "out")
    assert done.returncode == 1
    assert f"missing: {tmp_path}/" in done.stderr
    assert "+ semples" not in done.stderr
    assert not (tmp_path / "out").exists()
    assert run(recipe).returncode != 0


def test_without_train_aug_the_split_is_train(voc, tmp_path):
    (voc / "ImageSets/Segmentation/train_aug.txt").unlink()
    done = run("voc12", "--dry-run", voc, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("--split train ") == 3
    assert done.stderr.count(f"--split-list {voc}/ImageSets/Segmentation/train.txt") == 2


def test_another_split_is_trained_on_and_scored(voc, tmp_path):
    done = run("voc12", "--dry-run", voc, tmp_path / "out", SPLIT="val")
    assert done.stderr.count("--split val ") == 3
    assert done.stderr.count("Segmentation/val.txt") == 2
    done = run("voc12", "--dry-run", voc, tmp_path / "out", SPLIT="test")
    assert done.returncode == 1
    assert f"missing: {voc}/ImageSets/Segmentation/test.txt" in done.stderr


def test_images_of_coco_may_lie_one_folder_deeper(tmp_path):
    coco = write_coco(tmp_path / "coco", nested="images")
    done = run("coco14", "--dry-run", coco, tmp_path / "out", SPLIT="val2014")
    assert done.returncode == 0, done.stderr
    assert f"instances_val2014.json --images {coco}/images/val2014 --out" in done.stderr


def check_outputs(out, ids, num_scored):
    assert set(find_masks(out / "refined")) == set(find_masks(out / "masks")) == set(ids)
    assert read_generator(out / "weaktr.safetensors").kind == "weaktr"
    assert read_generator(out / "refined/.semples/generator.safetensors").stage == "refined"
    for report in ("report-cams", "report-masks"):
        assert json.loads((out / report / "report.json").read_text())["num_images"] == num_scored


def test_voc_from_end_to_end(voc, tmp_path):
    out = tmp_path / "out"
    done = run("voc12", voc, out, **TINY)
    assert done.returncode == 0, done.stderr
    assert "VOC layout, split train_aug, 3 images" in done.stderr
    check_outputs(out, VOC_LABELS, num_scored=2)  # those of train; that val's has no mask is no failure
    prompts = read_prompts(out / "prompts.safetensors")
    assert prompts.class_names == read_class_list("voc12").names
    assert prompts.settings["repulsion"] == "log-s"
    again = run("voc12", voc, out, **TINY)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("kept") >= 4


def test_coco_from_end_to_end(tmp_path):
    out = tmp_path / "out"
    coco = write_coco(tmp_path / "coco")
    done = run("coco14", coco, out, **TINY)
    assert done.returncode == 0, done.stderr
    assert "COCO layout, split train2014, 4 images" in done.stderr
    ids = [name.removesuffix(".jpg") for name in names("train2014")]
    check_outputs(out, ids, num_scored=4)
    assert set(find_masks(out / "ground_truth")) == set(ids)
    generator = read_generator(out / "weaktr.safetensors")
    assert (generator.shape["reduction"], generator.shape["pooling"]) == (4, "avg")
