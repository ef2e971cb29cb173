"""Learn one background prompt a class: from the maps of a run, or from those of a mask generator trained on the way."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from glob import escape
from pathlib import Path

import numpy as np

from semples_cli.artifacts.file_lock import lock_file
from semples_cli.artifacts.prompts_file import PromptTraining, read_prompt_training, read_prompts, write_prompts
from semples_cli.config import CamSettings, GeneratorSettings, PromptSettings
from semples_cli.data.images import DEFAULT_MAX_PIXELS
from semples_cli.engine.background_regions import BackgroundRegions, embed_background_regions
from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.data_parallel import Ranks, join_ranks
from semples_cli.engine.generator_training import encode_labels
from semples_cli.engine.prompt_training import PromptLearning
from semples_cli.engine.prompts import check_prompt_length
from semples_cli.errors import ArtifactError, SettingsError
from semples_cli.steps.background_texts import UNLEARNED
from semples_cli.steps.cam_reader import ANY_FORM, CamForm
from semples_cli.steps.cam_record import Note
from semples_cli.steps.cam_source import CamSource, open_cams
from semples_cli.steps.engine_source import engine_source
from semples_cli.steps.interruption import Interruption
from semples_cli.steps.mapped_images import given_cams, mapped_images
from semples_cli.steps.match_labels import INITIAL_NAME, MATCHED_CAMS, MATCHED_NAME, match_labels
from semples_cli.steps.progress import Begin, tqdm_progress
from semples_cli.steps.ranks import JointNotes, begin_on_main, check_same_on_all
from semples_cli.steps.training_images import training_fingerprint
from semples_cli.types import ClassSet, FloatArray, PromptSet, Sample

# Raise it whenever the same input and settings would give other prompts: older files are then learned again.
STEP_VERSION = 1

__all__ = ["INITIAL_NAME", "MATCHED_CAMS", "MATCHED_NAME", "learn_prompts"]

# With fewer images than this, not every prompt finds its class's background: docs/results.md.
ENOUGH_IMAGES = 8

# What the settings in the file say beside those of the training.
NUM_PAIRS = "num_pairs"
STOPPED_EPOCH = "stopped_epoch"

DEFAULT_SETTINGS = PromptSettings()
DEFAULT_GENERATOR_SETTINGS = GeneratorSettings()
DEFAULT_CAM_SETTINGS = CamSettings(affinity_layers="none")


def learn_prompts(
    samples: Sequence[Sample],
    class_set: ClassSet,
    engine: ClipEngine,
    out: Path,
    settings: PromptSettings = DEFAULT_SETTINGS,
    *,
    cams: Path | None = None,
    cams_form: CamForm = ANY_FORM,
    init: Path | None = None,
    generator_settings: GeneratorSettings = DEFAULT_GENERATOR_SETTINGS,
    cam_settings: CamSettings = DEFAULT_CAM_SETTINGS,
    overwrite: bool = False,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    begin: Begin = tqdm_progress,
    note: Note | None = None,
) -> PromptSet:
    """Learn background prompts into a file, which is kept for as long as it would come out the same.

    Without `cams`, a mask generator is trained first, its initial weights and then stage (a); both are written beside
    `out`, and its maps to the run folder `matched` there. Every part goes on where an interrupted run left it. Under
    torchrun all its processes call this alike, and train together.

    Args:
        samples: Images and their classes.
        class_set: The classes.
        engine: A built CLIP.
        out: The file to write, `….safetensors`.
        settings: How prompts are learned.
        cams: Run folder of CAMs to learn from instead, or folder of CAMs of another project.
        cams_form: What is known about these: format, numbering, maps.
        init: File of initial weights of a mask generator, in place of training some; a copy of it goes beside `out`.
        generator_settings: How the mask generator is trained.
        cam_settings: How maps are made of it: size, scales, flips, background score, batch size.
        overwrite: Do everything again.
        max_pixels: Images with more pixels are passed over.
        begin: Called with the name of each part; returns its progress callback.
        note: Called with a sentence about what is not as one might expect.

    Returns:
        The prompts. Beside the settings of the training, their `settings` say `unlearned_classes`, which had no image
        to learn from and are not used by later stages, `num_pairs` of image and class that were learned from, and
        `stopped_epoch`, the epochs done where a plateau ended the training; None where nothing did.

    Raises:
        SemplesError: There is nothing to learn from, the CAMs are of other classes, the prompts are too long, or
            another process is writing here.
    """
    check_prompt_length(engine, settings.prompt_length)
    _check_output(out)
    if cams is not None and init is not None:
        msg = "both CAMs and initial weights were given, but maps that are given need no generator: leave one out"
        raise SettingsError(msg)
    ranks = join_ranks(engine.device)
    notes, begin = JointNotes(ranks, note), begin_on_main(ranks, begin)
    check_same_on_all(ranks, samples, class_set, engine)
    source = None if cams is None else given_cams(cams, samples, class_set, cams_form, notes)
    with lock_file(out) if ranks.is_main else nullcontext():
        if source is None:
            stages = (init, generator_settings, cam_settings, overwrite, max_pixels)
            source = open_cams(match_labels(samples, class_set, engine, out, *stages, begin, notes, ranks), class_set)
        return _learn(samples, class_set, engine, out, settings, source, overwrite, max_pixels, begin, notes, ranks)


def _check_output(out: Path) -> None:
    if out.is_dir():
        msg = f"{out}: this is a folder; give the file to write as --out, such as {out / 'prompts.safetensors'}"
        raise SettingsError(msg)
    if out.name in (INITIAL_NAME, MATCHED_NAME):
        msg = f"{out}: weights of the mask generator have this name; give the prompts another one, by --out"
        raise SettingsError(msg)


def _learn(
    samples: Sequence[Sample],
    class_set: ClassSet,
    engine: ClipEngine,
    out: Path,
    settings: PromptSettings,
    source: CamSource,
    overwrite: bool,
    max_pixels: int,
    begin: Begin,
    note: JointNotes,
    ranks: Ranks,
) -> PromptSet:
    """Stage (b), from these CAMs."""
    fingerprint = ranks.from_main(lambda: _fingerprint(samples, class_set, engine, settings, source))
    checkpoint = Checkpoint(out.with_name(f"{out.name}.state"), fingerprint)
    kept = ranks.from_main(lambda: _kept(out, checkpoint, note, overwrite=overwrite))
    if kept is not None:
        return kept
    images = mapped_images(samples, source, max_pixels, note)
    store = out.with_name(f"{out.name}.regions" + (f"-{ranks.rank}" if ranks.rank else ""))
    regions = embed_background_regions(engine, images, settings, begin("background regions"), store, ranks)
    note.bring()
    learning = PromptLearning(engine, regions, encode_labels(engine, class_set.prompt_names), settings, ranks)
    with Interruption(note, enabled=ranks.size == 1) as interruption:
        vectors, losses = learning.run(checkpoint, interruption.ending(begin("prompts")))
    if (stopped := learning.stopped_epoch) is not None:
        note(f"the loss of the prompts fell no more: stopped after epoch {stopped} of {settings.epochs}, as asked")
    facts = {
        UNLEARNED: _say_unlearned(class_set, regions, settings.min_images, note),
        NUM_PAIRS: len(regions.class_indices),
        STOPPED_EPOCH: stopped,
    }
    prompts = _pack(class_set, engine, vectors, {**asdict(settings), **facts})
    store.unlink(missing_ok=True)
    ranks.from_main(lambda: _finish(out, prompts, PromptTraining({"loss": losses}, fingerprint), checkpoint))
    return prompts


def _finish(out: Path, prompts: PromptSet, training: PromptTraining, checkpoint: Checkpoint) -> None:
    """What lies beside the prompts is no longer needed then, nor what killed processes may have left there."""
    write_prompts(out, prompts, training)
    for path in (checkpoint.path, *out.parent.glob(f"{escape(out.name)}.regions*")):
        path.unlink(missing_ok=True)


def _say_unlearned(class_set: ClassSet, regions: BackgroundRegions, min_images: int, note: Note) -> list[str]:
    """Classes whose prompt is not to be used; what there is to know about classes with few images is said."""
    counts = np.bincount(regions.class_indices, minlength=len(class_set) + 1)[1:].tolist()
    images = dict(zip(class_set.names, counts, strict=True))
    few = {name: f"{name} ({count})" for name, count in images.items() if 0 < count < min_images}
    if none := [name for name, count in images.items() if count == 0]:
        note(f"no image to learn from, so later stages do without a prompt of these classes: {', '.join(none)}")
    if few:
        note(
            "too few images to learn from (how many), so later stages do without a prompt of these classes: "
            f"{', '.join(few.values())}; add images, or use them all the same with --min-images 1"
        )
    if hardly := [f"{name} ({count})" for name, count in images.items() if min_images <= count < ENOUGH_IMAGES]:
        note(f"few images to learn from (how many), look at what these prompts have learned: {', '.join(hardly)}")
    return [name for name in class_set.names if name in few or name in none]


def _pack(class_set: ClassSet, engine: ClipEngine, vectors: FloatArray, settings: Mapping[str, object]) -> PromptSet:
    record = engine.record
    return PromptSet(
        class_names=class_set.names,
        prompt_names=class_set.prompt_names,
        vectors=vectors,
        clip_name=str(record.get("model", "")),
        weights_hash=str(record.get("weights_sha256", "")),
        quick_gelu=bool(record.get("quick_gelu", False)),
        settings={**settings, "engine": engine_source(record)},
    )


def _fingerprint(
    samples: Sequence[Sample],
    class_set: ClassSet,
    engine: ClipEngine,
    settings: PromptSettings,
    source: CamSource,
) -> str:
    """Of all that the prompts follow from. CAMs enter by their content: a resumed run writes the same ones anew."""
    cams = source.fingerprint(sample.id for sample in samples)
    facts = {"settings": asdict(settings), "cams": cams, "step_version": STEP_VERSION}
    return training_fingerprint(samples, class_set, engine, facts)


def _kept(out: Path, checkpoint: Checkpoint, note: Note, *, overwrite: bool) -> PromptSet | None:
    """The finished prompts of this very training, if there are any."""
    if overwrite:
        checkpoint.path.unlink(missing_ok=True)
    if overwrite or not out.exists():
        return None
    try:
        prompts, training = read_prompts(out), read_prompt_training(out)
    except ArtifactError as error:
        note(f"learned again: {error}")
        return None
    if training.fingerprint != checkpoint.fingerprint:
        note(f"{out}: learned again, because settings, images, labels, CAMs or model are others")
        return None
    note(f"{out}: kept, it was learned with the same settings from the same images")
    return prompts
