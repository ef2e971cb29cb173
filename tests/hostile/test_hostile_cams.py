"""CAMs of every wrong kind, ours and other projects', beside good ones, in each command that reads CAMs."""

import os
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
from bad_cams import NPZ, OURS, foreign, ours
from bad_images import SIZE, whole
from bad_masks import mask
from surroundings import document_of, error_of, is_plain, semples, unharmed

from semples_cli.artifacts.cam_store import read_cam
from semples_cli.artifacts.mask_png import find_masks, read_mask
from semples_cli.artifacts.run_folder import class_record, write_run_record
from semples_cli.errors import ArtifactError
from semples_cli.steps.cam_source import open_cams
from semples_cli.steps.mapped_images import mapped_images
from semples_cli.types import ClassSet, Sample

GOOD = ("good/1", "good/2")
CLASS_SET = ClassSet(("boat", "cat", "dog"))
# What they are, in the place of a CAM, and what is said of them.
NO_FILES = {
    "pipe": "it is a pipe, not a file",
    "folder": "Is a directory",
    "link-to-nothing": "No such file or directory",
    "link-to-itself": "Too many levels of symbolic links",
    "link-to-zero": "it is a device, not a file",
}
# Such as are right in themselves, and wrong beside this image and this class list.
ONLY_BESIDE_THE_IMAGE = ("holds class", "its CAM is for")


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def put_no_files(folder):
    os.mkfifo(folder / "pipe.npz")
    (folder / "folder.npz").mkdir()
    (folder / "link-to-nothing.npz").symlink_to("nowhere.npz")
    (folder / "link-to-itself.npz").symlink_to("link-to-itself.npz")
    (folder / "link-to-zero.npz").symlink_to("/dev/zero")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """`images`, the run `run` with every case as a CAM of it, and the folder `npz` of another project."""
    world = tmp_path_factory.mktemp("cams")
    for name in (*OURS, *NPZ, *NO_FILES, *GOOD):
        put(world / f"images/{name}.png", whole("PNG"))
    for name, (make, _) in OURS.items():
        put(world / f"run/.semples/cams/{name}.npz", make())
    for name, (make, _) in NPZ.items():
        put(world / f"npz/{name}.npz", make())
    for name in GOOD:
        put(world / f"run/.semples/cams/{name}.npz", ours()())
        put(world / f"npz/{name}.npz", foreign()())
    put_no_files(world / "run/.semples/cams")
    settings = {"background_score": 0.4}
    record = {"command": "cams", "settings": settings, "inputs": [str(world / "images")]}
    write_run_record(world / "run", {**record, "classes": class_record(CLASS_SET)})
    (world / "classes.txt").write_text("boat\ncat\ndog\n")
    return world


def test_there_are_many_different_files():
    assert len({make() for make, _ in OURS.values()}) == len(OURS) >= 70
    assert len({make() for make, _ in NPZ.values()}) == len(NPZ) >= 24


def reasons(document):
    return {entry["id"]: entry["reason"] for entry in document["failed"]}


