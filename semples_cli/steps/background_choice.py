"""What background score fits some CAMs: by their images alone, or by a handful of labelled masks."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from semples_cli.artifacts.mask_png import find_masks, read_mask
from semples_cli.config import DEFAULT_BACKGROUND_SCORE
from semples_cli.errors import ArtifactError, DataError
from semples_cli.functional.background_curve import BackgroundCurve
from semples_cli.functional.border_contrast import BorderContrast
from semples_cli.functional.calibration import Calibration, calibrate
from semples_cli.functional.masks import resize_scores
from semples_cli.types import FloatArray

BORDER_CONTRAST, CALIBRATED, DEFAULT = "border contrast", "calibrated", "default"
# Longest side in pixels at which it looks for edges: maps know no more than their grid of some tens of patches.
LONGEST = 160


class Looked(NamedTuple):
    """One image and its CAM.

    Attributes:
        id: Image id.
        image: (H, W, 3) uint8.
        scores: (K, h, w) float32 in [0, 1], K >= 1.
        class_indices: (K,) in 1..F.
    """

    id: str
    image: npt.NDArray[np.uint8]
    scores: FloatArray
    class_indices: npt.NDArray[np.int64]


@dataclass(frozen=True)
class BackgroundChoice:
    """The score that was chosen, and why.

    Attributes:
        rule: 'border contrast', 'calibrated', or 'default' where there was nothing to choose by.
        score: The background score.
        curve: (score, criterion) pairs: mean contrast of the borders, or mIoU over the labelled images.
        images: Ids that were looked at.
        calibration: What labelled images said, where they chose.
    """

    rule: str
    score: float
    curve: tuple[tuple[float, float], ...] = ()
    images: tuple[str, ...] = ()
    calibration: Calibration | None = None

    @property
    def sentence(self) -> str:
        """What was chosen, for people."""
        if self.rule == DEFAULT:
            return f"background score {self.score:g}: no image has a class to choose it by"
        count = f"{len(self.images)} image{'s' * (len(self.images) != 1)}"
        if self.calibration is None:
            return f"background score {self.score:.2f}, where mask borders lie best on edges, by {count}"
        found = self.calibration
        held_out = "" if math.isnan(found.held_out_miou) else f"; left out in turn, {100 * found.held_out_miou:.1f}"
        return (
            f"background score {self.score:.2f}, the best of {count} with ground truth (90 % of resamples: "
            f"{found.low:.2f} to {found.high:.2f}); mIoU on them {100 * found.miou:.1f}{held_out}; do not count them "
            "when you evaluate"
        )

    def as_record(self) -> dict[str, Any]:
        """As run.json holds it."""
        record: dict[str, Any] = {
            "rule": self.rule,
            "score": self.score,
            "curve": [[round(score, 4), round(value, 6)] for score, value in self.curve if not math.isnan(value)],
            "images": list(self.images),
        }
        if self.calibration is not None:
            found = self.calibration
            held_out = None if math.isnan(found.held_out_miou) else found.held_out_miou
            record["calibration"] = {
                "miou": found.miou,
                "held_out_miou": held_out,
                "score_interval": [found.low, found.high],
            }
        return record


def choose_score(looked: Iterable[Looked], num_classes: int, targets: Mapping[str, Path] | None) -> BackgroundChoice:
    """Choose by images and their CAMs.

    Args:
        looked: Images with at least one map each.
        num_classes: C, background included.
        targets: Ground truth by image id, of all that is looked at; None: border contrast.

    Raises:
        DataError: Ground truth is damaged, of another size, all 255, or holds values that are no class.
    """
    return _by_borders(looked) if targets is None else _by_targets(looked, num_classes, targets)


def _by_borders(looked: Iterable[Looked]) -> BackgroundChoice:
    contrast, ids = BorderContrast(), []
    for each in looked:
        luma = working_luma(each.image)
        contrast.update(luma, resize_scores(each.scores, (luma.shape[0], luma.shape[1])))
        ids.append(each.id)
    if not ids:
        return BackgroundChoice(DEFAULT, DEFAULT_BACKGROUND_SCORE)
    points = tuple(zip(contrast.scores.round(4).tolist(), contrast.curve().tolist(), strict=True))
    return BackgroundChoice(BORDER_CONTRAST, points[contrast.best()][0], points, tuple(ids))


def working_luma(image: npt.NDArray[np.uint8]) -> FloatArray:
    """Brightness (ITU-R 601) at the size at which borders are compared with edges, (h, w) float32 in 0..255."""
    picture = Image.fromarray(image).convert("L")
    factor = LONGEST / max(picture.size)
    if factor < 1:
        width, height = (max(1, round(side * factor)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BOX)
    return np.asarray(picture, np.float32)


def _by_targets(looked: Iterable[Looked], num_classes: int, targets: Mapping[str, Path]) -> BackgroundChoice:
    curves, ids = [], []
    for each in looked:
        curve, path = BackgroundCurve(num_classes), targets[each.id]
        try:
            target = read_mask(path)
            curve.update(target, resize_scores(each.scores, each.image.shape[:2]), each.class_indices)
        except (ArtifactError, DataError) as error:
            where = "" if str(error).startswith(str(path)) else f"{path}: "
            msg = f"{where}{error}; it is to calibrate the background score: correct it, or take it away"
            raise DataError(msg) from None
        curves.append(curve)
        ids.append(each.id)
    found = calibrate(curves)
    if math.isnan(found.miou):
        msg = f"not one pixel counts in the ground truth of {', '.join(ids)}: all is 255; give masks that name classes"
        raise DataError(msg)
    return BackgroundChoice(CALIBRATED, found.score, found.curve, tuple(ids), found)


def find_calibration(folder: Path, ids: Iterable[str]) -> dict[str, Path]:
    """The ground truth in a folder that belongs to these images, by id.

    Raises:
        DataError: There is none.
    """
    try:
        found = find_masks(folder)
    except ArtifactError as error:
        msg = f"--calibrate {folder}: {error}"
        raise DataError(msg) from None
    ids = list(ids)
    targets = {sample_id: found[sample_id] for sample_id in ids if sample_id in found}
    if not targets:
        names = f"{next(iter(found))!r} and so on" if found else "no PNGs"
        ours = f", the images {ids[0]!r} and so on" if ids else ""
        msg = (
            f"--calibrate {folder}: no mask of these images; in it are {names}{ours}: name masks as their images, "
            "in the same subfolders"
        )
        raise DataError(msg)
    return targets
