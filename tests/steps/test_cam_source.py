"""The one seam: every form of CAMs comes in as the same CAM, said in a sentence, and what does not fit is refused."""

import pickle

import numpy as np
import pytest
from foreign_files import clip_es, irn, save, weaktr
from PIL import Image

from semples_cli.artifacts.cam_store import find_cams, write_cam
from semples_cli.artifacts.mask_png import write_mask
from semples_cli.data.cams.scores import CLIPPED, DIVIDED
from semples_cli.errors import ArtifactError, DataError, SettingsError
from semples_cli.steps.cam_reader import CamForm
from semples_cli.steps.cam_source import CAM_FORMATS, LABELS_CHECKED, open_cams
from semples_cli.types import Cam, ClassSet, Sample

CLASSES = ClassSet(("cat", "dog", "emu"))
SIZE = (6, 9)
MAPS = np.random.default_rng(0).random((2, *SIZE)).astype(np.float16).astype(np.float32)
GRID = MAPS[:, :2, :3]


def npz(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def write_semples(folder):
    write_cam(folder / ".semples/cams", Cam("a/1", np.array([3, 1]), GRID, SIZE), {})


def write_png(folder):
    values = np.zeros(SIZE, np.uint8)
    values[:2], values[3:5, 1:], values[5, 5:] = 3, 1, 255
    write_mask(folder / "a/1.png", values)


# Name → what writes the file of image a/1, the sentence about it, the scores that come out.
FORMS = {
    "semples": (write_semples, "read as CAMs of semples: 1 files", GRID),
    "clip-es": (
        lambda folder: save(folder / "a/1.npy", clip_es([2, 0], MAPS)),
        "read as CLIP-ES npy: 1 files, keys counted from 0",
        MAPS,
    ),
    "irn": (
        lambda folder: save(folder / "a/1.npy", irn([2, 0], GRID, MAPS)),
        "read as IRN npy (CLIMS and others write it too): 1 files, keys counted from 0",
        MAPS,
    ),
    "weaktr": (
        lambda folder: save(folder / "a/1.npy", weaktr([2, 0], MAPS)),
        "read as WeakTr npy (SemPLeS, MCTformer): 1 files, keys counted from 0",
        MAPS,
    ),
    "npz": (
        lambda folder: npz(folder / "a/1.npz", emu=GRID[0], cat=GRID[1]),
        "read as plain npz: 1 files, classes by name",
        GRID,
    ),
    "png": (write_png, "read as masks: 1 PNGs, score 1 on the pixels of a class", None),
}


def open_form(folder, name, **options):
    FORMS[name][0](folder)
    return open_cams(folder, CLASSES, **options)


def test_every_format_is_tried_here():
    assert set(FORMS) | {"auto"} == set(CAM_FORMATS)


@pytest.mark.parametrize("fmt", ["auto", "named"])
@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_recognised_said_and_read(tmp_path, name, fmt):
    notes = []
    source = open_form(tmp_path, name, fmt=name if fmt == "named" else "auto", note=notes.append)
    assert source.format == name
    assert source.description == FORMS[name][1]
    assert notes == ([] if name == "semples" else [f"{tmp_path}: {FORMS[name][1]}"])
    assert source.is_foreign is (name != "semples")
    assert list(source.paths) == ["a/1"]
    cam = source.read("a/1", SIZE)
    assert (cam.sample_id, cam.image_size, cam.scores.dtype) == ("a/1", SIZE, np.float32)
    by_class = dict(zip(cam.class_indices.tolist(), cam.scores, strict=True))
    assert set(by_class) == {1, 3}
    if name == "png":
        expected = np.zeros((2, *SIZE))
        expected[0, :2], expected[1, 3:5, 1:] = 1, 1
    else:
        expected = FORMS[name][2]
    np.testing.assert_array_equal(by_class[3], expected[0])
    np.testing.assert_array_equal(by_class[1], expected[1])


@pytest.mark.parametrize("name", ["semples", "clip-es", "irn", "weaktr", "png"])
def test_without_a_size_the_maps_own_is_that_of_the_image(tmp_path, name):
    assert open_form(tmp_path, name).read("a/1").image_size == SIZE


@pytest.mark.parametrize(("name", "options"), [("npz", {}), ("irn", {"maps": "cam"})])
def test_maps_on_a_grid_need_the_size_of_the_image(tmp_path, name, options):
    source = open_form(tmp_path, name, **options)
    cam = source.read("a/1", (60, 90))
    assert (cam.image_size, cam.scores.shape) == ((60, 90), (2, 2, 3))
    with pytest.raises(
        DataError, match="maps on a grid, and nothing says the size of the image; save them at the image"
    ):
        source.read("a/1")


@pytest.mark.parametrize("name", ["clip-es", "irn", "weaktr", "png"])
def test_maps_of_another_size_than_the_image_are_refused(tmp_path, name):
    source = open_form(tmp_path, name)
    with pytest.raises(
        DataError, match=r"maps of 6×9 pixels .* but the image is 9×6, turned as its EXIF data say: give"
    ):
        source.read("a/1", (9, 6))


def test_an_image_without_classes_takes_the_size_that_is_said(tmp_path):
    save(tmp_path / "b.npy", weaktr([1], MAPS[:1]))
    save(tmp_path / "a.npy", {})
    cam = open_cams(tmp_path, CLASSES).read("a", SIZE)
    assert (cam.class_indices.shape, cam.scores.shape, cam.image_size) == ((0,), (0, 1, 1), SIZE)


def test_the_reader_travels_to_a_process(tmp_path):
    source = open_form(tmp_path, "irn")
    reader = pickle.loads(pickle.dumps(source.reader))
    assert reader == source.reader
    cam, changes = reader.read(source.paths["a/1"], "a/1", SIZE)
    np.testing.assert_array_equal(cam.scores, MAPS)
    assert changes == ()


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"fmt": "irm"}, "--cams-format irm: choose one of auto, semples, clip-es, irn, weaktr, npz, png"),
            ({"numbering": 2}, "--cams-numbering 2: choose one of 0, 1"),
            ({"maps": "big"}, "--cams-map big: choose one of high_res, cam"),
        ],
    )
    def test_unknown_values(self, tmp_path, options, message):
        with pytest.raises(SettingsError, match=f"^{message}$"):
            open_form(tmp_path, "irn", **options)

    @pytest.mark.parametrize("name", ["semples", "clip-es", "weaktr", "npz", "png"])
    def test_maps_are_chosen_only_where_there_are_several(self, tmp_path, name):
        with pytest.raises(
            SettingsError, match=rf"--cams-map cam: .* \({name}\) have one map a class; leave --cams-map"
        ):
            open_form(tmp_path, name, maps="cam")

    @pytest.mark.parametrize("name", ["semples", "npz", "png"])
    def test_what_is_not_counted_otherwise_takes_no_numbering(self, tmp_path, name):
        with pytest.raises(
            SettingsError, match=r"--cams-numbering 1: .* are not counted otherwise; leave --cams-numberi"
        ):
            open_form(tmp_path, name, numbering=1)

    @pytest.mark.parametrize("keys", ["keys", "class_indices"])
    def test_npz_with_numbers_says_its_numbering(self, tmp_path, keys):
        npz(tmp_path / "1.npz", **{"scores": GRID, keys: np.array([2, 1])})
        with pytest.raises(SettingsError, match=r"files do not say .* add --cams-numbering 0 or --cams-numbering 1"):
            open_cams(tmp_path, CLASSES)
        for numbering, indices in ((0, [3, 2]), (1, [2, 1])):
            source = open_cams(tmp_path, CLASSES, numbering=numbering)
            assert source.description == f"read as plain npz: 1 files, keys counted from {numbering}"
            assert source.read("1", SIZE).class_indices.tolist() == indices

    def test_npz_with_names_needs_the_classes(self, tmp_path):
        FORMS["npz"][0](tmp_path)
        with pytest.raises(DataError, match=r"its maps are named by class .* give the class list by --classes"):
            open_cams(tmp_path, None).read("a/1", SIZE)

    def test_numbering_of_dicts_can_be_said(self, tmp_path):
        save(tmp_path / "1.npy", weaktr([3, 1], MAPS))
        source = open_cams(tmp_path, CLASSES, *CamForm(numbering=1))
        assert source.read("1", SIZE).class_indices.tolist() == [3, 1]
        with pytest.raises(DataError, match="the other --cams-numbering"):
            open_cams(tmp_path, CLASSES).read("1", SIZE)


