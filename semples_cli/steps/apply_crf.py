"""Refine masks or CAMs by a dense CRF, on all cores, and write the refined masks as a run folder of their own."""

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from semples_cli.artifacts.manifest import Manifest
from semples_cli.artifacts.manifest_entries import ManifestEntry, item_key
from semples_cli.artifacts.own_files import refuse_links
from semples_cli.artifacts.run_folder import RunFolder, check_same_run, class_record, read_run_record, write_run_record
from semples_cli.config import CrfSettings
from semples_cli.data.image_folder import ImageFile
from semples_cli.errors import SemplesError, SettingsError
from semples_cli.functional.crf_backends import check_backend, is_all_sparse
from semples_cli.steps.cam_reader import ANY_FORM, CamForm
from semples_cli.steps.cam_source import Note
from semples_cli.steps.crf_item import CrfJob, Refined, refine_item
from semples_cli.steps.crf_source import CrfSource, check_out, find_kind, find_pictures, open_source
from semples_cli.steps.interruption import Interruption
from semples_cli.steps.ledger import Ledger
from semples_cli.steps.process_pool import available_cores, process_each
from semples_cli.steps.progress import tqdm_progress
from semples_cli.steps.shards import check_same_shards, shard_record
from semples_cli.steps.thread_pool import thread_each
from semples_cli.types import MAX_CLASSES, ClassSet, Progress, RunSummary, Shard

# Raise it whenever the same input and settings would give another mask: older items are then redone.
STEP_VERSION = 1

# What shapes the masks, in run.json, beside the settings.
SHAPING = ("source", "source_kind", "background_score", "classes")


def apply_crf(
    source: Path,
    images: Sequence[ImageFile] | Path | None,
    out: Path,
    settings: CrfSettings,
    *,
    kind: str | None = None,
    cams_form: CamForm = ANY_FORM,
    class_set: ClassSet | None = None,
    workers: int | None = None,
    shard: Shard | None = None,
    only: Container[str] | None = None,
    overwrite: bool = False,
    overlay: bool = False,
    progress: Progress | None = None,
    note: Note | None = None,
) -> RunSummary:
    """Refine every mask, or every CAM, of a folder, or every one of a shard.

    The masks are the same for any number of workers. Workers are threads where every item goes by sparse matrices, and
    processes where pydensecrf2 may be called; a script that calls this with more than one of these needs
    `if __name__ == "__main__":` around the call.

    Args:
        source: Output of `semples cams` or `semples crf`, CAMs of another project, or a folder of mask PNGs.
        images: The images, as a folder or as found by `find_images`; None: where `source` says that they are.
        out: Run folder to write; what an earlier run with the same settings finished there is kept.
        settings: The CRF; unary 'scores' needs CAMs, 'labels' takes masks, or CAMs cut at their run's background score.
        kind: Refine 'cams' or 'masks'; None: CAMs where `source` has them.
        cams_form: What is known about CAMs of another project: format, numbering, maps.
        class_set: The classes of `source`; None: as its run.json says.
        workers: Threads or processes; None: one for each core; 1 stays in this thread.
        shard: Do this part of the items alone; other processes do the others in the same folder at the same time.
        only: Do these items alone, by id, as far as they are there; None: all.
        overwrite: Do everything again.
        overlay: Also write pictures of image and mask to `<out>/overlays/`.
        progress: Called as (done, total); None draws a tqdm bar.
        note: Called with a sentence about CAMs of another project: what was recognised, and what was changed.

    Returns:
        How it ended. An item that could not be done is among `failed`, and the rest is done.

    Raises:
        InterruptedRun: Ctrl-C; the items in hand are finished, and the same call goes on behind them.
        UnwritableError: Nothing more can be written.
        SemplesError: Nothing could be done at all: no masks, no images, options that do not fit, another run in `out`.
    """
    if workers is not None and workers < 1:
        msg = f"{workers} workers: 1 or more"
        raise SettingsError(msg)
    check_backend(settings.backend)
    origin = open_source(source, kind or find_kind(source), settings, cams_form, class_set, note)
    origin, pictures, inputs = find_pictures(images, origin)
    check_out(out, origin, inputs)
    run, record = RunFolder(out), _record(origin, inputs, settings, class_set)
    items = sorted(item for item in pictures.keys() | origin.files.keys() if only is None or item in only)
    if shard is not None:
        record["shards"] = shard_record(shard, items)
        items = items[shard.part]
    refuse_links(run, items)
    with Manifest(run, overwrite=overwrite, shard=shard, only=set(items)) as manifest:
        _begin(run, record, overwrite=overwrite, is_alone=manifest.is_alone)
        manifest.let_others_begin()
        ledger = Ledger(run, manifest, len(items), progress or tqdm_progress("crf"))
        work_on = thread_each if is_all_sparse(settings.backend) else process_each  # pydensecrf2 holds the GIL
        workers = max(1, min(workers or available_cores(), len(items)))
        with Interruption(note) as interruption:
            jobs = interruption.until(_plan(ledger, items, origin, pictures, settings, overlay))
            with closing(work_on(refine_item, jobs, workers)) as results:
                said: set[str] = set()
                for job, result in results:
                    _enter(ledger, job, result)
                    _say_changes(result, job, said, note)
    return ledger.end(interruption)


