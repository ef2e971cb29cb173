"""CAMs of other projects from end to end on a small built-in world: whoever wrote the same maps, the same comes out."""

import json
import os
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from foreign_files import clip_es, irn, save, save_pickled, weaktr
from typer.testing import CliRunner

from semples_cli.artifacts.cam_store import find_cams, read_cam
from semples_cli.artifacts.mask_png import find_masks, read_mask
from semples_cli.artifacts.prompts_file import read_prompts
from semples_cli.artifacts.run_folder import read_run_record
from semples_cli.cli.app import app
from semples_cli.data.class_list import read_class_list
from semples_cli.functional.masks import resize_scores

WIDE = {"COLUMNS": "200", "TERM": "dumb"}
ENGINE = ["--device", "cpu", "--precision", "fp32"]
SMALL = ["--prompt-length", "2", "--epochs", "1", "--size", "32", "--min-images", "1"]
IMAGES = 5


def run(*args):
    return CliRunner().invoke(app, list(map(str, args)), env=WIDE)


def ok(*args):
    done = run(*args)
    assert done.exit_code == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def world_dir(tmp_path_factory, clip_dir):
    """`world/`, and `ours/` with CAMs and masks of it."""
    folder = tmp_path_factory.mktemp("foreign")
    ok("demo-data", "--out", folder / "world", "--num-images", IMAGES, "--size", 32)
    ok("cams", "--data", folder / "world", "--out", folder / "ours", "--weights", clip_dir, *ENGINE, "--size", 32)
    return folder


