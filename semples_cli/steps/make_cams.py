"""Make CAMs and seed masks of labelled images, batch by batch, as a run folder that can be gone on with."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt

from semples_cli.artifacts.manifest import Manifest
from semples_cli.artifacts.manifest_entries import ManifestEntry
from semples_cli.artifacts.own_files import refuse_links
from semples_cli.artifacts.run_folder import OVERLAYS, RunFolder, read_run_record
from semples_cli.config import MASK_MODES, CamSettings
from semples_cli.data.image_folder import check_output_folder
from semples_cli.data.images import DEFAULT_MAX_PIXELS
from semples_cli.engine.cam_maker import CamMaker
from semples_cli.engine.clip import ClipEngine
from semples_cli.errors import DataError, SemplesError, SettingsError, UnwritableError
from semples_cli.steps.cam_batch import BatchReader, CamJob, CamOutput, WrittenMask
from semples_cli.steps.cam_record import Note, begin_run, cam_record, shaping_facts, with_choice
from semples_cli.steps.choose_background import BackgroundRule, ScoreChooser
from semples_cli.steps.choose_maker import choose_maker
from semples_cli.steps.interruption import Interruption
from semples_cli.steps.ledger import Ledger
from semples_cli.steps.plan_batches import Batch, describe, plan_batches
from semples_cli.steps.process_pool import available_cores
from semples_cli.steps.progress import tqdm_progress
from semples_cli.steps.shards import shard_record
from semples_cli.types import ClassSet, FloatArray, Progress, RunSummary, Sample, Shard

DEFAULT_SETTINGS = CamSettings()

# What came out of a batch: (H, W, 3) uint8 and (K, h, w) float32.
Made = tuple[CamJob, npt.NDArray[np.uint8], FloatArray]

# Masks that a thread is writing.
Writing = list[tuple[CamJob, Future[WrittenMask]]]


def make_cams(
    samples: Sequence[Sample],
    class_set: ClassSet,
    engine: ClipEngine,
    out: Path,
    settings: CamSettings = DEFAULT_SETTINGS,
    *,
    generator: CamMaker | None = None,
    background: BackgroundRule | None = None,
    command: str = "cams",
    inputs: Sequence[Path] = (),
    skipped: Sequence[tuple[str, str]] = (),
    shard: Shard | None = None,
    overwrite: bool = False,
    overlays: bool = False,
    mask_mode: str = "palette",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
    note: Note | None = None,
) -> RunSummary:
    """Make the CAM and the seed mask of every image, or of every image of a shard.

    Args:
        samples: Images and their classes; an image without classes gets an all-background mask.
        class_set: The classes.
        engine: A built CLIP.
        out: Run folder to write; what an earlier run with the same settings finished there is kept.
        settings: How CAMs are made.
        generator: What makes the CAMs, of these classes and settings; None: training-free seeds.
        background: Choose the background score by this rule, in place of that of the settings; None: do not. The choice
            is in run.json, and an interrupted run keeps it.
        command: Name of the command that the folder belongs to; another one does not go on with it.
        inputs: Image files and folders as they were given, for later commands; without them, the folders that the
            ids are relative to. None of them may be `out`.
        skipped: (id, reason) of images that are left out on purpose, for the manifest.
        shard: Do this part of the batches alone; other processes, on other machines perhaps, do the others in the same
            folder at the same time. Together they write what one process would. None: all.
        overwrite: Do everything again.
        overlays: Also write pictures of image and mask to `<out>/overlays/`.
        mask_mode: 'palette' (VOC colours) or 'L' (grey levels that are the class indices).
        max_pixels: Images with more pixels are refused.
        progress: Called as (done, total); None draws a tqdm bar.
        note: Called with a sentence about what is not as one might expect.

    Returns:
        How it ended. An image that could not be done is among `failed`, and the rest is done.

    Raises:
        InterruptedRun: Ctrl-C; the batch in hand is finished, and the same call goes on behind it.
        UnwritableError: Nothing more can be written.
        SemplesError: Nothing can be done: `out` belongs to other classes, to another run, or holds the images; the
            settings do not go with the model; not even one image fits into memory.
    """
    check_cams(samples, class_set, out, inputs, mask_mode)
    note = note or _ignore
    if generator is None:
        generator = choose_maker(engine, class_set, settings, note=note)
    elif generator.settings != settings:
        msg = "the generator was made for other settings than the run: give both the same"
        raise SettingsError(msg)
    run, progress = RunFolder(out), progress or tqdm_progress("cams")
    record = cam_record(class_set, engine, settings, mask_mode, inputs or _roots(samples), generator.record)
    record["command"] = command
    if shard is not None:
        record["shards"] = shard_record(shard, (sample.id for sample in samples))
    batches, unreadable = plan_batches(samples, settings, engine.patch_size)
    part = slice(None) if shard is None else shard.part
    batches, skipped, unreadable = batches[part], skipped[part], unreadable[part]
    own = {sample.id for batch in batches for sample in batch} | {item for item, _ in (*skipped, *unreadable)}
    refuse_links(run, own)
    with Manifest(run, overwrite=overwrite, shard=shard, only=own) as manifest:
        if background is not None:
            chooser = ScoreChooser(background, generator, class_set, samples, max_pixels)
            previous = None if overwrite and manifest.is_alone else read_run_record(out)
            record = with_choice(record, chooser, previous, progress, note)
            settings = replace(settings, background_score=record["settings"]["background_score"])
        output = CamOutput(run, settings, overlays, mask_mode, max_pixels)
        begin_run(output.run, record, overwrite=overwrite, is_alone=manifest.is_alone, note=note)
        manifest.let_others_begin()
        ledger = Ledger(run, manifest, len(own), progress)
        for sample_id, reason in skipped:
            output.remove_cam(sample_id)
            ledger.skip(sample_id, reason)
        for sample_id, reason in unreadable:
            _fail(ledger, output, sample_id, reason)
        with Interruption(note) as interruption, ThreadPoolExecutor(_num_threads(engine)) as threads:
            reader = BatchReader(manifest, output, class_set, shaping_facts(record), generator.prepare, threads)
            _make_batches(generator, reader, output, interruption.until(batches), ledger)
    _say_never_found(generator, class_set, note)
    return ledger.end(interruption)


def check_cams(
    samples: Sequence[Sample], class_set: ClassSet, out: Path, inputs: Sequence[Path], mask_mode: str
) -> None:
    """Refuse what `make_cams` cannot begin with, before anything expensive; see there.

    Raises:
        SettingsError: The mask mode has another name, or `out` holds the images.
        DataError: Two images would be one mask, or a class index has no class.
    """
    if mask_mode not in MASK_MODES:
        msg = f"mask mode {mask_mode!r}: choose one of {', '.join(MASK_MODES)}"
        raise SettingsError(msg)
    seen: dict[str, Path] = {}
    for sample in samples:
        if sample.id in seen:
            both = f"{seen[sample.id]} and {sample.image_path}"
            msg = f"{both} would both be written as {sample.id!r}: rename one, or list it once"
            raise DataError(msg)
        seen[sample.id] = sample.image_path
        if sample.id.startswith(f"{OVERLAYS}/"):
            msg = f"{sample.image_path}: its mask would lie among the overlay pictures; rename the folder {OVERLAYS!r}"
            raise DataError(msg)
        if sample.class_indices and sample.class_indices[-1] > len(class_set):
            msg = f"{sample.id}: class index {sample.class_indices[-1]}, but there are only {len(class_set)} classes"
            raise DataError(msg)
    check_output_folder([*inputs, *_roots(samples)], out)


def _roots(samples: Sequence[Sample]) -> list[Path]:
    """Folders that the ids are relative to."""
    depths = ((sample.image_path, sample.id.count("/")) for sample in samples)
    return sorted({path.parents[depth] for path, depth in depths if depth < len(path.parents)})


def _ignore(sentence: str) -> None:
    del sentence


def _say_never_found(generator: CamMaker, class_set: ClassSet, note: Note) -> None:
    """A map that is 0 everywhere is no failure of an image; of a class in all of its images it is worth a word."""
    if missing := generator.never_found:
        listed = ", ".join(f"{class_set.names[k - 1]} ({count})" for k, count in missing.items())
        note(
            f"not one pixel was found of these classes in their images (how many): {listed}; check their labels, or, "
            "where training a generator lost them, train it with another seed"
        )


def _make_batches(
    generator: CamMaker, reader: BatchReader, output: CamOutput, batches: Iterable[Batch], ledger: Ledger
) -> None:
    """While the network works on one batch, the next is read and the last one written; no more are held."""
    writing: Writing = []
    for jobs in _read_ahead(reader, batches):
        made = _look(generator, jobs)
        _enter_written(ledger, output, writing)
        _enter_others(ledger, output, jobs)
        for job, _, _ in made:
            ledger.manifest.forget(job.sample.id, job.key)
        writing = [(job, reader.threads.submit(output.write, job.sample, image, maps)) for job, image, maps in made]
    _enter_written(ledger, output, writing)


def _read_ahead(reader: BatchReader, batches: Iterable[Batch]) -> Iterator[list[CamJob]]:
    with ThreadPoolExecutor(1) as thread:
        ahead: Future[list[CamJob]] | None = None
        for batch in batches:
            current, ahead = ahead, thread.submit(reader.read, batch)
            if current is not None:
                yield current.result()
        if ahead is not None:
            yield ahead.result()


def _num_threads(engine: ClipEngine) -> int:
    """Threads that read and write: every core where a GPU computes, and few where the cores do that themselves."""
    return 2 if engine.device.type == "cpu" else max(2, available_cores())


def _look(generator: CamMaker, jobs: Sequence[CamJob]) -> list[Made]:
    started = perf_counter()
    fresh = [(job, job.image) for job in jobs if job.image is not None]
    classes, prepared = [job.sample.class_indices for job, _ in fresh], [job.prepared for job, _ in fresh]
    scores = generator.maps([image for _, image in fresh], classes, prepared)
    for job, _ in fresh:
        job.prepared = ()
        job.seconds += (perf_counter() - started) / len(fresh)
    return [(job, image, maps) for (job, image), maps in zip(fresh, scores, strict=True)]


def _enter_written(ledger: Ledger, output: CamOutput, writing: Writing) -> None:
    for job, written in writing:
        error = written.exception()
        if isinstance(error, SemplesError | OSError | MemoryError) and not isinstance(error, UnwritableError):
            _fail(ledger, output, job.sample.id, describe(error))
            continue
        made = written.result()
        mask = made.path.relative_to(output.run.root).as_posix()
        entry = ManifestEntry(
            job.sample.id, "ok", "", job.key, job.seconds, mask, files=job.files, coverage=round(made.coverage, 6)
        )
        ledger.finish(entry)


def _enter_others(ledger: Ledger, output: CamOutput, jobs: Sequence[CamJob]) -> None:
    for job in jobs:
        if job.trouble:
            _fail(ledger, output, job.sample.id, job.trouble)
        elif job.image is None:
            ledger.keep()


def _fail(ledger: Ledger, output: CamOutput, sample_id: str, reason: str) -> None:
    output.remove_cam(sample_id)
    ledger.fail(sample_id, reason)
