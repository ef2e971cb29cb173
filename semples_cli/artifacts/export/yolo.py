"""YOLO segmentation: images, a text file of polygons for each, and data.yaml; the polygons are supervision's."""

import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import signature
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.artifacts.export.image_copy import place_image
from semples_cli.artifacts.export.instances import Shape, iterate_shapes
from semples_cli.artifacts.export.protocol import ExportImage, ExportSettings
from semples_cli.errors import DataError, SettingsError
from semples_cli.tars.members import open_file
from semples_cli.types import ClassSet

IMAGES, LABELS, CONFIG = "images/train", "labels/train", "data.yaml"

# What Ultralytics and supervision both take for images; they pass over others without a word.
SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

BoolArray = npt.NDArray[np.bool_]
Polygon = npt.NDArray[np.int64]  # (V, 2) corners as (x, y), at pixel centres


class YoloExporter:
    """`images/train/<name>.<suffix>`, `labels/train/<name>.txt` and `data.yaml`.

    A line of a text file is a class, from 0 and without background, and the outline of one connected region, holes
    joined to it by seams. All images lie in one folder, as supervision reads them: `a/1` is called `a%2F1`.

    Args:
        out: Folder of the export.
        class_set: The classes.
        settings: `copy_images`.

    Raises:
        SettingsError: supervision is not installed, or too old to keep holes.
    """

    options: ClassVar[frozenset[str]] = frozenset({"copy_images"})
    void_rule: ClassVar[str] = "left out: YOLO has no ignored pixels, and trains on them as background"

    def __init__(self, out: Path, class_set: ClassSet, settings: ExportSettings) -> None:
        self.notes: list[str] = []
        self._out = out
        self._class_set = class_set
        self._copy = settings.copy_images
        self._supervision = load_supervision()
        self._losses = _Losses()

    def add(self, image: ExportImage) -> tuple[Path, ...]:
        """Put the image and its polygons side by side.

        Raises:
            DataError: YOLO's readers would pass over an image of this kind.
        """
        if image.image_path.suffix.lower() not in SUFFIXES:
            msg = f"{image.image_path}: YOLO's readers pass over {image.image_path.suffix}; convert it to PNG or JPEG"
            raise DataError(msg)
        name = flat_name(image.id)
        picture, labels = self._out / IMAGES / (name + image.image_path.suffix), self._out / LABELS / f"{name}.txt"
        losses = _Losses()
        lines = list(self._lines(image, losses))
        place_image(image.image_path, picture, copy=self._copy or _is_mended_by_ultralytics(image.image_path))
        with open_atomic(labels) as handle:
            handle.write("".join(f"{line}\n" for line in lines).encode())
        self._losses.merge(losses)
        return picture, labels

    def finish(self) -> tuple[Path, ...]:
        """Write data.yaml, and say what the polygons lost."""
        names = "".join(
            f"  {index}: {json.dumps(name, ensure_ascii=False)}\n" for index, name in enumerate(self._class_set.names)
        )
        with open_atomic(self._out / CONFIG) as handle:
            handle.write(CONFIG_TEXT.format(images=IMAGES, count=len(self._class_set), names=names).encode())
        self.notes += self._losses.sentences()
        return (self._out / CONFIG,)

    def abandon(self) -> None:
        """Nothing is unfinished between two images."""

    def _lines(self, image: ExportImage, losses: "_Losses") -> Iterator[str]:
        shapes = iterate_shapes(image.values, "components")
        for index, regions in groupby(shapes, attrgetter("class_index")):
            again = np.zeros(image.values.shape, np.bool_)
            for region in regions:
                lines = [self._line(polygon, index, again.shape) for polygon in self._polygons(region)]
                for line in lines:
                    self._draw(line, again)
                losses.thin += not lines
                yield from lines
            losses.add(image.values == index, again, image.id)

    def _polygons(self, shape: Shape) -> list[Polygon]:
        corner = np.array([shape.left, shape.top])
        return [polygon + corner for polygon in trace_polygons(shape.pixels, self._supervision.trace)]

    def _line(self, polygon: Polygon, index: int, size: tuple[int, ...]) -> str:
        line: str = self._supervision.write(xyxy=None, class_id=index - 1, image_shape=size, polygon=polygon)
        return line

    def _draw(self, line: str, canvas: BoolArray) -> None:
        """What supervision's reader makes of a line, drawn into its bounding box alone."""
        height, width = canvas.shape
        shares = np.array(line.split()[1:], np.float32).reshape(-1, 2)
        polygon = np.round(shares * np.array([width, height], np.float32)).astype(np.int32)
        (left, top), (right, bottom) = polygon.min(axis=0), polygon.max(axis=0) + 1
        inside = self._supervision.draw(polygon - (left, top), (right - left, bottom - top))
        canvas[top:bottom, left:right] |= inside.astype(np.bool_)


