"""The benchmark of growth at a small size: that its parts run and say what they promise."""

import subprocess
import sys
from pathlib import Path

import pytest

GROWTH = Path(__file__).parents[1] / "benchmarks/growth.py"


def table(*args):
    """Rows of cells, without headings."""
    done = subprocess.run(
        [sys.executable, str(GROWTH), *args], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines() if "|" in line]
    return rows[2:]


def test_by_classes():
    rows = table("classes", "--class-counts", "3", "5", "--repeats", "1")
    assert [row[0] for row in rows] == ["3", "5"]
    assert all(float(cell) > 0 for row in rows for cell in row[1:3])


def test_by_resolution():
    rows = table("resolution", "--sizes", "64", "96", "--model", "ViT-S-32-alt", "--repeats", "1")
    assert {row[1] for row in rows} == {"64", "96"}
    assert all(float(row[3]) / float(row[2]) == pytest.approx(float(row[4]), rel=0.3) for row in rows)
    assert all(row[-1].endswith(" %") for row in rows)


def test_unknown_parts_are_refused():
    done = subprocess.run([sys.executable, str(GROWTH), "lunches"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "lunches" in done.stderr