class TestFolders:
    def test_masks_beside_cams_of_a_run_are_not_taken_for_them(self, tmp_path):
        write_png(tmp_path)
        write_semples(tmp_path)
        assert open_cams(tmp_path, CLASSES).paths == find_cams(tmp_path)
        assert open_cams(tmp_path / ".semples/cams", CLASSES).format == "semples"
        assert open_cams(tmp_path, CLASSES, "png").format == "png"

    def test_a_run_without_cams_has_masks(self, tmp_path):
        write_png(tmp_path)
        (tmp_path / ".semples").mkdir()
        assert open_cams(tmp_path, CLASSES).format == "png"

    @pytest.mark.parametrize("folder", [".", "nowhere"])
    def test_a_folder_without_cams_is_refused(self, tmp_path, folder):
        with pytest.raises(ArtifactError, match="no CAMs here; give the folder that `semples cams"):
            open_cams(tmp_path / folder, CLASSES)

    @pytest.mark.parametrize("name", ["irn", "npz", "png"])
    def test_a_format_that_is_not_there_is_refused(self, tmp_path, name):
        with pytest.raises(
            ArtifactError, match=f"no files of the format {name} here; give their folder, or leave --cams"
        ):
            open_cams(tmp_path, CLASSES, name)

    def test_two_kinds_of_files_are_not_guessed_between(self, tmp_path):
        FORMS["irn"][0](tmp_path)
        FORMS["npz"][0](tmp_path)
        with pytest.raises(
            DataError, match=r"holds \.npy and \.npz files; say by --cams-format which of them are the CAMs"
        ):
            open_cams(tmp_path, CLASSES)
        assert open_cams(tmp_path, CLASSES, "npz").format == "npz"

    def test_a_damaged_npz_alone_is_told_as_one_of_ours(self, tmp_path):
        (tmp_path / "1.npz").write_bytes(b"PK")
        with pytest.raises(ArtifactError, match=r"1\.npz: not a readable CAM"):
            open_cams(tmp_path, CLASSES).read("1")

    def test_photos_are_no_masks(self, tmp_path):
        Image.new("RGB", (4, 4)).save(tmp_path / "1.png")
        with pytest.raises(ArtifactError, match="8-bit RGB PNG, whose pixels are not class indices"):
            open_cams(tmp_path, CLASSES)

    def test_a_mask_with_a_class_too_many_is_refused(self, tmp_path):
        write_mask(tmp_path / "1.png", np.full((2, 2), 4, np.uint8))
        with pytest.raises(
            DataError, match="class 4 in it, but the classes are 1 to 3; give the class list of these masks"
        ):
            open_cams(tmp_path, CLASSES).read("1")

    def test_a_mask_of_background_has_no_map(self, tmp_path):
        write_mask(tmp_path / "1.png", np.array([[0, 255]], np.uint8))
        assert open_cams(tmp_path, CLASSES).read("1").scores.shape == (0, 1, 2)


