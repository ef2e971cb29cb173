"""Safetensors: round trip, bytes that do not change from process to process, damage."""

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open

from semples_cli.artifacts.tensor_file import read_tensors, write_tensors
from semples_cli.errors import ArtifactError

ARRAYS = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.ones((0, 4), np.float32)}
METADATA = {letter: f"Straße {letter} \"'" for letter in "hgfedcba"}


def test_round_trip(tmp_path):
    path = write_tensors(tmp_path / "new" / "x.safetensors", ARRAYS, METADATA)
    arrays, metadata = read_tensors(path, "cure")
    assert metadata == METADATA
    assert set(arrays) == set(ARRAYS)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, ARRAYS[name])
    assert [each.name for each in path.parent.iterdir()] == ["x.safetensors"]


def test_the_library_s_own_reader_reads_it(tmp_path):
    path = write_tensors(tmp_path / "x.safetensors", ARRAYS, METADATA)
    with safe_open(path, "numpy") as handle:
        assert handle.metadata() == METADATA
        np.testing.assert_array_equal(handle.get_tensor("b"), ARRAYS["b"])


def test_views_are_written_as_what_they_show(tmp_path):
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    arrays, metadata = read_tensors(write_tensors(tmp_path / "x", {"a": turned}, {}), "cure")
    np.testing.assert_array_equal(arrays["a"], turned)
    assert metadata == {}


def test_the_exact_bytes(tmp_path):
    path = write_tensors(tmp_path / "x", {"a": np.array([1.0], np.float32)}, {"y": "1", "x": "2"})
    header = b'{"__metadata__":{"x":"2","y":"1"},"a":{"data_offsets":[0,4],"dtype":"F32","shape":[1]}}'
    padded = header + b" " * (-len(header) % 8)
    assert path.read_bytes() == len(padded).to_bytes(8, "little") + padded + b"\x00\x00\x80\x3f"


def test_every_process_writes_the_same_bytes(tmp_path):
    code = (
        "import sys, json, numpy as np; from pathlib import Path;"
        "from semples_cli.artifacts.tensor_file import write_tensors;"
        "write_tensors(Path(sys.argv[1]), {'a': np.ones(3, np.float32)}, json.loads(sys.argv[2]))"
    )
    for name in ("one", "two"):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name), json.dumps(METADATA)], check=True)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_missing_file_comes_with_the_cure(tmp_path):
    with pytest.raises(ArtifactError, match="no such file; make it again"):
        read_tensors(tmp_path / "none", "make it again")


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0[]", b"\x10\0\0\0\0\0\0\0{}"])
def test_damage_comes_with_the_cure(tmp_path, damage):
    path = tmp_path / "x.safetensors"
    path.write_bytes(damage)
    with pytest.raises(ArtifactError, match=r"x\.safetensors: not a readable safetensors file .*; make it again"):
        read_tensors(path, "make it again")


def test_a_torn_file_is_damage(tmp_path):
    path = write_tensors(tmp_path / "x", ARRAYS, METADATA)
    whole = path.read_bytes()
    for keep in range(0, len(whole), 17):
        path.write_bytes(whole[:keep])
        with pytest.raises(ArtifactError, match="not a readable safetensors file"):
            read_tensors(path, "cure")


def test_a_folder_in_its_place_is_damage(tmp_path):
    with pytest.raises(ArtifactError, match="not a readable safetensors file"):
        read_tensors(tmp_path, "cure")
