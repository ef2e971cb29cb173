"""Names, links and things that are no files: what is read is right, and nothing is written but in the output folder."""

import json
import os
import shutil
import socket
import stat
import sys
import tempfile
import unicodedata
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from bad_images import SIZE, whole
from bad_masks import mask, values
from surroundings import document_of, error_of, is_plain, semples, state_of, unharmed

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.artifacts.manifest_entries import read_entries
from semples_cli.artifacts.mask_png import find_masks, read_mask, write_mask
from semples_cli.artifacts.run_folder import RunFolder, class_record, write_run_record
from semples_cli.data.image_folder import find_images
from semples_cli.data.images import read_image, read_image_size
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

SMALL = ["--device", "cpu", "--precision", "fp32", "--size", "40", "--batch-size", "8"]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems take other names, links and devices")

# Stems of images; each is a different file beside the others.
NAMES: dict[str, str | bytes] = {
    "unicode": "Füße 図 Ωμέγα",
    "right-to-left": "שלום عالم",
    "right-to-left-override": "photo\u202egnp.exe",
    "isolates": "a\u2066b\u2069c",
    "line-separator": "a\u2028error: forged",
    "newline": "a\nfailed: good: forged",
    "carriage-return": "a\rerror: forged",
    "tab": "a\tb",
    "bell-and-backspace": "a\a\b\b\bb",
    "colours": "a\x1b[31mred\x1b[0m",
    "title-of-the-window": "a\x1b]0;owned\x07b",
    "c1-control": "a\x9b31mb",
    "delete": "a\x7fb",
    "single-quote": "it's",
    "double-quote": 'say "cheese"',
    "backtick-and-dollar": "`id`$(id)${HOME}",
    "semicolon-and-pipe": "a; rm -rf b | c & d",
    "leading-dash": "-rf",
    "leading-dashes": "--out=elsewhere",
    "percent": "100%s%n",
    "markup": "[red]a[/red]",
    "broken-markup": "[/]a[",
    "emoji-code": "a:dog:b",
    "braces": "a{0..3}b{x,y}",
    "glob": "a*b?c[d]",
    "backslash": "a\\..\\b",
    "space-at-both-ends": " a ",
    "only-a-space": " ",
    "dot-at-its-end": "a.",
    "dots-within": "a..b",
    "dots-at-its-end": "a...",
    "two-suffixes": "a.png.tar",
    "suffix-of-ours": "a.png.partial",
    "html": "<script>alert(1)<",
    "emoji": "🐈‍⬛👩🏽‍🚀",
    "composed": unicodedata.normalize("NFC", "é-accent"),
    "decomposed": unicodedata.normalize("NFD", "é-accent"),
    "lower-case": "twin",
    "upper-case": "TWIN",
    "zero-width": "a\u200bb\u200d",
    "no-utf-8": b"caf\xe9",
    "no-utf-8-at-all": b"\xff\xfe\x80",
    "cut-utf-8": b"cut\xe2\x82",
    "reserved-on-windows": "CON",
    "long": "n" * 230,
    "deep": "/".join("d" * 20 for _ in range(40)),
}
TOO_LONG = "x" * 251  # with a suffix of 4 the longest name that there is: nothing can be written beside it


def stem_of(name):
    return os.fsdecode(NAMES[name])


def put(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content or whole("PNG"))
    return path


@pytest.fixture(scope="module")
def named(tmp_path_factory, clip_dir):
    """A run over an image of each name, and what it prints."""
    world = tmp_path_factory.mktemp("names")
    for stem in (*map(stem_of, NAMES), "good", TOO_LONG):
        put(world / f"images/{stem}.png")
    put(world / "images/good2.png", b"damaged")
    with unharmed(world, world / "out"):
        result = semples(
            "cams", world / "images", "--label", "boat", "--out", world / "out", "--weights", clip_dir, *SMALL,
            "--json", "--overlay",
        )  # fmt: skip
    return world, result


