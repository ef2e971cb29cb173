"""Between a mask generator in memory and its file: packing, loading, and refusing what does not belong together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from semples_cli.artifacts.generator_file import GeneratorWeights, read_generator
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.generators.clip_head import ClipGenerator, ClipHead
from semples_cli.engine.generators.protocol import MaskGenerator
from semples_cli.engine.generators.weaktr import WeakTr, WeakTrGenerator
from semples_cli.errors import ArtifactError
from semples_cli.steps.engine_source import engine_source
from semples_cli.types import ClassSet


def pack_generator(
    generator: MaskGenerator,
    stage: str,
    class_set: ClassSet,
    *,
    settings: Mapping[str, object],
    curves: Mapping[str, list[float]],
    fingerprint: str,
) -> GeneratorWeights:
    """What is stored of a generator, with all that it belongs to; its settings also say where the CLIP came from."""
    record = generator.engine.record
    return GeneratorWeights(
        kind=generator.kind,
        stage=stage,
        class_names=class_set.names,
        prompt_names=class_set.prompt_names,
        clip_name=str(record.get("model", "")),
        weights_hash=str(record.get("weights_sha256", "")),
        quick_gelu=bool(record.get("quick_gelu", False)),
        shape=generator.network.shape,
        tensors={name: tensor.cpu().numpy().copy() for name, tensor in generator.network.state_dict().items()},
        settings={**settings, "engine": engine_source(record)},
        curves=curves,
        fingerprint=fingerprint,
    )


def load_generator(path: Path, engine: ClipEngine, class_set: ClassSet) -> tuple[MaskGenerator, GeneratorWeights]:
    """Read a generator and put it on a CLIP.

    Args:
        path: A file that `train_generator` wrote.
        engine: The CLIP that it was trained on.
        class_set: The classes that it was trained for.

    Returns:
        The generator, and what its file says.

    Raises:
        ArtifactError: The file is missing or damaged, or belongs to another CLIP or other classes.
    """
    weights = read_generator(path)
    check_belongs(str(path), weights.clip_name, weights.weights_hash, weights.quick_gelu, engine)
    check_classes(str(path), weights.class_names, weights.prompt_names, class_set)
    try:
        _check_shapes(weights)
        generator = _build(engine, len(class_set), weights)
        generator.network.load_state_dict({name: torch.from_numpy(each) for name, each in weights.tensors.items()})
    except (RuntimeError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        reason = " ".join(str(error).split())
        msg = f"{path}: the generator is damaged ({reason}); train it again, or take it from a backup"
        raise ArtifactError(msg) from None
    return generator, weights


def _check_shapes(weights: GeneratorWeights) -> None:
    """Refuse a network that is larger than its weights, before the memory is taken that its shape says.

    Raises:
        ValueError: The shape does not go with the weights.
        LookupError: One of the two is not whole.
    """
    shape: dict[str, Any] = dict(weights.shape)
    num_classes, width, num_maps = len(weights.class_names), shape["width"], shape["num_layers"] * shape["num_heads"]
    expected = {
        "head.weight": (num_classes, width, 3, 3),
        "fusion.feature_score.0.weight": (max(1, width // shape["num_heads"] // 8), width // shape["num_heads"]),
        "fusion.map_weight.0.weight": (max(1, num_maps // shape["reduction"]), num_maps),
    }
    if weights.kind == "weaktr":
        side, patch = shape["image_size"] // shape["patch_size"], shape["patch_size"]
        expected["vit.pos_embed"] = (1, num_classes + side * side, width)
        expected["vit.patch_embed.proj.weight"] = (width, 3, patch, patch)
        expected[f"vit.blocks.{shape['num_layers'] - 1}.attn.qkv.weight"] = (3 * width, width)
    for name, wanted in expected.items():
        if (found := weights.tensors[name].shape) != wanted:
            msg = f"{name} is {found} and not {wanted}"
            raise ValueError(msg)


def _build(engine: ClipEngine, num_classes: int, weights: GeneratorWeights) -> MaskGenerator:
    """A generator of the kind and shape that a file says, before its weights are put in."""
    shape: dict[str, Any] = dict(weights.shape)
    if weights.kind == "weaktr":
        return WeakTrGenerator(engine, WeakTr(num_classes=num_classes, **shape))
    return ClipGenerator(engine, ClipHead(num_classes=num_classes, **shape))


def check_belongs(what: str, clip_name: str, weights_hash: str, quick_gelu: bool, engine: ClipEngine) -> None:
    """Refuse what was learned on another CLIP than the one that is loaded.

    Args:
        what: File that it came from, for the message.
        clip_name: Name of the CLIP that it was learned on.
        weights_hash: SHA-256 of that CLIP's weights.
        quick_gelu: Its activation.
        engine: The CLIP that is loaded.

    Raises:
        ArtifactError: Weights or activation differ.
    """
    record = engine.record
    if weights_hash != record.get("weights_sha256", ""):
        msg = (
            f"{what}: made with {clip_name} (weights {weights_hash[:12]}…), but {record.get('model')} (weights "
            f"{str(record.get('weights_sha256'))[:12]}…) is loaded; give the --model and --weights of before"
        )
        raise ArtifactError(msg)
    if quick_gelu != bool(record.get("quick_gelu", False)):
        msg = f"{what}: made with the other activation; give --{'' if quick_gelu else 'no-'}quick-gelu"
        raise ArtifactError(msg)


def check_classes(what: str, names: Sequence[str], prompt_names: Sequence[str], class_set: ClassSet) -> None:
    """Refuse what was learned for other classes, another order of them, or other words for them.

    Raises:
        ArtifactError: They differ; the message says where first.
    """
    if len(names) != len(class_set):
        msg = f"{what}: made for {len(names)} classes, but there are {len(class_set)}; give its class list by --classes"
        raise ArtifactError(msg)
    theirs, ours = zip(names, prompt_names, strict=True), zip(class_set.names, class_set.prompt_names, strict=True)
    for index, (old, new) in enumerate(zip(theirs, ours, strict=True), 1):
        if old != new:
            was, now = (name if name == prompt else f"{name} ({prompt})" for name, prompt in (old, new))
            msg = f"{what}: its class {index} is {was!r}, here it is {now!r}; give its class list by --classes"
            raise ArtifactError(msg)
