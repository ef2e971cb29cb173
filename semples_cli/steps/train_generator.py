"""Train one stage of the mask generator into a file, which is kept for as long as it would come out the same."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from semples_cli.artifacts.file_lock import lock_file
from semples_cli.artifacts.generator_file import STAGES, GeneratorWeights, read_generator, write_generator
from semples_cli.config import GeneratorSettings
from semples_cli.data.images import DEFAULT_MAX_PIXELS
from semples_cli.engine.background_regions import MappedImages
from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.data_parallel import Ranks, join_ranks
from semples_cli.engine.generator_objectives import BackgroundTexts
from semples_cli.engine.generator_training import train_fitted, train_initial, train_matching, train_refined
from semples_cli.engine.generators.protocol import MaskGenerator
from semples_cli.engine.training_batches import LabelledImages
from semples_cli.engine.training_loop import Curves
from semples_cli.errors import ArtifactError, SettingsError
from semples_cli.steps.background_texts import prompt_texts, text_facts, word_texts
from semples_cli.steps.cam_record import Note
from semples_cli.steps.cam_source import CamSource
from semples_cli.steps.generator_weights import pack_generator
from semples_cli.steps.interruption import Interruption
from semples_cli.steps.mapped_images import mapped_images
from semples_cli.steps.progress import silent, tqdm_progress
from semples_cli.steps.ranks import JointNotes, check_same_on_all
from semples_cli.steps.start_generator import FIRST_STAGES, begin_generator, continue_generator
from semples_cli.steps.training_images import training_fingerprint, training_images
from semples_cli.types import ClassSet, Progress, PromptSet, Sample

# Raise it whenever the same input and settings would give other weights: older files are then trained again.
STEP_VERSION = 2

DEFAULT_SETTINGS = GeneratorSettings()

_VIEWS = ("crop_scale", "rand_augment", "erasing", "drop_path")
_ALL = ("reduction", "pooling", "residual", "epochs", "batch_size", "weight_decay", *_VIEWS, "seed")
_REGIONS = ("learning_rate", "lambda_b", "similarity", "region_epsilon", "region_sharpness")
# What each stage reads and its result depends on; the micro-batch moves the last bits only.
_STAGE_SETTINGS = {
    "initial": (*_ALL, "initial_learning_rate"),
    "fitted": (*_ALL, "initial_learning_rate", "region_epsilon"),
    "matched": (*_ALL, *_REGIONS),
    "refined": (*_ALL, *_REGIONS, "lambda_r", "refine_batch_size"),
}


def train_generator(
    stage: str,
    samples: Sequence[Sample],
    class_set: ClassSet,
    engine: ClipEngine,
    out: Path,
    settings: GeneratorSettings = DEFAULT_SETTINGS,
    *,
    initial: Path | None = None,
    cams: CamSource | None = None,
    start: str | Path | None = None,
    prompts: PromptSet | None = None,
    background_words: Sequence[str] = (),
    overwrite: bool = False,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
    note: Note | None = None,
) -> GeneratorWeights:
    """Train a stage: 'initial' or, to given maps, 'fitted'; then 'matched' (a) or 'refined' (c).

    An interrupted training goes on where its state beside `out` was last written; a finished one of the same settings,
    classes, images and model is kept. Under torchrun all its processes call this alike, and train together.

    Args:
        stage: Which.
        samples: Images and their classes.
        class_set: The classes.
        engine: A built CLIP.
        out: The file to write, `….safetensors`.
        settings: How to train.
        initial: File of the initial or fitted weights, which 'matched' and 'refined' start from; its kind, ViT and
            fusion count, and not those of the settings.
        cams: The maps that 'fitted' is fitted to.
        start: What 'initial' and 'fitted' start from, for the generator 'weaktr'; see `begin_generator`. A whole WeakTr
            is taken over as it is.
        prompts: Learned background prompts, for 'refined'.
        background_words: Hand-written words in their place, the same for all classes.
        overwrite: Train again whatever lies there.
        max_pixels: Images with more pixels are passed over.
        progress: Called with (steps done, steps); None draws a tqdm bar.
        note: Called with a sentence about what is not as one might expect.

    Returns:
        What `out` holds.

    Raises:
        SettingsError: The stage does not go with what was given, or the prompts with CLIP and classes.
        ArtifactError: `initial` is damaged, or belongs to another CLIP or other classes; another process trains `out`.
        DataError: There is nothing to train on.
        EngineError: Not even one image fits into memory, or another process is gone.
    """
    _check_stage(stage, initial, cams, prompts, background_words)
    whole = False
    if initial is None:
        generator, facts, whole = begin_generator(engine, class_set, settings, start)
    else:
        generator, settings, facts = continue_generator(engine, class_set, settings, initial)
    texts = None
    if stage == "refined":
        facts |= text_facts(prompts, background_words)
        texts = _background_texts(engine, class_set, prompts, background_words)
    read = {name: value for name, value in asdict(settings).items() if name in _STAGE_SETTINGS[stage]}
    facts |= {"stage": stage, "settings": read, "step_version": STEP_VERSION}
    ranks = join_ranks(engine.device)
    notes = JointNotes(ranks, note)
    check_same_on_all(ranks, samples, class_set, engine)
    fingerprint = ranks.from_main(lambda: _fingerprint(samples, class_set, engine, cams, facts))
    checkpoint = Checkpoint(out.with_name(f"{out.name}.state"), fingerprint)
    with lock_file(out) if ranks.is_main else nullcontext():
        kept = ranks.from_main(lambda: _kept(out, checkpoint, notes, overwrite=overwrite))
        if kept is not None:
            return kept
        curves: Curves = {}
        if whole:
            notes(f"{start}: a whole WeakTr, taken over as it is; nothing is trained")
        else:
            images = (
                training_images(samples, notes, max_pixels=max_pixels)
                if cams is None
                else mapped_images(samples, cams, max_pixels, notes)
            )
            shown = (progress or tqdm_progress(f"generator, {stage}")) if ranks.is_main else silent
            with Interruption(notes, enabled=ranks.size == 1) as interruption:
                shown = interruption.ending(shown)
                curves = _train(stage, generator, images, class_set, texts, settings, checkpoint, shown, ranks)
            _say_damped(curves, settings, notes)
        notes.bring()
        weights = pack_generator(generator, stage, class_set, settings=read, curves=curves, fingerprint=fingerprint)
        ranks.from_main(lambda: _finish(out, weights, checkpoint))
    return weights


def _check_stage(
    stage: str, initial: Path | None, cams: CamSource | None, prompts: PromptSet | None, words: Sequence[str]
) -> None:
    if stage not in STAGES:
        msg = f"stage {stage!r}: choose one of {', '.join(STAGES)}"
        raise SettingsError(msg)
    if (initial is None) != (stage in FIRST_STAGES):
        msg = (
            f"stage {stage!r}: {' and '.join(map(repr, FIRST_STAGES))} start from nothing, the others need the file of "
        )
        raise SettingsError(msg + "the initial weights")
    if (cams is not None) != (stage == "fitted"):
        msg = f"stage {stage!r}: 'fitted' needs CAMs, the others none"
        raise SettingsError(msg)
    given = (prompts is not None) + bool(words)
    if given != (stage == "refined"):
        msg = f"stage {stage!r} with {given} kinds of background texts: 'refined' needs prompts or words, others none"
        raise SettingsError(msg)


def _background_texts(
    engine: ClipEngine, class_set: ClassSet, prompts: PromptSet | None, words: Sequence[str]
) -> BackgroundTexts:
    return word_texts(engine, words, class_set) if prompts is None else prompt_texts(engine, prompts, class_set)


def _fingerprint(
    samples: Sequence[Sample],
    class_set: ClassSet,
    engine: ClipEngine,
    cams: CamSource | None,
    facts: Mapping[str, object],
) -> str:
    if cams is not None:
        facts = {**facts, "cams": cams.fingerprint(sample.id for sample in samples)}
    return training_fingerprint(samples, class_set, engine, facts)


def _kept(out: Path, checkpoint: Checkpoint, note: Note, *, overwrite: bool) -> GeneratorWeights | None:
    """The finished file of this very training, if there is one."""
    if overwrite:
        checkpoint.path.unlink(missing_ok=True)
    if overwrite or not out.exists():
        return None
    try:
        weights = read_generator(out)
    except ArtifactError as error:
        note(f"trained again: {error}")
        return None
    if weights.fingerprint != checkpoint.fingerprint:
        note(f"{out}: trained again, because settings, images, classes, prompts or model are others")
        return None
    note(f"{out}: kept, it was trained with the same settings on the same images")
    return weights


def _say_damped(curves: Curves, settings: GeneratorSettings, note: Note) -> None:
    """An ε above the maps' range leaves less than half of each map, and regions that hardly differ."""
    reached = curves.get("range", [settings.region_epsilon])[-1]
    if reached < settings.region_epsilon:
        note(
            f"the maps range over {reached:.2g} only, which the ε of {settings.region_epsilon:g} damps to less than "
            "half: regions were cut faintly; train with a smaller --region-epsilon (GeneratorSettings.region_epsilon)"
        )


def _train(
    stage: str,
    generator: MaskGenerator,
    images: LabelledImages | MappedImages,
    class_set: ClassSet,
    texts: BackgroundTexts | None,
    settings: GeneratorSettings,
    checkpoint: Checkpoint,
    progress: Progress,
    ranks: Ranks,
) -> Curves:
    if isinstance(images, MappedImages):
        return train_fitted(generator, images, settings, checkpoint, progress, ranks)
    if stage == "initial":
        return train_initial(generator, images, settings, checkpoint, progress, ranks)
    if texts is None:
        return train_matching(generator, images, class_set.prompt_names, settings, checkpoint, progress, ranks)
    return train_refined(generator, images, class_set.prompt_names, texts, settings, checkpoint, progress, ranks)


def _finish(out: Path, weights: GeneratorWeights, checkpoint: Checkpoint) -> None:
    write_generator(out, weights)
    checkpoint.path.unlink(missing_ok=True)