@pytest.mark.parametrize("name", NAMES)
def test_an_image_of_each_name_has_its_mask_under_the_same_name(named, name):
    world, result = named
    stem = stem_of(name)
    failed = {entry["id"] for entry in document_of(result)["failed"]}
    assert stem not in failed
    assert read_mask(world / f"out/{stem}.png").shape == SIZE
    assert (world / f"out/.semples/cams/{stem}.npz").is_file()
    assert (world / f"out/overlays/{stem}.png").is_file()
    assert read_entries(RunFolder(world / "out"))[stem].status == "ok"


def test_the_result_is_json_and_no_name_forges_a_line(named):
    world, result = named
    assert result.exit_code == 3
    document = document_of(result)
    # Of 255 bytes, whose `.partial` cannot be, it is said; the run goes on.
    assert {entry["id"] for entry in document["failed"]} <= {"good2", TOO_LONG}
    assert document["written"] == len(NAMES) + 3 - len(document["failed"])
    assert "\x1b" not in result.output
    assert all(map(is_plain, result.stdout.splitlines()))
    assert all(map(is_plain, result.stderr.splitlines()))
    assert set(find_masks(world / "out")) == {*map(stem_of, NAMES), "good", *(
        {TOO_LONG} - {entry["id"] for entry in document["failed"]}
    )}  # fmt: skip


def test_commands_that_follow_take_all_names(named):
    world, _ = named
    with unharmed(world, world / "crf", world / "report"):
        refined = semples("crf", world / "out", "--out", world / "crf", "--workers", 1, "--json")
        assert refined.exit_code in (0, 3), refined.stderr
        assert document_of(refined)["written"] == len(find_masks(world / "out"))
        scored = semples("evaluate", world / "crf", world / "out", "--out", world / "report", "--json")
        assert scored.exit_code == 0, scored.stderr
        assert document_of(scored)["num_images"] == len(find_masks(world / "out"))


@pytest.mark.parametrize("table", [True, False])
def test_check_names_each_without_moving_the_terminal(named, table):
    world, _ = named
    with unharmed(world):
        result = semples("check", world / "out", "--workers", 1, *([] if table else ["--json"]))
    assert result.exit_code in (0, 3), result.stderr
    assert "\x1b" not in result.output
    assert all(map(is_plain, (*result.stdout.splitlines(), *result.stderr.splitlines())))


def test_ground_truth_without_mask_is_listed_under_any_name(tmp_path):
    names = [stem_of(name) for name in ("no-utf-8", "newline", "right-to-left-override")]
    put(tmp_path / "masks/a.png", mask())
    for name in ("a", *names):
        put(tmp_path / f"truth/{name}.png", mask())
    (tmp_path / "classes.txt").write_text("boat\ncat\ndog\n")
    result = semples(
        "evaluate", tmp_path / "masks", tmp_path / "truth", "--classes", tmp_path / "classes.txt", "--out",
        tmp_path / "report", "--json",
    )  # fmt: skip
    assert result.exit_code == 3, result.stderr
    assert document_of(result)["missing"] == sorted(names)
    assert json.loads((tmp_path / "report/report.json").read_bytes())["missing"] == sorted(names)


# What is no file


