"""The mask generator that a training begins with: random, from pretrained weights, or from an earlier stage's file."""

from dataclasses import replace
from pathlib import Path

from semples_cli.artifacts.generator_file import GeneratorWeights, write_generator
from semples_cli.config import VITS, GeneratorSettings
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.generators.clip_head import ClipGenerator, build_clip_head
from semples_cli.engine.generators.protocol import MaskGenerator
from semples_cli.engine.generators.weaktr import WeakTr, WeakTrGenerator, build_weaktr
from semples_cli.engine.generators.weaktr_checkpoint import convert_weaktr, is_weaktr, start_from_vit
from semples_cli.engine.vit_weights import locate_vit
from semples_cli.engine.weights import hash_file, read_state_dict
from semples_cli.errors import EngineError, SettingsError
from semples_cli.steps.generator_weights import load_generator
from semples_cli.types import ClassSet

SCRATCH, TIMM = "scratch", "timm"
# Stages that follow from no other.
FIRST_STAGES = ("initial", "fitted")


def begin_generator(
    engine: ClipEngine, class_set: ClassSet, settings: GeneratorSettings, start: str | Path | None
) -> tuple[MaskGenerator, dict[str, object], bool]:
    """A generator without any training of ours.

    Args:
        engine: A built CLIP.
        class_set: The classes.
        settings: Kind, ViT, fusion and seed.
        start: For 'weaktr': SCRATCH, TIMM (the pretrained weights that timm has under the ViT's name, from the cache),
            or a file: a DeiT, or a whole WeakTr or SemPLeS checkpoint of the authors. None: TIMM for 'weaktr'; for
            'clip_head' there is no other.

    Returns:
        The generator; what tells its first weights from others; whether it is a whole one that is trained already.

    Raises:
        SettingsError: A clip_head is to start from something, or a checkpoint does not say its pooling.
        EngineError: The weights are missing, damaged, or of another architecture.
    """
    if settings.kind == "clip_head":
        if start is not None:
            msg = f"a clip_head starts from nothing but its CLIP: leave {start} out, or choose the generator weaktr"
            raise SettingsError(msg)
        return ClipGenerator(engine, build_clip_head(engine, len(class_set), settings)), {}, False
    facts: dict[str, object] = {"kind": settings.kind, "vit": VITS[settings.vit].__dict__, "start": SCRATCH}
    if start == SCRATCH:
        return WeakTrGenerator(engine, build_weaktr(len(class_set), settings)), facts, False
    path = locate_vit(settings.vit) if start is None or start == TIMM else Path(start)
    network, whole = _from_file(path, class_set, settings)
    return WeakTrGenerator(engine, network), {**facts, "start": hash_file(path)}, whole


def continue_generator(
    engine: ClipEngine, class_set: ClassSet, settings: GeneratorSettings, initial: Path
) -> tuple[MaskGenerator, GeneratorSettings, dict[str, object]]:
    """The generator of a file of initial weights, which is believed about kind and shape.

    Args:
        engine: The CLIP that it belongs to.
        class_set: The classes that it was trained for.
        settings: How to train.
        initial: The file.

    Returns:
        The generator; the settings with its fusion; what tells its weights from others.

    Raises:
        ArtifactError: The file is missing or damaged, or belongs to another CLIP or other classes.
        SettingsError: It holds another stage than initial weights.
    """
    generator, weights = load_generator(initial, engine, class_set)
    _check_initial(initial, weights)
    fusion = {name: weights.shape[name] for name in ("reduction", "pooling", "residual") if name in weights.shape}
    own = replace(settings, kind=weights.kind, **fusion)  # type: ignore[arg-type]  # JSON values
    facts: dict[str, object] = {"initial": weights.sha256}
    if weights.kind != "clip_head":
        facts |= {"kind": weights.kind, "shape": dict(weights.shape)}
    return generator, own, facts


def take_initial(given: Path, out: Path, engine: ClipEngine, class_set: ClassSet) -> None:
    """Put a copy of initial weights where later stages look for them, unless it lies there already.

    Args:
        given: A file that `train_generator` wrote.
        out: The copy.
        engine: The CLIP that it belongs to.
        class_set: The classes that it was trained for.

    Raises:
        ArtifactError: The file is missing or damaged, or belongs to another CLIP or other classes.
        SettingsError: It holds another stage than initial weights.
    """
    _, weights = load_generator(given, engine, class_set)
    _check_initial(given, weights)
    if not out.is_file() or given.read_bytes() != out.read_bytes():
        write_generator(out, weights)


def _check_initial(path: Path, weights: GeneratorWeights) -> None:
    if weights.stage not in FIRST_STAGES:
        msg = f"{path}: these are the weights of stage {weights.stage!r}; give those of 'initial'"
        raise SettingsError(msg)


def _from_file(path: Path, class_set: ClassSet, settings: GeneratorSettings) -> tuple[WeakTr, bool]:
    state = read_state_dict(path)
    try:
        if is_weaktr(state):
            return convert_weaktr(state, len(class_set)), True
        network = build_weaktr(len(class_set), settings)
        start_from_vit(network, state)
    except EngineError as error:
        msg = f"{path}: {error}"
        raise EngineError(msg) from None
    return network, False
