import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_world import PHOTOS
from typer.testing import CliRunner

from semples_cli.artifacts.mask_png import find_masks, read_mask, write_mask
from semples_cli.cli.app import app
from semples_cli.cli.review import QUEUE_NAME

ENGINE = ["--device", "cpu", "--precision", "fp32"]


@pytest.fixture
def folder(photos, clip_dir, monkeypatch):
    """The tests stand beside `images/` and the run `masks/`, where every class of every label has a region."""
    monkeypatch.chdir(photos.parent)
    command = ["cams", "images", "--out", "masks", "--weights", str(clip_dir), "--size", "40", *ENGINE]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.stderr
    for name, path in find_masks(photos.parent / "masks").items():
        values = np.zeros(PHOTOS[name][0], np.uint8)
        for i, each in enumerate(PHOTOS[name][1]):
            values[3:15, 12 * i : 12 * i + 9] = ("boat", "cat", "dog").index(each) + 1
        write_mask(path, values)
    return photos.parent


def review(*args):
    return CliRunner().invoke(app, ["review", *map(str, args), *ENGINE])


def test_the_queue_of_a_run_lies_in_its_folder(folder):
    done = review("masks")
    assert done.exit_code == 0, done.stderr
    count = sum(len(names) for _, names in PHOTOS.values())
    assert f"{len(PHOTOS)} masks, {count} regions in" in " ".join(done.stderr.split())
    assert len((folder / "masks" / QUEUE_NAME).read_text().splitlines()) == 1 + count
    assert done.stdout.count("a/2") == 2  # boat and dog
    assert "regions in" not in done.stdout
    assert set(find_masks(folder / "masks")) == set(PHOTOS)  # the queue is no mask


def test_json_alone_is_on_stdout(folder):
    done = review("masks", "--out", "queue.csv", "--json")
    result = json.loads(done.stdout)
    assert (result["out"], result["masks_out"], result["images"], result["failed"]) == ("queue.csv", None, 5, [])
    assert [each["confidence"] for each in result["regions"]] == sorted(
        each["confidence"] for each in result["regions"]
    )
    assert set(result["regions"][0]) == {"id", "class", "confidence", "area", "coverage"}
    assert 0.99 < result["coverage"] <= 1