@pytest.fixture
def strange(tmp_path):
    """`images` with a good one and all that is called an image and is none; `outside` beside it."""
    put(tmp_path / "images/good.png")
    put(tmp_path / "outside/private.png")
    put(tmp_path / "outside/folder/inner.png")
    images = tmp_path / "images"
    os.mkfifo(images / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as bound, standing_in(images):
        bound.bind("socket.jpg")
    (images / "folder.jpg").mkdir()
    put(images / "folder.jpg/inner.png")
    for name, target in {
        "to-zero.jpg": "/dev/zero",
        "to-null.jpg": "/dev/null",
        "to-full.jpg": "/dev/full",
        "to-random.jpg": "/dev/urandom",
        "to-itself.jpg": "to-itself.jpg",
        "to-nothing.jpg": "nowhere.jpg",
        "to-a-pipe.jpg": "pipe.jpg",
        "to-a-file-outside.png": "../outside/private.png",
        "to-a-folder-outside": "../outside/folder",
        "to-the-folder-itself": ".",
        "to-memory.jpg": "/proc/self/mem",
        "to-text.jpg": "/etc/passwd",
    }.items():
        (images / name).symlink_to(target)
    os.link(tmp_path / "outside/private.png", images / "hard.png")
    return tmp_path


@contextmanager
def standing_in(folder):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


SAID = {
    "pipe": "it is a pipe, not a file",
    "socket": "it is a socket, not a file",
    "to-zero": "it is a device, not a file",
    "to-null": "it is a device, not a file",
    "to-full": "it is a device, not a file",
    "to-random": "it is a device, not a file",
    "to-itself": "Too many levels of symbolic links",
    "to-nothing": "no such image",
    "to-a-pipe": "it is a pipe, not a file",
    "to-memory": "to-memory.jpg",
    "to-text": "not an image that can be read",
}
# Links to single files are read, wherever they lead; links to folders are not followed.
READ = {"good", "hard", "folder.jpg/inner", "to-a-file-outside"}


def test_what_is_no_image_is_listed_and_the_rest_is_done(strange, clip_dir):
    with unharmed(strange, strange / "out"):
        result = semples(
            "cams",
            strange / "images",
            "--label",
            "boat",
            "--out",
            strange / "out",
            "--weights",
            clip_dir,
            *SMALL,
            "--json",
        )
    assert result.exit_code == 3, result.stderr
    failed = {entry["id"]: entry["reason"] for entry in document_of(result)["failed"]}
    assert set(failed) == set(SAID)
    for name, says in SAID.items():
        assert says in failed[name]
        assert "; " in failed[name]
    assert set(find_masks(strange / "out")) == READ
    assert not any(path.is_symlink() for path in (strange / "out").rglob("*"))


@pytest.mark.parametrize("to", ["coco", "voc", "labelme", "cvat"])
def test_an_export_lists_what_is_no_image_and_writes_the_rest(strange, to):
    for name in (*SAID, *READ):
        put(strange / f"masks/{name}.png", mask())
    (strange / "classes.txt").write_text("boat\ncat\ndog\n")
    with unharmed(strange, strange / "out"):
        result = semples(
            "export", strange / "masks", "--images", strange / "images", "--to", to, "--out", strange / "out",
            "--classes", strange / "classes.txt", "--json",
        )  # fmt: skip
    assert result.exit_code == 3, result.stderr
    document = document_of(result)
    assert {entry["id"] for entry in document["failed"]} == set(SAID)
    assert document["written"] == len(READ)


def test_crf_and_check_list_what_is_no_image(strange):
    for name in (*SAID, *READ):
        put(strange / f"masks/{name}.png", mask())
    with unharmed(strange, strange / "out"):
        refined = semples(
            "crf", strange / "masks", "--images", strange / "images", "--out", strange / "out", "--workers", 1, "--json"
        )
        checked = semples("check", strange / "masks", "--images", strange / "images", "--workers", 1, "--json")
    assert refined.exit_code == 3, refined.stderr
    assert {entry["id"] for entry in document_of(refined)["failed"]} == set(SAID)
    assert set(find_masks(strange / "out")) == READ
    (finding,) = [each for each in document_of(checked)["findings"] if each["code"] == "image"]
    assert {item["id"] for item in finding["items"]} == set(SAID)


@pytest.mark.parametrize("read", [read_image, read_image_size])
@pytest.mark.parametrize("name", SAID)
def test_each_is_refused_and_never_waited_for(strange, name, read):
    path = next((strange / "images").glob(f"{name}.*"))
    with unharmed(strange), pytest.raises(DataError, match=path.name):
        read(path)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("images/pipe.jpg", "a pipe is neither an image nor a folder"),
        ("images/socket.jpg", "a socket is neither an image nor a folder"),
        ("/dev/zero", "a device is neither an image nor a folder"),
        ("images/to-zero.jpg", "a device is neither an image nor a folder"),
        ("images/to-nothing.jpg", "a link to nothing"),
        ("images/to-itself.jpg", "cannot be looked at (Too many levels of symbolic links)"),
        ("images/gone.jpg", "no such file or folder"),
        ("x" * 5000, "cannot be looked at (File name too long)"),
        ("images/good.png/inner.jpg", "cannot be looked at (Not a directory)"),
        ("images/{0..9999999}.jpg", "stands for 10000000 names"),
        ("images/...jpg", "leads out of every folder; rename it"),
        ("", "no images here"),
    ],
)
@pytest.mark.parametrize("by", ["argument", "stdin"])
def test_an_input_that_is_none_is_named(strange, place, says, by):
    put(strange / "images/...jpg")
    (strange / "empty").mkdir()
    place = place or "empty"
    given, stdin = (["-"], f"{place}\n") if by == "stdin" else ([place], None)
    with standing_in(strange), unharmed(strange, strange / "out"):
        result = semples("cams", *given, "--label", "boat", "--out", "out", stdin=stdin)
    assert result.exit_code in (1, 2)
    line = error_of(result)
    assert says in line or (by == "stdin" and ("no such file or folder" in line))
    assert place[:200] in line
    assert not (strange / "out").exists()


