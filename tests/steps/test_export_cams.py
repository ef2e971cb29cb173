"""Export of CAMs: what IRN's own steps make of the files, what is kept of an earlier run, and what is refused."""

import shutil

import numpy as np
import pytest
from foreign_files import irn, save

from semples_cli.artifacts.cam_store import find_cams, read_cam, write_cam
from semples_cli.artifacts.manifest_entries import read_manifest
from semples_cli.artifacts.run_folder import RunFolder, class_record, read_run_record, write_run_record
from semples_cli.errors import ArtifactError, SettingsError
from semples_cli.functional.masks import resize_scores, seed_mask
from semples_cli.steps import export_cams as step
from semples_cli.steps.cam_reader import CamForm
from semples_cli.steps.cam_source import open_cams
from semples_cli.steps.export_cams import export_cams
from semples_cli.steps.progress import silent
from semples_cli.types import Cam, ClassSet

CLASSES = ClassSet(("cat", "dog", "emu"))
# Id → classes, grid, image.
IMAGES = {"a/1": ([3, 1], (4, 5), (17, 31)), "a/2": ([], (2, 3), (8, 9)), "b": ([2], (3, 3), (24, 24))}


@pytest.fixture
def run(tmp_path):
    """A run folder with a record and CAMs of three images."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "run"
    for sample_id, (classes, grid, size) in IMAGES.items():
        scores = rng.integers(0, 21, (len(classes), *grid)).astype(np.float32) / 20
        write_cam(RunFolder(folder).cams, Cam(sample_id, np.array(classes, np.int64), scores, size), {})
    record = {"command": "cams", "settings": {"background_score": 0.3}, "classes": class_record(CLASSES)}
    write_run_record(folder, {**record, "inputs": [str(tmp_path / "images")], "engine": {"licence": "CC0"}})
    return folder


def export(run, out, **options):
    summary = export_cams(run, out, progress=options.pop("progress", silent), **options)
    return summary.written, summary.resumed, [item for item, _ in summary.failed]


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.npy")}


@pytest.mark.parametrize("background_score", [0.0, 0.25, 0.3, 0.5, 1.0])
def test_irn_cuts_the_masks_that_we_cut(run, tmp_path, background_score):
    """As its evaluation does: pad the keys by background, the maps by its score, take the argmax."""
    assert export(run, tmp_path / "irn") == (3, 0, [])
    for sample_id, path in find_cams(run).items():
        content = np.load(tmp_path / f"irn/{sample_id}.npy", allow_pickle=True).item()
        keys = np.pad(content["keys"] + 1, (1, 0), mode="constant")
        padded = np.pad(
            content["high_res"], ((1, 0), (0, 0), (0, 0)), mode="constant", constant_values=background_score
        )
        theirs = keys[np.argmax(padded, axis=0)]
        cam = read_cam(path, sample_id)
        ours = seed_mask(resize_scores(cam.scores, cam.image_size), cam.class_indices, background_score)
        np.testing.assert_array_equal(theirs, ours)


def test_the_arrays_are_of_the_types_and_shapes_that_irn_writes(run, tmp_path):
    export(run, tmp_path / "irn")
    for sample_id, (classes, grid, size) in IMAGES.items():
        content = np.load(tmp_path / f"irn/{sample_id}.npy", allow_pickle=True).item()
        assert content["keys"].tolist() == [k - 1 for k in classes]
        assert (content["keys"].dtype, content["cam"].dtype, content["high_res"].dtype) == ("int64", "f4", "f4")
        assert content["cam"].shape == (len(classes), *grid)
        assert content["high_res"].shape == (len(classes), *size)


def test_ours_to_irn_and_back(run, tmp_path):
    export(run, tmp_path / "irn")
    grids, pixels = (open_cams(tmp_path / "irn", CLASSES, maps=maps) for maps in ("cam", None))
    assert list(grids.paths) == list(IMAGES)
    for sample_id, path in find_cams(run).items():
        ours = read_cam(path, sample_id)
        for source, scores in ((grids, ours.scores), (pixels, resize_scores(ours.scores, ours.image_size))):
            cam = source.read(sample_id, ours.image_size)
            assert cam.image_size == ours.image_size
            np.testing.assert_array_equal(cam.class_indices, ours.class_indices)
            np.testing.assert_array_equal(cam.scores, scores)


def test_cams_of_another_project_are_exported_too(tmp_path):
    maps = np.random.default_rng(0).random((2, 6, 9)).astype(np.float32)
    save(tmp_path / "in/1.npy", irn([1, 2], maps[:, :2, :2], maps))
    notes = []
    assert export(tmp_path / "in", tmp_path / "out", cams_form=CamForm(numbering=1), note=notes.append) == (1, 0, [])
    content = np.load(tmp_path / "out/1.npy", allow_pickle=True).item()
    assert content["keys"].tolist() == [0, 1]
    np.testing.assert_array_equal(content["high_res"], maps)
    assert "keys counted from 1" in notes[0]
    # On a grid alone, nothing says the size of the image.
    _, _, failed = export(tmp_path / "in", tmp_path / "grid", cams_form=CamForm(maps="cam"))
    assert failed == ["1"]


def test_the_record_says_where_they_come_from_and_what_belongs_to_them(run, tmp_path):
    export(run, tmp_path / "irn")
    record, origin = read_run_record(tmp_path / "irn"), read_run_record(run)
    assert (record["command"], record["to"], record["source"]) == ("export", "irn", str(run))
    for name in ("settings", "classes", "inputs", "engine"):
        assert record[name] == origin[name]
    export(run / ".semples/cams", tmp_path / "again")
    assert read_run_record(tmp_path / "again")["classes"] == origin["classes"]


class TestResume:
    def test_what_is_there_from_the_same_cam_is_kept(self, run, tmp_path):
        seen = []
        assert export(run, tmp_path / "irn") == (3, 0, [])
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "irn").rglob("*.npy")}
        assert export(run, tmp_path / "irn", progress=lambda *pair: seen.append(pair)) == (0, 3, [])
        assert {path: path.stat().st_mtime_ns for path in before} == before
        assert seen == [(1, 3), (2, 3), (3, 3)]

    def test_a_cam_that_changed_and_a_file_that_is_gone_are_done_again(self, run, tmp_path):
        export(run, tmp_path / "irn")
        before = files(tmp_path / "irn")
        write_cam(RunFolder(run).cams, Cam("b", np.array([1]), np.ones((1, 3, 3), np.float32), (24, 24)), {})
        (tmp_path / "irn/a/1.npy").unlink()
        assert export(run, tmp_path / "irn") == (2, 1, [])
        after = files(tmp_path / "irn")
        assert after.keys() == before.keys()
        assert [name for name in after if after[name] != before[name]] == ["b.npy"]

    def test_overwrite_writes_everything(self, run, tmp_path):
        export(run, tmp_path / "irn")
        before = files(tmp_path / "irn")
        assert export(run, tmp_path / "irn", overwrite=True) == (3, 0, [])
        assert files(tmp_path / "irn") == before

    def test_a_step_of_another_version_writes_everything(self, run, tmp_path, monkeypatch):
        export(run, tmp_path / "irn")
        monkeypatch.setattr(step, "STEP_VERSION", step.STEP_VERSION + 1)
        assert export(run, tmp_path / "irn") == (3, 0, [])

    def test_an_interruption_leaves_whole_files_only(self, run, tmp_path, monkeypatch):
        real, calls = step.resize_scores, []

        def interrupted(*args):
            calls.append(args)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return real(*args)

        with monkeypatch.context() as patch:
            patch.setattr(step, "resize_scores", interrupted)
            with pytest.raises(KeyboardInterrupt):
                export(run, tmp_path / "irn")
        assert list(files(tmp_path / "irn")) == ["a/1.npy"]
        assert not list((tmp_path / "irn").rglob("*.partial"))
        assert export(run, tmp_path / "irn") == (2, 1, [])


class TestFaults:
    def test_a_damaged_cam_fails_alone_and_takes_its_stale_file_away(self, run, tmp_path):
        export(run, tmp_path / "irn")
        find_cams(run)["b"].write_bytes(b"")
        summary = export_cams(run, tmp_path / "irn", progress=silent)
        assert (summary.written, summary.resumed) == (0, 2)
        [(item, reason)] = summary.failed
        assert item == "b"
        assert "not a readable CAM" in reason
        assert set(files(tmp_path / "irn")) == {"a/1.npy", "a/2.npy"}
        assert read_manifest(RunFolder(tmp_path / "irn").manifest)["b"].status == "failed"

    def test_a_picture_of_the_same_name_is_left_alone(self, run, tmp_path):
        (tmp_path / "images").mkdir()
        (tmp_path / "images/b.png").write_bytes(b"a photo")
        find_cams(run)["b"].write_bytes(b"")
        assert export(run, tmp_path / "images")[2] == ["b"]
        assert (tmp_path / "images/b.png").read_bytes() == b"a photo"

    def test_an_unknown_form_is_refused(self, run, tmp_path):
        with pytest.raises(SettingsError, match="--to voc: choose one of irn"):
            export(run, tmp_path / "out", to="voc")

    @pytest.mark.parametrize("out", ["run", "run/irn", "."])
    def test_a_folder_inside_the_other_is_refused(self, run, tmp_path, out):
        with pytest.raises(SettingsError, match="lie inside each other: choose a folder apart"):
            export(run, tmp_path / out)

    def test_a_folder_of_another_command_is_refused(self, run, tmp_path):
        shutil.copytree(run, tmp_path / "other")
        with pytest.raises(SettingsError, match="made by `semples cams`; choose another --out"):
            export(run, tmp_path / "other")

    def test_a_folder_without_cams_is_refused(self, tmp_path):
        with pytest.raises(ArtifactError, match="no CAMs here"):
            export(tmp_path, tmp_path / "out")
