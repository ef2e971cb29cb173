"""Masks that are hard on exporters, with their images; what the tests of the export share."""

import numpy as np
from PIL import Image

from semples_cli.artifacts.export.protocol import ExportImage, ExportSettings
from semples_cli.types import ClassSet

# The last one is in no mask.
CLASSES = ClassSet(("cat", "sofa bed", "Straße", "nowhere"))


def _ragged():
    rng = np.random.default_rng(7)
    return rng.choice(np.array([0, 1, 2, 3, 255], np.uint8), (33, 47), p=[0.4, 0.2, 0.2, 0.1, 0.1])


def _ring():
    values = np.zeros((17, 31), np.uint8)
    values[2:15, 3:28] = 1
    values[5:12, 8:20] = 0
    values[7:9, 10:12] = 2  # an island in the hole
    values[0, 0] = 255
    return values


MASKS = {
    "a/b/ring": _ring(),
    "a/void": np.full((5, 6), 255, np.uint8),
    "background": np.zeros((4, 3), np.uint8),
    "full": np.full((6, 9), 3, np.uint8),
    "one": np.full((1, 1), 2, np.uint8),
    "ragged": _ragged(),
    "東京/Übung 1.v2": np.eye(8, 5, dtype=np.uint8) * 3,
}
NUM_VOID = {sample_id: int((values == 255).sum()) for sample_id, values in MASKS.items()}


def write_images(folder, masks=MASKS, suffix=".jpg"):
    """An image of the mask's size for each; path by id."""
    paths = {}
    for sample_id, values in masks.items():
        path = folder / f"{sample_id}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", values.shape[::-1], (len(sample_id), 99, 7)).save(path)
        paths[sample_id] = path
    return paths


def export_all(exporter_type, tmp_path, settings=None, masks=MASKS, class_set=CLASSES, confidences=None):
    """Export the masks to `<tmp_path>/out`; the exporter, and what `finish` returned."""
    paths = write_images(tmp_path / "images", masks)
    exporter = exporter_type(tmp_path / "out", class_set, settings or ExportSettings())
    for sample_id, values in masks.items():
        exporter.add(ExportImage(sample_id, paths[sample_id], values, None, (confidences or {}).get(sample_id, {})))
    return exporter, exporter.finish()


def files_in(folder):
    """Relative paths of all files below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
