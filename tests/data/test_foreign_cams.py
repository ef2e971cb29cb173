"""CAM files of other projects: each form as its project writes it, class numbers, scores, ids, and every refusal."""

import os
import pickle
import warnings
from collections import OrderedDict

import numpy as np
import pytest
import torch
from foreign_files import as_object, call, clip_es, irn, of_numpy_1, save, save_pickled, weaktr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from semples_cli.data.cams import npy_file
from semples_cli.data.cams.foreign_maps import ForeignMaps
from semples_cli.data.cams.irn import irn_file
from semples_cli.data.cams.matching import match_ids
from semples_cli.data.cams.npy_file import read_npy_dict
from semples_cli.data.cams.numbering import class_slots, label_fit
from semples_cli.data.cams.plain_npz import has_numbers, is_ours, npz_names, read_plain_npz
from semples_cli.data.cams.recognise import find_foreign, read_foreign, recognise_dicts
from semples_cli.data.cams.scores import CLIPPED, DIVIDED, unit_scores
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

RNG = np.random.default_rng(0)
MAPS = RNG.random((2, 6, 9)).astype(np.float32)
GRID = RNG.random((2, 2, 3)).astype(np.float32)
CLASSES = ClassSet(("cat", "dog", "emu", "fox"))


def maps_of(path, keys, maps=MAPS):
    return ForeignMaps(path, keys, maps, at_image_size=True)


