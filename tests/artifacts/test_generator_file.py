"""Generators on disk: round trip, equal bytes, every refusal with its cure."""

from dataclasses import replace

import numpy as np
import pytest

from semples_cli.artifacts.generator_file import GeneratorWeights, read_generator, write_generator
from semples_cli.artifacts.tensor_file import read_tensors, write_tensors
from semples_cli.errors import ArtifactError

GENERATOR = GeneratorWeights(
    kind="clip_head",
    stage="initial",
    class_names=("boat", "Züge"),
    prompt_names=("boat", "train"),
    clip_name="ViT-B-16",
    weights_hash="ab" * 32,
    quick_gelu=True,
    shape={"width": 4, "num_layers": 2, "num_heads": 2, "reduction": 8, "pooling": "max"},
    tensors={
        "head.bias": np.array([0.5, -0.0], np.float32),
        "head.weight": np.arange(72, dtype=np.float32).reshape(2, 4, 3, 3),
    },
    settings={"epochs": 2, "similarity": "half"},
    curves={"loss": [1.5, 0.25], "coarse": [1.0, 0.125]},
    fingerprint="f" * 64,
)


@pytest.fixture
def path(tmp_path):
    return write_generator(tmp_path / "generator_initial.safetensors", GENERATOR)


def test_round_trip(path):
    read = read_generator(path)
    assert replace(read, tensors={}) == replace(GENERATOR, tensors={})
    assert set(read.tensors) == set(GENERATOR.tensors)
    for name, tensor in GENERATOR.tensors.items():
        np.testing.assert_array_equal(read.tensors[name], tensor)
        assert read.tensors[name].dtype == np.float32
    assert read.sha256 == GENERATOR.sha256


@pytest.mark.parametrize("quick_gelu", [True, False])
@pytest.mark.parametrize("stage", ["initial", "matched", "refined"])
def test_stages_and_activations(tmp_path, stage, quick_gelu):
    read = read_generator(write_generator(tmp_path / "g", replace(GENERATOR, stage=stage, quick_gelu=quick_gelu)))
    assert (read.stage, read.quick_gelu) == (stage, quick_gelu)
    assert read.record == {"kind": "clip_head", "stage": stage, "weights_sha256": GENERATOR.sha256}


def test_the_same_generator_gives_the_same_bytes(path, tmp_path):
    again = write_generator(tmp_path / "again.safetensors", read_generator(path))
    assert again.read_bytes() == path.read_bytes()


def test_the_hash_is_of_the_weights_alone():
    assert replace(GENERATOR, settings={}, curves={}).sha256 == GENERATOR.sha256
    changed = {**GENERATOR.tensors, "head.bias": np.array([0.5, 1e-7], np.float32)}
    assert replace(GENERATOR, tensors=changed).sha256 != GENERATOR.sha256
    renamed = {name.upper(): tensor for name, tensor in GENERATOR.tensors.items()}
    assert replace(GENERATOR, tensors=renamed).sha256 != GENERATOR.sha256
    shaped = {**GENERATOR.tensors, "head.bias": GENERATOR.tensors["head.bias"][:, None]}
    assert replace(GENERATOR, tensors=shaped).sha256 != GENERATOR.sha256


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"g: no such file; train it again with `semples learn-prompts`"):
        read_generator(tmp_path / "g")


def test_a_torn_file_is_refused(path):
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ArtifactError, match="train it again"):
        read_generator(path)


def rewrite(path, **changes):
    arrays, metadata = read_tensors(path, "cure")
    metadata |= {name: text for name, text in changes.items() if text is not None}
    write_tensors(path, arrays, {name: text for name, text in metadata.items() if changes.get(name, "") is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage": "best"}, "stage 'best': it is one of initial, fitted, matched, refined"),
        ({"stage": None}, "does not say its 'stage'"),
        ({"fingerprint": None}, "does not say its 'fingerprint'"),
        ({"quick_gelu": "maybe"}, "does not say its 'maybe'"),
        ({"class_names": "[not json"}, "damaged"),
        ({"class_names": "7"}, "damaged"),
        ({"class_names": "[]"}, "0 classes"),
        ({"prompt_names": '["boat"]'}, "2 classes with 1 prompt names"),
        ({"curves": "[1]"}, "damaged"),
        ({"shape": "null"}, "damaged"),
    ],
)
def test_damage_in_the_texts_is_refused(path, changes, message):
    rewrite(path, **changes)
    with pytest.raises(ArtifactError, match=f"{message}.*train it again"):
        read_generator(path)


@pytest.mark.parametrize("tensor", [np.array([np.nan], np.float32), np.array([1.0]), np.array([1], np.int64)])
def test_weights_that_are_no_finite_float32_are_refused(path, tensor):
    _, metadata = read_tensors(path, "cure")
    write_tensors(path, {"head.bias": tensor}, metadata)
    with pytest.raises(ArtifactError, match=r"'head\.bias' are not finite float32 numbers.*train it again"):
        read_generator(path)


@pytest.mark.parametrize("changes", [{"kind": "resnet"}, {"kind": None}, {"format_version": "one"}])
def test_another_kind_of_file_is_refused(path, changes):
    rewrite(path, **changes)
    with pytest.raises(ArtifactError, match="not a mask generator of semples; give a generator_"):
        read_generator(path)


def test_a_newer_format_is_refused(path):
    rewrite(path, format_version="2")
    with pytest.raises(ArtifactError, match="format 2, but this semples reads up to 1; upgrade semples"):
        read_generator(path)


def test_a_kind_that_there_is_not_cannot_be_made():
    with pytest.raises(ArtifactError, match="generator 'resnet': it is one of clip_head, weaktr"):
        replace(GENERATOR, kind="resnet")
