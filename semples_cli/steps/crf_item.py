"""One item of `apply_crf`, as a worker process does it: read, refine, write."""

from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from semples_cli.artifacts.cam_store import read_cam
from semples_cli.artifacts.manifest import FileIdentity
from semples_cli.artifacts.mask_png import read_mask, write_mask
from semples_cli.artifacts.overlay_png import write_overlay
from semples_cli.config import CrfSettings
from semples_cli.data.images import read_image
from semples_cli.functional.crf import DenseCrf, check_same_size, refine_labels, refine_scores
from semples_cli.functional.masks import resize_scores, seed_mask
from semples_cli.types import IGNORE_INDEX, FloatArray, MaskArray


@dataclass(frozen=True)
class CrfJob:
    """One item as it travels to a worker.

    Attributes:
        id: Image id.
        image: The image.
        source: Its mask or CAM.
        kind: Which of the two: 'masks' or 'cams'.
        settings: The CRF.
        background_score: What a CAM is cut at before a 'labels' CRF; None where nothing is cut.
        mask: The PNG to write.
        overlay: The picture to write, if any.
        key: Manifest key of the item.
        files: Identities of image and source.
    """

    id: str
    image: Path
    source: Path
    kind: str
    settings: CrfSettings
    background_score: float | None
    mask: Path
    overlay: Path | None
    key: str
    files: tuple[FileIdentity, ...]


@dataclass(frozen=True)
class Refined:
    """What a worker reports: mean winning probability in [0, 1], and the seconds that the item took."""

    confidence: float
    seconds: float


def refine_item(job: CrfJob) -> Refined:
    """Read, refine and write one item; runs in a worker process.

    Raises:
        SemplesError: Image, mask or CAM cannot be used.
    """
    started = perf_counter()
    image = read_image(job.image)
    values, confidence = _refine(job, image)
    values[confidence < job.settings.min_confidence] = IGNORE_INDEX
    if job.overlay is not None:
        write_overlay(job.overlay, image, values)
    write_mask(job.mask, values)
    return Refined(float(confidence.mean(dtype=np.float64)), perf_counter() - started)


def _refine(job: CrfJob, image: MaskArray) -> tuple[MaskArray, FloatArray]:
    options = asdict(job.settings)
    gt_prob = options.pop("gt_prob")
    crf = DenseCrf(**{name: value for name, value in options.items() if name not in ("unary", "min_confidence")})
    if job.kind == "masks":
        return refine_labels(image, read_mask(job.source), gt_prob, crf)
    cam = read_cam(job.source, job.id)
    check_same_size(image, cam.image_size, "CAM")
    scores = resize_scores(cam.scores, cam.image_size)
    if job.background_score is None:
        return refine_scores(image, scores, cam.class_indices, crf)
    return refine_labels(image, seed_mask(scores, cam.class_indices, job.background_score), gt_prob, crf)
