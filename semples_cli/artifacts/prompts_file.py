"""Learned prompts on disk: a safetensors file that names its CLIP, its classes and how they were learned."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from semples_cli.artifacts.generator_file import KINDS as GENERATOR_KINDS
from semples_cli.artifacts.tensor_file import Arrays, as_dict, as_names, is_version, read_tensors, write_tensors
from semples_cli.errors import ArtifactError, SemplesError
from semples_cli.types import ClassSet, PromptSet

FORMAT_VERSION = 1
KIND = "prompts"
VECTORS = "vectors"

_CURE = "learn them again with `semples learn-prompts`"
_NAMES = ("class_names", "prompt_names")
_TEXTS = ("clip_name", "weights_hash", "template")
_DAMAGE = (KeyError, ValueError, TypeError, AttributeError, OverflowError, RecursionError, SemplesError)


@dataclass(frozen=True)
class PromptTraining:
    """How prompts came to be, beside what they are.

    Attributes:
        curves: Terms of the loss at every step.
        fingerprint: Of all that the training followed from, images and maps among it.
    """

    curves: Mapping[str, list[float]] = field(default_factory=dict)
    fingerprint: str = ""


NO_TRAINING = PromptTraining()


def write_prompts(path: Path, prompts: PromptSet, training: PromptTraining = NO_TRAINING) -> Path:
    """Write prompts, whole or not at all; the same ones give the same bytes.

    Args:
        path: The target, `….safetensors`; missing folders are made.
        prompts: What to write.
        training: How they were learned.

    Returns:
        The file.
    """
    values = {name: getattr(prompts, name) for name in (*_NAMES, "settings")} | {"curves": training.curves}
    metadata = {name: json.dumps(value, ensure_ascii=False, sort_keys=True) for name, value in values.items()}
    metadata |= {name: getattr(prompts, name) for name in _TEXTS}
    metadata |= {"format_version": str(FORMAT_VERSION), "kind": KIND, "fingerprint": training.fingerprint}
    metadata |= {
        "prompt_length": str(prompts.vectors.shape[1]),
        "quick_gelu": "true" if prompts.quick_gelu else "false",
    }
    return write_tensors(path, {VECTORS: prompts.vectors}, metadata)


def read_prompts(path: Path) -> PromptSet:
    """Read prompts.

    Raises:
        ArtifactError: The file is missing, damaged, of a newer semples, or holds no prompts.
    """
    return _read(path)[0]


def read_prompt_training(path: Path) -> PromptTraining:
    """Read how the prompts of a file were learned.

    Raises:
        ArtifactError: As `read_prompts`.
    """
    return _read(path)[1]


def _read(path: Path) -> tuple[PromptSet, PromptTraining]:
    arrays, metadata = read_tensors(path, _CURE)
    _check_version(path, metadata)
    try:
        return _prompts(arrays, metadata), _training(metadata)
    except _DAMAGE as error:
        reason = f"it does not say its {error}" if isinstance(error, KeyError) else str(error)
        msg = f"{path}: the prompts are damaged ({reason}); {_CURE}"
        raise ArtifactError(msg) from None


def _check_version(path: Path, metadata: Mapping[str, str]) -> None:
    if metadata.get("kind") in GENERATOR_KINDS:  # they lie side by side, and are easily taken for each other
        msg = f"{path}: this is a mask generator; give the prompts.safetensors of `semples learn-prompts`"
        raise ArtifactError(msg)
    version = metadata.get("format_version", "")
    if metadata.get("kind") != KIND or not is_version(version):
        msg = f"{path}: these are no prompts of semples; give the file that `semples learn-prompts` wrote"
        raise ArtifactError(msg)
    if int(version) > FORMAT_VERSION:
        msg = f"{path}: prompts of format {version}, but this semples reads up to {FORMAT_VERSION}; upgrade semples"
        raise ArtifactError(msg)


def _prompts(arrays: Arrays, metadata: Mapping[str, str]) -> PromptSet:
    vectors = arrays[VECTORS]
    if vectors.dtype != np.float32 or vectors.ndim != 3 or not vectors.size:
        msg = f"vectors {vectors.shape} {vectors.dtype}, not (classes, length, width) float32"
        raise ArtifactError(msg)
    if int(metadata["prompt_length"]) != vectors.shape[1]:
        msg = f"prompts of length {metadata['prompt_length']} in vectors of shape {vectors.shape}"
        raise ArtifactError(msg)
    if metadata["template"].count("{}") != 1:
        msg = f"template {metadata['template']!r} does not say where the prompt stands"
        raise ArtifactError(msg)
    values: dict[str, Any] = {name: metadata[name] for name in _TEXTS}
    values |= {name: as_names(json.loads(metadata[name])) for name in _NAMES}
    prompts = PromptSet(
        vectors=vectors.astype(np.float32, copy=False),
        quick_gelu={"true": True, "false": False}[metadata["quick_gelu"]],
        settings=as_dict(json.loads(metadata["settings"])),
        **values,
    )
    ClassSet(prompts.class_names, prompts.prompt_names)  # refuses what can be no class list
    return prompts


def _training(metadata: Mapping[str, str]) -> PromptTraining:
    curves = as_dict(json.loads(metadata["curves"]))
    numbers = {name: [float(value) for value in values] for name, values in curves.items()}
    return PromptTraining(numbers, metadata["fingerprint"])
