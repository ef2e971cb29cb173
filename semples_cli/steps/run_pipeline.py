"""All of SemPLeS on labelled images: prompts, seeds with them, refinement, CRF; each stage can be gone on with."""

from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from semples_cli.artifacts.own_files import refuse_links
from semples_cli.artifacts.run_folder import RunFolder, check_same_run, class_record, read_run_record
from semples_cli.artifacts.run_lock import lock_run
from semples_cli.config import MASK_MODES
from semples_cli.data.images import DEFAULT_MAX_PIXELS
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.data_parallel import join_ranks
from semples_cli.functional.crf_backends import check_backend
from semples_cli.steps.background_texts import UNLEARNED
from semples_cli.steps.cam_record import Note
from semples_cli.steps.choose_background import BackgroundRule
from semples_cli.steps.choose_maker import choose_maker
from semples_cli.steps.learn_prompts import INITIAL_NAME, MATCHED_CAMS, learn_prompts
from semples_cli.steps.make_cams import check_cams, make_cams
from semples_cli.steps.pipeline_crf import CRF, PROMPTS_NAME, REFINED, SEEDS, PipelineRun, crf_ahead, finish_crf
from semples_cli.steps.pipeline_settings import PipelineSettings, pipeline_settings
from semples_cli.steps.progress import Begin, begin_late, tqdm_progress
from semples_cli.steps.ranks import begin_on_main, make_masks
from semples_cli.steps.refine_cams import refine_cams
from semples_cli.types import ClassSet, RunSummary, Sample, Shard

DEFAULT_SETTINGS = pipeline_settings()

# The command that each folder belongs to.
_COMMANDS = {MATCHED_CAMS: "cams", SEEDS: "cams", REFINED: "refine", CRF: "crf"}


@dataclass(frozen=True)
class PipelineStage:
    """How one stage ended.

    Attributes:
        name: 'prompts', or the name of the stage's folder: 'seeds', 'refined', 'crf'.
        output: The prompts file, or the run folder.
        summary: What was written and kept, and the seconds of the whole stage, training included. The
            prompts count by class; classes without images are among `skipped`.
    """

    name: str
    output: Path
    summary: RunSummary


def run_pipeline(
    samples: Sequence[Sample],
    class_set: ClassSet,
    engine: ClipEngine,
    out: Path,
    settings: PipelineSettings = DEFAULT_SETTINGS,
    *,
    init: Path | None = None,
    background: BackgroundRule | None = None,
    inputs: Sequence[Path] = (),
    skipped: Sequence[tuple[str, str]] = (),
    workers: int | None = None,
    overwrite: bool = False,
    overlays: bool = False,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    begin: Begin = tqdm_progress,
    note: Note | None = None,
) -> tuple[PipelineStage, ...]:
    """Run every stage of SemPLeS; whatever an earlier run with the same settings did is kept.

    Writes `<out>/prompts.safetensors`, the generator's initial and matched weights beside it, and the run folders
    `seeds` (training-free, with the learned prompts), `refined` (the mask generator) and `crf` (the refined masks after
    a dense CRF); `matched` holds the maps that the prompts are learned from. A script that gives no `workers` needs
    `if __name__ == "__main__":` around the call, as always with processes. Under torchrun all its processes call this
    alike, train together, and make a shard of the masks each; the CRF is the main one's.

    Args:
        samples: Images and their classes.
        class_set: The classes; one without any image gets no prompt, and the others are done.
        engine: A built CLIP.
        out: Folder to write.
        settings: How the stages run; see `pipeline_settings`.
        init: Initial weights of a mask generator, such as of `train_generator`; None: a clip_head is trained.
        background: Choose the background score of seeds and of refined masks by this rule; None: that of the settings.
        inputs: Image files and folders as they were given.
        skipped: (id, reason) of images that are left out on purpose, for the manifests.
        workers: Workers of the CRF; None: one for each core.
        overwrite: Do everything again.
        overlays: Also write pictures of image and mask to `overlays` in each run folder.
        max_pixels: Images with more pixels are refused.
        begin: Called with the name of each part of a stage; returns its progress callback.
        note: Called with a sentence about what is not as one might expect.

    Returns:
        How each stage ended, in order. An image that could not be done is among `failed`, and the rest is done.

    Raises:
        SemplesError: Nothing can be done, which is found out before anything is trained wherever it can be: `out`
            belongs to other classes or holds the images, there is no CRF on this machine, the settings do not go with
            the model.
    """
    ranks = join_ranks(engine.device)
    run = PipelineRun(
        samples,
        class_set,
        engine,
        out,
        settings,
        init,
        background,
        inputs,
        skipped,
        workers,
        overwrite,
        overlays,
        max_pixels,
        begin_on_main(ranks, begin),
        note,
        ranks,
    )
    ranks.from_main(lambda: _check(run))
    with closing(lock_run(RunFolder(out).lock)) if ranks.is_main else nullcontext():
        learned = _learn(run)
        seeds = _make_masks(run, SEEDS, lambda run: make_masks(ranks, lambda shard: _make_seeds(run, shard)))
        with crf_ahead(run) as ahead:
            refined = _make_masks(run, REFINED, _refine)
        crf = _make_masks(run, CRF, lambda run: ranks.from_main(lambda: finish_crf(run, ahead)))
        return learned, seeds, refined, crf