@pytest.fixture
def world(world_dir, tmp_path, monkeypatch):
    """The tests stand in a folder from which `world` and `ours` are seen."""
    for name in ("world", "ours"):
        (tmp_path / name).symlink_to(world_dir / name, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_npz(path, cam, maps):
    np.savez(path, scores=maps, class_indices=cam.class_indices)


def write_named(path, cam, maps):
    names = read_class_list("world/classes.txt")
    np.savez(path, **{names.name_of(k): each for k, each in zip(cam.class_indices.tolist(), maps, strict=True)})


# Name → suffix, what writes (path, CAM, maps at the size of the image), options that it needs.
WRITERS = {
    "clip-es": (".npy", lambda path, cam, maps: save(path, clip_es(cam.class_indices - 1, maps)), []),
    "irn": (".npy", lambda path, cam, maps: save(path, irn(cam.class_indices - 1, cam.scores, maps)), []),
    "weaktr": (".npy", lambda path, cam, maps: save(path, weaktr((cam.class_indices - 1).tolist(), maps)), []),
    "one-based": (
        ".npy",
        lambda path, cam, maps: save(path, weaktr(cam.class_indices.tolist(), maps)),
        ["--cams-numbering", "1"],
    ),
    "npz": (".npz", write_npz, ["--cams-numbering", "1"]),
    "named": (".npz", write_named, []),
}
SAID = {"clip-es": "CLIP-ES", "irn": "IRN", "weaktr": "WeakTr", "one-based": "WeakTr", "npz": "npz", "named": "npz"}


def write_foreign(folder, name):
    """Our CAMs as another project would have written them; the options that they need."""
    suffix, write, options = WRITERS[name]
    folder.mkdir()
    for sample_id, path in find_cams(folder.parent / "ours").items():
        cam = read_cam(path, sample_id)
        maps = resize_scores(cam.scores, cam.image_size).astype(np.float16).astype(np.float32)
        write(folder / f"{sample_id}{suffix}", cam, maps)
    return options


def masks_of(folder):
    return {sample_id: read_mask(path) for sample_id, path in find_masks(folder).items()}


@pytest.fixture
def learn(world, clip_dir):
    def learn(*args):
        return run("learn-prompts", "--data", "world", "--weights", clip_dir, *ENGINE, *SMALL, *args)

    return learn


@pytest.mark.parametrize("name", WRITERS)
def test_prompts_are_learned_from_them(world, learn, name):
    options = write_foreign(world / "theirs", name)
    done = learn("--cams", "theirs", *options)
    assert done.exit_code == 0, done.stderr
    assert re.search(
        rf"theirs: read as {'plain ' if SAID[name] == 'npz' else ''}{SAID[name]}.*: {IMAGES} files", done.stderr
    )
    assert "left out" not in done.stderr
    prompts = read_prompts(world / "prompts.safetensors")
    assert prompts.settings["num_pairs"] == sum(
        len(read_cam(p, i).class_indices) for i, p in find_cams(Path("ours")).items()
    )
    again = learn("--cams", "theirs", *options)
    assert "kept, it was learned with the same settings" in again.stderr


def test_the_same_maps_give_the_same_prompts(world, learn):
    write_foreign(world / "theirs", "irn")
    assert learn("--cams", "ours", "--out", "a.safetensors").exit_code == 0
    assert learn("--cams", "theirs", "--cams-map", "cam", "--out", "b.safetensors").exit_code == 0
    ours, theirs = (read_prompts(world / name) for name in ("a.safetensors", "b.safetensors"))
    np.testing.assert_array_equal(ours.vectors, theirs.vectors)


def test_prompts_are_learned_from_masks(world, learn):
    done = learn("--cams", "world/SegmentationClass")
    assert done.exit_code == 0, done.stderr
    assert f"read as masks: {IMAGES} PNGs, score 1 on the pixels of a class" in done.stderr


def test_prompts_are_learned_again_when_the_maps_are_read_otherwise(world, learn):
    write_foreign(world / "theirs", "irn")
    assert learn("--cams", "theirs").exit_code == 0
    assert "learned again, because settings, images" in learn("--cams", "theirs", "--cams-map", "cam").stderr


@pytest.mark.parametrize("name", WRITERS)
def test_the_crf_refines_them_as_ours(world, name):
    options = write_foreign(world / "theirs", name)
    classes = ["--classes", "world/classes.txt"]
    ok("crf", "ours", "--images", "world/JPEGImages", "--out", "a", "--workers", 1)
    done = ok("crf", "theirs", "--images", "world/JPEGImages", "--out", "b", "--workers", 2, *classes, *options)
    assert f"read as {'plain ' if SAID[name] == 'npz' else ''}{SAID[name]}" in done.stderr
    ours, theirs = masks_of(world / "a"), masks_of(world / "b")
    assert len(ours) == IMAGES
    assert ours.keys() == theirs.keys()
    if name == "irn":  # in float32 and at the image's size
        differ = [np.mean(ours[each] != theirs[each]) for each in ours]
        assert max(differ) < 0.03
    record = read_run_record(world / "b")
    assert (record["source_kind"], record["classes"]["names"]) == (
        "cams",
        read_run_record(world / "ours")["classes"]["names"],
    )
    again = ok("crf", "theirs", "--images", "world/JPEGImages", "--out", "b", *classes, *options, "--json")
    assert json.loads(again.stdout)["resumed"] == IMAGES


@pytest.mark.parametrize("name", WRITERS)
def test_they_are_evaluated_as_ours(world, name):
    options = write_foreign(world / "theirs", name)
    ours = json.loads(ok("evaluate", "ours", "world", "--cams", "--json").stdout)
    done = ok("evaluate", "theirs", "world", "--cams", "--classes", "world/classes.txt", "--json", *options)
    theirs = json.loads(done.stdout)
    assert f"read as {'plain ' if SAID[name] == 'npz' else ''}{SAID[name]}" in done.stderr
    assert theirs["num_images"] == IMAGES
    for (score, miou), (their_score, their_miou) in zip(ours["curve"], theirs["curve"], strict=True):
        assert score == their_score
        assert miou == pytest.approx(their_miou, abs=0.02)  # float16 turns pixels at the border of a threshold


def test_an_export_is_evaluated_exactly_as_what_it_is_made_of(world):
    ok("export", "ours", "--to", "irn", "--out", "theirs")
    ours, theirs = (json.loads(ok("evaluate", each, "world", "--cams", "--json").stdout) for each in ("ours", "theirs"))
    assert ours == theirs  # the export says its classes
    ok("crf", "ours", "--out", "a", "--workers", 1)
    ok("crf", "theirs", "--out", "b", "--workers", 1)  # and where its images are
    for sample_id, mask in masks_of(world / "a").items():
        np.testing.assert_array_equal(mask, masks_of(world / "b")[sample_id])


def test_files_are_matched_by_name_where_folders_differ(world):
    shutil.copytree(world / "world/JPEGImages", world / "deep/train")
    shutil.copytree(world / "world/SegmentationClass", world / "truth/train")
    write_foreign(world / "theirs", "irn")
    ok("crf", "theirs", "--images", "deep", "--out", "out", "--workers", 1)
    assert {each.split("/")[0] for each in masks_of(world / "out")} == {"train"}
    done = ok("evaluate", "theirs", "truth", "--cams", "--classes", "world/classes.txt", "--json")
    assert json.loads(done.stdout)["num_images"] == IMAGES


def test_scores_above_1_are_said_once(world):
    (world / "theirs").mkdir()
    for sample_id, path in find_cams(Path("ours")).items():
        cam = read_cam(path, sample_id)
        maps = resize_scores(cam.scores, cam.image_size)
        save(world / f"theirs/{sample_id}.npy", weaktr((cam.class_indices - 1).tolist(), 5 * maps - 0.1))
    done = ok("crf", "theirs", "--images", "world/JPEGImages", "--out", "out", "--workers", 2)
    assert done.stderr.count("a map with scores above 1 is divided by its largest score, as in ") == 1
    assert done.stderr.count("scores below 0 are set to 0, as in ") == 1


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "command", "code", "message"),
        [
            ("one-based", "learn-prompts", 1, "add --cams-numbering 1"),
            ("npz", "learn-prompts", 2, "add --cams-numbering 0 or --cams-numbering 1"),
            ("npz", "crf", 2, "add --cams-numbering 0 or --cams-numbering 1"),
            ("npz", "evaluate", 2, "add --cams-numbering 0 or --cams-numbering 1"),
            ("named", "crf", 3, "give the class list by --classes"),
            ("irn", "evaluate", 2, "add --classes classes.txt"),
            ("irn", "crf --cams-format weaktr", 3, "not WeakTr npy"),
            ("irn", "evaluate --cams-format png --classes world/classes.txt", 1, "no files of the format png here"),
            ("weaktr", "crf --cams-map cam", 2, "leave --cams-map out"),
            ("irn", "crf --preset semples-voc", 2, "no run.json says at which background score these CAMs are cut"),
            ("irn", "crf --from masks", 1, "no mask PNGs here"),
            ("irn", "crf --from masks --cams-map cam", 2, "--cams-map: masks are refined here; give CAMs, or leave"),
        ],
    )
    def test_what_does_not_fit_is_one_line_with_a_cure(self, world, learn, name, command, code, message):
        write_foreign(world / "theirs", name)
        command, *options = command.split()
        if command == "learn-prompts":
            done = learn("--cams", "theirs", *options)
        elif command == "crf":
            done = run("crf", "theirs", "--images", "world/JPEGImages", "--out", "out", "--workers", 1, *options)
        else:
            done = run("evaluate", "theirs", "world", "--cams", *options)
        assert done.exit_code == code, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.output

    def test_masks_are_not_cams_where_scores_are_cut(self, world):
        done = run("evaluate", "world/SegmentationClass", "world", "--cams", "--classes", "world/classes.txt")
        assert done.exit_code == 2
        assert "these are masks, not CAMs; evaluate them without --cams" in done.stderr
        done = run("crf", "world/SegmentationClass", "--images", "world/JPEGImages", "--from", "cams", "--out", "out")
        assert done.exit_code == 2
        assert "these are masks, not CAMs; refine them with --from masks" in done.stderr

    def test_options_of_cams_need_cams(self, world, learn):
        done = run("evaluate", "ours", "world", "--cams-numbering", "1")
        assert (done.exit_code, "--cams-numbering: masks are evaluated; add --cams, or leave" in done.stderr) == (
            2,
            True,
        )
        done = learn("--cams-format", "irn")
        assert done.exit_code == 2
        assert "a mask generator is trained here; give CAMs by --cams" in done.stderr

    def test_other_classes_than_those_of_the_run_are_refused(self, world):
        done = run("crf", "ours", "--out", "out", "--classes", "voc12")
        assert done.exit_code == 2
        assert "its run.json says other classes than --classes; leave --classes out" in done.stderr

    @pytest.mark.parametrize("command", ["learn-prompts", "crf", "evaluate", "export"])
    def test_a_hostile_file_is_refused_and_not_run_by_any_command(self, world, learn, command):
        class Hostile:
            def __reduce__(self):
                return os.mkdir, (str(world / "made"),)

        for path in (world / "world/JPEGImages").iterdir():
            save_pickled(world / f"theirs/{path.stem}.npy", pickle.dumps(Hostile()))
        commands = {
            "crf": ["crf", "theirs", "--images", "world/JPEGImages", "--out", "out"],
            "evaluate": ["evaluate", "theirs", "world", "--cams", "--classes", "world/classes.txt"],
            "export": ["export", "theirs", "--out", "out"],
        }
        done = learn("--cams", "theirs") if command == "learn-prompts" else run(*commands[command])
        assert done.exit_code == 1
        assert "refused, its pickle would call" in done.stderr
        assert not (world / "made").exists()
