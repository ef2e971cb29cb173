"""One item of `apply_crf`, as a worker does it: read, refine, write."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt

from semples_cli.artifacts.manifest_entries import FileIdentity
from semples_cli.artifacts.mask_png import read_mask, write_mask
from semples_cli.artifacts.overlay_png import write_overlay
from semples_cli.config import CrfSettings
from semples_cli.data.images import read_image
from semples_cli.errors import DataError
from semples_cli.functional.confidence import class_means, coverage_of, ignore_below
from semples_cli.functional.crf import DenseCrf, check_same_size, refine_labels, refine_scores
from semples_cli.functional.masks import resize_scores, seed_mask
from semples_cli.steps.cam_reader import CamReader
from semples_cli.types import IGNORE_INDEX, FloatArray, MaskArray


@dataclass(frozen=True)
class CrfJob:
    """One item as it travels to a worker.

    Attributes:
        id: Image id.
        image: The image.
        source: Its mask or CAM.
        reader: Reads the CAM; None where it is a mask.
        settings: The CRF.
        background_score: What a CAM is cut at before a 'labels' CRF; None where nothing is cut.
        num_classes: F; as many as there can be, where it is not known.
        mask: The PNG to write.
        overlay: The picture to write, if any.
        key: Manifest key of the item.
        files: Identities of image and source.
    """

    id: str
    image: Path
    source: Path
    reader: CamReader | None
    settings: CrfSettings
    background_score: float | None
    num_classes: int
    mask: Path
    overlay: Path | None
    key: str
    files: tuple[FileIdentity, ...]


@dataclass(frozen=True)
class Refined:
    """What a worker reports.

    Attributes:
        confidence: In [0, 1]: mean winning probability over the pixels of the class that is least sure; over all pixels
            where there is no class.
        seconds: What the item took.
        changes: A sentence on each kind of change to the scores of a CAM.
        class_confidence: The same mean of each class in the mask, by class index.
        coverage: Share of the mask's pixels that are not 255.
    """

    confidence: float
    seconds: float
    changes: tuple[str, ...] = ()
    class_confidence: Mapping[int, float] = field(default_factory=dict)
    coverage: float = 1.0


def refine_item(job: CrfJob) -> Refined:
    """Read, refine and write one item; runs in a worker, which is a thread or a process.

    Raises:
        SemplesError: Image, mask or CAM cannot be used.
    """
    started = perf_counter()
    image = read_image(job.image)
    values, confidence, changes = _refine(job, image)
    classes = class_means(values, confidence)
    least = min(classes.values(), default=float(confidence.mean(dtype=np.float64)))
    values = ignore_below(values, confidence, job.settings.min_confidence)
    if job.overlay is not None:
        write_overlay(job.overlay, image, values)
    write_mask(job.mask, values)
    return Refined(least, perf_counter() - started, changes, classes, coverage_of(values))


def _refine(job: CrfJob, image: MaskArray) -> tuple[MaskArray, FloatArray, tuple[str, ...]]:
    options = asdict(job.settings)
    gt_prob = options.pop("gt_prob")
    crf = DenseCrf(**{name: value for name, value in options.items() if name not in ("unary", "min_confidence")})
    if job.reader is None:
        values = read_mask(job.source)
        _check_classes(job, values[values != IGNORE_INDEX])
        return *refine_labels(image, values, gt_prob, crf), ()
    cam, changes = job.reader.read(job.source, job.id, (image.shape[0], image.shape[1]))
    check_same_size(image, cam.image_size, "CAM")
    _check_classes(job, cam.class_indices)
    scores = resize_scores(cam.scores, cam.image_size)
    if job.background_score is None:
        return *refine_scores(image, scores, cam.class_indices, crf), changes
    labels = seed_mask(scores, cam.class_indices, job.background_score)
    return *refine_labels(image, labels, gt_prob, crf), changes


def _check_classes(job: CrfJob, indices: npt.NDArray[np.integer]) -> None:
    """Refuse what was made for a longer class list: its numbers would mean other classes, or none."""
    if (largest := int(indices.max(initial=0))) > job.num_classes:
        msg = f"{job.source} holds class {largest}, but there are {job.num_classes}; give its class list by --classes"
        raise DataError(msg)