class TestNotes:
    def test_changes_of_scores_are_said_once_each(self, tmp_path):
        for name, maps in (("1", MAPS * 3), ("2", MAPS * 2), ("3", MAPS * 4 - 1), ("4", MAPS)):
            save(tmp_path / f"{name}.npy", weaktr([0, 1], maps))
        notes = []
        source = open_cams(tmp_path, CLASSES, note=notes.append)
        del notes[:]
        for sample_id in source.paths:
            assert source.read(sample_id, SIZE).scores.max() <= 1
        assert notes == [f"{tmp_path}: {DIVIDED}, as in 1", f"{tmp_path}: {CLIPPED}, as in 3"]

    def test_without_anyone_to_tell_they_are_read_all_the_same(self, tmp_path):
        save(tmp_path / "1.npy", weaktr([0, 1], MAPS * 3))
        assert open_cams(tmp_path, CLASSES).read("1").scores.max() == 1

    def test_nan_is_refused(self, tmp_path):
        save(tmp_path / "1.npy", weaktr([0], [np.full(SIZE, np.nan)]))
        with pytest.raises(DataError, match="NaN"):
            open_cams(tmp_path, CLASSES).read("1")


class TestIds:
    def test_foreign_files_take_the_ids_of_images(self, tmp_path):
        save(tmp_path / "1.npy", weaktr([0, 1], MAPS))
        source = open_cams(tmp_path, CLASSES).named_as(["train/1", "train/2"])
        assert list(source.paths) == ["train/1"]
        assert source.read("train/1", SIZE).sample_id == "train/1"

    def test_cams_of_semples_have_their_ids(self, tmp_path):
        source = open_form(tmp_path, "semples")
        assert source.named_as(["1"]) is source


