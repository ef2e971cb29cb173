"""Ground-truth masks from COCO instances JSON, which COCO does not ship and `evaluate` needs."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from time import perf_counter
from typing import Any

import numpy as np

from semples_cli.artifacts.manifest import Manifest, ManifestEntry, item_key
from semples_cli.artifacts.mask_png import write_mask
from semples_cli.artifacts.run_folder import RunFolder, check_same_run, class_record, read_run_record, write_run_record
from semples_cli.config import MASK_MODES
from semples_cli.data.coco import CocoImage, Shape, category_order, read_instances
from semples_cli.errors import DataError, SettingsError
from semples_cli.steps.ledger import Ledger
from semples_cli.steps.progress import tqdm_progress
from semples_cli.types import ClassSet, MaskArray, Progress, RunSummary

# Raise it whenever the same input and settings would give another mask: older items are then redone.
STEP_VERSION = 1
CROWDS = ("class", "ignore")
IGNORE = 255


def make_coco_masks(
    annotations: Path,
    out: Path,
    class_set: ClassSet | None = None,
    *,
    crowd: str = "class",
    limit: int | None = None,
    mask_mode: str = "palette",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> RunSummary:
    """Draw the mask of every image in an instances JSON; one without annotations is all background.

    Where regions overlap, the smaller one is on top: what lies before something else is usually the smaller.

    Args:
        annotations: The instances JSON.
        out: Run folder to write, `<file name without suffix>.png`; what an earlier run finished is kept.
        class_set: The order of the mask values; None: the built-in list of COCO's 80 classes where it has all
            names, else the order of the category ids.
        crowd: Crowd regions, which nobody told apart, become their 'class', or 'ignore', 255.
        limit: Only the first images of the file.
        mask_mode: 'palette' or 'L'.
        overwrite: Do everything again.
        progress: Called as (done, total); None draws a tqdm bar.

    Returns:
        How it ended; an image whose regions cannot be drawn is among `failed`, and the rest is done.

    Raises:
        SemplesError: The file cannot be used as a whole, or `out` holds another run.
    """
    for value, choices in ((crowd, CROWDS), (mask_mode, MASK_MODES)):
        if value not in choices:
            msg = f"{value!r}: choose one of {', '.join(choices)}"
            raise SettingsError(msg)
    instances = read_instances(annotations)
    classes = class_set or category_order(instances)
    values = {number: _value(annotations, classes, name) for number, name in instances.categories.items()}
    run, images = RunFolder(out), instances.images[:limit]
    settings = {"crowd": crowd, "mask_mode": mask_mode}
    record = {"command": "coco-masks", "classes": class_record(classes), "settings": settings}
    with Manifest(run, overwrite=overwrite) as manifest:
        check_same_run(None if overwrite else read_run_record(out), record)
        write_run_record(run, {**record, "source": str(annotations.absolute())})
        ledger = Ledger(run, manifest, len(images), progress or tqdm_progress("coco masks"))
        for image in images:
            facts = {"step": f"coco-masks {STEP_VERSION}", "image": _digest(image), "values": values, **settings}
            _draw_one(ledger, image, values, crowd, mask_mode, item_key((), facts))
    return ledger.summary()


def _value(annotations: Path, classes: ClassSet, name: str) -> int:
    try:
        return classes.index_of(name)
    except DataError as error:
        msg = f"{annotations}: category {name!r} is no class of the list ({error})"
        raise DataError(msg) from None


def _digest(image: CocoImage) -> str:
    return hashlib.sha256(json.dumps(asdict(image), sort_keys=True).encode()).hexdigest()


def _draw_one(ledger: Ledger, image: CocoImage, values: dict[int, int], crowd: str, mask_mode: str, key: str) -> None:
    item = PurePosixPath(image.file_name).with_suffix("").as_posix()
    if ledger.manifest.is_done(item, key):
        ledger.keep()
        return
    started = perf_counter()
    ledger.manifest.forget(item, key)
    try:
        mask = draw_mask(image, values, crowd)
    except DataError as error:
        ledger.fail(item, str(error))
        return
    path = ledger.run.mask_path(item)
    write_mask(path, mask, mask_mode)
    output = path.relative_to(ledger.run.root).as_posix()
    ledger.finish(ManifestEntry(item, "ok", "", key, perf_counter() - started, output))


def draw_mask(image: CocoImage, values: dict[int, int], crowd: str = "class") -> MaskArray:
    """The mask of one image, as pycocotools draws its regions.

    Args:
        image: The image.
        values: Mask value of each category id.
        crowd: Crowd regions become their 'class', or 'ignore', 255.

    Returns:
        (H, W) uint8.

    Raises:
        DataError: A region cannot be drawn.
    """
    mask = np.zeros(image.size, np.uint8)
    regions = [(shape, _region(image, shape)) for shape in image.shapes]
    regions.sort(key=lambda pair: -int(pair[1].sum()))
    for shape, region in regions:
        mask[region] = IGNORE if shape.is_crowd and crowd == "ignore" else values[shape.category]
    return mask


def _check_counts(counts: Any, pixels: int) -> None:  # noqa: ANN401  # JSON
    """Counts that do not cover the image are drawn as anything; compressed ones cannot be checked so."""
    if isinstance(counts, list) and sum(counts) != pixels:
        msg = f"its counts cover {sum(counts)} of {pixels} pixels"
        raise ValueError(msg)


def _region(image: CocoImage, shape: Shape) -> Any:  # noqa: ANN401  # (H, W) bool
    """The pixels of a region, (H, W) bool."""
    from pycocotools import mask as coco_mask

    height, width = image.size
    form = shape.segmentation
    try:
        if isinstance(form, dict):
            _check_counts(form["counts"], height * width)
            rle = form if isinstance(form["counts"], str | bytes) else coco_mask.frPyObjects(form, height, width)
        else:
            rle = coco_mask.merge(coco_mask.frPyObjects(form, height, width))
        region = coco_mask.decode(rle).astype(bool)
    except Exception as error:  # pycocotools raises anything, plain Exception too
        msg = f"{image.file_name}: a region of category {shape.category} cannot be drawn ({error}); correct the file"
        raise DataError(msg) from None
    if region.shape != image.size:
        msg = f"{image.file_name}: a region of {region.shape} in an image of {image.size}; correct the file"
        raise DataError(msg)
    return region