@pytest.mark.parametrize(
    ("inputs", "ids"),
    [
        (["images/../images/good.png"], {"good"}),
        (["../{world}/images/good.png"], {"good"}),
        (["{absolute}/images/good.png", "outside/private.png"], {"images/good", "outside/private"}),
        (["{absolute}/images/../outside"], {"private", "folder/inner"}),
        (["images/good.png", "images/./good.png", "{absolute}/images/good.png"], {"good"}),
        (["images//good.png"], {"good"}),
        (["images/to-a-file-outside.png"], {"to-a-file-outside"}),
        (["images/to-a-folder-outside"], {"inner"}),
        (["images/folder.jpg"], {"inner"}),
    ],
)
@pytest.mark.parametrize("by", ["argument", "stdin"])
def test_paths_that_wander_name_images_inside(strange, inputs, ids, by):
    given = [text.format(absolute=strange, world=strange.name) for text in inputs]
    arguments, stdin = (["-"], "\0".join(given)) if by == "stdin" else (given, None)
    with standing_in(strange):
        if by == "argument":
            assert {image.id for image in find_images([Path(text) for text in given])} == ids
        result = semples("labels", "inspect", *arguments, "--labels", "none.csv", stdin=stdin)
        assert result.exit_code == 1  # for the labels, not for the images
        assert "none.csv" in error_of(result)


@pytest.mark.parametrize(
    "line", ["../../outside/private", "/etc/passwd", "..", "a/../../b", "a\x00b", "\u202eb", "x" * 5000, "~root/x"]
)
def test_a_split_list_cannot_lead_anywhere(tmp_path, line):
    for folder in ("masks", "truth"):
        put(tmp_path / folder / "a.png", mask())
    (tmp_path / "classes.txt").write_text("boat\ncat\ndog\n")
    (tmp_path / "split.txt").write_text(f"a\n{line}\n")
    with unharmed(tmp_path):
        result = semples(
            "evaluate", tmp_path / "masks", tmp_path / "truth", "--classes", tmp_path / "classes.txt", "--split-list",
            tmp_path / "split.txt",
        )  # fmt: skip
    assert result.exit_code == 1
    assert "split.txt:2: no ground truth for" in error_of(result) or "split.txt" in error_of(result)
    assert is_plain(error_of(result))


# Outputs


@pytest.fixture
def masked(tmp_path):
    """`images` and `masks` of the ids a/1 and b, to be refined; `outside`, which is nobody's business."""
    for name in ("a/1", "b"):
        put(tmp_path / f"images/{name}.png")
        put(tmp_path / f"masks/{name}.png", mask())
    put(tmp_path / "outside/a/1.png", b"precious")
    put(tmp_path / "outside/file", b"precious")
    return tmp_path


def crf(world, out, *more):
    arguments = ["crf", world / "masks", "--images", world / "images", "--out", out, "--workers", 1, *more]
    return semples(*arguments)


