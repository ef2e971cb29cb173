"""What the benchmark of long runs makes of what it saw, by hand; and that it sees a process and its children."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[1] / "benchmarks/long_runs.py"


@pytest.fixture(scope="module")
def long_runs():
    spec = importlib.util.spec_from_file_location("long_runs", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["long_runs"] = module  # where its dataclasses look for their annotations
    spec.loader.exec_module(module)
    yield module
    del sys.modules["long_runs"]


def test_rates_and_memory_of_each_fifth(long_runs):
    looks = [long_runs.Look(float(n), 10 * n, 100.0 + n, 5 + n) for n in range(11)]  # 10 images a second
    rows = list(long_runs.by_parts("cams", looks, 100))
    assert rows[0] == ("cams", "0 to 20 %", "10", "102", "102", "7")  # looks 1 and 2
    assert rows[-1] == ("cams", "80 to 100 %", "10", "110", "110", "15")
    assert len(rows) == 5


def test_a_command_without_manifest_is_cut_by_time(long_runs):
    looks = [long_runs.Look(float(n), 0, 50.0, 3) for n in range(11)]
    rows = list(long_runs.by_parts("evaluate", looks, 100))
    assert [row[2] for row in rows] == [""] * 5


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_children_count(long_runs):
    memory, files = long_runs.look_at(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in long_runs.family(os.getpid())
        more, more_files = long_runs.look_at(os.getpid())
        child.communicate(b"\n")
    assert more > memory > 10
    assert more_files > files > 2
