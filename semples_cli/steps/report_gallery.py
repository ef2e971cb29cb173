"""The gallery of a report: of each image its thumbnails, and the facts by which it is sorted and found."""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from semples_cli.artifacts.mask_png import read_mask
from semples_cli.artifacts.report_html.thumbnails import cam_uri, error_uri, image_uri, mask_uri, thumbnail_size
from semples_cli.data.image_folder import find_images
from semples_cli.data.images import read_image
from semples_cli.errors import DataError, SemplesError
from semples_cli.steps.cam_source import CamSource
from semples_cli.steps.ground_truth import Note
from semples_cli.steps.process_pool import available_cores
from semples_cli.steps.report_stages import ReportStage
from semples_cli.tars.members import is_file
from semples_cli.types import BACKGROUND_INDEX, IGNORE_INDEX, Cam, MaskArray, Progress

Facts = dict[str, Any]
Pictures = dict[str, Any]


@dataclass(frozen=True)
class Gallery:
    """What the pictures are drawn from.

    Attributes:
        stage: Whose masks are shown.
        earlier: Stages whose masks are shown beside them.
        cams: The CAMs behind the masks, if any.
        images: Image by id, as far as they are found.
        targets: Ground truth by id; empty without one.
    """

    stage: ReportStage
    earlier: Sequence[ReportStage]
    cams: CamSource | None
    images: Mapping[str, Path]
    targets: Mapping[str, Path]


def make_gallery(gallery: Gallery, most: int, progress: Progress) -> tuple[list[Facts], list[Pictures]]:
    """Facts and pictures of the images that are to be looked at first.

    Args:
        gallery: What they are drawn from.
        most: How many: the worst by ground truth where there is one, else those of the least confidence.
        progress: Called as (done, total).

    Returns:
        Facts as JSON values (id, size, classes, score, confidence, coverage, …), and data URIs by kind of picture.

    Raises:
        SemplesError: A mask, a CAM or a ground truth is damaged. An image that cannot be read is only said.
    """
    ids = choose_images(gallery.stage, most)
    facts: list[Facts] = []
    pictures: list[Pictures] = []
    with ThreadPoolExecutor(available_cores()) as pool:  # Pillow works outside of Python's lock
        for fact, picture in pool.map(lambda sample_id: _draw(gallery, sample_id), ids):
            facts.append(fact)
            pictures.append(picture)
            progress(len(facts), len(ids))
    return facts, pictures


def choose_images(stage: ReportStage, most: int) -> list[str]:
    """Ids of the stage's masks, the worst first, then the least confident; those of which nothing is known last."""

    def order(sample_id: str) -> tuple[float, float, str]:
        entry = stage.entries.get(sample_id)
        score, confidence = stage.image_scores.get(sample_id), entry.confidence if entry else None
        return _last_if_unknown(score), _last_if_unknown(confidence), sample_id

    return sorted(stage.masks, key=order)[:most]


def find_pictures(
    stages: Sequence[ReportStage], images: Path | None, fallback: Path | None, note: Note
) -> dict[str, Path]:
    """The image of each mask, by id, as far as they can be found.

    Args:
        stages: Their manifests and records say where the images were.
        images: Where the user says they are; None: nothing.
        fallback: Where to look when no record says anything, such as the images of a devkit.
        note: Called with a sentence if a folder that is recorded is not there any more.

    Raises:
        DataError: `images` is no folder of images.
    """
    if images is not None:
        return {file.id: file.path for file in find_images([images])}
    found: dict[str, Path] = {}
    for stage in stages:
        made_from = ((entry.id, Path(entry.files[0].path)) for entry in stage.entries.values() if entry.files)
        found |= {sample_id: path for sample_id, path in made_from if is_file(path)}
    missing = stages[-1].masks.keys() - found.keys()
    if not missing:
        return found
    recorded = [Path(path) for stage in stages for path in stage.record.get("inputs") or ()]
    for folder in dict.fromkeys([*recorded, *([fallback] if fallback else [])]):
        try:
            found |= {file.id: file.path for file in find_images([folder]) if file.id in missing}
        except DataError as error:
            note(f"images are left out of the report: {error}; say by --images where they are now")
    return found