@pytest.mark.parametrize(
    ("out", "code", "says"),
    [
        ("outside/file", 1, "cannot write here"),
        ("outside/file/inner", 1, "cannot write here"),
        ("/dev/null", 1, "cannot write here"),
        ("/dev/full/x", 1, "cannot write here"),
        ("/proc/semples", 1, "cannot write here"),
        ("images", 2, "is where the images lie"),
        ("images/.", 2, "is where the images lie"),
        ("images/../images", 2, "is where the images lie"),
        ("to-images", 2, "is where the images lie"),
        ("masks", 2, "lie inside each other"),
        ("masks/inner", 2, "lie inside each other"),
        ("to-masks/inner", 2, "lie inside each other"),
        ("to-itself", 1, "cannot write here"),
        ("to-itself/inner", 1, "cannot write here"),
        ("to-nothing", 1, "cannot write here"),
        ("x" * 300, 1, "cannot write here"),
    ],
)
def test_an_output_that_cannot_be_is_refused(masked, out, code, says):
    for name, target in (("to-images", "images"), ("to-masks", "masks"), ("to-itself", "to-itself")):
        (masked / name).symlink_to(target)
    (masked / "to-nothing").symlink_to("/proc/nowhere/at/all")
    with unharmed(masked):
        result = crf(masked, masked / out)
    assert result.exit_code == code, result.stderr
    assert says in error_of(result)


def test_an_output_that_is_a_link_to_a_folder_is_that_folder(masked):
    (masked / "disk").mkdir()
    (masked / "out").symlink_to("disk")
    with unharmed(masked, masked / "disk"):
        assert crf(masked, masked / "out").exit_code == 0
    assert set(find_masks(masked / "disk")) == {"a/1", "b"}


def test_an_output_among_the_images_is_no_image_of_the_next_run(masked):
    for _ in range(2):
        with unharmed(masked, masked / "images/out"):
            result = crf(masked, masked / "images/out", "--json")
        assert result.exit_code == 0, result.stderr
    assert set(find_masks(masked / "images/out")) == {"a/1", "b"}


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("out/a", "outside/a"),
        ("out/.semples", "outside"),
        ("out/overlays", "outside"),
        ("out/overlays/a", "outside/a"),
        ("out/.semples/cams", "outside"),
        ("out/.semples/lock", "outside/file"),
        ("out/.semples/lock-begin", "outside/file"),
        ("out/.semples/manifest.jsonl", "outside/file"),
        ("out/.semples/lock", "outside/new"),
        ("out/.semples/manifest.jsonl", "outside/new"),
    ],
)
def test_links_in_the_output_that_lead_elsewhere_are_refused(masked, link, target):
    (masked / link).parent.mkdir(parents=True, exist_ok=True)
    (masked / link).symlink_to(masked / target)
    with unharmed(masked, masked / "out"):
        result = crf(masked, masked / "out", "--overlay")
    assert result.exit_code == 1, result.stderr
    assert f"{link}: a link" in error_of(result)
    assert "remove it, or choose another --out" in error_of(result)


@pytest.mark.parametrize("make", [os.symlink, os.link], ids=["symbolic", "hard"])
@pytest.mark.parametrize(
    "name", ["b.png", "b.png.partial", "a/1.png", "a/1.png.partial", ".semples/run.json", ".semples/run.json.partial"]
)
def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(masked, name, make):
    path = masked / "out" / name
    path.parent.mkdir(parents=True)
    make(masked / "outside/file", path)
    overwrite = ["--overwrite"] if name.endswith("run.json") else []
    with unharmed(masked, masked / "out"):
        result = crf(masked, masked / "out", *overwrite)
    assert result.exit_code == 0, result.stderr
    assert (masked / "outside/file").read_bytes() == b"precious"
    assert not (masked / "out/b.png").is_symlink()
    assert read_mask(masked / "out/b.png").shape == SIZE


