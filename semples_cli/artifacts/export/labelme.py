"""LabelMe: a JSON file beside each image, with masks as PNGs of their bounding boxes, so that no pixel is lost."""

import base64
import io
import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.artifacts.export.image_copy import place_image
from semples_cli.artifacts.export.instances import Shape, iterate_shapes
from semples_cli.artifacts.export.protocol import ExportImage, ExportSettings
from semples_cli.errors import SettingsError
from semples_cli.types import IGNORE_INDEX, ClassSet

LABELS = "labels.txt"

# Names that LabelMe's own converters turn into 255 and 0.
IGNORE_LABEL, BACKGROUND_LABEL = "__ignore__", "_background_"

# Of the format: masks came with 5.4, and readers of 5 warn about files of another first number.
FORMAT_VERSION = "5.5.0"


class LabelmeExporter:
    """`<id>.json` beside `<id>.<suffix>`, and `labels.txt` for `labelme --labels`.

    255 is kept, as shapes that LabelMe's converters call `__ignore__`. The flags say of each class whether the mask
    shows it.

    Args:
        out: Folder of the export.
        class_set: The classes.
        settings: `instances`, `copy_images`.

    Raises:
        SettingsError: A class has a name that means something else to LabelMe.
    """

    options: ClassVar[frozenset[str]] = frozenset({"instances", "copy_images"})
    void_rule: ClassVar[str] = ""

    def __init__(self, out: Path, class_set: ClassSet, settings: ExportSettings) -> None:
        self.notes: list[str] = []
        self._out = out
        self._class_set = class_set
        self._settings = settings
        taken = {IGNORE_LABEL, BACKGROUND_LABEL}.intersection(class_set.names)
        if taken:
            msg = (
                f"class {taken.pop()!r}: LabelMe's name for what is no class; give --classes with another name in the "
                "same place"
            )
            raise SettingsError(msg)

    def add(self, image: ExportImage) -> tuple[Path, ...]:
        """Put image and JSON side by side."""
        picture, annotation = (self._out / name for name in (image.file_name, f"{image.id}.json"))
        place_image(image.image_path, picture, copy=self._settings.copy_images)
        with open_atomic(annotation) as handle:
            handle.write(json.dumps(self._document(image), indent=1).encode())
        return picture, annotation

    def finish(self) -> tuple[Path, ...]:
        """Write the list of labels."""
        names = (IGNORE_LABEL, BACKGROUND_LABEL, *self._class_set.names)
        with open_atomic(self._out / LABELS) as handle:
            handle.write("".join(f"{name}\n" for name in names).encode())
        return (self._out / LABELS,)

    def abandon(self) -> None:
        """Nothing is unfinished between two images."""

    def _document(self, image: ExportImage) -> dict[str, Any]:
        height, width = image.values.shape
        shapes = list(iterate_shapes(image.values, self._settings.instances))
        shown = {shape.class_index for shape in shapes}
        void = iterate_shapes((image.values == IGNORE_INDEX).astype(np.uint8), "class")
        labelled = [(self._class_set.name_of(shape.class_index), shape) for shape in shapes]
        labelled += [(IGNORE_LABEL, shape) for shape in void]
        return {
            "version": FORMAT_VERSION,
            "flags": {name: index in shown for index, name in enumerate(self._class_set.names, 1)},
            "shapes": [_shape_entry(name, shape) for name, shape in labelled],
            "imagePath": image.file_name.rpartition("/")[2],
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }


def _shape_entry(label: str, shape: Shape) -> dict[str, Any]:
    height, width = shape.pixels.shape
    return {
        "label": label,
        "points": [[shape.left, shape.top], [shape.left + width - 1, shape.top + height - 1]],
        "group_id": None,
        "description": "",
        "shape_type": "mask",
        "flags": {},
        "mask": _base64_png(shape),
    }


def _base64_png(shape: Shape) -> str:
    buffer = io.BytesIO()
    Image.fromarray(shape.pixels.astype(np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