class TestNpyFile:
    def test_a_dict_comes_back(self, tmp_path):
        found = read_npy_dict(save(tmp_path / "a.npy", irn([7, 2], GRID, MAPS)))
        assert list(found) == ["keys", "cam", "high_res"]
        np.testing.assert_array_equal(found["keys"], [7, 2])
        np.testing.assert_array_equal(found["cam"], GRID)
        np.testing.assert_array_equal(found["high_res"], MAPS)

    @pytest.mark.parametrize("protocol", [2, 3])
    def test_a_file_of_numpy_1(self, tmp_path, protocol):
        pickled = of_numpy_1(pickle.dumps(as_object(clip_es([1], MAPS[:1])), protocol))
        path = save_pickled(tmp_path / "a.npy", pickled)
        assert np.load(path, allow_pickle=True).item()["keys"] == [1]  # it is one that numpy reads
        np.testing.assert_array_equal(read_npy_dict(path)["attn_highres"], MAPS[:1].astype(np.float16))

    def test_a_hostile_file_is_refused_and_not_run(self, tmp_path):
        path = save_pickled(tmp_path / "a.npy", call(os.mkdir, str(tmp_path / "made")))
        with pytest.raises(DataError, match=r"a\.npy: refused, its pickle would call .*, and nothing of it was run"):
            read_npy_dict(path)
        assert not (tmp_path / "made").exists()

    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    @pytest.mark.parametrize("strided", [torch.tensor(GRID), torch.tensor(np.stack([GRID, GRID]))[1:].half()[0]])
    def test_torch_tensors_as_irn_writes_them(self, tmp_path, protocol, strided):
        content = {"keys": torch.tensor([4, 1]), "cam": strided, "high_res": MAPS}
        path = save_pickled(tmp_path / "a.npy", pickle.dumps(as_object(content), protocol))
        found = read_foreign(path, "irn", None)
        assert found.keys == (4, 1)
        np.testing.assert_array_equal(found.maps, MAPS)
        np.testing.assert_array_equal(read_foreign(path, "irn", "cam").maps, strided.float().numpy())

    def test_a_tensor_that_is_a_transposed_part_of_another(self, tmp_path):
        whole = torch.arange(24.0).reshape(4, 2, 3)
        path = tmp_path / "a.npy"
        np.save(path, {"keys": np.array([0, 3]), "cam": whole[1:3].transpose(1, 2)})
        np.testing.assert_array_equal(read_foreign(path, "irn", None).maps, whole[1:3].transpose(1, 2).numpy())

    @pytest.mark.parametrize("cut", [b"\x80\x02", b"FloatStorage"])
    def test_damaged_tensors_are_refused(self, tmp_path, cut):
        pickled = pickle.dumps(as_object({"keys": np.array([0]), "cam": torch.zeros(1, 2, 2)}), 3)
        assert cut in pickled
        path = save_pickled(tmp_path / "a.npy", pickled[:-300] + pickled[-300:].replace(cut, b"?" * len(cut)))
        with pytest.raises(DataError, match=r"a\.npy: "):
            read_npy_dict(path)

    @pytest.mark.parametrize(
        ("offset", "shape", "strides"), [(0, (9, 9), (9, 1)), (-1, (2,), (1,)), (0, (2,), (-1,)), (0, (99,), (0,))]
    )
    def test_a_tensor_reaches_no_further_than_its_numbers(self, tmp_path, offset, shape, strides):
        class Forged:
            def __reduce__(self):
                storage = torch.zeros(4).storage()
                return torch._utils._rebuild_tensor_v2, (storage, offset, shape, strides, False, OrderedDict())

        with warnings.catch_warnings(action="ignore"):  # storages that know their type are on their way out
            pickled = pickle.dumps(as_object({"keys": np.array([0]), "cam": Forged()}), 3)
        path = save_pickled(tmp_path / "a.npy", pickled)
        with pytest.raises(DataError, match="torch tensor that"):
            read_npy_dict(path)

    def test_code_inside_a_tensor_is_not_run(self, tmp_path):
        """The numbers of a tensor are a pickle of their own."""

        class Forged:
            def __reduce__(self):
                return torch.storage._load_from_bytes, (call(os.mkdir, str(tmp_path / "made")),)

        class Tensor:
            def __reduce__(self):
                return torch._utils._rebuild_tensor_v2, (Forged(), 0, (1,), (1,), False, OrderedDict())

        path = save_pickled(tmp_path / "a.npy", pickle.dumps(as_object({"keys": np.array([0]), "cam": Tensor()}), 3))
        with pytest.raises(DataError, match=r"its pickle would call .*, and nothing of it was run"):
            read_npy_dict(path)
        assert not (tmp_path / "made").exists()

    @pytest.mark.parametrize("length", [0, 5, 40, 100, 129, 300, -1])
    def test_a_truncated_file_is_named_with_its_cure(self, tmp_path, length):
        path = save(tmp_path / "a.npy", irn([0, 1], GRID, MAPS))
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(
            DataError, match=r"a\.npy: damaged, or no dict of plain arrays .*; copy it again, or write it"
        ):
            read_npy_dict(path)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (MAPS, r"an array \(2, 6, 9\) of float32, which says no classes; CAMs are a dict"),
            ([1, 2], r"which says no classes"),
            ([{}, {}], r"an array \(2,\) of object"),
            ("text", r"which says no classes"),
        ],
    )
    def test_what_is_no_dict_is_refused(self, tmp_path, content, message):
        with pytest.raises(DataError, match=message):
            read_npy_dict(save(tmp_path / "a.npy", content))

    def test_an_object_that_is_no_dict_is_refused(self, tmp_path):
        with pytest.raises(DataError, match=r"a\.npy: holds a list; CAMs are a dict"):
            read_npy_dict(save_pickled(tmp_path / "a.npy", pickle.dumps([1])))

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(DataError, match=r"a\.npy: cannot be read \(No such file or directory\)"):
            read_npy_dict(tmp_path / "a.npy")

    def test_a_newer_npy_format_is_refused(self, tmp_path):
        path = save(tmp_path / "a.npy", {})
        path.write_bytes(b"\x93NUMPY\x09\x00" + path.read_bytes()[8:])
        with pytest.raises(DataError, match=r"damaged.*npy format 9\.0"):
            read_npy_dict(path)

    def test_too_large_a_file_is_refused_before_it_is_read(self, tmp_path, monkeypatch):
        monkeypatch.setattr(npy_file, "MAX_FILE_BYTES", 100)
        with pytest.raises(DataError, match="too large for CAMs of one image; take it out of the folder"):
            read_npy_dict(save(tmp_path / "a.npy", irn([0, 1], GRID, MAPS)))