def test_the_examples_of_the_help_run(folder):
    shown = CliRunner().invoke(app, ["review", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).stdout
    examples = re.findall(r"Example: semples review (.*?)\s*$", shown, re.MULTILINE)
    assert examples == ["run/crf --out review.csv", "masks/ --ignore-below 0.2 --masks-out sure/"]
    shutil.copytree(folder / "masks", folder / "run/crf")
    for example in examples:
        done = review(*example.split())
        assert done.exit_code == 0, done.stderr
    assert (folder / "review.csv").is_file()
    assert set(find_masks(folder / "sure")) == set(PHOTOS)


def test_regions_of_too_little_confidence_become_255(folder):
    done = review("masks", "--ignore-below", "1", "--masks-out", "sure", "--json")
    count = sum(len(names) for _, names in PHOTOS.values())
    assert json.loads(done.stdout)["ignored"] == count
    assert f"{count} regions set to 255" in " ".join(done.stderr.split())
    assert not {1, 2, 3} & set(np.unique(read_mask(folder / "sure/a/2.png")).tolist())
    assert CliRunner().invoke(app, ["evaluate", "sure", "masks"]).exit_code == 0


def test_what_was_found_is_exported_and_reported(folder):
    done = review("masks", "--json")
    found = {(each["id"], each["class"]): each["confidence"] for each in json.loads(done.stdout)["regions"]}
    done = CliRunner().invoke(app, ["export", "masks", "--to", "coco", "--out", "coco"])
    assert done.exit_code == 0, done.stderr
    (path,) = (folder / "coco").glob("*.json")
    coco = json.loads(path.read_text())
    images = {each["id"]: each["file_name"].removesuffix(".jpg") for each in coco["images"]}
    classes = {each["id"]: each["name"] for each in coco["categories"]}
    assert len(coco["annotations"]) == len(found)
    for each in coco["annotations"]:
        key = images[each["image_id"]], classes[each["category_id"]]
        assert each["score"] == pytest.approx(found[key], abs=1e-5)
    done = CliRunner().invoke(app, ["report", "masks", "--out", "page.html", "--json"])
    assert done.exit_code == 0, done.stderr
    least = [
        min(value for (name, _), value in found.items() if name == sample_id) for sample_id in {k[0] for k in found}
    ]
    (stage,) = json.loads(done.stdout)["stages"]
    assert stage["confidence"] == pytest.approx(np.mean(least), abs=1e-4)


def test_corrected_masks_need_classes_and_images(folder, clip_dir):
    write_mask(folder / "mine/b.png", read_mask(folder / "masks/b.png"))
    refused = review("mine")
    assert refused.exit_code == 2
    assert "add --classes classes.txt" in " ".join(refused.stderr.split())
    (folder / "classes.txt").write_text("boat\ncat\ndog\n")
    refused = review("mine", "--classes", "classes.txt", "--weights", clip_dir)
    assert refused.exit_code == 2
    assert "give them with --images FOLDER" in " ".join(refused.stderr.split())
    refused = review("mine", "--classes", "classes.txt", "--labels", "images/labels.csv", "--weights", clip_dir)
    assert refused.exit_code == 2
    assert "of which images is not known; add --images" in " ".join(refused.stderr.split())
    args = ["--classes", "classes.txt", "--images", "images", "--weights", clip_dir, "--labels", "images/labels.csv"]
    done = review("mine", *args, "--json")
    assert done.exit_code == 0, done.stderr
    assert [each["id"] for each in json.loads(done.stdout)["regions"]] == ["b"]


def test_the_page_turns_cvat_s_colours_into_classes(folder):
    page = (Path(__file__).parents[2] / "docs/review.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (folder / "classes.txt").write_text("boat\tsailing boat\ncat\n")
    (folder / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\ncat:9,9,9::\nbackground:0,0,0::\nboat:9,9,0::\n"
    )
    colours = np.array([[[0, 0, 0], [9, 9, 0], [9, 9, 9]]], np.uint8)
    (folder / "SegmentationClass/a").mkdir(parents=True)
    Image.fromarray(colours).save(folder / "SegmentationClass/a/1.png")
    exec(compile(script, "review.md", "exec"), {})
    assert read_mask(folder / "corrected/a/1.png").tolist() == [[0, 1, 2]]


def test_labels_name_classes_that_the_masks_lack(folder):
    (folder / "labels.csv").write_text("image,labels\nb.jpg,dog|cat\n")
    done = review("masks", "--labels", "labels.csv", "--json")
    first = json.loads(done.stdout)["regions"][0]
    assert (first["id"], first["class"], first["confidence"], first["area"]) == ("b", "cat", 0, 0)


def test_labels_of_numbers_mean_the_class_list(folder):
    (folder / "classes.txt").write_text("boat\ncat\ndog\n")
    (folder / "labels.txt").write_text("b 1 0\n")
    done = review("masks", "--labels", "labels.txt", "--classes", "classes.txt", "--json")
    assert done.exit_code == 0, done.stderr
    first = [(each["id"], each["class"], each["confidence"]) for each in json.loads(done.stdout)["regions"][:2]]
    assert first == [("b", "boat", 0), ("b", "cat", 0)]


def test_labels_of_unknown_classes_are_refused(folder):
    (folder / "labels.csv").write_text("image,labels\nb.jpg,catt\n")
    refused = review("masks", "--labels", "labels.csv")
    assert refused.exit_code == 1
    assert "unknown class 'catt'; did you mean 'cat'?" in " ".join(refused.stderr.split())


def test_another_order_of_the_classes_is_refused(folder):
    (folder / "classes.txt").write_text("cat\nboat\ndog\n")
    refused = review("masks", "--classes", "classes.txt")
    assert refused.exit_code == 2
    assert "leave --classes out" in " ".join(refused.stderr.split())


@pytest.mark.parametrize(
    "command",
    [
        ["review", "run"],
        ["export", "run", "--to", "voc", "--out", "voc"],
        ["crf", "run", "--out", "again"],
        ["evaluate", "run", "masks"],
    ],
)
def test_the_root_of_a_pipeline_is_refused_by_the_names_of_its_stages(folder, command):
    for stage in ("seeds", "crf"):
        shutil.copytree(folder / "masks", folder / "run" / stage)
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 1
    assert refused.stdout == ""
    assert "name one of its stages: run/crf, run/seeds" in " ".join(refused.stderr.split())
    assert not (folder / "voc").exists()
    assert not (folder / "again").exists()


def test_a_bad_mask_is_listed_and_the_rest_is_done(folder):
    (folder / "masks/b.png").write_bytes(b"no mask")
    done = review("masks", "--json")
    assert done.exit_code == 3
    assert [each["id"] for each in json.loads(done.stdout)["failed"]] == ["b"]
    assert "b.png" in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["nowhere"], 1, "nowhere"),
        (["masks", "--ignore-below", "0.5"], 2, "give both, or none"),
        (["masks", "--masks-out", "sure"], 2, "give both, or none"),
        (["masks", "--ignore-below", "2", "--masks-out", "sure"], 2, "less than or equal to 1"),
        (["masks", "--out", "images"], 2, "name the file"),
        (["masks", "--labels", "nowhere.csv"], 1, "nowhere.csv"),
        (["masks", "--images", "nowhere"], 1, "nowhere"),
    ],
)
def test_refusals(folder, args, code, said):
    done = review(*args)
    assert done.exit_code == code, done.stderr
    assert said in " ".join(done.stderr.split())
    assert not (folder / "sure").exists()


def test_a_queue_is_not_replaced_unasked(folder):
    assert review("masks").exit_code == 0
    refused = review("masks", "--weights", "nowhere")  # said before any weights are looked for
    assert refused.exit_code == 2
    assert "give --overwrite" in " ".join(refused.stderr.split())
    assert review("masks", "--overwrite").exit_code == 0
