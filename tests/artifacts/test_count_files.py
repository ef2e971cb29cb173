"""Counts of shards on disk: a round trip, nothing pickled, and every refusal."""

import json
import math
import threading
import time
from dataclasses import fields, replace

import numpy as np
import pytest

from semples_cli.artifacts.count_files import (
    FORMAT_VERSION,
    PixelCounts,
    counts_locked,
    counts_path,
    find_counts,
    merge_counts,
    read_counts,
    read_fingerprint,
    write_counts,
)
from semples_cli.errors import ArtifactError
from semples_cli.types import Shard


def make_counts(seed=0, **changes):
    rng = np.random.default_rng(seed)
    counts = PixelCounts(
        class_names=("background", "cat", "Straße"),
        confusion=rng.integers(0, 2**40, (3, 4)),
        num_images=seed + 2,
        missing=(f"b/{seed}", f"z\udc80{seed}"),
        background_score=0.1 + 0.2,
        thresholds=np.array([0.1, 0.25]),
        curve=rng.integers(0, 9, (3, 3, 3)),
        image_scores={f"a/{seed}": 1 / 3, f"c/東京 {seed}": math.nan},
    )
    return replace(counts, **changes)


def assert_same(one, other):
    for each in fields(PixelCounts):
        left, right = getattr(one, each.name), getattr(other, each.name)
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)
        elif each.name == "image_scores":
            assert list(left) == list(right)
            np.testing.assert_array_equal(list(left.values()), list(right.values()))
        else:
            assert left == right


@pytest.mark.parametrize("changes", [{}, {"background_score": None, "missing": (), "image_scores": {}}])
def test_what_is_written_comes_back(tmp_path, changes):
    path = counts_path(tmp_path, Shard(2, 16))
    assert path == tmp_path / ".semples" / "counts-2of16.npz"
    counts = make_counts(**changes)
    write_counts(path, counts, "f" * 64)
    assert_same(read_counts(path), counts)
    assert read_fingerprint(path) == "f" * 64
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_counts_of_masks_have_no_curve(tmp_path):
    counts = make_counts(thresholds=np.zeros(0), curve=np.zeros((3, 3, 1), np.int64))
    write_counts(tmp_path / "x.npz", counts, "")
    assert_same(read_counts(tmp_path / "x.npz"), counts)


def test_nothing_is_pickled(tmp_path):
    write_counts(tmp_path / "x.npz", make_counts(), "")
    with np.load(tmp_path / "x.npz", allow_pickle=False) as archive:
        assert archive["format_version"] == FORMAT_VERSION
        assert all(archive[name].dtype != object for name in archive.files)
        assert json.loads(archive["facts"].tobytes())["num_images"] == 2


def test_the_counts_of_one_number_of_shards_are_found(tmp_path):
    assert find_counts(tmp_path, 2) == []
    for shard in (Shard(2, 2), Shard(1, 2), Shard(1, 22), Shard(2, 12)):
        write_counts(counts_path(tmp_path, shard), make_counts(), "")
    assert find_counts(tmp_path, 2) == [counts_path(tmp_path, Shard(i, 2)) for i in (1, 2)]


def test_counts_add_up():
    parts = [make_counts(2), make_counts(0), make_counts(1)]
    before = parts[0].curve.copy()
    merged = merge_counts(iter(parts))
    np.testing.assert_array_equal(parts[0].curve, before)
    np.testing.assert_array_equal(merged.confusion, sum(part.confusion for part in parts))
    np.testing.assert_array_equal(merged.curve, sum(part.curve for part in parts))
    assert merged.confusion.dtype == merged.curve.dtype == np.int64
    assert merged.num_images == 2 + 3 + 4
    assert merged.missing == ("b/0", "b/1", "b/2", "z\udc800", "z\udc801", "z\udc802")
    assert list(merged.image_scores) == ["a/0", "a/1", "a/2", "c/東京 0", "c/東京 1", "c/東京 2"]
    assert merged.image_scores["a/2"] == 1 / 3
    assert (merged.class_names, merged.background_score) == (parts[0].class_names, parts[0].background_score)
    assert_same(merge_counts(parts[:1]), parts[0])


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"no zip"])
def test_damage_is_named_with_the_cure(tmp_path, damage):
    path = tmp_path / "x.npz"
    write_counts(path, make_counts(), "")
    path.write_bytes(damage(path.read_bytes()))
    for read in (read_counts, read_fingerprint):
        with pytest.raises(ArtifactError, match=r"x\.npz: not readable counts .*run that shard again with --overwrite"):
            read(path)


def test_missing_counts(tmp_path):
    with pytest.raises(ArtifactError, match=r"x\.npz: not readable counts .*No such file"):
        read_counts(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "changes",
    [
        {"confusion": np.zeros((3, 3), np.int64)},
        {"curve": np.zeros((3, 3, 2), np.int64)},
        {"class_names": ("background",)},
    ],
)
def test_arrays_that_do_not_go_together(tmp_path, changes):
    write_counts(tmp_path / "x.npz", make_counts(**changes), "")
    with pytest.raises(ArtifactError, match="its arrays do not go together; run that shard again with --overwrite"):
        read_counts(tmp_path / "x.npz")


def write_arrays(path, **changes):
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files} | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


def test_a_newer_format_is_refused(tmp_path):
    write_counts(tmp_path / "x.npz", make_counts(), "")
    write_arrays(tmp_path / "x.npz", format_version=np.int64(FORMAT_VERSION + 1))
    with pytest.raises(ArtifactError, match=r"counts of format 2, but this semples reads up to 1; upgrade it"):
        read_counts(tmp_path / "x.npz")


@pytest.mark.parametrize("changes", [{"facts": None}, {"facts": np.frombuffer(b'{"missing": []}', np.uint8)}])
def test_facts_that_are_not_there(tmp_path, changes):
    write_counts(tmp_path / "x.npz", make_counts(), "")
    write_arrays(tmp_path / "x.npz", **changes)
    with pytest.raises(ArtifactError, match="not readable counts"):
        read_fingerprint(tmp_path / "x.npz")


def test_who_comes_second_waits(tmp_path):
    order = []

    def second():
        with counts_locked(tmp_path):
            order.append("second")

    with counts_locked(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot write here"), counts_locked(tmp_path / "file"):
        pass
