"""Masks of every wrong kind beside good ones, in each command that reads masks."""

import os
import socket
import zlib

import numpy as np
import pytest
from bad_images import whole
from bad_masks import CASES, mask, values
from surroundings import document_of, ending, error_of, is_plain, semples, unharmed

from semples_cli.artifacts.mask_png import find_masks, read_mask
from semples_cli.artifacts.run_folder import class_record, write_run_record
from semples_cli.types import ClassSet

GOOD = ("good/1", "good/2")
CLASS_SET = ClassSet(("boat", "cat", "dog"))
# What no content can tell.
WITHOUT_CONTENT = ("pipe", "socket", "folder", "link-to-nothing", "link-to-itself", "link-to-zero")


def put(folder, name, content):
    path = folder / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def put_without_content(folder):
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as bound:
        here = os.getcwd()  # noqa: PTH109  # a socket's whole path may have 107 bytes
        os.chdir(folder)
        bound.bind("socket.png")
        os.chdir(here)
    (folder / "folder.png").mkdir()
    (folder / "link-to-nothing.png").symlink_to("nowhere.png")
    (folder / "link-to-itself.png").symlink_to("link-to-itself.png")
    (folder / "link-to-zero.png").symlink_to("/dev/zero")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """`images`, and `masks` with a run.json of three classes: every case, two good ones, and what is no file."""
    world = tmp_path_factory.mktemp("masks")
    for name, (make, _) in CASES.items():
        put(world / "images", name, whole("PNG"))
        put(world / "masks", name, make())
    for name in GOOD:
        put(world / "images", name, whole("PNG"))
        put(world / "masks", name, mask())
        put(world / "truth", name, mask())
    for name in WITHOUT_CONTENT:
        put(world / "images", name, whole("PNG"))
    put_without_content(world / "masks")
    inputs = [str(world / "images")]
    write_run_record(world / "masks", {"command": "cams", "inputs": inputs, "classes": class_record(CLASS_SET)})
    return world


def test_there_are_many_different_files():
    assert len({make() for make, _ in CASES.values()}) == len(CASES) >= 40


def run(world, command, *arguments, out="out"):
    """The document that a command prints; nothing but its output changed."""
    with unharmed(world, world / out):
        result = semples(command, world / "masks", *arguments, "--json")
    assert result.exit_code == 3, result.stderr
    assert all(is_plain(line) for line in result.stderr.splitlines())
    return document_of(result)


def reasons(document):
    return {entry["id"]: entry["reason"] for entry in document["failed"]}


@pytest.fixture(scope="module")
def refined(world):
    return run(world, "crf", "--out", world / "crf", "--workers", 1, out="crf")


@pytest.fixture(scope="module")
def exported(world):
    return run(world, "export", "--to", "voc", "--out", world / "voc", out="voc")


@pytest.fixture(scope="module")
def reviewed(world, clip_dir):
    with unharmed(world, world / "review.csv", world / "masks/.semples"):
        result = semples(
            "review", world / "masks", "--out", world / "review.csv", "--weights", clip_dir, "--device", "cpu",
            "--precision", "fp32", "--json",
        )  # fmt: skip
    assert result.exit_code == 3, result.stderr
    return document_of(result)


@pytest.fixture(scope="module")
def checked(world):
    with unharmed(world):
        result = semples("check", world / "masks", "--workers", 1, "--json")
    assert result.exit_code == 3, result.stderr
    return document_of(result)


@pytest.mark.parametrize("command", ["refined", "exported", "reviewed"])
@pytest.mark.parametrize("name", CASES)
def test_each_mask_fails_with_its_reason_or_is_done(request, name, command):
    failed, says = reasons(request.getfixturevalue(command)), CASES[name][1]
    if not says:
        assert name not in failed
        return
    expected = {"size": ("pixels (height × width)", "the mask is "), "class": ("holds ",)}.get(says, (says,))
    assert any(words in failed[name] for words in expected)
    assert is_plain(failed[name])


@pytest.mark.parametrize("name", CASES)
def test_check_finds_each(checked, name):
    found = {item["id"]: finding["code"] for finding in checked["findings"] for item in finding["items"]}
    codes = {finding["code"] for finding in checked["findings"] for item in finding["items"] if item["id"] == name}
    says = CASES[name][1]
    expected = {"size": {"size", "transposed"}, "class": {"no-class"}}.get(
        says, {"unreadable", "wrong-kind", "jpeg"} if says else set()
    )
    errors = codes & {"unreadable", "wrong-kind", "jpeg", "size", "transposed", "no-class"}
    assert bool(errors) == bool(says), (errors, found.get(name))
    assert errors <= expected


