"""Damaged, lying and rare image files: one run over all of them beside good ones, and each must end as it should."""

import json
import os
import subprocess
import sys
import zlib

import numpy as np
import pytest
from bad_images import BOMBS, CASES, CUTS, FLIPS, SUFFIX, announcing, chunk, chunks, encode, picture, whole
from PIL import EpsImagePlugin, Image
from surroundings import document_of, is_plain, semples, state_of, unharmed

from semples_cli.artifacts.manifest import Manifest
from semples_cli.artifacts.manifest_entries import read_manifest
from semples_cli.artifacts.mask_png import find_masks, read_mask
from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.data import images as images_module
from semples_cli.data.images import read_image, read_image_size
from semples_cli.errors import DataError

GOOD = ("good/1", "good/2", "zebra")
SMALL = ["--device", "cpu", "--precision", "fp32", "--size", "40", "--batch-size", "4"]
MAX_PIXELS = 100_000

# As the package has it, for whose filters pytest puts its own.
pytestmark = pytest.mark.filterwarnings(r"ignore::UserWarning:PIL\.")


@pytest.fixture(scope="module")
def mixed_run(tmp_path_factory, clip_dir):
    """`semples cams` over every case and three good images: the document that it prints, and the run."""
    world = tmp_path_factory.mktemp("hostile")
    for name, case in CASES.items():
        path = world / "images" / f"{name}{case.suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(case.make())
    for name in GOOD:
        path = world / "images" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(whole("PNG"))
    with unharmed(world, world / "out"):
        result = semples(
            "cams", world / "images", "--label", "boat", "--out", world / "out", "--weights", clip_dir, *SMALL,
            "--max-pixels", MAX_PIXELS, "--json",
        )  # fmt: skip
    assert result.exit_code == 3, result.stderr
    return result, document_of(result), world


def test_there_are_many_different_files():
    contents = {(case.suffix, case.make()) for case in CASES.values()}
    assert len(contents) == len(CASES) >= 170
    assert len(SUFFIX) * (len(CUTS) + len(FLIPS)) == 84


@pytest.mark.parametrize("name", CASES)
def test_each_file_is_refused_by_name_or_has_a_mask_of_its_size(mixed_run, name):
    _, document, world = mixed_run
    case, failed = CASES[name], {entry["id"]: entry["reason"] for entry in document["failed"]}
    mask, cam = world / f"out/{name}.png", world / f"out/.semples/cams/{name}.npz"
    if case.outcome == "read":
        assert name not in failed, failed[name]
    if name not in failed:
        assert case.outcome != "refused"
        assert read_mask(mask).shape == (case.size or read_image_size(world / f"images/{name}{case.suffix}"))
        assert cam.is_file()
        return
    assert case.outcome != "read"
    assert failed[name].startswith(f"{world}/images/{name}{case.suffix}: ")
    assert "; " in failed[name]
    assert is_plain(failed[name])
    assert case.says in failed[name]
    assert not mask.exists()
    assert not cam.exists()


def test_good_images_beside_them_are_done_and_the_books_are_right(mixed_run):
    result, document, world = mixed_run
    masks, failed = set(find_masks(world / "out")), {entry["id"] for entry in document["failed"]}
    assert masks >= set(GOOD)
    assert masks | failed == set(CASES) | set(GOOD)
    assert not masks & failed
    assert document["written"] == len(masks)
    entries = read_manifest(RunFolder(world / "out").manifest)
    assert {name for name, entry in entries.items() if entry.status == "failed"} == failed
    assert f"{len(failed)} failed" in result.stderr
    assert all(is_plain(line) for line in result.stderr.splitlines())


def test_a_second_run_keeps_what_is_good_and_says_the_same_again(mixed_run, clip_dir):
    _, document, world = mixed_run
    before = state_of(world / "out")
    again = semples(
        "cams", world / "images", "--label", "boat", "--out", world / "out", "--weights", clip_dir, *SMALL,
        "--max-pixels", MAX_PIXELS, "--json",
    )  # fmt: skip
    assert again.exit_code == 3
    assert document_of(again)["written"] == 0
    assert document_of(again)["failed"] == document["failed"]
    assert {path: facts for path, facts in state_of(world / "out").items() if path.endswith(b".png")} == {
        path: facts for path, facts in before.items() if path.endswith(b".png")
    }