@pytest.mark.parametrize("make", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_open_atomic_follows_no_link(tmp_path, make):
    victim = put(tmp_path / "victim", b"precious")
    make(victim, tmp_path / "x.png.partial")
    with open_atomic(tmp_path / "x.png") as handle:
        handle.write(b"new")
    assert victim.read_bytes() == b"precious"
    assert (tmp_path / "x.png").read_bytes() == b"new"


@pytest.mark.parametrize("name", [".semples", ".semples/manifest.jsonl", ".semples/lock", ".semples/run.json"])
@pytest.mark.parametrize("kind", ["file", "folder", "pipe"])
def test_what_belongs_to_the_run_and_is_something_else_is_named(masked, name, kind):
    path = masked / "out" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "file":
        path.write_bytes(b"{damaged\n")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with unharmed(masked, masked / "out"):
        result = crf(masked, masked / "out")
    harmless = (name, kind) in {(".semples", "folder"), (".semples/lock", "file")}
    assert result.exit_code == (0 if harmless else 1), result.stderr
    if not harmless:
        assert str(masked / "out") in error_of(result)


def test_a_folder_in_the_place_of_a_mask_fails_that_mask_alone(masked):
    (masked / "out/b.png").mkdir(parents=True)
    with unharmed(masked, masked / "out"):
        result = crf(masked, masked / "out", "--json")
    assert result.exit_code == 3, result.stderr
    assert [entry["id"] for entry in document_of(result)["failed"]] == ["b"]
    assert set(find_masks(masked / "out")) == {"a/1"}


def test_an_image_and_a_folder_that_want_one_name_fail_one_of_them(tmp_path, clip_dir):
    put(tmp_path / "images/a.jpg")
    put(tmp_path / "images/a.png/1.jpg")
    put(tmp_path / "images/b.jpg")
    for _ in range(2):
        with unharmed(tmp_path, tmp_path / "out"):
            result = semples(
                "cams", tmp_path / "images", "--label", "boat", "--out", tmp_path / "out", "--weights", clip_dir,
                *SMALL, "--json",
            )  # fmt: skip
        assert result.exit_code == 3, result.stderr
        assert len(document_of(result)["failed"]) == 1
        assert len(find_masks(tmp_path / "out")) == 2


def test_an_export_leaves_what_links_lead_to_alone(masked):
    record = {"command": "crf", "inputs": [str(masked / "images")], "classes": class_record(ClassSet(("x", "y", "z")))}
    write_run_record(masked / "masks", record)
    (masked / "out").mkdir()
    (masked / "out/ann_dir").symlink_to(masked / "outside")
    with unharmed(masked, masked / "out"):
        result = semples("export", masked / "masks", "--to", "voc", "--out", masked / "out", "--overwrite")
    assert result.exit_code == 1
    assert "out/ann_dir: a link" in error_of(result)
    (masked / "out/ann_dir").unlink()
    put(masked / "out/.semples/written.txt", b"../outside/file\n")
    with unharmed(masked, masked / "out"):
        result = semples("export", masked / "masks", "--to", "voc", "--out", masked / "out", "--overwrite")
    assert result.exit_code == 1
    assert "lies outside of the export" in error_of(result)


@pytest.mark.parametrize("output", ["../outside/file", "/etc/passwd", "a/../../outside/file"])
def test_a_manifest_cannot_point_elsewhere(masked, output):
    assert crf(masked, masked / "out").exit_code == 0
    manifest = masked / "out/.semples/manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    lines[0]["output"] = output
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with unharmed(masked, masked / "out"):
        result = crf(masked, masked / "out")
    assert result.exit_code == 1
    assert "manifest.jsonl:1: damaged line" in error_of(result)
    assert "lies outside of the run" in error_of(result)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": 7},
        {"reason": None},
        {"key": ["k"]},
        {"output": 1},
        {"seconds": "long"},
        {"confidence": "high"},
        {"coverage": [1]},
        {"class_confidence": {"1": "high"}},
        {"class_confidence": [0.5]},
        {"status": "perfect"},
        {"files": "none"},
        {"files": [7]},
        {"surprise": 1},
    ],
    ids=str,
)
def test_a_manifest_of_other_kinds_is_named_by_its_line(masked, changes):
    assert crf(masked, masked / "out").exit_code == 0
    manifest = masked / "out/.semples/manifest.jsonl"
    first, *others = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join([first, json.dumps({**json.loads(first), **changes}) + "\n", *others]))
    with unharmed(masked):
        result = semples("check", masked / "out", "--json")
    assert result.exit_code == 3
    (finding,) = [each for each in document_of(result)["findings"] if each["code"] == "record"]
    assert "manifest.jsonl:2: damaged line" in str(finding["items"])
    with unharmed(masked, masked / "out"):
        assert "manifest.jsonl:2: damaged line" in error_of(crf(masked, masked / "out"))
        assert crf(masked, masked / "out", "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        "null",
        '"text"',
        "{",
        "[" * 100_000,
        '{"format_version": []}',
        '{"format_version": 99}',
        '{"format_version": 1, "settings": [1]}',
        '{"format_version": 1, "inputs": "images"}',
        '{"format_version": 1, "inputs": [7]}',
        '{"format_version": 1, "classes": [1]}',
        '{"format_version": 1, "classes": {"names": 7, "prompt_names": 7}}',
        '{"format_version": 1, "classes": {"names": ["a", "a"], "prompt_names": ["a", "a"]}}',
    ],
    ids=range(15),
)
@pytest.mark.parametrize("command", ["crf", "check", "evaluate"])
def test_a_record_of_any_other_content_is_named(masked, text, command):
    put(masked / "masks/.semples/run.json", text.encode() or b"\n")
    arguments = {
        "crf": ["crf", masked / "masks", "--images", masked / "images", "--out", masked / "out", "--workers", 1],
        "check": ["check", masked / "masks", "--images", masked / "images", "--json"],
        "evaluate": ["evaluate", masked / "masks", masked / "masks"],
    }[command]
    with unharmed(masked, masked / "out"):
        result = semples(*arguments)
    assert result.exit_code in (1, 3)
    assert "run.json" in result.stderr
    assert all(len(line) < 1000 for line in result.stderr.splitlines())
    assert all(map(is_plain, result.stderr.splitlines()))


