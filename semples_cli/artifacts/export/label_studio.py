"""Label Studio: tasks with predictions as brush strokes, sharded, and the labeling config that goes with them."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Protocol
from urllib.parse import quote
from xml.etree import ElementTree as ET

import numpy as np

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.artifacts.export.index_file import IndexFile
from semples_cli.artifacts.export.instances import iterate_shapes
from semples_cli.artifacts.export.protocol import ExportImage, ExportSettings
from semples_cli.artifacts.mask_png import voc_palette
from semples_cli.errors import SettingsError
from semples_cli.tars.members import split_path
from semples_cli.types import ClassSet, MaskArray

CONFIG = "label_config.xml"
FROM_NAME, TO_NAME, DATA_KEY = "mask", "image", "image"

# Label Studio's own way to files on its machine; what follows is relative to its document root.
LOCAL_FILES = "/data/local-files/?d="

# What Label Studio takes at once, unless its DATA_UPLOAD_MAX_MEMORY_SIZE is raised.
IMPORT_LIMIT = 250

_TARS_NOTE = (
    "the images lie in tars, out of which Label Studio cannot serve them: unpack each tar into a folder of its name, "
    "so that train-000.tar becomes train-000/"
)

_OPEN, _BETWEEN, _CLOSE = "[\n", ",\n", "\n]\n"


class _Encode(Protocol):
    def __call__(self, mask: MaskArray) -> list[int]: ...


class LabelStudioExporter:
    """`tasks-001.json`, `tasks-002.json`, …, and `label_config.xml`.

    A task is an image with one prediction, a prediction one brush stroke for each shape. The strokes are in Label
    Studio's own run lengths, which are not COCO's: `label_studio_sdk.converter.brush` writes them.

    Args:
        out: Folder of the export.
        class_set: The classes.
        settings: `instances`, `image_root_url`, `shard_size`.

    Raises:
        SettingsError: The SDK is not installed.
    """

    options: ClassVar[frozenset[str]] = frozenset({"instances", "image_root_url", "shard_size"})
    void_rule: ClassVar[str] = "left out: a brush knows no ignored pixels, so annotators see them unpainted"

    def __init__(self, out: Path, class_set: ClassSet, settings: ExportSettings) -> None:
        self.notes: list[str] = []
        self._out = out
        self._class_set = class_set
        self._settings = settings
        self._encode = load_encoder()
        self._model_version = f"semples {version('semples')}"
        self._shards: list[IndexFile] = []
        self._sizes: list[int] = []
        self._root = ""
        self._in_tars = False

    def add(self, image: ExportImage) -> tuple[Path, ...]:
        """Write the image's task into the open shard, or into a new one where it would grow too large."""
        task = {
            "data": {DATA_KEY: self._url(image), "file_name": image.file_name},
            "predictions": [self._predict(image)],
        }
        self._write(json.dumps(task, separators=(",", ":")))
        return ()

    def finish(self) -> tuple[Path, ...]:
        """Close the shards, write the config, and say how large the shards are."""
        if not self._shards:
            self._begin_shard()
        self._end_shard()
        with open_atomic(self._out / CONFIG) as handle:
            handle.write(label_config(self._class_set).encode())
        files = [shard.complete() for shard in self._shards]
        self._say_sizes()
        if self._settings.image_root_url is None and self._root:
            self.notes.append(_local_files_note(Path(self._root)))
        if self._in_tars:
            self.notes.append(_TARS_NOTE)
        return self._out / CONFIG, *files

    def abandon(self) -> None:
        """Remove the unfinished shards."""
        for shard in self._shards:
            shard.abandon()

    def _predict(self, image: ExportImage) -> dict[str, Any]:
        shapes = iterate_shapes(image.values, self._settings.instances)
        height, width = image.values.shape
        results = []
        for number, shape in enumerate(shapes, 1):
            painted = np.where(shape.whole(), np.uint8(255), np.uint8(0))
            value = {
                "format": "rle",
                "rle": self._encode(painted),
                "brushlabels": [self._class_set.name_of(shape.class_index)],
            }
            result = {
                "id": f"semples-{number}",
                "type": "brushlabels",
                "from_name": FROM_NAME,
                "to_name": TO_NAME,
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": value,
            }
            results.append(result | _score(image.class_confidence.get(shape.class_index)))
        return {"model_version": self._model_version, "result": results} | _score(image.confidence)

    def _url(self, image: ExportImage) -> str:
        root = self._settings.image_root_url
        self._in_tars = self._in_tars or split_path(image.image_path) is not None
        if root is None:
            folder = image.image_path.absolute().parents[image.id.count("/")]
            self._root = str(folder)
            return LOCAL_FILES + quote(f"{folder.name}/{image.file_name}")
        # `?d=` wants the path right behind it, and so does `?d=photos/`.
        slash = "" if root.endswith(("/", "=")) else "/"
        return root + slash + quote(image.file_name)

    def _write(self, task: str) -> None:
        most = self._settings.shard_size * 1_000_000
        if self._shards and self._sizes[-1] + len(_BETWEEN + task + _CLOSE) > most:
            self._end_shard()
            self._begin_shard()
        elif self._shards:
            self._grow(_BETWEEN)
        else:
            self._begin_shard()
        self._grow(task)

    def _begin_shard(self) -> None:
        self._shards.append(IndexFile(self._out / f"tasks-{len(self._shards) + 1:03}.json"))
        self._sizes.append(0)
        self._grow(_OPEN)

    def _end_shard(self) -> None:
        self._grow(_CLOSE)
        # It keeps the name of an unfinished file, but no open handle: there may be hundreds of shards.
        self._shards[-1].handle.close()

    def _grow(self, text: str) -> None:
        self._sizes[-1] += self._shards[-1].write(text)

    def _say_sizes(self) -> None:
        number, largest = len(self._sizes), max(self._sizes) / 1e6
        said = f"1 file of tasks, {largest:.3g} MB"
        if number > 1:
            said = (
                f"{number} files of tasks, import each: {sum(self._sizes) / 1e6:.3g} MB, the largest {largest:.3g} MB"
            )
        if largest > IMPORT_LIMIT:
            said += (
                f", more than the {IMPORT_LIMIT} MB that Label Studio imports: lower --shard-size, or raise its "
                "DATA_UPLOAD_MAX_MEMORY_SIZE"
            )
        self.notes.append(said)


