"""Ground-truth masks from COCO instances JSON, which COCO does not ship and `evaluate` needs."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from time import perf_counter

import numpy as np

from semples_cli.artifacts.manifest import Manifest
from semples_cli.artifacts.manifest_entries import ManifestEntry, item_key
from semples_cli.artifacts.mask_png import write_mask
from semples_cli.artifacts.own_files import refuse_links
from semples_cli.artifacts.run_folder import RunFolder, check_same_run, class_record, read_run_record, write_run_record
from semples_cli.config import MASK_MODES
from semples_cli.data.coco import CocoImage, Instances, category_order, read_instances
from semples_cli.data.coco_shapes import draw_region
from semples_cli.data.image_folder import find_images
from semples_cli.data.images import DEFAULT_MAX_PIXELS, read_image_size
from semples_cli.errors import DataError, SemplesError, SettingsError, UnwritableError
from semples_cli.steps.interruption import Interruption
from semples_cli.steps.ledger import Ledger
from semples_cli.steps.progress import tqdm_progress
from semples_cli.types import ClassSet, MaskArray, Progress, RunSummary

# Raise it whenever the same input and settings would give another mask: older items are then redone.
STEP_VERSION = 1
CROWDS = ("class", "ignore")
IGNORE = 255


@dataclass(frozen=True)
class _Item:
    """A mask to draw: its id, what is annotated, and where the image itself lies, if that was said."""

    id: str
    image: CocoImage
    path: Path | None


def make_coco_masks(
    annotations: Path,
    out: Path,
    class_set: ClassSet | None = None,
    *,
    images: Path | None = None,
    crowd: str = "class",
    limit: int | None = None,
    mask_mode: str = "palette",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> RunSummary:
    """Draw the mask of every image in an instances JSON; one without annotations is all background.

    Where regions overlap, the one of fewer pixels is on top: what lies before something else is usually the smaller.

    Args:
        annotations: The instances JSON.
        out: Run folder to write, `<file name without suffix>.png`; what an earlier run finished is kept.
        class_set: The order of the mask values; None: the built-in list where the names are COCO's 80, else the order
            of the category ids.
        images: Folder of the images: only theirs are drawn, under their ids, and they must be as large as the file
            says. None: all of the file, and no image is opened.
        crowd: Crowd regions, which nobody told apart, become their 'class', or 'ignore', 255.
        limit: Only the first images of the file.
        mask_mode: 'palette' or 'L'.
        overwrite: Do everything again.
        progress: Called as (done, total); None draws a tqdm bar.

    Returns:
        How it ended; an image whose regions cannot be drawn is among `failed`, one in `images` that the file does not
        list is among `skipped`, and the rest is done.

    Raises:
        SemplesError: The file cannot be used as a whole, `images` has none of its images, two masks would have one
            name, or `out` holds another run.
    """
    for value, choices in ((crowd, CROWDS), (mask_mode, MASK_MODES)):
        if value not in choices:
            msg = f"{value!r}: choose one of {', '.join(choices)}"
            raise SettingsError(msg)
    instances = read_instances(annotations)
    classes = class_set or category_order(instances)
    values = {number: _value(annotations, classes, name) for number, name in instances.categories.items()}
    items, unlisted = _choose(instances, images)
    run, chosen = RunFolder(out), items[:limit]
    settings = {"crowd": crowd, "mask_mode": mask_mode}
    record = {"command": "coco-masks", "classes": class_record(classes), "settings": settings}
    refuse_links(run, (*(item.id for item in chosen), *unlisted))
    with Manifest(run, overwrite=overwrite) as manifest:
        check_same_run(None if overwrite else read_run_record(out), record)
        write_run_record(run, {**record, "source": str(annotations.absolute())})
        ledger = Ledger(run, manifest, len(chosen) + len(unlisted), progress or tqdm_progress("coco masks"))
        for item_id in unlisted:
            ledger.skip(item_id, f"not in {annotations}")
        with Interruption() as interruption:
            for item in interruption.until(chosen):
                facts = {"step": f"coco-masks {STEP_VERSION}", "image": _digest(item.image), "values": values}
                _draw_one(ledger, item, values, crowd, mask_mode, item_key((), {**facts, **settings}))
    return ledger.end(interruption)


def _choose(instances: Instances, folder: Path | None) -> tuple[list[_Item], list[str]]:
    """What to draw, and the ids of images in the folder that the file does not list."""
    listed = [(PurePosixPath(image.file_name).with_suffix("").as_posix(), image) for image in instances.images]
    if folder is None:
        items = [_Item(item_id, image, None) for item_id, image in listed]
        _check_ids(instances, items)
        return items, []
    there = {image.id: image.path for image in find_images([folder])}
    items = []
    for item_id, image in listed:
        # A file for several folders says val2014/x.jpg; its images lie in the folder that was given, as x.jpg.
        named = next((each for each in (item_id, PurePosixPath(item_id).name) if each in there), None)
        if named is not None:
            items.append(_Item(named, image, there[named]))
    if not items:
        first = listed[0][1].file_name if listed else "nothing"
        msg = f"{folder}: none of the images of {instances.source}, which lists {first} and so on; give their folder"
        raise DataError(msg)
    _check_ids(instances, items)
    return items, sorted(there.keys() - {item.id for item in items})


def _check_ids(instances: Instances, items: Iterable[_Item]) -> None:
    seen: dict[str, str] = {}
    for item in items:
        if (other := seen.setdefault(item.id, item.image.file_name)) != item.image.file_name:
            both = f"{other} and {item.image.file_name}"
            msg = f"{instances.source}: {both} would both be written as {item.id!r}; rename one, here and in the file"
            raise DataError(msg)


def _value(annotations: Path, classes: ClassSet, name: str) -> int:
    try:
        return classes.index_of(name)
    except DataError as error:
        msg = f"{annotations}: category {name!r} is no class of the list ({error})"
        raise DataError(msg) from None


def _digest(image: CocoImage) -> str:
    try:
        return hashlib.sha256(json.dumps(asdict(image), sort_keys=True).encode()).hexdigest()
    except RecursionError:  # lists within lists, of which no region can be drawn: it fails by name, every time
        return ""


def _draw_one(ledger: Ledger, item: _Item, values: dict[int, int], crowd: str, mask_mode: str, key: str) -> None:
    try:
        _check_size(item)  # on every run: the image may have been changed since
        if ledger.manifest.is_done(item.id, key):
            ledger.keep()
            return
        started = perf_counter()
        ledger.manifest.forget(item.id, key)
        path = ledger.run.mask_path(item.id)
        write_mask(path, draw_mask(item.image, values, crowd), mask_mode)
    except UnwritableError:
        raise
    except SemplesError as error:
        ledger.fail(item.id, str(error))
        return
    output = path.relative_to(ledger.run.root).as_posix()
    ledger.finish(ManifestEntry(item.id, "ok", "", key, perf_counter() - started, output))


def _check_size(item: _Item) -> None:
    """Annotations of a smaller copy, or of an image that was turned, do not lie on what they mean."""
    if item.path is None or (there := read_image_size(item.path)) == item.image.size:
        return
    ours, theirs = (f"{height} x {width}" for height, width in (there, item.image.size))
    msg = f"{item.path} is {ours} pixels (height x width), upright, but was annotated at {theirs}; bring that image"
    raise DataError(msg)


def draw_mask(image: CocoImage, values: dict[int, int], crowd: str = "class") -> MaskArray:
    """The mask of one image.

    Args:
        image: The image.
        values: Mask value of each category id.
        crowd: Crowd regions become their 'class', or 'ignore', 255.

    Returns:
        (H, W) uint8.

    Raises:
        DataError: A region cannot be drawn, or the file gives a size that no image has.
    """
    height, width = image.size
    if height < 1 or width < 1 or height * width > DEFAULT_MAX_PIXELS:
        msg = f"{image.file_name}: {height} x {width} is no size of an image; correct the file"
        raise DataError(msg)
    mask, area_on_top = np.zeros(image.size, np.uint8), np.full(image.size, height * width)
    for shape in image.shapes:
        try:
            region = draw_region(shape.segmentation, image.size)
        except DataError as error:
            msg = f"{image.file_name}: a region of category {shape.category} cannot be drawn: {error}; correct the file"
            raise DataError(msg) from None
        area = region.sum()
        on_top = region & (area <= area_on_top)
        mask[on_top] = IGNORE if shape.is_crowd and crowd == "ignore" else values[shape.category]
        area_on_top[on_top] = area
    return mask