class TestFormats:
    def test_clip_es(self, tmp_path):
        path = save(tmp_path / "a.npy", clip_es([14, 3], MAPS))
        assert recognise_dicts([path]) == "clip-es"
        found = read_foreign(path, "clip-es", None)
        assert found.keys == (14, 3)  # in the order of the label, which is not sorted
        assert found.at_image_size
        np.testing.assert_array_equal(found.maps, MAPS.astype(np.float16))

    def test_irn(self, tmp_path):
        path = save(tmp_path / "a.npy", irn([3, 14], GRID, MAPS))
        assert recognise_dicts([path]) == "irn"
        for wanted, maps, at_image_size in ((None, MAPS, True), ("high_res", MAPS, True), ("cam", GRID, False)):
            found = read_foreign(path, "irn", wanted)
            assert found.keys == (3, 14)
            assert found.at_image_size is at_image_size
            np.testing.assert_array_equal(found.maps, maps)

    def test_irn_without_high_res(self, tmp_path):
        path = save(tmp_path / "a.npy", {"keys": np.array([1, 2]), "cam": GRID})
        found = read_foreign(path, recognise_dicts([path]), None)
        assert not found.at_image_size
        with pytest.raises(DataError, match="no 'high_res' in it, only keys, cam; leave --cams-map out"):
            read_foreign(path, "irn", "high_res")

    @pytest.mark.parametrize("key", [int, np.int64, np.int32])
    def test_weaktr(self, tmp_path, key):
        path = save(tmp_path / "a.npy", weaktr([key(6), key(0)], MAPS))
        assert recognise_dicts([path]) == "weaktr"
        found = read_foreign(path, "weaktr", None)
        assert found.keys == (6, 0)
        assert found.at_image_size
        np.testing.assert_array_equal(found.maps, MAPS)

    def test_an_image_without_classes(self, tmp_path):
        empty = save(tmp_path / "a.npy", {})
        full = save(tmp_path / "b.npy", weaktr([0, 1], MAPS))
        assert recognise_dicts([empty, full]) == "weaktr"
        found = read_foreign(empty, "weaktr", None)
        assert (found.keys, len(found.maps), found.at_image_size) == ((), 0, False)
        none = save(tmp_path / "c.npy", irn([], np.zeros((0, 2, 3)), np.zeros((0, 6, 9))))
        assert read_foreign(none, "irn", None).maps.shape == (0, 6, 9)

    def test_keys_may_be_a_list(self, tmp_path):
        path = save(tmp_path / "a.npy", {"keys": [1, 2], "high_res": MAPS})
        assert read_foreign(path, "irn", None).keys == (1, 2)

    @pytest.mark.parametrize("numbers", ["class_indices", "keys"])
    def test_npz_with_numbers(self, tmp_path, numbers):
        path = tmp_path / "a.npz"
        np.savez_compressed(path, **{"scores": GRID, numbers: np.array([4, 2])})
        assert has_numbers(npz_names(path))
        assert not is_ours(npz_names(path))
        found = read_plain_npz(path)
        assert found.keys == (4, 2)
        np.testing.assert_array_equal(found.maps, GRID)

    def test_npz_with_names(self, tmp_path):
        path = tmp_path / "a.npz"
        np.savez(path, dog=GRID[0], cat=GRID[1])
        assert not has_numbers(npz_names(path))
        found = read_foreign(path, "npz", None)
        assert found.keys == ("dog", "cat")
        np.testing.assert_array_equal(found.maps, GRID)

    def test_npz_of_ours_or_unreadable_is_told_by_our_reader(self, tmp_path):
        (tmp_path / "a.npz").write_bytes(b"no zip")
        assert is_ours(npz_names(tmp_path / "a.npz"))
        assert is_ours(("class_indices", "scores", "format_version"))

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"keys": np.array([1, 2]), "high_res": MAPS[0]}, r"maps of shape \(6, 9\); CAMs are \(classes, height"),
            ({"keys": np.array([1, 2]), "high_res": np.zeros((2, 0, 4), np.float32)}, r"maps of shape \(2, 0, 4\)"),
            (
                {"keys": np.array([1, 2]), "high_res": (MAPS * 255).astype(np.uint8)},
                "maps of uint8; save them as float32",
            ),
            (
                {"keys": np.array([1.0, 2.0]), "high_res": MAPS},
                "keys of shape .* float64; they are a list of class num",
            ),
            ({"keys": np.array([[1, 2]]), "high_res": MAPS}, r"keys of shape \(1, 2\)"),
            ({"keys": np.array([1, 1]), "high_res": MAPS}, r"keys \(1, 1\); .* give each number once"),
        ],
    )
    def test_maps_and_keys_of_another_kind_are_refused(self, tmp_path, content, message):
        path = save(tmp_path / "a.npy", content)
        with pytest.raises(DataError, match=message) as refused:
            read_foreign(path, "irn", None)
        assert str(path) in str(refused.value)

    def test_maps_of_several_sizes_are_refused(self, tmp_path):
        path = save(tmp_path / "a.npy", {0: MAPS[0], 1: GRID[0]})
        with pytest.raises(
            DataError, match=r"maps of shapes \[\(2, 3\), \(6, 9\)\]; all maps of an image have one size"
        ):
            read_foreign(path, "weaktr", None)

    def test_a_damaged_npz_is_refused(self, tmp_path):
        path = tmp_path / "a.npz"
        np.savez(path, scores=MAPS, keys=np.array([1, 2]))
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(DataError, match=r"a\.npz: cannot be read as npz without pickles .*; copy it again"):
            read_plain_npz(path)

    def test_a_pickle_in_an_npz_is_refused_and_not_run(self, tmp_path):
        class Hostile:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "made"),)

        np.savez(tmp_path / "a.npz", scores=as_object(Hostile()), keys=np.array([1]))
        with pytest.raises(DataError, match="cannot be read as npz without pickles"):
            read_plain_npz(tmp_path / "a.npz")
        assert not (tmp_path / "made").exists()

    def test_an_npz_that_unpacks_to_too_much_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr(npy_file, "MAX_FILE_BYTES", 10_000)
        np.savez_compressed(tmp_path / "a.npz", scores=np.zeros((1, 100, 100), np.float32), keys=np.array([1]))
        assert (tmp_path / "a.npz").stat().st_size < 10_000
        with pytest.raises(DataError, match="too large for CAMs of one image"):
            read_plain_npz(tmp_path / "a.npz")


