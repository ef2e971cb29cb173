"""One batch of `make_cams`: what is left to do is read, and what was made of it is written, both in threads."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from semples_cli.artifacts.atomic import remove_file
from semples_cli.artifacts.cam_store import SUFFIX, stored_scores, write_cam
from semples_cli.artifacts.manifest import Manifest
from semples_cli.artifacts.manifest_entries import FileIdentity, item_key
from semples_cli.artifacts.mask_png import write_mask
from semples_cli.artifacts.overlay_png import write_overlay
from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.config import CamSettings
from semples_cli.data.images import read_image
from semples_cli.engine.cam_maker import Prepared
from semples_cli.errors import SemplesError
from semples_cli.functional.confidence import coverage_of, ignore_below, pixel_confidence
from semples_cli.functional.masks import resize_scores, seed_mask
from semples_cli.steps.plan_batches import Batch, describe
from semples_cli.types import Cam, ClassSet, FloatArray, IndexArray, MaskArray, Sample


@dataclass
class CamJob:
    """One image on its way through a batch.

    Attributes:
        sample: The image and its classes.
        files: Identity of the image file.
        key: Manifest key.
        done: An earlier run did it.
        image: (H, W, 3) uint8; None as long as it is not read.
        prepared: What the network reads of it; () as long as that is not made.
        trouble: Why it cannot be done; '' if it can.
        seconds: Time spent on it so far.
    """

    sample: Sample
    files: tuple[FileIdentity, ...] = ()
    key: str = ""
    done: bool = False
    image: npt.NDArray[np.uint8] | None = None
    prepared: Prepared = ()
    trouble: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class WrittenMask:
    """What was written of one image.

    Attributes:
        path: The mask.
        coverage: Share of its pixels that are not 255.
    """

    path: Path
    coverage: float


@dataclass(frozen=True)
class CamOutput:
    """What is written for each image, and where.

    Attributes:
        run: The run folder.
        settings: How CAMs are made.
        overlays: Also write pictures of image and mask.
        mask_mode: 'palette' or 'L'.
        max_pixels: Larger images are refused.
    """

    run: RunFolder
    settings: CamSettings
    overlays: bool
    mask_mode: str
    max_pixels: int

    def cam_path(self, sample_id: str) -> Path:
        """Where the CAM of an image lies."""
        return self.run.cams / f"{sample_id}{SUFFIX}"

    def is_whole(self, sample_id: str) -> bool:
        """Whether everything but the mask, which the manifest knows of, exists."""
        return self.cam_path(sample_id).is_file() and (not self.overlays or self.run.overlay_path(sample_id).is_file())

    def remove_cam(self, sample_id: str) -> None:
        """Take away what an earlier run left of an image that this one leaves out; the ledger removes its mask."""
        remove_file(self.cam_path(sample_id))

    def write(self, sample: Sample, image: npt.NDArray[np.uint8], scores: FloatArray) -> WrittenMask:
        """Write CAM, mask and overlay of one image, each whole or not at all.

        The mask is cut from the scores as they are stored, so that the same one comes out of the CAM later.

        Args:
            sample: The image and its classes.
            image: (H, W, 3) uint8.
            scores: (K, h, w) float32 in [0, 1].

        Returns:
            The mask, and how much of it is not 255.
        """
        size = (image.shape[0], image.shape[1])
        cam = Cam(sample.id, np.array(sample.class_indices, np.int64), stored_scores(scores), size)
        write_cam(self.run.cams, cam, asdict(self.settings))
        values = self._cut(resize_scores(cam.scores, size), cam.class_indices)
        overlay = self.run.overlay_path(sample.id)
        if self.overlays:
            write_overlay(overlay, image, values)
        else:
            remove_file(overlay)  # of an earlier run with other settings
        mask = self.run.mask_path(sample.id)
        write_mask(mask, values, self.mask_mode)
        return WrittenMask(mask, coverage_of(values))

    def _cut(self, scores: FloatArray, class_indices: IndexArray) -> MaskArray:
        """The seed, with 255 where it is not sure enough."""
        score, level = self.settings.background_score, self.settings.min_confidence
        values = seed_mask(scores, class_indices, score)
        return ignore_below(values, pixel_confidence(scores, score), level) if level > 0 else values


@dataclass(frozen=True)
class BatchReader:
    """Finds out what is left to do in a batch, and reads its images, several at once.

    Attributes:
        manifest: What earlier runs did.
        output: Where it would lie.
        class_set: The classes.
        facts: From `shaping_facts`.
        prepare: Makes of an image what the network reads.
        threads: They read; whoever calls `read` is none of them.
    """

    manifest: Manifest
    output: CamOutput
    class_set: ClassSet
    facts: Mapping[str, Any]
    prepare: Callable[[npt.NDArray[np.uint8]], Prepared]
    threads: Executor

    def read(self, batch: Batch) -> list[CamJob]:
        """Read the images of a batch if any is left to do: then all of them, because a batch is redone whole.

        Returns:
            Its items; those without image are done already, or in trouble.
        """
        jobs = [self._look_up(sample) for sample in batch]
        self._load([job for job in jobs if not job.done])
        if any(job.image is not None for job in jobs):
            self._load([job for job in jobs if job.done])
        return jobs

    def _look_up(self, sample: Sample) -> CamJob:
        try:
            files = self.manifest.identify(sample.id, (sample.image_path,))
        except OSError as error:
            return CamJob(sample, trouble=describe(error))
        classes = [(k, self.class_set.names[k - 1], self.class_set.prompt_names[k - 1]) for k in sample.class_indices]
        key = item_key(files, {**self.facts, "classes": classes})
        done = self.manifest.is_done(sample.id, key) and self.output.is_whole(sample.id)
        return CamJob(sample, files, key, done)

    def _load(self, jobs: Sequence[CamJob]) -> None:
        list(self.threads.map(self._load_one, [job for job in jobs if not job.trouble]))

    def _load_one(self, job: CamJob) -> None:
        started = perf_counter()
        try:
            job.image = read_image(job.sample.image_path, self.output.max_pixels)
            job.prepared = self.prepare(job.image) if job.sample.class_indices else ()
        except (SemplesError, OSError, MemoryError) as error:
            job.image, job.trouble = None, describe(error)
        job.seconds += perf_counter() - started
