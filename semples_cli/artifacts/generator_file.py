"""Mask generators on disk: a safetensors file that names its CLIP, its classes and how it was trained."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from semples_cli.artifacts.tensor_file import as_dict, as_names, is_version, read_tensors, write_tensors
from semples_cli.errors import ArtifactError, SemplesError
from semples_cli.types import ClassSet, FloatArray

FORMAT_VERSION = 1
KINDS = ("clip_head", "weaktr")
STAGES = ("initial", "fitted", "matched", "refined")

# No layer is wider.
_LARGEST = 2**16
_CURE = "train it again with `semples learn-prompts` or `semples refine`"
_JSON = ("class_names", "prompt_names", "shape", "settings", "curves")
_TEXTS = ("kind", "stage", "clip_name", "weights_hash", "fingerprint")


@dataclass(frozen=True)
class GeneratorWeights:
    """What is stored of a mask generator, and all that it belongs to.

    Attributes:
        kind: 'clip_head' or 'weaktr'.
        stage: 'initial' (classification), 'fitted' (to given maps, in its place), 'matched' (segment-label matching) or
            'refined' (prompt-guided refinement).
        class_names: The F class names.
        prompt_names: The words that stood for them in the label texts.
        clip_name: Model name of the CLIP.
        weights_hash: SHA-256 of its weights.
        quick_gelu: Its activation.
        shape: What the layers are made of: width, num_layers, num_heads, reduction, pooling, residual, and of a weaktr
            patch_size and image_size.
        tensors: float32 arrays by parameter name.
        settings: What it was trained with, as JSON values.
        curves: Terms of the loss at every step.
        fingerprint: Of all that the training followed from, images among it.
    """

    kind: str
    stage: str
    class_names: tuple[str, ...]
    prompt_names: tuple[str, ...]
    clip_name: str
    weights_hash: str
    quick_gelu: bool
    shape: Mapping[str, int | float | str]
    tensors: Mapping[str, FloatArray]
    settings: Mapping[str, object] = field(default_factory=dict)
    curves: Mapping[str, list[float]] = field(default_factory=dict)
    fingerprint: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            msg = f"generator {self.kind!r}: it is one of {', '.join(KINDS)}"
            raise ArtifactError(msg)
        if self.stage not in STAGES:
            msg = f"generator stage {self.stage!r}: it is one of {', '.join(STAGES)}"
            raise ArtifactError(msg)
        if not self.class_names or len(self.prompt_names) != len(self.class_names):
            msg = f"a generator of {len(self.class_names)} classes with {len(self.prompt_names)} prompt names"
            raise ArtifactError(msg)
        for name, tensor in self.tensors.items():
            if tensor.dtype != np.float32 or not np.isfinite(tensor).all():
                msg = f"the weights {name!r} are not finite float32 numbers"
                raise ArtifactError(msg)

    @property
    def sha256(self) -> str:
        """Hash of the trained weights, by name, shape and value."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.tensors.items()):
            digest.update(f"{name} {tensor.shape}\n".encode() + np.ascontiguousarray(tensor).tobytes())
        return digest.hexdigest()

    @property
    def record(self) -> dict[str, object]:
        """What tells this generator from others, for a run's record."""
        return {"kind": self.kind, "stage": self.stage, "weights_sha256": self.sha256}


def write_generator(path: Path, generator: GeneratorWeights) -> Path:
    """Write a generator, whole or not at all; the same one gives the same bytes.

    Args:
        path: The target, `….safetensors`; missing folders are made.
        generator: What to write.

    Returns:
        The file.
    """
    metadata = {name: json.dumps(getattr(generator, name), ensure_ascii=False, sort_keys=True) for name in _JSON}
    metadata |= {name: getattr(generator, name) for name in _TEXTS}
    metadata |= {"format_version": str(FORMAT_VERSION), "kind": generator.kind}
    metadata["quick_gelu"] = "true" if generator.quick_gelu else "false"
    return write_tensors(path, generator.tensors, metadata)


def read_generator(path: Path) -> GeneratorWeights:
    """Read a generator.

    Raises:
        ArtifactError: The file is missing, damaged, of a newer semples, or no generator.
    """
    arrays, metadata = read_tensors(path, _CURE)
    _check_version(path, metadata)
    try:
        values: dict[str, Any] = {name: json.loads(metadata[name]) for name in _JSON}
        values |= {name: metadata[name] for name in _TEXTS}
        values["quick_gelu"] = {"true": True, "false": False}[metadata["quick_gelu"]]
        for name in ("class_names", "prompt_names"):
            values[name] = as_names(values[name])
        for name in ("shape", "settings", "curves"):
            values[name] = as_dict(values[name])
        _check_shape(values["shape"])
        values["tensors"] = arrays
        return _checked(GeneratorWeights(**values))
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError, SemplesError) as error:
        reason = f"it does not say its {error}" if isinstance(error, KeyError) else str(error)
        msg = f"{path}: the generator is damaged ({reason}); {_CURE}"
        raise ArtifactError(msg) from None


def _checked(weights: GeneratorWeights) -> GeneratorWeights:
    ClassSet(weights.class_names, weights.prompt_names)  # refuses what can be no class list
    return weights


def _check_shape(shape: Mapping[str, Any]) -> None:
    """Refuse numbers that no network has, before one is built of them.

    Raises:
        ArtifactError: One is too large, negative, or of another kind.
    """
    for name, value in shape.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not isinstance(value, str) and not (is_number and 0 <= value <= _LARGEST):
            msg = f"{name} {value!r} in its shape"
            raise ArtifactError(msg)


def _check_version(path: Path, metadata: Mapping[str, str]) -> None:
    version = metadata.get("format_version", "")
    if metadata.get("kind") not in KINDS or not is_version(version):
        msg = f"{path}: not a mask generator of semples; give a generator_….safetensors that `semples` wrote"
        raise ArtifactError(msg)
    if int(version) > FORMAT_VERSION:
        msg = f"{path}: generator format {version}, but this semples reads up to {FORMAT_VERSION}; upgrade semples"
        raise ArtifactError(msg)