@pytest.mark.parametrize("name", CASES)
def test_header_and_pixels_agree_on_the_size(tmp_path, name):
    path = tmp_path / f"x{CASES[name].suffix}"
    path.write_bytes(CASES[name].make())
    try:
        image = read_image(path, MAX_PIXELS)
    except DataError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017  # either is right, so `raises` does not do
    else:
        assert image.shape == (*read_image_size(path), 3)


READ_IN_LITTLE_MEMORY = """
import json, resource, sys
from pathlib import Path
from semples_cli.data.images import read_image
from semples_cli.errors import DataError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
said = {}
for path in map(Path, sys.argv[2:]):
    try:
        said[path.stem] = list(read_image(path, int(sys.argv[1])).shape)
    except DataError as error:
        said[path.stem] = str(error)
print(json.dumps([said, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024]))
"""


def read_apart(max_pixels, *paths):
    """What reading gives in a process of its own, and by how many bytes its memory grew."""
    command = [sys.executable, "-c", READ_IN_LITTLE_MEMORY, str(max_pixels), *map(str, paths)]
    done = subprocess.run(
        command, capture_output=True, check=True, timeout=300, env={**os.environ, "LC_ALL": "C.UTF-8"}
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units")
def test_files_that_announce_giant_images_take_no_memory(tmp_path):
    paths = []
    for name, case in BOMBS.items():
        paths.append(tmp_path / f"{name}{case.suffix}")
        paths[-1].write_bytes(case.make())
    assert sum(path.stat().st_size for path in paths) < 2**20
    said, growth = read_apart(images_module.DEFAULT_MAX_PIXELS, *paths)
    assert set(said) == set(BOMBS)
    for name, case in BOMBS.items():
        assert isinstance(said[name], str) or case.outcome == "either"
        assert case.says in str(said[name])
    assert growth < 100 * 2**20


def of_one_colour(side):
    """A PNG of side × side grey pixels, of a bit each, made without holding them."""
    row = b"\0" + bytes((side + 7) // 8)
    header = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", announcing(side, side)[16:24] + b"\x01\0\0\0\0")
    return header + chunk(b"IDAT", zlib.compress(row * side, 1)) + chunks(whole("PNG"))[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units")
def test_100_megapixels_are_read_in_bounded_memory_and_more_are_refused(tmp_path):
    whole_path, beyond = tmp_path / "whole.png", tmp_path / "beyond.png"
    whole_path.write_bytes(of_one_colour(10_000))
    beyond.write_bytes(of_one_colour(10_001))
    said, growth = read_apart(images_module.DEFAULT_MAX_PIXELS, whole_path, beyond)
    assert said["whole"] == [10_000, 10_000, 3]
    assert "10001 × 10001 is 100020001 pixels, more than the 100000000 allowed" in said["beyond"]
    assert growth < 1.2e9  # 0.3 GB of RGB, and what Pillow holds while it converts


def test_postscript_is_never_handed_to_ghostscript(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *read, **_: called.append(read) or picture().im)
    content = encode(picture(), "EPS")
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with Image.open(path) as opened:
        opened.load()
    assert called  # by Pillow left to itself
    del called[:]
    for read in (read_image, read_image_size):
        with pytest.raises(DataError, match=r"a\.jpg: not an image that can be read"):
            read(path)
    assert not called


@pytest.mark.parametrize("error", [RuntimeError("a decoder's\nown"), AssertionError(), KeyError("x"), OverflowError()])
def test_whatever_a_decoder_raises_is_damage(tmp_path, monkeypatch, error):
    def load(self):
        raise error

    monkeypatch.setattr(images_module.Image.Image, "load", load)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    path = tmp_path / "a.png"
    path.write_bytes(whole("PNG"))
    with pytest.raises(DataError, match=r"a\.png: damaged or incomplete image \(\S.*\); get the file again") as caught:
        read_image(path)
    assert is_plain(str(caught.value))


def test_too_little_memory_is_called_by_its_name(tmp_path, monkeypatch):
    def load(self):
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    path = tmp_path / "a.png"
    path.write_bytes(whole("PNG"))
    with pytest.raises(DataError, match=r"a\.png: not enough memory to decode it; shrink it"):
        read_image(path)


def test_an_avif_under_another_name_is_read_where_pillow_can(tmp_path):
    from PIL import features

    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    path = tmp_path / "a.jpg"
    path.write_bytes(encode(Image.fromarray(np.zeros((24, 40, 3), np.uint8)), "AVIF"))
    assert read_image(path).shape == (24, 40, 3)


def test_an_image_that_changes_between_header_and_pixels_stops_nothing(tmp_path, clip_dir, monkeypatch):
    """Batches are planned by the size in the header."""
    (tmp_path / "images").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / f"images/{name}.png").write_bytes(whole("PNG"))
    begun = Manifest.__init__

    def change(self, *arguments, **options):
        (tmp_path / "images/b.png").write_bytes(encode(Image.new("RGB", (9, 33)), "PNG"))
        (tmp_path / "images/c.png").write_bytes(b"gone")
        begun(self, *arguments, **options)

    monkeypatch.setattr(Manifest, "__init__", change)
    result = semples(
        "cams",
        tmp_path / "images",
        "--label",
        "boat",
        "--out",
        tmp_path / "out",
        "--weights",
        clip_dir,
        *SMALL,
        "--json",
    )
    assert result.exit_code == 3
    assert [entry["id"] for entry in document_of(result)["failed"]] == ["c"]
    assert {name: read_mask(path).shape for name, path in find_masks(tmp_path / "out").items()} == {
        "a": (24, 40),
        "b": (33, 9),
    }


FEW = ("PNG-cut-0.5", "JPEG-cut-0.95", "text-called-jpg", "png-50000x50000", "float-tif", "nothing")


@pytest.fixture
def few(tmp_path):
    """`images` with three good ones, a few that are not, and a pipe; labels that name them all."""
    folder, rows = tmp_path / "images", ["image,labels"]
    for name in (*FEW, *GOOD):
        suffix, content = (CASES[name].suffix, CASES[name].make()) if name in CASES else (".png", whole("PNG"))
        path = folder / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        rows.append(f"{name}{suffix},boat")
    os.mkfifo(folder / "pipe.jpg")
    (tmp_path / "labels.csv").write_text("\n".join([*rows, "pipe.jpg,boat"]) + "\n")
    return tmp_path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes by name here")
def test_proposing_labels_leaves_them_out(few, clip_dir):
    (few / "classes.txt").write_text("boat\ncat\n")
    outputs = (few / "tags.csv", few / "tags.scores.csv")
    with unharmed(few, *outputs):
        result = semples(
            "tag", few / "images", "--classes", few / "classes.txt", "--out", outputs[0], "--weights", clip_dir,
            "--device", "cpu", "--json",
        )  # fmt: skip
    assert result.exit_code == 3, result.stderr
    assert {entry["id"] for entry in document_of(result)["failed"]} == {*FEW, "pipe"}
    assert len(outputs[0].read_text().splitlines()) == 1 + len(GOOD)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes by name here")
def test_a_training_leaves_them_out_and_says_so(few, clip_dir):
    out = few / "trained"
    with unharmed(few, out):
        result = semples(
            "learn-prompts", few / "images", "--labels", few / "labels.csv", "--out", out / "p.safetensors",
            "--weights", clip_dir, "--device", "cpu", "--precision", "fp32", "--prompt-length", 2, "--epochs", 1,
            "--size", 32, "--min-images", 1,
        )  # fmt: skip
    assert result.exit_code in (0, 3), result.stderr
    assert (out / "p.safetensors").is_file()
    for name in (*FEW, "pipe"):
        assert any(name in line for line in result.stderr.splitlines())
    assert all(map(is_plain, result.stderr.splitlines()))