def _record(
    origin: CrfSource, inputs: list[Path], settings: CrfSettings, class_set: ClassSet | None
) -> dict[str, object]:
    classes = origin.record.get("classes") if class_set is None else class_record(class_set)
    return {
        "command": "crf",
        "settings": asdict(settings),
        "source": str(origin.folder.absolute()),
        "source_kind": origin.kind,
        "background_score": origin.background_score,
        "inputs": [str(path) for path in inputs],
        "classes": classes,
        "engine": origin.record.get("engine"),  # the licence of the weights goes with what was made by them
    }


def _begin(run: RunFolder, record: Mapping[str, object], *, overwrite: bool, is_alone: bool) -> None:
    """Write run.json; beside other shards at work, only see that it is theirs."""
    previous = None if overwrite and is_alone else read_run_record(run.root)
    check_same_run(previous, record)
    if is_alone:
        write_run_record(run, record)
    else:
        found = json.loads(json.dumps(record))
        changes = [name for name in ("settings", *SHAPING) if (previous or {}).get(name) != found.get(name)]
        check_same_shards(previous, record, changes)


def _enter(ledger: Ledger, job: CrfJob, result: Refined | SemplesError) -> None:
    if isinstance(result, SemplesError):
        ledger.fail(job.id, str(result))
        return
    output = job.mask.relative_to(ledger.run.root).as_posix()
    classes = {str(index): round(share, 6) for index, share in result.class_confidence.items()}
    coverage, seconds = round(result.coverage, 6), result.seconds
    entry = ManifestEntry(job.id, "ok", "", job.key, seconds, output, result.confidence, job.files, classes, coverage)
    ledger.finish(entry)


def _say_changes(result: Refined | SemplesError, job: CrfJob, said: set[str], note: Note | None) -> None:
    if isinstance(result, SemplesError) or note is None:
        return
    for change in result.changes:
        if change not in said:
            said.add(change)
            note(f"{change}, as in {job.id}")


def _plan(
    ledger: Ledger,
    items: Sequence[str],
    origin: CrfSource,
    pictures: Mapping[str, Path],
    settings: CrfSettings,
    overlay: bool,
) -> Iterator[CrfJob]:
    """The jobs that are left to do; a generator, so that files are hashed while workers compute."""
    facts: dict[str, object] = {
        "step": f"crf {STEP_VERSION}",
        "kind": origin.kind,
        "background_score": origin.background_score,
        "settings": asdict(settings),
    }
    reader = None if origin.cams is None else origin.cams.reader
    num_classes = MAX_CLASSES if origin.class_set is None else len(origin.class_set)
    if origin.cams is not None and origin.cams.is_foreign:
        facts["cams_form"] = origin.cams.reader.form
    for item in items:
        if item not in origin.files:
            ledger.skip(item, f"no {origin.kind[:-1]} in {origin.folder}")
            continue
        if item not in pictures:
            ledger.fail(item, "no image with this id; give the image folder that the masks were made from")
            continue
        image, source = pictures[item], origin.files[item]
        try:
            files = ledger.manifest.identify(item, (image, source))
        except OSError as error:
            ledger.fail(item, f"{error.filename}: {error.strerror}")
            continue
        key, mask = item_key(files, facts), ledger.run.mask_path(item)
        picture = ledger.run.overlay_path(item) if overlay else None
        if ledger.manifest.is_done(item, key) and (picture is None or picture.is_file()):
            ledger.keep()
            continue
        ledger.manifest.forget(item, key)
        cut = origin.background_score
        yield CrfJob(item, image, source, reader, settings, cut, num_classes, mask, picture, key, files)
