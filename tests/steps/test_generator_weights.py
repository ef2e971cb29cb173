from dataclasses import replace

import numpy as np
import pytest
import torch
from generator_files import CLASS_SET, SETTINGS

from semples_cli.artifacts.generator_file import write_generator
from semples_cli.engine.generators.clip_head import ClipGenerator, build_clip_head
from semples_cli.errors import ArtifactError
from semples_cli.steps.engine_source import engine_source
from semples_cli.steps.generator_weights import load_generator, pack_generator
from semples_cli.types import ClassSet


@pytest.fixture
def generator(clip_engine):
    return ClipGenerator(clip_engine, build_clip_head(clip_engine, len(CLASS_SET), SETTINGS))


@pytest.fixture
def weights(generator):
    return pack_generator(
        generator, "matched", CLASS_SET, settings={"epochs": 2}, curves={"loss": [1.0]}, fingerprint="f"
    )


def test_what_is_loaded_makes_the_same_maps(tmp_path, generator, weights, clip_engine):
    loaded, again = load_generator(write_generator(tmp_path / "g", weights), clip_engine, CLASS_SET)
    pixels = torch.randn(1, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    one, other = (each.class_maps(pixels) for each in (generator, loaded))
    assert torch.equal(one.coarse, other.coarse)
    assert torch.equal(one.fine, other.fine)
    assert loaded.network.shape == generator.network.shape
    assert loaded.network.pooling == "max"
    assert again.sha256 == weights.sha256
    assert (again.stage, again.curves) == ("matched", {"loss": [1.0]})
    assert again.settings == {"epochs": 2, "engine": engine_source(clip_engine.record)}


def test_the_file_names_its_clip_and_classes(weights, clip_engine):
    assert weights.class_names == CLASS_SET.names
    assert weights.weights_hash == clip_engine.record["weights_sha256"]
    assert weights.clip_name == clip_engine.record["model"]


def test_the_weights_in_memory_may_change_afterwards(generator, weights):
    before = weights.sha256
    copied = {name: tensor.copy() for name, tensor in weights.tensors.items()}
    with torch.no_grad():
        generator.network.head.bias += 1
    assert all((weights.tensors[name] == tensor).all() for name, tensor in copied.items())
    assert weights.sha256 == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights_hash": "0" * 64}, "made with .* is loaded; give the --model and --weights of before"),
        ({"quick_gelu": True}, "give --quick-gelu"),
        ({"class_names": ("boat", "cow", "dog")}, "class 2 is .*cow.* here it is 'cat'; give its class list"),
    ],
)
def test_a_generator_of_another_clip_or_other_classes_is_refused(tmp_path, weights, clip_engine, changes, message):
    path = write_generator(tmp_path / "g", replace(weights, **changes))
    with pytest.raises(ArtifactError, match=message):
        load_generator(path, clip_engine, CLASS_SET)


def test_a_generator_of_another_number_of_classes_is_refused(tmp_path, weights, clip_engine):
    with pytest.raises(ArtifactError, match="made for 3 classes, but there are 1"):
        load_generator(write_generator(tmp_path / "g", weights), clip_engine, ClassSet(("boat",)))


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"width": 32},
        {"width": 64, "num_layers": 2, "num_heads": 2, "reduction": 2, "pooling": "max"},
        {"width": 32, "num_layers": 2, "num_heads": 0, "reduction": 2, "pooling": "max"},
        {"width": "wide", "num_layers": 2, "num_heads": 2, "reduction": 2, "pooling": "max"},
        {"width": 32, "num_layers": 2, "num_heads": 2, "reduction": 2, "pooling": "max", "depth": 3},
    ],
)
def test_a_shape_that_does_not_go_with_the_weights_is_damage(tmp_path, weights, clip_engine, shape):
    path = write_generator(tmp_path / "g", replace(weights, shape=shape))
    with pytest.raises(ArtifactError, match=r"the generator is damaged .*train it again"):
        load_generator(path, clip_engine, CLASS_SET)


def test_missing_weights_are_damage(tmp_path, weights, clip_engine):
    tensors = {name: tensor for name, tensor in weights.tensors.items() if name != "head.bias"}
    path = write_generator(tmp_path / "g", replace(weights, tensors=tensors))
    with pytest.raises(ArtifactError, match=r"damaged .*head\.bias.*train it again"):
        load_generator(path, clip_engine, CLASS_SET)
    path = write_generator(tmp_path / "g", replace(weights, tensors={**tensors, "head.bias": np.ones(2, np.float32)}))
    with pytest.raises(ArtifactError, match=r"damaged .*size mismatch"):
        load_generator(path, clip_engine, CLASS_SET)