class TestRecognition:
    def test_files_are_found_by_id(self, tmp_path):
        for name in ("b.npy", "a/1.npy", "c.npz", ".semples/d.npy", "e.npy.partial"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        assert find_foreign(tmp_path, ".npy") == {"a/1": tmp_path / "a/1.npy", "b": tmp_path / "b.npy"}

    def test_two_readings_are_not_guessed_between(self, tmp_path):
        path = save(tmp_path / "a.npy", {"keys": np.array([0]), "attn_highres": MAPS[:1], "high_res": MAPS[:1]})
        cure = "reads both as clip-es and as irn; say which: --cams-format clip-es or --cams-format irn"
        with pytest.raises(DataError, match=cure):
            recognise_dicts([path])

    @pytest.mark.parametrize(
        "content", [{"cat": MAPS[0]}, {"keys": np.array([0])}, {True: MAPS[0]}, {"high_res": MAPS}]
    )
    def test_an_unknown_dict_is_refused_with_the_forms_there_are(self, tmp_path, content):
        path = save(tmp_path / "a.npy", content)
        with pytest.raises(DataError, match=r"a dict of .*, which is no known form of CAMs; save keys .* or an npz"):
            recognise_dicts([path])

    def test_a_folder_without_any_class_is_refused(self, tmp_path):
        with pytest.raises(DataError, match=r"b\.npy: no class in it, nor in any other file there"):
            recognise_dicts([save(tmp_path / "a.npy", {}), save(tmp_path / "b.npy", {})])

    def test_a_file_of_another_form_is_named(self, tmp_path):
        path = save(tmp_path / "a.npy", weaktr([0, 1], MAPS))
        with pytest.raises(
            DataError, match="not CLIP-ES npy, it is a dict of 0, 1; take it out, or say another --cams-f"
        ):
            read_foreign(path, "clip-es", None)
        with pytest.raises(DataError, match="not CLIP-ES npy, it is a dict of nothing"):
            read_foreign(save(path, {}), "clip-es", None)


class TestNumbering:
    def test_from_0_and_from_1(self, tmp_path):
        assert class_slots(maps_of(tmp_path, (3, 0)), 0, CLASSES) == {4: 0, 1: 1}
        assert class_slots(maps_of(tmp_path, (3, 1)), 1, CLASSES) == {3: 0, 1: 1}

    def test_a_leading_background_is_understood_when_counted_from_1(self, tmp_path):
        with_map = maps_of(tmp_path, (0, 2, 4), np.zeros((3, 2, 2), np.float32))
        assert class_slots(with_map, 1, CLASSES) == {2: 1, 4: 2}
        padded = maps_of(tmp_path, (0, 2, 4), np.zeros((2, 2, 2), np.float32))  # as IRN's own steps pad their keys
        assert class_slots(padded, 1, CLASSES) == {2: 0, 4: 1}

    @pytest.mark.parametrize(
        ("keys", "maps", "numbering"),
        [((0, 2, 4), 2, 0), ((1, 2), 3, 0), ((1, 2), 3, 1), ((1, 2), 1, 1), ((0, 1, 2), 1, 1)],
    )
    def test_another_number_of_maps_is_refused(self, tmp_path, keys, maps, numbering):
        found = maps_of(tmp_path / "a.npy", keys, np.zeros((maps, 2, 2), np.float32))
        with pytest.raises(DataError, match=rf"a\.npy: {len(keys)} keys, but {maps} maps; each key has its map"):
            class_slots(found, numbering, CLASSES)

    @pytest.mark.parametrize(("keys", "numbering"), [((1, 4), 0), ((-1, 2), 0), ((2, 0), 1), ((5, 1), 1)])
    def test_numbers_that_are_no_class_are_refused(self, tmp_path, keys, numbering):
        cure = (
            rf"4 classes counted from {numbering} are {numbering} to {3 + numbering}; give the class list .*the other"
        )
        with pytest.raises(DataError, match=cure + " --cams-numbering"):
            class_slots(maps_of(tmp_path, keys), numbering, CLASSES)

    def test_without_a_class_list_the_masks_set_the_limit(self, tmp_path):
        assert class_slots(maps_of(tmp_path, (253, 0)), 0, None) == {254: 0, 1: 1}
        with pytest.raises(DataError, match="254 classes counted from 0 are 0 to 253"):
            class_slots(maps_of(tmp_path, (254, 0)), 0, None)

    def test_names_are_looked_up(self, tmp_path):
        assert class_slots(maps_of(tmp_path, ("emu", "cat")), None, CLASSES) == {3: 0, 1: 1}
        with pytest.raises(DataError, match=r"a\.npz: unknown class 'catt'; did you mean 'cat'"):
            class_slots(maps_of(tmp_path / "a.npz", ("emu", "catt")), None, CLASSES)
        with pytest.raises(DataError, match=r"named by class \(emu, cat, …\); give the class list by --classes"):
            class_slots(maps_of(tmp_path, ("emu", "cat")), None, None)

    def test_how_well_labels_fit(self, tmp_path):
        found = maps_of(tmp_path, (0, 2))
        assert label_fit(found, 0, CLASSES, (1, 3)) == 2
        assert label_fit(found, 0, CLASSES, (3,)) == 1
        assert label_fit(found, 0, CLASSES, (2,)) == 0
        assert label_fit(found, 1, CLASSES, (2,)) == 2  # 0 is background then
        assert label_fit(maps_of(tmp_path, (0, 4)), 0, CLASSES, (1,)) == 0  # 4 is no class


class TestScores:
    def test_scores_within_bounds_stay_as_they_are(self, tmp_path):
        scores, changes = unit_scores(tmp_path, MAPS * 0.3)
        np.testing.assert_array_equal(scores, MAPS * 0.3)
        assert (scores.dtype, changes) == (np.float32, ())

    def test_a_map_above_1_is_divided_by_its_own_largest_score(self, tmp_path):
        scores, changes = unit_scores(tmp_path, np.array([[[0.0, 4.0, 2.0]], [[0.5, 0.25, 0.0]]]))
        np.testing.assert_array_equal(scores, [[[0, 1, 0.5]], [[0.5, 0.25, 0]]])
        assert changes == (DIVIDED,)

    def test_below_0_becomes_0(self, tmp_path):
        scores, changes = unit_scores(tmp_path, np.array([[[-3.0, 0.5, 1.0]]], np.float16))
        np.testing.assert_array_equal(scores, [[[0, 0.5, 1]]])
        assert changes == (CLIPPED,)

    def test_what_is_read_only_is_not_written_to(self, tmp_path):
        maps = np.array([[[-1.0, 2.0]]])
        maps.setflags(write=False)
        scores, changes = unit_scores(tmp_path, maps)
        np.testing.assert_array_equal(scores, [[[0, 1]]])
        assert changes == (CLIPPED, DIVIDED)
        np.testing.assert_array_equal(maps, [[[-1, 2]]])

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_what_is_not_finite_is_refused(self, tmp_path, value):
        with pytest.raises(DataError, match=r"a\.npy: a score is NaN or infinite; make the CAMs of this image again"):
            unit_scores(tmp_path / "a.npy", np.array([[[0.5, value]]]))

    @given(st_numpy.arrays(np.float64, (2, 2, 3), elements=st.floats(-1e300, 1e300)))
    def test_the_result_lies_in_the_unit_range_in_the_same_order(self, maps):
        scores, changes = unit_scores("a.npy", maps)
        assert 0 <= scores.min() <= scores.max() <= 1
        assert bool(changes) == bool(maps.min() < 0 or maps.max() > 1)
        for ours, theirs in zip(scores, maps, strict=True):
            order = np.argsort(theirs, axis=None)
            assert (np.diff(ours.ravel()[order]) >= 0).all()

    def test_no_map_at_all(self, tmp_path):
        scores, changes = unit_scores(tmp_path, np.zeros((0, 3, 4)))
        assert (scores.shape, changes) == ((0, 3, 4), ())


class TestIds:
    def paths(self, tmp_path, *ids):
        return {each: tmp_path / f"{each}.npy" for each in ids}

    def test_path_first_then_name(self, tmp_path):
        paths = self.paths(tmp_path, "COCO_train2014_000000000009", "a/1", "extra")
        found = match_ids(paths, ["train2014/COCO_train2014_000000000009", "a/1", "b/1", "none"])
        assert found == {
            "a/1": paths["a/1"],
            "extra": paths["extra"],
            "train2014/COCO_train2014_000000000009": paths["COCO_train2014_000000000009"],
        }
        assert list(found) == sorted(found)

    def test_a_dot_in_a_name_is_no_suffix(self, tmp_path):
        paths = self.paths(tmp_path, "img.01")
        assert match_ids(paths, ["x/img.01"]) == {"x/img.01": paths["img.01"]}

    def test_two_files_or_two_images_of_one_name_are_refused(self, tmp_path):
        with pytest.raises(
            DataError, match=r"a/1\.npy and .*b/1\.npy may belong to c/1: put the CAMs into the subfolders"
        ):
            match_ids(self.paths(tmp_path, "a/1", "b/1"), ["c/1"])
        with pytest.raises(DataError, match=r"1\.npy may belong to a/1 or b/1: put the CAMs into the subfolders"):
            match_ids(self.paths(tmp_path, "1"), ["a/1", "b/1"])


class TestIrnFile:
    def test_it_is_what_irn_reads(self, tmp_path):
        path = tmp_path / "a.npy"
        path.write_bytes(irn_file(np.array([3, 15]), GRID, MAPS))
        content = np.load(path, allow_pickle=True).item()
        assert list(content) == ["keys", "cam", "high_res"]
        np.testing.assert_array_equal(np.pad(content["keys"] + 1, (1, 0)), [0, 3, 15])
        assert content["keys"].dtype == np.int64
        np.testing.assert_array_equal(content["cam"], GRID)
        np.testing.assert_array_equal(content["high_res"], MAPS)

    def test_it_names_numpy_as_numpy_1_does(self):
        file = irn_file(np.array([3, 15]), GRID, MAPS)
        assert file.count(b"numpy.core.multiarray") == 1
        assert b"_core" not in file

    def test_the_same_maps_give_the_same_bytes(self):
        assert irn_file(np.array([1]), GRID[:1], MAPS[:1]) == irn_file(np.array([1]), GRID[:1].copy(), MAPS[:1].copy())

    def test_maps_that_happen_to_hold_the_name_are_untouched(self, tmp_path):
        raw = np.frombuffer(b"cnumpy._core.multiarray\n", np.float32).reshape(1, 1, 6)
        path = tmp_path / "a.npy"
        path.write_bytes(irn_file(np.array([1]), raw, raw))
        np.testing.assert_array_equal(np.load(path, allow_pickle=True).item()["high_res"], raw)
