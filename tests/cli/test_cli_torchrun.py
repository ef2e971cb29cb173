"""Commands under torchrun: what is refused, who speaks, and two processes of which one is killed on the way."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from small_world import CLASSES, PHOTOS
from typer.testing import CliRunner

from semples_cli import __main__ as entry
from semples_cli.artifacts.generator_file import read_generator
from semples_cli.artifacts.mask_png import find_masks, read_mask
from semples_cli.artifacts.prompts_file import read_prompts
from semples_cli.cli import torchrun
from semples_cli.cli.app import app
from semples_cli.cli.console import EXIT_ITEMS_FAILED, error_border, print_json, say
from semples_cli.errors import EngineError

QUICK = ["--device", "cpu", "--precision", "fp32", "--size", "32", "--epochs", "4"]
LEARN = ["learn-prompts", "images", "--labels", "all.csv", "--prompt-length", "2", "--min-images", "1", *QUICK]
REFINE = ["refine", "images", *QUICK, "--json"]


@pytest.fixture
def process(monkeypatch):
    """Run `semples ARGUMENTS` as this process of several; returns the exit code."""
    monkeypatch.setattr(torchrun, "GRACE", 0.0)

    def run(rank, *arguments, size=2, command=None):
        values = {"RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}
        for name, value in values.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setattr(sys, "argv", ["semples", *map(str, arguments)])
        if command is not None:
            small = typer.Typer()
            small.callback()(lambda: None)
            small.command("refine")(command)
            monkeypatch.setattr("semples_cli.cli.app.app", small)
        with pytest.raises(SystemExit) as ended:
            entry.main()
        return ended.value.code or 0

    return run


def results(done):
    """Lines on stdout, without those of torch's Gloo, which in older versions says there who is connected.

    Two processes may say it at once, so that a line of theirs begins anywhere.
    """
    lines = filter(str.strip, done.stdout.splitlines())
    return [line for line in lines if "[Gloo]" not in line and "peer ranks" not in line]


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (["cams", "images", "--out", "masks"], "start each process by itself with --shard 1/2 to 2/2"),
        (["evaluate", "masks", "truth"], "start each process by itself with --shard 1/2 to 2/2"),
        (["check", "masks"], "leave torchrun out"),
        (["labels", "inspect", "labels.csv"], "leave torchrun out"),
        (["camms"], "leave torchrun out"),
    ],
)
def test_what_every_process_would_do_again_is_refused(process, capsys, arguments, cure):
    assert process(0, *arguments) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"error: semples {arguments[0]}: torchrun would do all of it 2 times; it is for run, train-generator" in said
    assert said.endswith(cure)


def test_help_is_given_once(process, capsys):
    assert process(0, "--help") == 0
    assert "segmentation masks out" in capsys.readouterr().out
    assert process(1, "--help") == 0
    assert capsys.readouterr() == ("", "")


def test_one_process_is_no_torchrun(process, capsys):
    assert process(0, "evaluate", "--help", size=1) == 0
    assert "Usage" in capsys.readouterr().out


def ends(code):
    def command():
        say("loading")
        print_json({"written": 1})
        raise typer.Exit(code)

    return command


@pytest.mark.parametrize("code", [0, EXIT_ITEMS_FAILED])
def test_one_process_speaks_and_says_how_it_ended(process, capsys, code):
    assert process(0, "refine", command=ends(code)) == code
    assert capsys.readouterr() == ('{"written": 1}\n', "loading\n")
    assert process(1, "refine", command=ends(code)) == 0
    assert capsys.readouterr() == ("", "")


def test_an_error_of_another_process_is_said_in_one_line_after_a_while(process, capsys, monkeypatch):
    waited = []

    @error_border
    def command():
        say("loading")
        msg = "out of memory"
        raise EngineError(msg)

    monkeypatch.setattr(torchrun.time, "sleep", waited.append)
    assert process(1, "refine", command=command) == 1
    assert capsys.readouterr() == ("", "process 1: error: out of memory\n")
    assert process(0, "refine", command=command) == 1
    assert capsys.readouterr() == ("", "loading\nerror: out of memory\n")
    assert waited == [torchrun.GRACE]


def test_a_bug_of_another_process_keeps_its_traceback(process, monkeypatch):
    def command():
        raise KeyError("a bug")

    monkeypatch.setenv("_TYPER_STANDARD_TRACEBACK", "1")
    with pytest.raises(KeyError, match="a bug"):
        process(1, "refine", command=command)


@pytest.fixture
def world(photos, monkeypatch, clip_dir):
    """The photos, and one that cannot be read, which `all.csv` names too."""
    monkeypatch.chdir(photos.parent)
    (photos / "broken.jpg").write_bytes(b"no picture")
    Path("all.csv").write_text((photos / "labels.csv").read_text() + f"broken.jpg,{CLASSES[0]}\n")
    return clip_dir


def commands(out, clip_dir):
    learn = [*LEARN, "--weights", str(clip_dir), "--out", f"{out}/prompts.safetensors"]
    refine = [*REFINE, "--labels", "images/labels.csv", "--prompts", f"{out}/prompts.safetensors"]
    return [learn, [*refine, "--out", f"{out}/refined"]]


def run_two(fault, todo, *options):
    script = Path(__file__).with_name("rank_process.py")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *options]
    return subprocess.run(
        [*launcher, str(script), fault, json.dumps(todo)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "TERM": "dumb"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def assert_same_weights(one, other):
    for name, tensor in one.items():
        assert np.abs(tensor - other[name]).max() <= 1e-4 * np.abs(tensor).max(), name


def files_of(folder):
    """The files of a folder, but the books and locks of shards: which of them are left depends on who ended last."""
    names = {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*")}
    return {name for name in names if not re.search(r"\.semples/(lock|manifest)", name)}


def test_a_run_of_two_processes_of_which_one_is_killed(world):
    Path("two").mkdir()
    done = run_two("kill", commands("two", world), "--max-restarts", "1")
    assert done.returncode == 0, done.stderr
    starts = Path("restored.txt").read_text().splitlines()
    assert starts == ["0 0", "1 2", "1 0", "1 0"]  # initial weights, these again from their state, matched, refined
    for command in commands("one", world):
        alone = CliRunner().invoke(app, command)
        assert alone.exit_code == 0, alone.stderr
    for name in ("generator_initial", "generator_matched", "refined/.semples/generator"):
        one, two = (read_generator(Path(folder, f"{name}.safetensors")) for folder in ("one", "two"))
        assert_same_weights(one.tensors, two.tensors)
        assert one.fingerprint == two.fingerprint or name != "generator_initial"
        assert two.curves["loss"] == pytest.approx(one.curves["loss"], rel=1e-4)
    one, two = (read_prompts(Path(folder, "prompts.safetensors")) for folder in ("one", "two"))
    np.testing.assert_allclose(two.vectors, one.vectors, rtol=1e-3, atol=1e-4)
    assert set(find_masks(Path("two/refined"))) == set(PHOTOS)
    for name in PHOTOS:
        assert (read_mask(Path(f"two/refined/{name}.png")) == read_mask(Path(f"one/refined/{name}.png"))).mean() > 0.99
    assert files_of("two") == files_of("one")
    assert [json.loads(line)["written"] for line in results(done)] == [len(PHOTOS)]
    assert done.stderr.count("broken is left out of the training") in (2, 3)  # initial, matched; once before the end
    assert done.stderr.count("prompts of 3 classes") == 1
    assert "another process of this training" not in done.stderr


def test_an_error_of_one_process_ends_all_and_is_said_once(world):
    (learn, _) = commands("two", world)
    done = run_two("memory", [learn])
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if "out of memory" in line]
    assert said == ["process 1: error: out of memory on cuda:1 with a single image"]
    assert "another process of this training" not in done.stderr
    assert results(done) == []
