"""The same command gives the same bytes: in another process with another hash seed, time zone and locale.

And what a command computes by torch depends on its number of threads, in the last bits of a sum.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import determinism_commands
import numpy as np
import pytest
import torch
from determinism_commands import COMMANDS
from typer.testing import CliRunner

from semples_cli.artifacts.cam_store import find_cams, read_cam
from semples_cli.cli.app import app

# In a manifest: how long an item took, and when the files were written that it was made from. And its lines are in the
# order in which threads finished.
PASSING = re.compile(rb'"(seconds|mtime_ns)": [^,}]+')
THREADS = 1


def elsewhere(folder, threads=THREADS, **environment):
    """All commands in a folder, by another process."""
    script = Path(determinism_commands.__file__)
    process = [sys.executable, str(script), str(folder), str(threads)]
    done = subprocess.run(process, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The folders of two processes, in each of which every command was run."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    threads = torch.get_num_threads()
    try:
        os.chdir(one)
        torch.set_num_threads(THREADS)
        determinism_commands.run_all()
    finally:
        os.chdir(Path(__file__).parent)
        torch.set_num_threads(threads)
    elsewhere(two, PYTHONHASHSEED="12345", TZ="Asia/Kathmandu", LC_ALL="C", OMP_NUM_THREADS="3")
    return one, two


def contents(root, name):
    """What a command wrote, by path: bytes, in manifests without what passes; the root is no difference."""
    found = {}
    for path in [root / name, *(root / name).rglob("*")]:
        if path.is_dir() or path.name.startswith("lock"):
            continue
        data = path.read_bytes().replace(str(root).encode(), b"<root>")
        if path.name == "manifest.jsonl":
            data = b"\n".join(sorted(PASSING.sub(b"", data).splitlines()))
        found[path.relative_to(root).as_posix()] = data
    return found


@pytest.mark.parametrize("name", [name.split("/")[0] for name in COMMANDS])
def test_two_processes_write_the_same_bytes(folders, name):
    one, two = (contents(root, name) for root in folders)
    assert one.keys() == two.keys() != set()
    assert [path for path, data in one.items() if data != two[path]] == []


def scores_of(folder):
    """Scores of each image's maps, float32 as the file has them."""
    return {sample_id: read_cam(path, sample_id).scores for sample_id, path in find_cams(folder).items()}


@pytest.mark.parametrize(("name", "threads"), [("seeds", 2), ("seeds", 3), ("prompted", 2), ("generated", 2)])
def test_scores_agree_within_1_255_whatever_the_number_of_threads(folders, name, threads, monkeypatch, tmp_path):
    monkeypatch.chdir(folders[0])
    known = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        done = CliRunner().invoke(app, [*COMMANDS[name], "--out", str(tmp_path / "again")])
    finally:
        torch.set_num_threads(known)
    assert done.exit_code == 0, done.output
    before, after = scores_of(folders[0] / name), scores_of(tmp_path / "again")
    assert before.keys() == after.keys() != set()
    for sample_id, scores in before.items():
        np.testing.assert_allclose(after[sample_id], scores, rtol=0, atol=1 / 255)
