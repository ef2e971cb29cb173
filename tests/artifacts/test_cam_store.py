import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semples_cli.artifacts.cam_store import find_cams, read_cam, stored_scores, write_cam
from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.errors import ArtifactError
from semples_cli.types import Cam


def make_cam(sample_id="a/1", classes=(2, 5), shape=(3, 4), size=(17, 31)):
    rng = np.random.default_rng(0)
    scores = rng.random((len(classes), *shape), np.float32)
    return Cam(sample_id, np.array(classes, np.int64), scores, size)


def arrays_of(path):
    with np.load(path) as archive:
        return dict(archive)


def rewrite(path, **changes):
    arrays = arrays_of(path) | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


def test_round_trip_gives_the_rounded_scores(tmp_path):
    cam = make_cam()
    path = write_cam(tmp_path, cam, {"size": 512})
    back = read_cam(path, "a/1")
    assert path == tmp_path / "a/1.npz"
    assert back.sample_id == "a/1"
    assert back.image_size == (17, 31)
    assert back.class_indices.tolist() == [2, 5]
    assert back.class_indices.dtype == np.int64
    assert back.scores.dtype == np.float32
    np.testing.assert_array_equal(back.scores, stored_scores(cam.scores))


def test_the_file_holds_plain_arrays_and_settings_as_json(tmp_path):
    path = write_cam(tmp_path, make_cam(), {"size": 512, "words": ["sea"]})
    arrays = arrays_of(path)
    assert set(arrays) == {"format_version", "class_indices", "scores", "image_size", "settings"}
    assert arrays["scores"].dtype == np.float16
    assert int(arrays["format_version"]) == 1
    assert json.loads(str(arrays["settings"])) == {"size": 512, "words": ["sea"]}
    assert not any(array.dtype.hasobject for array in arrays.values())


def test_same_cam_same_bytes_and_nothing_left_beside(tmp_path):
    first = write_cam(tmp_path / "x", make_cam(), {"b": 1, "a": 2})
    second = write_cam(tmp_path / "y", make_cam(), {"a": 2, "b": 1})
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in first.parent.iterdir()] == ["1.npz"]


def test_a_cam_without_classes_survives(tmp_path):
    cam = Cam("empty", np.empty(0, np.int64), np.empty((0, 3, 4), np.float32), (5, 6))
    back = read_cam(write_cam(tmp_path, cam, {}), "empty")
    assert back.scores.shape == (0, 3, 4)
    assert back.class_indices.shape == (0,)


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=5),
        elements=st.floats(0, 1, width=32, allow_subnormal=False),
    )
)
@settings(max_examples=50, deadline=None)
def test_rounding_is_small_idempotent_and_stays_in_range(scores):
    rounded = stored_scores(scores)
    assert rounded.dtype == np.float32
    assert np.abs(rounded - scores).max() <= 2**-12
    assert rounded.min() >= 0
    assert rounded.max() <= 1
    np.testing.assert_array_equal(stored_scores(rounded), rounded)


def test_missing_file_says_how_to_make_it(tmp_path):
    with pytest.raises(ArtifactError, match=r"gone\.npz: no CAM here; run `semples cams`"):
        read_cam(tmp_path / "gone.npz", "gone")


def damage_empty(path):
    path.write_bytes(b"")


def damage_garbage(path):
    path.write_bytes(b"this is no archive at all" * 10)


def damage_truncated(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def damage_flipped(path):
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("scores.npy").header_offset + 60
    data[start : start + 20] = bytes(255 - byte for byte in data[start : start + 20])
    path.write_bytes(data)


def damage_bare_array(path):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    path.write_bytes(buffer.getvalue())


def damage_missing_scores(path):
    rewrite(path, scores=None)


def damage_pickle(path):
    rewrite(path, scores=np.array([{"a": 1}], dtype=object))


def damage_nan(path):
    rewrite(path, scores=np.full((2, 3, 4), np.nan, np.float16))


def damage_range(path):
    rewrite(path, scores=np.full((2, 3, 4), 1.5, np.float16))


def damage_count(path):
    rewrite(path, class_indices=np.array([2]))


def damage_index(path):
    rewrite(path, class_indices=np.array([0, 5]))


def damage_twice(path):
    rewrite(path, class_indices=np.array([5, 5]))


def damage_float_classes(path):
    rewrite(path, class_indices=np.array([2.0, 5.0]))


def damage_text_scores(path):
    rewrite(path, scores=np.array("abc"))


def damage_size(path):
    rewrite(path, image_size=np.array([17, 31, 3]))


def damage_zero_size(path):
    rewrite(path, image_size=np.array([0, 31]))


DAMAGES = [value for name, value in list(globals().items()) if name.startswith("damage_")]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_named_with_its_cure(tmp_path, damage):
    path = write_cam(tmp_path, make_cam(), {})
    damage(path)
    with pytest.raises(ArtifactError) as caught:
        read_cam(path, "a/1")
    assert str(path) in str(caught.value)
    assert "delete it and run `semples cams` again" in str(caught.value)


def test_a_newer_format_asks_for_an_upgrade(tmp_path):
    path = write_cam(tmp_path, make_cam(), {})
    rewrite(path, format_version=np.int64(2))
    with pytest.raises(ArtifactError, match=r"CAM format 2, .* up to 1; upgrade semples"):
        read_cam(path, "a/1")


def test_find_cams_takes_a_run_folder_or_the_folder_of_cams(tmp_path):
    cams = RunFolder(tmp_path).cams
    for sample_id in ("b", "a/2.jpg", "a/1"):
        write_cam(cams, make_cam(sample_id), {})
    (tmp_path / "b.png").write_bytes(b"a mask")
    (cams / "c.npz.partial").write_bytes(b"half")
    expected = {name: cams / f"{name}.npz" for name in ("a/1", "a/2.jpg", "b")}
    assert find_cams(tmp_path) == expected
    assert find_cams(cams) == expected
    assert list(find_cams(tmp_path)) == ["a/1", "a/2.jpg", "b"]


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: (p / ".semples").mkdir(parents=True)])
def test_no_cams_says_which_folder_to_give(tmp_path, make):
    folder = tmp_path / "run"
    make(folder)
    with pytest.raises(ArtifactError, match=r"no CAMs here; give the folder that `semples cams IMAGES --out FOLDER`"):
        find_cams(folder)


def test_an_archive_that_would_fill_the_memory_is_not_unpacked(tmp_path, monkeypatch):
    path = write_cam(tmp_path, make_cam(), {})
    monkeypatch.setattr("semples_cli.artifacts.cam_store.MAX_CAM_BYTES", 100)
    with pytest.raises(ArtifactError, match=r"bytes unpacked, more than the 100 that a CAM may have; delete it"):
        read_cam(path, "a/1")