def _check(run: PipelineRun) -> None:
    """What the last stage would refuse is refused now, and not after hours of training."""
    check_backend(run.settings.crf.backend)
    check_cams(run.samples, run.class_set, run.out, run.inputs, MASK_MODES[0])
    refuse_links(RunFolder(run.out), (f"{name}/" for name in _COMMANDS))
    for name, command in _COMMANDS.items():
        check_cams(run.samples, run.class_set, run.out / name, run.inputs, MASK_MODES[0])
        if not run.overwrite:
            record = {"command": command, "classes": class_record(run.class_set)}
            check_same_run(read_run_record(run.out / name), record)


def _learn(run: PipelineRun) -> PipelineStage:
    path, started = run.out / PROMPTS_NAME, perf_counter()
    before = _identity(path)
    prompts = learn_prompts(
        run.samples,
        run.class_set,
        run.engine,
        path,
        run.settings.prompts,
        init=run.init,
        generator_settings=run.settings.generator,
        cam_settings=replace(run.settings.cams, affinity_layers="none"),
        overwrite=run.overwrite,
        max_pixels=run.max_pixels,
        begin=run.begin,
        note=run.note,
    )
    listed = prompts.settings.get(UNLEARNED)
    unlearned = (
        tuple((str(name), "too few images to learn its prompt from") for name in listed)
        if isinstance(listed, list)
        else ()
    )
    learned, kept = len(run.class_set) - len(unlearned), before == _identity(path)
    counts = (0, learned) if kept else (learned, 0)
    return PipelineStage("prompts", path, RunSummary(*counts, unlearned, (), perf_counter() - started))


def _identity(path: Path) -> tuple[int, int] | None:
    """Differs once a file was written anew: a rename puts another one there."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _make_masks(run: PipelineRun, name: str, make: Callable[[PipelineRun], RunSummary]) -> PipelineStage:
    """The seconds are those of the whole stage, training included."""
    started = perf_counter()
    summary = make(run)
    return PipelineStage(name, run.out / name, replace(summary, seconds=perf_counter() - started))


def _make_seeds(run: PipelineRun, shard: Shard | None) -> RunSummary:
    maker = choose_maker(run.engine, run.class_set, run.settings.cams, prompts=run.prompts)
    return make_cams(
        run.samples,
        run.class_set,
        run.engine,
        run.out / SEEDS,
        maker.settings,
        generator=maker,
        background=run.background,
        inputs=run.inputs,
        skipped=run.skipped,
        shard=shard,
        overwrite=run.overwrite,
        overlays=run.overlays,
        max_pixels=run.max_pixels,
        progress=run.begin(SEEDS),
        note=run.note,
    )


def _refine(run: PipelineRun) -> RunSummary:
    return refine_cams(
        run.samples,
        run.class_set,
        run.engine,
        run.prompts,
        run.out / INITIAL_NAME,
        run.out / REFINED,
        run.settings.generator,
        run.settings.generator_cams,
        background=run.background,
        inputs=run.inputs,
        skipped=run.skipped,
        overwrite=run.overwrite,
        overlays=run.overlays,
        max_pixels=run.max_pixels,
        training_progress=begin_late(run.begin, "refining"),
        progress=begin_late(run.begin, REFINED),
        note=run.note,
    )