def test_good_masks_beside_them_are_done(world, refined, exported, reviewed, checked):
    good = {name for name, (_, says) in CASES.items() if not says} | set(GOOD)
    assert refined["written"] == exported["written"] == reviewed["images"] == len(good)
    assert set(find_masks(world / "crf")) == good
    assert all(read_mask(path).shape == (24, 40) for path in find_masks(world / "crf").values())
    assert {path.stem for path in (world / "voc/ann_dir").rglob("*.png")} == {name.rpartition("/")[2] for name in good}
    # A folder is none, of the rest `check` says what they are.
    assert checked["masks"] == len(CASES) + len(GOOD) + len(WITHOUT_CONTENT) - 1


@pytest.mark.parametrize("name", set(WITHOUT_CONTENT) - {"folder"})
def test_what_is_no_file_is_named_and_never_read(checked, name):
    details = {
        item["id"]: item["detail"]
        for finding in checked["findings"]
        if finding["code"] == "unreadable"
        for item in finding["items"]
    }
    assert {
        "pipe": "it is a pipe, not a file",
        "socket": "it is a socket, not a file",
        "link-to-nothing": "No such file or directory",
        "link-to-itself": "Too many levels of symbolic links",
        "link-to-zero": "it is a device, not a file",
    }[name] in details[name]


@pytest.mark.parametrize("side", ["mask", "ground truth"])
@pytest.mark.parametrize("name", [name for name, (_, says) in CASES.items() if says])
def test_evaluate_stops_at_it_and_names_it(tmp_path, name, side):
    make, says = CASES[name]
    (tmp_path / "classes.txt").write_text("boat\ncat\ndog\n")
    for folder in ("masks", "truth"):
        put(tmp_path / folder, "a", mask())
        put(tmp_path / folder, "b", make() if folder == side.replace("mask", "masks").split()[-1] else mask())
    with unharmed(tmp_path, tmp_path / "report"):
        result = semples(
            "evaluate", tmp_path / "masks", tmp_path / "truth", "--classes", tmp_path / "classes.txt", "--out",
            tmp_path / "report",
        )  # fmt: skip
    assert result.exit_code == 1
    line = error_of(result)
    assert {"size": "pixels (height x width)", "class": "holds"}.get(says, says) in line
    assert "b.png" in line
    assert is_plain(line)
    assert not (tmp_path / "report").exists()  # no figures over a part


@pytest.mark.parametrize("name", [name for name, (_, says) in CASES.items() if not says])
def test_evaluate_counts_what_is_merely_rare(tmp_path, name):
    put(tmp_path / "masks", "a", CASES[name][0]())
    put(tmp_path / "truth", "a", mask())
    (tmp_path / "classes.txt").write_text("boat\ncat\ndog\n")
    result = semples(
        "evaluate", tmp_path / "masks", tmp_path / "truth", "--classes", tmp_path / "classes.txt", "--json"
    )
    assert result.exit_code == 0, result.stderr
    assert document_of(result)["num_images"] == 1


def test_more_classes_than_the_list_are_refused_by_crf_from_cams_too(tmp_path):
    from semples_cli.artifacts.cam_store import write_cam
    from semples_cli.types import Cam

    for name, index in (("a", 3), ("b", 4)):
        put(tmp_path / "images", name, whole("PNG"))
        cam = Cam(name, np.array([index]), np.full((1, 3, 5), 0.5, np.float32), (24, 40))
        write_cam(tmp_path / "run/.semples/cams", cam, {})
    inputs = [str(tmp_path / "images")]
    write_run_record(tmp_path / "run", {"command": "cams", "inputs": inputs, "classes": class_record(CLASS_SET)})
    result = semples("crf", tmp_path / "run", "--out", tmp_path / "out", "--workers", 1, "--json")
    assert result.exit_code == 3
    assert "holds class 4, but there are 3" in reasons(document_of(result))["b"]
    assert set(find_masks(tmp_path / "out")) == {"a"}


def test_a_mask_larger_than_pillows_warning_is_read_without_one(tmp_path):
    side = 9_600  # 92 megapixels; Pillow warns from 89 on
    rows = zlib.compress(bytes(side * (side + 1)), 1)
    from bad_images import chunk

    head = mask()[:8] + chunk(b"IHDR", side.to_bytes(4, "big") * 2 + b"\x08\0\0\0\0")
    path = put(tmp_path, "large", head + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    with ending():
        assert read_mask(path).shape == (side, side)


def test_the_cases_are_of_the_classes_that_they_say():
    assert set(np.unique(values())) == {0, 1, 2, 3, 255}
