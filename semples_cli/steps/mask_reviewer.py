"""Reads masks with their images, and asks CLIP about their regions, batch by batch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from semples_cli.artifacts.cam_store import find_cams, read_cam
from semples_cli.artifacts.mask_png import read_mask
from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.data.images import read_image
from semples_cli.engine.region_match import RegionMatcher
from semples_cli.errors import DataError, SemplesError
from semples_cli.functional.crf import check_same_size
from semples_cli.steps.crf_source import CrfSource
from semples_cli.steps.plan_batches import describe
from semples_cli.types import BACKGROUND_INDEX, IGNORE_INDEX, ClassSet, MaskArray, Progress


@dataclass(frozen=True)
class ReviewedMask:
    """One mask on its way.

    Attributes:
        id: Image id.
        path: Where it lies.
        values: (H, W) uint8.
        present: Its class indices.
        missing: Those that the label names and it has not.
        regions: What CLIP shall see of each class that is present.
    """

    id: str
    path: Path
    values: MaskArray
    present: tuple[int, ...]
    missing: tuple[int, ...]
    regions: list[torch.Tensor]


class MaskReviewer:
    """Looks at masks one after another and at their regions in batches; counts what it did.

    Attributes:
        done: Masks that were reviewed so far.
        failed: (id, reason) of those that could not be.
    """

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

    def each(self, progress: Progress) -> Iterator[tuple[ReviewedMask, dict[int, float]]]:
        """Each mask with the confidence of its classes."""
        waiting: list[ReviewedMask] = []
        for count, sample_id in enumerate(self._masks.files, start=1):
            try:
                waiting.append(self._read(sample_id))
            except (SemplesError, OSError, MemoryError) as error:
                self.failed.append((sample_id, describe(error)))
            # One for each mask, so that masks without any region do not pile up.
            if sum(max(1, len(each.regions)) for each in waiting) >= self._matcher.batch_size:
                yield from self._match(waiting)
                waiting = []
            progress(count, len(self._masks.files))
        yield from self._match(waiting)

    def _match(self, waiting: Sequence[ReviewedMask]) -> Iterator[tuple[ReviewedMask, dict[int, float]]]:
        regions = [region for each in waiting for region in each.regions]
        classes = [index for each in waiting for index in each.present]
        confidences = iter(self._matcher.confidences(regions, classes).tolist())
        for each in waiting:
            self.done += 1
            yield each, dict.fromkeys(each.missing, 0.0) | {index: next(confidences) for index in each.present}

    def _read(self, sample_id: str) -> ReviewedMask:
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
        return ReviewedMask(sample_id, path, values, present, missing, self._matcher.regions(image, values, present))

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