# Rights


@pytest.fixture
def as_nobody():
    """A folder that everybody may use, and a way to be nobody in it."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    world = Path(tempfile.mkdtemp(prefix="semples-nobody-"))
    world.chmod(0o755)

    @contextmanager
    def nobody():
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    yield world, nobody
    shutil.rmtree(world)


def test_images_and_masks_that_may_not_be_read_are_listed(as_nobody):
    world, nobody = as_nobody
    for name in ("good", "no-image", "no-mask", "shut/1"):
        put(world / f"images/{name}.png")
        put(world / f"masks/{name}.png", mask())
    (world / "out").mkdir()
    (world / "out").chmod(0o777)
    assert crf(world, world / "warm").exit_code == 0  # what is imported late is imported now
    for name in ("images/no-image.png", "masks/no-mask.png"):
        (world / name).chmod(0)
    before = state_of(world, (world / "out",))
    with nobody():
        result = crf(world, world / "out", "--json")
    assert result.exit_code == 3, result.stderr
    failed = {entry["id"]: entry["reason"] for entry in document_of(result)["failed"]}
    assert set(failed) == {"no-image", "no-mask"}
    assert all("Permission denied" in reason for reason in failed.values())
    assert set(find_masks(world / "out")) == {"good", "shut/1"}
    assert state_of(world, (world / "out",)) == before


@pytest.mark.parametrize("place", ["images", "images/shut"])
def test_a_folder_that_may_not_be_listed_stops_the_run_by_name(as_nobody, place):
    world, nobody = as_nobody
    put(world / "images/good.png")
    put(world / "images/shut/1.png")
    (world / place).chmod(0)
    with nobody():
        result = semples("labels", "inspect", world / "images", "--labels", world / "none.csv")
        alone = semples("labels", "inspect", world / "images/shut/1.png", "--labels", world / "none.csv")
    (world / place).chmod(stat.S_IRWXU)
    for each in (result, alone):
        assert each.exit_code == 1
        assert "Permission denied" in error_of(each)


def test_an_output_that_may_not_be_written_is_said_before_the_work(as_nobody):
    world, nobody = as_nobody
    for name in ("a", "b"):
        put(world / f"images/{name}.png")
        put(world / f"masks/{name}.png", mask())
    assert crf(world, world / "warm").exit_code == 0
    before = state_of(world)
    with nobody():
        result = crf(world, world / "out")
    assert result.exit_code == 1
    assert "out: cannot write here (Permission denied); choose another --out" in error_of(result)
    assert state_of(world) == before


def test_a_mask_is_written_whole_into_any_name(tmp_path):
    for name in NAMES:
        path = tmp_path / f"{stem_of(name)}.png"
        write_mask(path, values())
        np.testing.assert_array_equal(read_mask(path), values())
