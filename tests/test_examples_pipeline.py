"""examples/pipeline: the Makefile and the script, with the built-in model, as a user runs them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from semples_cli.config import WorldSettings
from semples_cli.demo.model import model_dir
from semples_cli.steps.progress import silent
from semples_cli.steps.render_demo import render_demo

PIPELINE = Path(__file__).parents[1] / "examples" / "pipeline"


def shell(*command, cwd):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def times(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """An image folder with labels.csv and classes.txt beside the images."""
    out = tmp_path_factory.mktemp("world")
    render_demo(out, WorldSettings(num_images=5), progress=silent)
    for name in ("labels.csv", "classes.txt"):
        shutil.copy(out / name, out / "JPEGImages")
    return out / "JPEGImages"


@pytest.fixture
def photos(world, tmp_path):
    return shutil.copytree(world, tmp_path / "photos")


def make(photos, *arguments):
    options = f"OPTIONS=--weights {model_dir()} --size 64"
    command = ("make", "-f", PIPELINE / "Makefile", "--no-print-directory", "-j3", "FORMATS=coco voc", options)
    return shell(*command, *arguments, cwd=photos.parent)


def test_make_goes_from_a_folder_to_all_exports_and_then_has_nothing_to_do(photos):
    done = make(photos)
    assert done.returncode == 0, done.stderr
    out = photos.parent / "out"
    documents = {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}
    assert documents.keys() == {"masks", "check", "coco", "voc"}
    assert documents["masks"]["written"] == 5
    assert documents["check"]["ok"] is True
    assert {documents[name]["written"] for name in ("coco", "voc")} == {5}
    assert len(list((out / "masks").glob("*.png"))) == 5
    assert len(json.loads((out / "coco" / "instances.json").read_text())["images"]) == 5
    before = times(out)
    again = make(photos)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert times(out) == before


def test_make_does_what_changed(photos):
    assert make(photos, "FORMATS=coco").returncode == 0
    out = photos.parent / "out"
    shutil.copy(photos / "0_0_000001.png", photos / "with space.png")
    with (photos / "labels.csv").open("a") as handle:
        handle.write("with space.png,boat\n")
    assert make(photos, "FORMATS=coco").returncode == 0
    assert json.loads((out / "coco.json").read_text())["written"] == 6
    before = times(out)
    os.utime(photos / "classes.txt")
    assert make(photos, "FORMATS=coco").returncode == 0
    masks = [path for path in before if path.suffix == ".png"]
    assert len(masks) == 6
    assert all(times(out)[path] == before[path] for path in masks)
    assert times(out)[Path("coco.json")] > before[Path("coco.json")]


def test_make_stops_at_an_image_that_cannot_be_read_and_goes_on_from_there(photos):
    good = (photos / "0_0_000002.png").read_bytes()
    (photos / "0_0_000002.png").write_bytes(b"no image")
    out = photos.parent / "out"
    done = make(photos, "FORMATS=coco")
    assert done.returncode == 2
    assert "failed: 0_0_000002: " in done.stderr
    assert not list(out.glob("*.json"))
    assert len(list((out / "masks").glob("*.png"))) == 4
    (photos / "0_0_000002.png").write_bytes(good)
    assert make(photos, "FORMATS=", "out/masks.json").returncode == 0
    assert len(list((out / "masks").glob("*.png"))) == 5


def test_make_exports_nothing_that_the_check_refuses(photos):
    assert make(photos, "FORMATS=coco").returncode == 0
    out = photos.parent / "out"
    (photos / "0_0_000004.png").unlink()
    before = (out / "coco.json").read_bytes()
    done = make(photos, "FORMATS=coco")
    assert done.returncode == 2
    assert "no-image: 0_0_000004: mask without image" in done.stderr
    assert (out / "coco.json").read_bytes() == before
    assert make(photos, "clean").returncode == 0
    assert not out.exists()


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    return folder, shell("bash", PIPELINE / "run.sh", "out", 6, cwd=folder)


def test_the_script_goes_from_paths_to_coco_with_the_tree_kept(script):
    folder, done = script
    assert done.returncode == 0, done.stderr
    ids = {f"{'odd ones' if n % 2 else 'even'}/0_0_00000{n}" for n in range(6)}
    masks = folder / "out" / "masks"
    assert {path.relative_to(masks).with_suffix("").as_posix() for path in masks.glob("*/*.png")} == ids
    images = json.loads((folder / "out" / "coco" / "instances.json").read_text())["images"]
    assert {image["file_name"] for image in images} == {f"{name}.png" for name in ids}
    lines = (folder / "out" / "labels.csv").read_text().splitlines()
    assert {line.split(",")[0] for line in lines} == {"image", *(f"{name}.png" for name in ids)}


def test_the_script_says_figures_from_the_documents_on_stdout(script):
    empty = json.loads((script[0] / "out" / "tag.json").read_text())["empty"]
    assert script[1].stdout.splitlines() == [
        f"6 images labelled, {empty} of them with nothing",
        "6 masks made, 0 kept",
        "6 masks exported: out/coco",
    ]
    assert "Traceback" not in script[1].stderr


def test_the_script_run_again_keeps_corrected_labels_and_goes_on_without_what_fails(script):
    folder, _ = script
    labels = folder / "out" / "labels.csv"
    corrected = labels.read_text().splitlines()
    corrected[1] = f"{corrected[1].split(',')[0]},boat|fish"
    labels.write_text("\n".join(corrected) + "\n")
    again = shell("bash", PIPELINE / "run.sh", "out", 6, cwd=folder)
    assert again.returncode == 0, again.stderr
    assert labels.read_text().splitlines() == corrected
    assert "labelled" not in again.stdout
    (folder / "out" / "photos" / "even" / "extra.png").write_bytes(b"no image")
    with labels.open("a") as handle:
        handle.write("even/extra.png,boat\n")
    third = shell("bash", PIPELINE / "run.sh", "out", 6, cwd=folder)
    assert "go on without what failed, listed above" in third.stderr
    assert "0 masks made, 6 kept" in third.stdout


def test_the_script_stops_at_an_error(tmp_path):
    (tmp_path / "out" / "world").mkdir(parents=True)
    (tmp_path / "out" / "world" / "holiday.jpg").write_text("")
    done = shell("bash", PIPELINE / "run.sh", "out", 6, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