def trace_polygons(pixels: BoolArray, trace: Callable[..., list[Polygon]]) -> list[Polygon]:
    """Polygons of a region, holes kept.

    Where no straight seam leads from a hole to the outline, the region is cut in two, and each half traced.

    Args:
        pixels: (h, w) bool.
        trace: supervision's `approximate_mask_with_polygons`.

    Returns:
        (V, 2) corners as (x, y), V ≥ 3; none for a region that has fewer, such as a single pixel.
    """
    try:
        return trace(mask=pixels, approximation_percentage=0.0, bridge_holes=True)
    except ValueError:
        axis = int(np.argmax(pixels.shape))
        middle = pixels.shape[axis] // 2
        first, second = np.split(pixels, [middle], axis=axis)
        shift = np.array([middle, 0] if axis else [0, middle])
        return [*trace_polygons(first, trace), *(polygon + shift for polygon in trace_polygons(second, trace))]


def flat_name(image_id: str) -> str:
    """The id as the name of a file: `a/1` is `a%2F1`, and no two ids are called alike; `unquote` takes it back."""
    return image_id.replace("%", "%25").replace("/", "%2F")


@dataclass(frozen=True)
class _Supervision:
    """The functions of supervision that are used.

    Attributes:
        trace: Mask to polygons.
        write: Polygon to line.
        draw: Polygon to mask.
    """

    trace: Callable[..., Any]
    write: Callable[..., Any]
    draw: Callable[..., Any]


def load_supervision() -> _Supervision:
    """What of supervision is needed.

    Raises:
        SettingsError: It is not installed, or too old.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # that OpenCV is not there: the same polygons come without it
            from supervision import polygon_to_mask
            from supervision.dataset.formats.yolo import object_to_yolo
            from supervision.dataset.utils import approximate_mask_with_polygons
    except ImportError as error:
        msg = f'--to yolo needs supervision ({error}): pip install "semples[yolo]"'
        raise SettingsError(msg) from None
    if "bridge_holes" not in signature(approximate_mask_with_polygons).parameters:
        msg = '--to yolo needs supervision 0.31.2, older ones fill holes: pip install --upgrade "semples[yolo]"'
        raise SettingsError(msg)
    return _Supervision(approximate_mask_with_polygons, object_to_yolo, polygon_to_mask)


@dataclass
class _Losses:
    """How well the polygons repeat the masks, over the classes of all images.

    Attributes:
        count: Classes of images.
        total: Sum of their IoU.
        least: The least of them.
        least_id: Where that is.
        thin: Regions that are no polygon.
    """

    count: int = 0
    total: float = 0.0
    least: float = 2.0
    least_id: str = ""
    thin: int = 0

    def add(self, before: BoolArray, after: BoolArray, image_id: str) -> None:
        iou = float(np.count_nonzero(before & after) / np.count_nonzero(before | after))
        self.merge(_Losses(1, iou, iou, image_id))

    def merge(self, other: "_Losses") -> None:
        self.count += other.count
        self.total += other.total
        self.thin += other.thin
        if other.least < self.least:
            self.least, self.least_id = other.least, other.least_id

    def sentences(self) -> Iterator[str]:
        if self.count:
            yield (
                f"read back, the polygons have IoU {self.total / self.count:.4f} with the masks, mean over the classes "
                f"of each image; the least is {self.least:.4f} ({self.least_id})"
            )
        if self.thin:
            yield f"{self.thin} regions of one pixel, or one line of pixels, are no polygons and are left out"


def _is_mended_by_ultralytics(image: Path) -> bool:
    """Whether Ultralytics would write the file anew, in place: a link would let it change the user's own image."""
    if image.suffix.lower() not in (".jpg", ".jpeg"):
        return False
    try:
        with open_file(image) as handle:
            handle.seek(-2, 2)
            return handle.read() != b"\xff\xd9"
    except OSError:
        return True


CONFIG_TEXT = """# Ultralytics: yolo segment train data=data.yaml
train: {images}
val: {images} # Ultralytics wants one: put the images of your own ground truth here, these are pseudo masks
nc: {count}
names:
{names}"""