def run(world, out, *arguments):
    """The document that a command prints; nothing but its output changed, and no CAM ran anything."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with unharmed(world, world / out):
        result = semples(*arguments, "--out", world / out, "--json")
    assert result.exit_code == 3, result.stderr
    assert all(is_plain(line) for line in result.stderr.splitlines())
    assert not Path("hostile-was-here").exists()
    if sys.platform == "linux":
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 2**19  # KiB
    return document_of(result)


@pytest.fixture(scope="module")
def refined(world):
    return run(world, "crf", "crf", world / "run", "--workers", 1)


@pytest.fixture(scope="module")
def refined_npz(world):
    form = ("--cams-format", "npz", "--cams-numbering", 1, "--classes", world / "classes.txt")
    return run(world, "crf-npz", "crf", world / "npz", "--images", world / "images", "--workers", 1, *form)


@pytest.fixture(scope="module")
def exported(world):
    return run(world, "irn", "export", world / "run", "--to", "irn")


@pytest.mark.parametrize("name", OURS)
def test_each_cam_of_ours_fails_with_its_reason_or_is_done(world, refined, name):
    failed, says = reasons(refined), OURS[name][1]
    if not says:
        assert read_mask(world / f"crf/{name}.png").shape == SIZE
        return
    assert says in failed[name]
    assert is_plain(failed[name])
    assert not (world / f"crf/{name}.png").exists()


@pytest.mark.parametrize("name", NPZ)
def test_each_npz_of_others_fails_with_its_reason_or_is_done(world, refined_npz, name):
    failed, says = reasons(refined_npz), NPZ[name][1]
    if not says:
        assert read_mask(world / f"crf-npz/{name}.png").shape == SIZE
        return
    assert failed[name].startswith(f"{world}/npz/{name}.npz: ")
    assert says in failed[name]
    assert is_plain(failed[name])


@pytest.mark.parametrize("name", OURS)
def test_an_export_of_cams_leaves_it_out_with_its_reason(world, exported, name):
    failed, says = reasons(exported), OURS[name][1]
    if not says or says.startswith(ONLY_BESIDE_THE_IMAGE):
        assert (world / f"irn/{name}.npy").is_file()
    else:
        assert name in failed
        assert is_plain(failed[name])


@pytest.mark.parametrize("name", NO_FILES)
def test_what_is_no_file_is_named_and_never_read(refined, name):
    assert NO_FILES[name] in reasons(refined)[name]


def test_good_cams_beside_them_are_done(world, refined, refined_npz, exported):
    for document, cases, out in ((refined, OURS, "crf"), (refined_npz, NPZ, "crf-npz")):
        good = {name for name, (_, says) in cases.items() if not says} | set(GOOD)
        assert set(find_masks(world / out)) == good
        assert document["written"] == len(good)
    assert {f"{name}.npy" for name in GOOD} <= {
        path.relative_to(world / "irn").as_posix() for path in (world / "irn").rglob("*.npy")
    }


@pytest.mark.parametrize("name", [name for name, (_, says) in OURS.items() if says])
def test_evaluate_stops_at_it_and_names_it(tmp_path, name):
    for each, content in (("a", ours()()), ("b", OURS[name][0]())):
        put(tmp_path / f"run/.semples/cams/{each}.npz", content)
        put(tmp_path / f"truth/{each}.png", mask())
    (tmp_path / "classes.txt").write_text("boat\ncat\ndog\n")
    with unharmed(tmp_path, tmp_path / "report"):
        result = semples(
            "evaluate", tmp_path / "run", tmp_path / "truth", "--cams", "--classes", tmp_path / "classes.txt", "--out",
            tmp_path / "report",
        )  # fmt: skip
    assert result.exit_code == 1
    line = error_of(result)
    assert "b.npz" in line
    assert is_plain(line)
    assert not (tmp_path / "report").exists()


def test_images_whose_cam_is_bad_are_left_out_of_a_training_and_said(world):
    source = open_cams(world / "run", CLASS_SET)
    samples = [Sample(name, world / f"images/{name}.png", (1,)) for name in (*OURS, *NO_FILES, *GOOD)]
    said = []
    images = mapped_images(samples, source, 10**6, said.append)
    read = {sample.id for i, sample in enumerate(samples) if images.read(i) is not None}
    left_out = {line.partition(" is left out: ")[0] for line in said}
    assert read >= set(GOOD)
    assert read | left_out == {sample.id for sample in samples}
    assert not read & left_out
    assert all(is_plain(line) for line in said)
    assert len(source.fingerprint([sample.id for sample in samples])) == 64  # of what cannot be read, too


@pytest.mark.parametrize("name", ["bomb-of-1-gb", "scores-announce-an-exabyte"])
def test_the_cure_of_a_cam_of_ours_is_named(tmp_path, name):
    path = put(tmp_path / "x.npz", OURS[name][0]())
    with pytest.raises(ArtifactError, match="delete it and run `semples cams` again"):
        read_cam(path, "x")


def test_scores_at_the_edge_of_the_range_are_good(tmp_path):
    path = put(tmp_path / "x.npz", ours(scores=np.array([[[0.0, 1.0]]], np.float16))())
    assert read_cam(path, "x").scores.tolist() == [[[0.0, 1.0]]]
