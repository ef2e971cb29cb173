"""A small rendered world with everything that a command may be given, made once."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "engine"))  # tiny_clip

from commands import Semples
from tiny_clip import make_archive

from semples_cli.config import WorldSettings
from semples_cli.demo.model import model_dir
from semples_cli.steps.progress import silent
from semples_cli.steps.render_demo import render_demo


@pytest.fixture(scope="session")
def semples(tmp_path_factory):
    runner = Semples(tmp_path_factory.mktemp("runner"))
    yield runner
    runner.close()


@pytest.fixture(scope="session")
def weights():
    return model_dir()


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """16 images of 64 pixels with labels and ground truth, as a VOC devkit; never written to."""
    out = tmp_path_factory.mktemp("world") / "world"
    render_demo(out, WorldSettings(num_images=16, size=64, seed=5), progress=silent)
    return out


@pytest.fixture
def place(tmp_path):
    """A folder for outputs, emptied by `clear`."""

    def clear(name="out"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        return tmp_path / name

    return clear


@pytest.fixture(scope="session")
def base(tmp_path_factory, semples, world, weights):
    """A finished `semples run` on the world; never written to."""
    out = tmp_path_factory.mktemp("base") / "base"
    short = ("--epochs", "2", "--size", "64", "--min-images", "1", "--workers", "1", "--device", "cpu")
    ended = semples.run("run", "--data", world, "--out", out, "--weights", weights, *short, "--precision", "fp32")
    assert ended.code == 0, ended.stderr
    return out


@pytest.fixture(scope="session")
def more(tmp_path_factory, base, semples):
    """What some commands need beside: COCO JSON, and an archive of a CLIP."""
    folder = tmp_path_factory.mktemp("more")
    make_archive(folder / "archive.pt")
    ended = semples.run("export", base / "crf", "--to", "coco", "--out", folder / "exported")
    assert ended.code == 0, ended.stderr
    (folder / "coco").mkdir()
    (found,) = (folder / "exported").glob("*.json")
    shutil.copy(found, folder / "coco/annotations.json")
    return folder


@pytest.fixture
def begin(place, base, more, world, weights):
    """A fresh output folder, and the command line that writes there."""

    def fresh(command):
        out = place()
        out.mkdir()
        if command.copied:
            shutil.copytree(base / command.copied, out / command.copied)
        return out, command.line(world=world, base=base, weights=weights, more=more, out=out)

    return fresh


@pytest.fixture
def many(tmp_path, semples):
    """600 images, so that a run has not ended before it is interrupted."""
    ended = semples.run("demo-data", "--num-images", 600, "--size", 32, "--out", tmp_path / "many")
    assert ended.code == 0
    return tmp_path / "many"
