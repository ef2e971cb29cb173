"""COCO JSON: one compressed RLE for each shape, written image by image."""

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from semples_cli.artifacts.export.index_file import IndexFile
from semples_cli.artifacts.export.instances import Shape, iterate_shapes
from semples_cli.artifacts.export.outlines import trace_outlines
from semples_cli.artifacts.export.protocol import ExportImage, ExportSettings
from semples_cli.types import ClassSet

NAME = "instances.json"


class CocoExporter:
    """`<out>/instances.json`: ids from 1, categories 1..F as in the masks, `iscrowd` 0, `score` where one is known.

    Area and box are pycocotools' own, of what is written. Text is ASCII with escapes, because `pycocotools.coco.COCO`
    opens it in the encoding of the machine.

    Args:
        out: Folder of the export.
        class_set: The classes.
        settings: `instances`, and `polygons` in place of RLE.
    """

    options: ClassVar[frozenset[str]] = frozenset({"instances", "polygons"})
    void_rule: ClassVar[str] = "left out: COCO has no ignored pixels, and readers will take them for background"

    def __init__(self, out: Path, class_set: ClassSet, settings: ExportSettings) -> None:
        self.notes: list[str] = []
        self._settings = settings
        self._index = IndexFile(out / NAME)
        self._annotations = IndexFile(out / f"{NAME}.annotations")
        self._class_set = class_set
        self._num_images = self._num_annotations = 0
        self._overlap = _Overlap()

    def add(self, image: ExportImage) -> tuple[Path, ...]:
        """Write the image's entry, and one annotation for each shape."""
        shapes = list(iterate_shapes(image.values, self._settings.instances))
        annotations = [self._annotation(image, shape, number) for number, shape in enumerate(shapes, 1)]
        height, width = image.values.shape
        self._begin()
        entry = {"id": self._num_images + 1, "file_name": image.file_name, "width": width, "height": height}
        self._index.write(_after(self._num_images) + json.dumps(entry))
        for number, annotation in enumerate(annotations, self._num_annotations):
            self._annotations.write(_after(number) + json.dumps(annotation))
        self._num_images += 1
        self._num_annotations += len(annotations)
        return ()

    def finish(self) -> tuple[Path, ...]:
        """Put the annotations behind the images, and close."""
        self._begin()
        self._index.write('\n],\n"annotations": [')
        self._annotations.write("\n]}\n")
        self._annotations.handle.seek(0)
        shutil.copyfileobj(self._annotations.handle, self._index.handle)
        self._annotations.abandon()
        if self._overlap.shapes:
            self.notes.append(self._overlap.sentence())
        return (self._index.complete(),)

    def abandon(self) -> None:
        """Remove both halves."""
        self._index.abandon()
        self._annotations.abandon()

    def _begin(self) -> None:
        """The head, before the first image."""
        if self._index.is_begun:
            return
        names = enumerate(self._class_set.names, 1)
        head = {
            "info": {"description": "pseudo masks", "contributor": f"semples {version('semples')}"},
            "licenses": [],
            "categories": [{"id": index, "name": name} for index, name in names],
        }
        self._index.write(f'{json.dumps(head)[:-1]},\n"images": [')

    def _annotation(self, image: ExportImage, shape: Shape, number: int) -> dict[str, Any]:
        from pycocotools import mask as coco_mask

        height, width = shape.image_size
        rle = encode_rle(shape)
        segmentation: object = {"size": rle["size"], "counts": rle["counts"].decode("ascii")}
        if self._settings.polygons:
            outlines = trace_outlines(shape.pixels)
            segmentation = [np.add(corners, (shape.left, shape.top)).ravel().tolist() for corners in outlines]
            drawn = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
            self._overlap.add(float(coco_mask.iou([drawn], [rle], [0])[0, 0]), image.id)
            rle = drawn
        annotation = {
            "id": self._num_annotations + number,
            "image_id": self._num_images + 1,
            "category_id": shape.class_index,
            "segmentation": segmentation,
            "area": int(coco_mask.area(rle)),
            "bbox": coco_mask.toBbox(rle).tolist(),
            "iscrowd": 0,
        }
        score = image.class_confidence.get(shape.class_index)
        return annotation if score is None else {**annotation, "score": score}


def encode_rle(shape: Shape) -> dict[str, Any]:
    """The same as `pycocotools.mask.encode` of the whole canvas, from the columns that the shape reaches alone.

    Returns:
        `size` [H, W] and `counts` as bytes.
    """
    from pycocotools import mask as coco_mask

    height, width = shape.image_size
    band = np.zeros((height, shape.pixels.shape[1]), np.bool_)
    band[shape.top : shape.top + len(shape.pixels)] = shape.pixels
    column_by_column = band.ravel(order="F")
    changes = np.flatnonzero(np.diff(column_by_column, prepend=False))
    runs = np.diff(changes, prepend=0, append=column_by_column.size).tolist()
    runs[0] += shape.left * height
    behind = (width - shape.left - band.shape[1]) * height
    if column_by_column[-1]:
        runs += [behind] if behind else []
    else:
        runs[-1] += behind
    encoded: dict[str, Any] = coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    return encoded


class _Overlap:
    """How well polygons repeat the masks."""

    def __init__(self) -> None:
        self.shapes, self._sum, self._least, self._least_id = 0, 0.0, 2.0, ""

    def add(self, iou: float, image_id: str) -> None:
        self.shapes += 1
        self._sum += iou
        if iou < self._least:
            self._least, self._least_id = iou, image_id

    def sentence(self) -> str:
        return (
            f"polygons fill holes: their IoU with the masks is {self._sum / self.shapes:.4f} on average, "
            f"{self._least:.4f} at the least ({self._least_id}); without --polygons nothing is lost"
        )


def _after(number: int) -> str:
    return ",\n" if number else "\n"
