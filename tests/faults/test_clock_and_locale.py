"""Files older than the epoch or of tomorrow, and terminals of every encoding: the same masks, and JSON that is read."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from commands import outcome
from PIL import Image

from semples_cli.artifacts.mask_png import write_mask

NAMES = ("größe", "船 ⛵", "мост/río", "שלום", "plain")
ENVIRONMENTS = {
    "C": {"LC_ALL": "C", "LANG": "C"},
    "POSIX": {"LC_ALL": "POSIX"},
    "Turkish": {"LC_ALL": "tr_TR.UTF-8"},  # whose lower-case I is another letter, where C code asks the locale
    "ASCII streams": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii"},
    "Latin-1 streams": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1"},
    "no locale at all": {"LC_ALL": "", "LANG": ""},
    "far east": {"LC_ALL": "C.UTF-8", "TZ": "Pacific/Kiritimati"},
    "no home": {"HOME": "/nonexistent", "LC_ALL": "C.UTF-8"},
}


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
    """Images and masks with names of all sorts, as `images`, `masks`, `labels.csv`."""
    folder = tmp_path_factory.mktemp("names")
    rng = np.random.default_rng(0)
    for name in NAMES:
        for place in ("images", "masks"):
            (folder / place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 31, 3), np.uint8)).save(folder / f"images/{name}.png")
        write_mask(
            folder / f"masks/{name}.png", np.kron(rng.integers(0, 3, (4, 4)), np.ones((6, 8)))[:, :31].astype("u1")
        )
    (folder / "labels.csv").write_text("image,labels\n" + "".join(f"{name}.png,İçki|kuş\n" for name in NAMES))
    (folder / "classes.txt").write_text("İçki\nkuş\n")
    return folder


def semples(folder, environ, *arguments):
    kept = {name: value for name, value in os.environ.items() if name not in ("LC_ALL", "LANG", "PYTHONIOENCODING")}
    return subprocess.run(
        [sys.executable, "-m", "semples_cli", *map(str, arguments)],
        cwd=folder,
        env={**kept, "COLUMNS": "200", "MPLCONFIGDIR": str(folder / "mpl"), **environ},
        capture_output=True,
        check=False,
    )


@pytest.fixture(scope="module")
def usual(masks, tmp_path_factory):
    """What comes out where everything is UTF-8."""
    out = tmp_path_factory.mktemp("usual")
    return run_all(masks, out, {"LC_ALL": "C.UTF-8"})


def run_all(masks, out, environ):
    """The masks of a CRF, and the JSON of three commands."""
    crf = ("crf", "masks", "--images", "images", "--classes", "classes.txt", "--workers", "1", "--out", out / "crf")
    made = semples(masks, environ, *crf, "--json")
    assert made.returncode == 0, made.stderr
    found = {"crf": made.stdout}
    found["evaluate"] = semples(masks, environ, "evaluate", out / "crf", "masks", "--json").stdout
    found["inspect"] = semples(masks, environ, "labels", "inspect", "images", "--labels", "labels.csv", "--json").stdout
    found = {
        name: json.loads(text.decode("ascii" if environ.get("PYTHONIOENCODING") else "utf-8"))
        for name, text in found.items()
    }
    for document in found.values():
        for key in ("seconds", "out", "source"):
            document.pop(key, None)
    return found, {name: content for name, content in outcome(out / "crf").items() if name.endswith(".png")}


def slow(names, *quick):
    """All of them by `make test-faults`, a few in CI: each starts the command four times."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.faults) for name in names]


@pytest.mark.parametrize("name", slow(ENVIRONMENTS, "C", "Latin-1 streams"))
def test_the_same_comes_out_in_every_environment(masks, usual, tmp_path, name):
    documents, files = run_all(masks, tmp_path, ENVIRONMENTS[name])
    assert files == usual[1]
    assert set(files) == {f"{each}.png" for each in NAMES}
    assert documents == usual[0]


@pytest.mark.parametrize("name", slow(["ASCII streams", "Latin-1 streams", "C"], "ASCII streams"))
def test_tables_and_errors_are_shown_on_every_terminal(masks, name):
    shown = semples(masks, ENVIRONMENTS[name], "labels", "inspect", "images", "--labels", "labels.csv")
    assert shown.returncode == 0, shown.stderr
    assert b"plain" in shown.stdout or b"ku" in shown.stdout
    refused = semples(masks, ENVIRONMENTS[name], "labels", "inspect", "images", "--labels", "größe ⛵.csv")
    assert refused.returncode == 1
    assert refused.stderr.startswith(b"error: ")
    assert refused.stderr.count(b"\n") == 1


TIMES = {"the epoch": 0, "before it": -(10**9), "before zip's": 10**8, "tomorrow": 4 * 10**9, "far off": 2**33}


@pytest.mark.parametrize("name", slow(TIMES, "before it"))
def test_files_of_any_time_are_read_kept_and_exported(masks, tmp_path, name):
    images = tmp_path / "images"
    for source in (masks / "images").rglob("*.png"):
        target = images / source.relative_to(masks / "images")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
        os.utime(target, (TIMES[name], TIMES[name]))
    environ, out = {"LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": str(max(TIMES[name], 0))}, tmp_path / "crf"
    line = ("crf", "masks", "--images", images, "--classes", "classes.txt", "--workers", "1", "--out", out, "--json")
    first, second = (json.loads(semples(masks, environ, *line).stdout) for _ in range(2))
    assert (first["written"], second["written"], second["resumed"]) == (len(NAMES), 0, len(NAMES))
    for mask in out.rglob("*.png"):
        os.utime(mask, (TIMES[name], TIMES[name]))
    exported = semples(masks, environ, "export", out, "--to", "cvat", "--images", images, "--out", tmp_path / "cvat")
    assert exported.returncode == 0, exported.stderr
    (archive,) = Path(tmp_path / "cvat").glob("*.zip")
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        assert sum(entry.startswith("SegmentationClass/") for entry in opened.namelist()) == len(NAMES)