def samples(*labels):
    return [Sample(str(i), "none.png", label) for i, label in enumerate(labels)]


class TestLabels:
    def opened(self, folder, keys, numbering=None):
        for i, each in enumerate(keys):
            save(folder / f"{i}.npy", weaktr(each, np.zeros((len(each), 2, 2))))
        return open_cams(folder, CLASSES, numbering=numbering)

    def test_numbers_that_fit_are_taken(self, tmp_path):
        self.opened(tmp_path, [[0], [1, 2], [0, 2]]).check_labels(samples((1,), (2, 3), (1, 3)))

    def test_maps_of_more_classes_than_the_label_are_taken(self, tmp_path):
        self.opened(tmp_path, [[0, 1, 2], [0, 1, 2]]).check_labels(samples((1,), (3,)))

    @pytest.mark.parametrize(
        "keys",
        [
            [[1], [2, 3], [1, 3]],
            [[0, 1], [0, 2, 3], [0, 1, 3]],  # background's key first; (1,) would be found in 0, 1 counted from 0
            [[0, 1], [0, 2], [0, 1]],
        ],
    )
    def test_numbers_from_1_are_not_shifted_but_refused(self, tmp_path, keys):
        labels = samples(*(tuple(key for key in each if key) for each in keys))
        source = self.opened(tmp_path, keys)
        with pytest.raises(
            DataError, match=r"counted from 0, the class numbers go worse .* from 1; add --cams-numbering 1"
        ):
            source.check_labels(labels)
        open_cams(tmp_path, CLASSES, numbering=1).check_labels(labels)

    def test_numbers_from_0_are_not_taken_as_from_1(self, tmp_path):
        source = self.opened(tmp_path, [[1], [0, 1], [2]], numbering=1)
        with pytest.raises(DataError, match="add --cams-numbering 0"):
            source.check_labels(samples((2,), (1, 2), (3,)))

    def test_one_label_that_is_wrong_does_not_turn_the_rest(self, tmp_path):
        self.opened(tmp_path, [[0], [1], [1]]).check_labels(samples((1,), (2,), (1,)))

    def test_images_without_label_or_file_or_with_a_broken_one_do_not_count(self, tmp_path):
        source = self.opened(tmp_path, [[1], [0], [1]])
        source.paths["2"].write_bytes(b"")
        source.check_labels(samples((), (1,), (1,), (2,)))

    def test_only_some_files_are_read(self, tmp_path, monkeypatch):
        source = self.opened(tmp_path, [[0]] * (3 * LABELS_CHECKED))
        for path in list(source.paths.values())[1:3]:
            path.unlink()
        source.check_labels(samples(*[(1,)] * (3 * LABELS_CHECKED)))

    def test_where_no_numbers_are_counted_there_is_nothing_to_check(self, tmp_path):
        open_form(tmp_path, "png").check_labels([Sample("a/1", "none.png", (2,))])


class TestFingerprint:
    def test_it_follows_from_content_and_from_how_it_is_read(self, tmp_path):
        FORMS["irn"][0](tmp_path)
        first = open_cams(tmp_path, CLASSES).fingerprint(["a/1"])
        assert open_cams(tmp_path, CLASSES).fingerprint(["a/1", "missing"]) == first
        assert open_cams(tmp_path, CLASSES, numbering=1).fingerprint(["a/1"]) != first
        assert open_cams(tmp_path, CLASSES, maps="cam").fingerprint(["a/1"]) != first
        save(tmp_path / "a/1.npy", irn([2, 1], GRID, MAPS))
        assert open_cams(tmp_path, CLASSES).fingerprint(["a/1"]) != first