def label_config(class_set: ClassSet) -> str:
    """The labeling config of a project: `BrushLabels` on an `Image`, a label for each class in VOC's colours."""
    view = ET.Element("View")
    ET.SubElement(view, "Image", name=TO_NAME, value=f"${DATA_KEY}", zoom="true", zoomControl="true")
    brush = ET.SubElement(view, "BrushLabels", name=FROM_NAME, toName=TO_NAME)
    for index, name in enumerate(class_set.names, 1):
        red, green, blue = voc_palette()[index].tolist()
        ET.SubElement(brush, "Label", value=name, background=f"#{red:02x}{green:02x}{blue:02x}")
    ET.indent(view)
    return ET.tostring(view, encoding="unicode") + "\n"


def load_encoder() -> _Encode:
    """The SDK's brush encoder: (H, W) uint8 of 0 and 255 to a list of bytes; importing it takes seconds.

    Raises:
        SettingsError: It is not installed.
    """
    try:
        from label_studio_sdk.converter.brush import mask2rle
    except ImportError as error:
        msg = (
            f"--to label-studio needs Label Studio's SDK, whose brush format is its own ({error}): "
            'pip install "semples[label-studio]"'
        )
        raise SettingsError(msg) from None
    encode: _Encode = mask2rle
    return encode


def _score(confidence: float | None) -> dict[str, float]:
    return {} if confidence is None else {"score": confidence}


def _local_files_note(folder: Path) -> str:
    return (
        f"the tasks name images as {LOCAL_FILES}{folder.name}/…: start Label Studio with "
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and "
        f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={folder.parent}, and add {folder} as local storage, unsynced; or say "
        "another place by --image-root-url"
    )
