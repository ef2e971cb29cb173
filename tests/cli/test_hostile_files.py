"""Files that would run something, given to each command that takes such files: exit 1, one line, nothing happened."""

import pickle
import re

import pytest
import torch
from foreign_files import save_pickled
from hostile_pickles import COMMAND, call, dict_of, named, whole
from typer.testing import CliRunner

from semples_cli.cli.app import app

ENGINE = ["--device", "cpu", "--precision", "fp32"]
SYSTEM = call(named("posix", "system"), COMMAND)


class Hostile:
    """Makes a file where it is unpickled."""

    def __reduce__(self):
        return open, ("ran", "w")


@pytest.fixture
def folder(photos, monkeypatch):
    """The tests stand beside `images/` and files that mean harm."""
    here = photos.parent
    monkeypatch.chdir(here)
    torch.save({"state_dict": {"a": torch.ones(1)}, "args": Hostile()}, here / "new.pt")
    torch.save({"a": Hostile()}, here / "old.pth", _use_new_zipfile_serialization=False)
    (here / "plain.bin").write_bytes(pickle.dumps({"a": Hostile()}))
    (here / "tensors.safetensors").write_bytes(pickle.dumps({"a": Hostile()}))
    (here / "maps").mkdir()
    for name in ("a", "b"):
        save_pickled(here / f"maps/{name}.npy", whole(dict_of(SYSTEM)))
    save_pickled(here / "cls_labels.npy", whole(dict_of(SYSTEM)))
    return here


def refused(folder, *command, names):
    """Run a command that has to stop; what it says."""
    before = sorted(path.name for path in folder.iterdir())
    done = CliRunner().invoke(app, [*map(str, command)], env={"COLUMNS": "300", "TERM": "dumb"})
    assert done.exit_code == 1, done.output
    assert done.stdout == ""
    line = done.stderr.splitlines()[-1]
    assert names in line
    assert "Traceback" not in done.stderr
    assert not (folder / "ran").exists()
    assert {path.name for path in folder.iterdir()} - set(before) <= {"out"}
    return line


@pytest.mark.parametrize("weights", ["new.pt", "old.pth", "plain.bin", "tensors.safetensors"])
def test_weights_of_a_clip(folder, weights):
    line = refused(folder, "cams", "images", "--out", "out", "--weights", weights, *ENGINE, names=weights)
    assert "cannot be read as weights" in line


@pytest.mark.parametrize("weights", ["new.pt", "old.pth", "plain.bin", "tensors.safetensors"])
def test_the_start_of_a_generator(folder, clip_dir, weights):
    given = ("--start", weights, "--weights", clip_dir, *ENGINE, "--out", "out/g.safetensors")
    line = refused(folder, "train-generator", "images", "--vit", "small_patch4_64", *given, names=weights)
    assert "cannot be read as weights" in line


@pytest.mark.parametrize("option", ["--prompts", "--generator-weights"])
@pytest.mark.parametrize("file", ["new.pt", "tensors.safetensors"])
def test_files_that_name_their_clip(folder, clip_dir, option, file):
    refused(folder, "cams", "images", "--out", "out", option, file, "--weights", clip_dir, *ENGINE, names=file)


@pytest.mark.parametrize("state", ["new.pt", "old.pth", "plain.bin"])
def test_the_state_of_an_interrupted_training(folder, clip_dir, state):
    made = CliRunner().invoke(
        app, ["cams", "images", "--out", "masks", "--weights", str(clip_dir), *ENGINE, "--size", "32"]
    )
    assert made.exit_code == 0, made.output
    (folder / "p.safetensors.state").write_bytes((folder / state).read_bytes())
    small = ("--prompt-length", 2, "--epochs", 1, "--size", 32, "--min-images", 1)
    command = (
        "learn-prompts",
        "images",
        "--cams",
        "masks",
        "--out",
        "p.safetensors",
        "--weights",
        clip_dir,
        *ENGINE,
        *small,
    )
    done = CliRunner().invoke(app, [*map(str, command)], env={"COLUMNS": "300", "TERM": "dumb"})
    assert done.exit_code == 1, done.output
    (line,) = [line for line in done.stderr.splitlines() if "p.safetensors.state" in line]
    assert "delete it to train anew" in line
    assert not (folder / "ran").exists()


def test_cams_of_others(folder):
    classes = folder / "classes.txt"
    classes.write_text("cat\n")
    line = refused(
        folder, "crf", "maps", "--images", "images", "--classes", classes, "--out", "out", names="its pickle would call"
    )
    assert re.search(r"posix\.system, and nothing of it was run", line)


def test_labels_in_a_pickle(folder, clip_dir):
    given = ("--labels", "cls_labels.npy", "--classes", "voc12", "--weights", clip_dir, *ENGINE)
    line = refused(folder, "cams", "images", "--out", "out", *given, names="cls_labels.npy")
    assert "its pickle would call posix.system, and nothing of it was run" in line


def test_an_archive_that_is_to_be_converted(folder):
    refused(folder, "models", "convert", "new.pt", "--out", "out", "--trust", names="no TorchScript archive")
