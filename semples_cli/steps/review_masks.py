"""Say how sure CLIP is of each region of a folder of masks, and queue them for people, least sure first."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from semples_cli.artifacts.atomic import remove_file
from semples_cli.artifacts.file_lock import lock_file
from semples_cli.artifacts.manifest import Manifest
from semples_cli.artifacts.mask_png import write_mask
from semples_cli.artifacts.own_files import refuse_links
from semples_cli.artifacts.review_csv import ReviewRow, check_review_out, write_review
from semples_cli.artifacts.run_folder import HIDDEN, RunFolder, class_record, read_run_record, write_run_record
from semples_cli.config import CRF_PRESETS
from semples_cli.config.tagging import TagSettings
from semples_cli.data.image_folder import ImageFile
from semples_cli.data.images import DEFAULT_MAX_PIXELS
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.region_match import RegionMatcher
from semples_cli.errors import SettingsError
from semples_cli.steps.crf_source import CrfSource, check_out, find_pictures, open_source
from semples_cli.steps.mask_reviewer import MaskReviewer, ReviewedMask
from semples_cli.steps.progress import tqdm_progress
from semples_cli.types import IGNORE_INDEX, ClassSet, Progress

DEFAULT_SETTINGS = TagSettings()
COMMAND = "review"


@dataclass(frozen=True)
class MaskReview:
    """What `review_masks` found.

    Attributes:
        rows: A row for each class of each image, least confidence first.
        images: Masks that were reviewed.
        ignored: Regions that were set to 255.
        coverage: Share of all their pixels that are not 255, after that.
        failed: (id, reason) of masks that could not be reviewed.
        seconds: Wall time.
    """

    rows: tuple[ReviewRow, ...]
    images: int
    ignored: int
    coverage: float
    failed: tuple[tuple[str, str], ...]
    seconds: float


def review_masks(
    masks: CrfSource,
    class_set: ClassSet,
    engine: ClipEngine,
    out: Path,
    settings: TagSettings = DEFAULT_SETTINGS,
    *,
    images: Sequence[ImageFile] | Path | None = None,
    labels: Mapping[str, Sequence[int]] | None = None,
    ignore_below: float | None = None,
    masks_out: Path | None = None,
    overwrite: bool = False,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
) -> MaskReview:
    """Review every mask of a folder; masks that people have corrected are as welcome as ours.

    The confidence of a region is the probability that CLIP gives to its class, among all classes and background words,
    when it sees the region alone. In a run folder it is entered into the manifest too, where reports and exports find
    it.

    Args:
        masks: The masks, from `find_review`.
        class_set: Their classes.
        engine: A built CLIP.
        out: The queue, a CSV file.
        settings: Texts and batch size; the threshold is not used.
        images: The images; None: where the run says that they are.
        labels: Class indices that each image's label names, by id; None: as the CAMs of the run have them, where there
            are any. A class that is named and has no pixel has confidence 0.
        ignore_below: Regions below this confidence become 255 in `masks_out`.
        masks_out: Run folder for copies of all masks with that done.
        overwrite: Replace `out` and `masks_out`.
        max_pixels: Larger images are refused.
        progress: Called as (done, total); None draws a tqdm bar.

    Returns:
        What was found. A mask that cannot be reviewed is among `failed`, and the rest is done.

    Raises:
        SemplesError: Nothing can be done: no images, outputs that are there already, another run at work in the folder.
    """
    started = perf_counter()
    check_review_out(out, overwrite=overwrite)
    _check_level(ignore_below, masks_out)
    masks, pictures, inputs = find_pictures(images, masks)
    if masks_out is not None:
        _check_masks_out(masks_out, masks, inputs, overwrite=overwrite)
    reviewer = MaskReviewer(masks, class_set, pictures, labels, RegionMatcher(engine, class_set, settings), max_pixels)
    rows: list[ReviewRow] = []
    ignored = counted = covered = 0
    run = RunFolder(masks.folder)
    has_manifest = run.manifest.is_file() or run.shard_manifests
    with lock_file(out), Manifest(run) if has_manifest else nullcontext() as manifest:
        if masks_out is not None:
            refuse_links(RunFolder(masks_out), masks.files)
            record = _record(masks, inputs, class_set, ignore_below)
            write_run_record(masks_out, {**record, "complete": False})
        for each, confidences in reviewer.each(progress or tqdm_progress(COMMAND)):
            made = _rows(each, confidences, class_set)
            rows += made
            if manifest is not None:
                _enter(manifest, made, each.id)
            values = each.values
            if ignore_below is not None and masks_out is not None:
                doubted = [k for k in each.present if confidences[k] < ignore_below]
                values = np.where(np.isin(values, doubted), np.uint8(IGNORE_INDEX), values)
                write_mask(RunFolder(masks_out).mask_path(each.id), values)
                ignored += len(doubted)
            counted += values.size
            covered += int(np.count_nonzero(values != IGNORE_INDEX))
        rows.sort(key=lambda row: (row.confidence, row.id, row.class_index))
        write_review(out, rows)
        if masks_out is not None:
            for sample_id, _ in reviewer.failed:  # a copy that an earlier review wrote must not pass for one of this
                remove_file(RunFolder(masks_out).mask_path(sample_id))
            write_run_record(masks_out, {**record, "complete": True})
    share = covered / counted if counted else float("nan")
    return MaskReview(tuple(rows), reviewer.done, ignored, share, tuple(reviewer.failed), perf_counter() - started)


def find_review(folder: Path, class_set: ClassSet | None = None) -> CrfSource:
    """The masks of a folder, and what its run.json says.

    Args:
        folder: Run folder, or any folder of mask PNGs.
        class_set: The classes, where the user says them.

    Raises:
        ArtifactError: There are none, or this is the folder around several runs.
        SettingsError: The run has other classes.
    """
    return open_source(folder, "masks", CRF_PRESETS["semples-voc"], class_set=class_set)


def _rows(each: ReviewedMask, confidences: Mapping[int, float], class_set: ClassSet) -> list[ReviewRow]:
    pixels = np.bincount(each.values.ravel(), minlength=256) / max(each.values.size, 1)
    coverage = float(1 - pixels[IGNORE_INDEX])
    return [
        ReviewRow(each.id, index, class_set.name_of(index), value, float(pixels[index]), coverage, each.path)
        for index, value in confidences.items()
    ]


def _enter(manifest: Manifest, rows: Sequence[ReviewRow], sample_id: str) -> None:
    """A line of its own, where the mask is one of this run and anything about it is new."""
    entry = manifest.entries.get(sample_id)
    if entry is None or entry.status != "ok" or not rows:
        return
    confidences = {str(row.class_index): round(row.confidence, 6) for row in sorted(rows, key=lambda r: r.class_index)}
    told = replace(
        entry, confidence=min(confidences.values()), class_confidence=confidences, coverage=round(rows[0].coverage, 6)
    )
    if told != entry:
        manifest.append(told)


def _check_level(ignore_below: float | None, masks_out: Path | None) -> None:
    if (ignore_below is None) != (masks_out is None):
        msg = "--ignore-below and --masks-out, a folder for the masks, go together: give both, or none"
        raise SettingsError(msg)
    if ignore_below is not None and not 0 <= ignore_below <= 1:
        msg = f"--ignore-below {ignore_below}: a confidence lies in 0 to 1"
        raise SettingsError(msg)


def _check_masks_out(masks_out: Path, masks: CrfSource, inputs: Sequence[Path], *, overwrite: bool) -> None:
    try:
        check_out(masks_out, masks, inputs)
    except SettingsError as error:
        msg = str(error).replace("--out", "--masks-out", 1)  # here --out is the queue
        raise SettingsError(msg) from None
    if not overwrite and not _is_free(masks_out, masks):
        msg = f"{masks_out} is not empty; give --overwrite, or choose another --masks-out"
        raise SettingsError(msg)


def _is_free(masks_out: Path, masks: CrfSource) -> bool:
    """Nothing is there, or what a review of these very masks left that was interrupted."""
    record = read_run_record(masks_out)
    if record is not None:
        same = record.get("command") == COMMAND and record.get("source") == str(masks.folder.absolute())
        return same and record.get("complete") is False
    return not masks_out.is_dir() or all(entry.name == HIDDEN for entry in masks_out.iterdir())


def _record(masks: CrfSource, inputs: Sequence[Path], class_set: ClassSet, level: float | None) -> dict[str, Any]:
    return {
        "command": COMMAND,
        "settings": {"ignore_below": level},
        "source": str(masks.folder.absolute()),
        "inputs": [str(path) for path in inputs],
        "classes": class_record(class_set),
        "engine": masks.record.get("engine"),
    }
