"""Say how sure CLIP is of each region of a folder of masks, and queue them for people, least sure first."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from semples_cli.artifacts.cam_store import find_cams, read_cam
from semples_cli.artifacts.manifest import Manifest
from semples_cli.artifacts.mask_png import read_mask, write_mask
from semples_cli.artifacts.review_csv import ReviewRow, check_review_out, write_review
from semples_cli.artifacts.run_folder import RunFolder, class_record, write_run_record
from semples_cli.config import CRF_PRESETS
from semples_cli.config.tagging import TagSettings
from semples_cli.data.image_folder import ImageFile
from semples_cli.data.images import DEFAULT_MAX_PIXELS, read_image
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.region_match import RegionMatcher
from semples_cli.errors import DataError, SemplesError, SettingsError
from semples_cli.functional.crf import check_same_size
from semples_cli.steps.crf_source import CrfSource, check_out, find_pictures, open_source
from semples_cli.steps.plan_batches import describe
from semples_cli.steps.progress import tqdm_progress
from semples_cli.types import BACKGROUND_INDEX, IGNORE_INDEX, ClassSet, MaskArray, Progress

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


@dataclass(frozen=True)
class _Reviewed:
    """One mask on its way: its regions, and what is to become of it."""

    id: str
    path: Path
    values: MaskArray
    present: tuple[int, ...]
    missing: tuple[int, ...]
    regions: list[torch.Tensor]


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
    masks, pictures, inputs = find_pictures(images, masks)
    if (ignore_below is None) != (masks_out is None):
        msg = "a level of confidence and a folder for the masks go together: give both, or none"
        raise SettingsError(msg)
    if masks_out is not None:
        _check_masks_out(masks_out, masks, inputs, overwrite=overwrite)
    reviewer = _Reviewer(masks, class_set, pictures, labels, RegionMatcher(engine, class_set, settings), max_pixels)
    rows: list[ReviewRow] = []
    ignored = counted = covered = 0
    run = RunFolder(masks.folder)
    with Manifest(run) if run.manifest.is_file() else nullcontext() as manifest:
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
        write_run_record(masks_out, _record(masks, inputs, class_set, ignore_below))
    share = covered / counted if counted else float("nan")
    return MaskReview(tuple(rows), reviewer.done, ignored, share, tuple(reviewer.failed), perf_counter() - started)


def find_review(folder: Path) -> CrfSource:
    """The masks of a folder, and what its run.json says.

    Raises:
        ArtifactError: There are none.
    """
    return open_source(folder, "masks", CRF_PRESETS["semples-voc"])


class _Reviewer:
    """Looks at masks one after another and at their regions in batches; counts what it did."""

    def __init__(
        self,
        masks: CrfSource,
        class_set: ClassSet,
        pictures: Mapping[str, Path],
        labels: Mapping[str, Sequence[int]] | None,
        matcher: RegionMatcher,
        max_pixels: int,
    ) -> None:
        """See `review_masks`."""
        self.failed: list[tuple[str, str]] = []
        self.done = 0
        self._masks, self._pictures, self._matcher = masks, pictures, matcher
        self._num_classes, self._max_pixels = len(class_set), max_pixels
        self._labels = labels
        self._cams = {} if labels is not None else _cams_of(masks)

    def each(self, progress: Progress) -> Iterator[tuple[_Reviewed, dict[int, float]]]:
        """Each mask with the confidence of its classes."""
        waiting: list[_Reviewed] = []
        for count, sample_id in enumerate(self._masks.files, start=1):
            try:
                waiting.append(self._read(sample_id))
            except (SemplesError, OSError, MemoryError) as error:
                self.failed.append((sample_id, describe(error)))
            if sum(len(each.regions) for each in waiting) >= self._matcher.batch_size:
                yield from self._match(waiting)
                waiting = []
            progress(count, len(self._masks.files))
        yield from self._match(waiting)

    def _match(self, waiting: Sequence[_Reviewed]) -> Iterator[tuple[_Reviewed, dict[int, float]]]:
        regions = [region for each in waiting for region in each.regions]
        classes = [index for each in waiting for index in each.present]
        confidences = iter(self._matcher.confidences(regions, classes).tolist())
        for each in waiting:
            self.done += 1
            yield each, dict.fromkeys(each.missing, 0.0) | {index: next(confidences) for index in each.present}

    def _read(self, sample_id: str) -> _Reviewed:
        if sample_id not in self._pictures:
            msg = "no image with this id; give the image folder that the masks were made from"
            raise DataError(msg)
        path = self._masks.files[sample_id]
        values = read_mask(path)
        image = read_image(self._pictures[sample_id], self._max_pixels)
        check_same_size(image, values.shape, "mask")
        present = tuple(int(k) for k in np.unique(values) if k not in (BACKGROUND_INDEX, IGNORE_INDEX))
        if present and present[-1] > self._num_classes:
            msg = f"{path} holds {present[-1]}, but there are {self._num_classes} classes; add --classes"
            raise DataError(msg)
        missing = tuple(sorted(set(self._labelled(sample_id)) - set(present)))
        return _Reviewed(sample_id, path, values, present, missing, self._matcher.regions(image, values, present))

    def _labelled(self, sample_id: str) -> Sequence[int]:
        if self._labels is not None:
            return self._labels.get(sample_id, ())
        if sample_id not in self._cams:
            return ()
        return [int(index) for index in read_cam(self._cams[sample_id], sample_id).class_indices]


def _cams_of(masks: CrfSource) -> Mapping[str, Path]:
    """The CAMs that a run's masks were made of, which know the labels: its own, or those of its source."""
    source = masks.record.get("source")
    for root in (masks.folder, *((Path(str(source)),) if source else ())):
        if RunFolder(root).cams.is_dir():
            return find_cams(root)
    return {}


def _rows(each: _Reviewed, confidences: Mapping[int, float], class_set: ClassSet) -> list[ReviewRow]:
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


def _check_masks_out(masks_out: Path, masks: CrfSource, inputs: Sequence[Path], *, overwrite: bool) -> None:
    check_out(masks_out, masks, inputs)
    if masks_out.is_dir() and any(masks_out.iterdir()) and not overwrite:
        msg = f"{masks_out} is not empty; give --overwrite, or choose another --masks-out"
        raise SettingsError(msg)


def _record(masks: CrfSource, inputs: Sequence[Path], class_set: ClassSet, level: float | None) -> dict[str, Any]:
    return {
        "command": COMMAND,
        "settings": {"ignore_below": level},
        "source": str(masks.folder.absolute()),
        "inputs": [str(path) for path in inputs],
        "classes": class_record(class_set),
        "engine": masks.record.get("engine"),
    }
