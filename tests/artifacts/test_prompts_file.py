"""Prompts on disk: round trip, equal bytes, every refusal with its cure."""

from dataclasses import replace

import numpy as np
import pytest

from semples_cli.artifacts.generator_file import GeneratorWeights, write_generator
from semples_cli.artifacts.prompts_file import PromptTraining, read_prompt_training, read_prompts, write_prompts
from semples_cli.artifacts.tensor_file import read_tensors, write_tensors
from semples_cli.errors import ArtifactError
from semples_cli.types import PromptSet

PROMPTS = PromptSet(
    class_names=("boat", "Züge"),
    prompt_names=("boat", "train"),
    vectors=np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7,
    clip_name="ViT-B-32",
    weights_hash="ab" * 32,
    quick_gelu=True,
    settings={"lambda_t": 0.3, "repulsion": "log-s", "unlearned_classes": ["Züge"]},
)
TRAINING = PromptTraining({"loss": [1.5, 0.1], "background": [1.25, 0.5]}, "f" * 64)


@pytest.fixture
def path(tmp_path):
    return write_prompts(tmp_path / "prompts.safetensors", PROMPTS, TRAINING)


def test_round_trip(path):
    read = read_prompts(path)
    np.testing.assert_array_equal(read.vectors, PROMPTS.vectors)
    assert read.vectors.dtype == np.float32
    assert replace(read, vectors=PROMPTS.vectors) == PROMPTS
    assert read_prompt_training(path) == TRAINING


@pytest.mark.parametrize("quick_gelu", [True, False])
def test_both_activations_and_prompts_that_say_nothing_of_their_training(tmp_path, quick_gelu):
    path = write_prompts(tmp_path / "new" / "p.safetensors", replace(PROMPTS, quick_gelu=quick_gelu, settings={}))
    assert read_prompts(path).quick_gelu is quick_gelu
    assert read_prompt_training(path) == PromptTraining({}, "")


def test_what_others_read_in_the_file(path):
    arrays, metadata = read_tensors(path, "cure")
    assert list(arrays) == ["vectors"]
    assert metadata == {
        "format_version": "1",
        "kind": "prompts",
        "class_names": '["boat", "Züge"]',
        "prompt_names": '["boat", "train"]',
        "clip_name": "ViT-B-32",
        "weights_hash": "ab" * 32,
        "quick_gelu": "true",
        "template": "a photo of {}.",
        "prompt_length": "3",
        "settings": '{"lambda_t": 0.3, "repulsion": "log-s", "unlearned_classes": ["Züge"]}',
        "curves": '{"background": [1.25, 0.5], "loss": [1.5, 0.1]}',
        "fingerprint": "f" * 64,
    }


def test_the_same_prompts_give_the_same_bytes(path, tmp_path):
    again = write_prompts(tmp_path / "again.safetensors", read_prompts(path), read_prompt_training(path))
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("read", [read_prompts, read_prompt_training])
def test_a_missing_file_is_refused(tmp_path, read):
    with pytest.raises(ArtifactError, match=r"p: no such file; learn them again with `semples learn-prompts`"):
        read(tmp_path / "p")


def test_a_torn_file_is_refused(path):
    whole = path.read_bytes()
    for keep in range(0, len(whole), 31):
        path.write_bytes(whole[:keep])
        with pytest.raises(ArtifactError, match=r"not a readable safetensors file .*; learn them again"):
            read_prompts(path)


def rewrite(path, arrays=None, **changes):
    stored, metadata = read_tensors(path, "cure")
    metadata |= {name: text for name, text in changes.items() if text is not None}
    kept = {name: text for name, text in metadata.items() if changes.get(name, "") is not None}
    write_tensors(path, stored if arrays is None else arrays, kept)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights_hash": None}, "does not say its 'weights_hash'"),
        ({"clip_name": None}, "does not say its 'clip_name'"),
        ({"fingerprint": None}, "does not say its 'fingerprint'"),
        ({"quick_gelu": "maybe"}, "does not say its 'maybe'"),
        ({"template": "a photo."}, "template 'a photo.' does not say where"),
        ({"prompt_length": "4"}, "prompts of length 4 in vectors of shape"),
        ({"prompt_length": "three"}, "damaged"),
        ({"class_names": "[not json"}, "damaged"),
        ({"class_names": '"boat"'}, "'boat' is no list of names"),
        ({"class_names": "[1, 2]"}, "is no list of names"),
        ({"class_names": '["boat"]'}, "do not go with 1 classes"),
        ({"prompt_names": '["boat"]'}, "do not go with 2 classes"),
        ({"settings": "[]"}, "settings or curves by name are needed"),
        ({"curves": "7"}, "settings or curves by name are needed"),
        ({"curves": '{"loss": 1}'}, "damaged"),
        ({"curves": '{"loss": ["high"]}'}, "damaged"),
    ],
)
def test_damage_in_the_texts_is_refused(path, changes, message):
    rewrite(path, **changes)
    with pytest.raises(ArtifactError, match=f"{message}.*learn them again"):
        read_prompts(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "does not say its 'vectors'"),
        ({"vectors": PROMPTS.vectors.astype(np.float64)}, "float64"),
        ({"vectors": PROMPTS.vectors[0]}, r"vectors \(3, 4\)"),
        ({"vectors": PROMPTS.vectors[:, :, :0]}, r"vectors \(2, 3, 0\)"),
        ({"vectors": np.full((2, 3, 4), np.nan, np.float32)}, "not finite"),
    ],
)
def test_damage_in_the_vectors_is_refused(path, arrays, message):
    rewrite(path, arrays)
    with pytest.raises(ArtifactError, match=f"{message}.*learn them again"):
        read_prompts(path)


@pytest.mark.parametrize("changes", [{"kind": "other"}, {"kind": None}, {"format_version": "one"}])
def test_another_kind_of_file_is_refused(path, changes):
    rewrite(path, **changes)
    with pytest.raises(ArtifactError, match="no prompts of semples; give the file that `semples learn-prompts` wrote"):
        read_prompts(path)


@pytest.mark.parametrize("read", [read_prompts, read_prompt_training])
def test_a_mask_generator_given_by_mistake_is_called_one(tmp_path, read):
    generator = GeneratorWeights(
        kind="clip_head",
        stage="initial",
        class_names=("boat",),
        prompt_names=("boat",),
        clip_name="ViT-B-16",
        weights_hash="ab" * 32,
        quick_gelu=True,
        shape={},
        tensors={"head.bias": np.zeros(1, np.float32)},
    )
    path = write_generator(tmp_path / "generator_initial.safetensors", generator)
    with pytest.raises(ArtifactError, match=r"safetensors: this is a mask generator.*give the prompts\.safet"):
        read(path)


def test_a_newer_format_is_refused(path):
    rewrite(path, format_version="2")
    with pytest.raises(ArtifactError, match="format 2, but this semples reads up to 1; upgrade semples"):
        read_prompts(path)