def _draw(gallery: Gallery, sample_id: str) -> tuple[Facts, Pictures]:
    stage = gallery.stage
    cam = _read_cam(gallery, sample_id)
    values = stage.read_values(sample_id, cam)
    target = _read_target(gallery, sample_id, values)
    image, trouble = _image(gallery, sample_id, values)
    pictures: Pictures = {"image": image, "mask": mask_uri(values)}
    if cam is not None:
        maps = zip(cam.class_indices.tolist(), cam.scores, strict=True)
        pictures["cams"] = {str(index): cam_uri(scores) for index, scores in maps}
    if target is not None:
        pictures |= {"truth": mask_uri(target), "error": error_uri(target, values)}
    if gallery.earlier:
        pictures["stages"] = {
            each.name: mask_uri(each.read_values(sample_id)) for each in gallery.earlier if sample_id in each.masks
        }
    facts: Facts = {
        "id": sample_id,
        "size": list(values.shape),
        "thumbnail": list(thumbnail_size(values.shape)),
        "classes": _foreground(values),
        "truth_classes": [] if target is None else _foreground(target),
        "label_classes": _labels(stage, sample_id, cam),
        "score": _defined(stage.image_scores.get(sample_id)),
        "coverage": float((values != IGNORE_INDEX).mean()),
        "trouble": trouble,
    }
    return facts | _confidence(stage, sample_id), pictures


def _confidence(stage: ReportStage, sample_id: str) -> Facts:
    entry = stage.entries.get(sample_id)
    if entry is None:
        return {"confidence": None, "class_confidence": {}}
    return {"confidence": entry.confidence, "class_confidence": dict(entry.class_confidence)}


def _labels(stage: ReportStage, sample_id: str, cam: Cam | None) -> list[int]:
    """The classes that the image's label names, as far as CAM and manifest tell."""
    entry = stage.entries.get(sample_id)
    told = {int(index) for index in entry.class_confidence} if entry else set()
    return sorted(told | (set() if cam is None else set(cam.class_indices.tolist())))


def _read_cam(gallery: Gallery, sample_id: str) -> Cam | None:
    if gallery.cams is None or sample_id not in gallery.cams.paths:
        return None
    size = None
    if gallery.cams.is_foreign and sample_id in gallery.targets:  # they do not know the size of their image
        target = read_mask(gallery.targets[sample_id])
        size = (target.shape[0], target.shape[1])
    return gallery.cams.read(sample_id, size)


def _read_target(gallery: Gallery, sample_id: str, values: MaskArray) -> MaskArray | None:
    path = gallery.targets.get(sample_id)
    target = None if path is None else read_mask(path)
    return target if target is not None and target.shape == values.shape else None


def _image(gallery: Gallery, sample_id: str, values: MaskArray) -> tuple[str | None, str]:
    """The thumbnail, or why there is none."""
    path = gallery.images.get(sample_id)
    if path is None:
        return None, "the image was not found"
    try:
        image = read_image(path)
    except SemplesError as error:
        return None, str(error)
    if image.shape[:2] != values.shape:
        sizes = " and ".join(f"{height} × {width}" for height, width in (image.shape[:2], values.shape))
        return None, f"{path} is not the image of this mask: {sizes} pixels"
    return image_uri(image), ""


def _foreground(values: MaskArray) -> list[int]:
    found = np.flatnonzero(np.bincount(values.ravel(), minlength=IGNORE_INDEX + 1)).tolist()
    return [k for k in found if k not in (BACKGROUND_INDEX, IGNORE_INDEX)]


def _last_if_unknown(value: float | None) -> float:
    return math.inf if value is None or math.isnan(value) else value


def _defined(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
