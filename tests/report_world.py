"""What tests of the report look at: a small pipeline folder, made by hand, with its images and ground truth."""

from pathlib import Path

import numpy as np
from PIL import Image

from semples_cli.artifacts.cam_store import write_cam
from semples_cli.artifacts.manifest import Manifest
from semples_cli.artifacts.manifest_entries import FileIdentity, ManifestEntry
from semples_cli.artifacts.mask_png import write_mask
from semples_cli.artifacts.run_folder import RunFolder, class_record, write_run_record
from semples_cli.types import Cam, ClassSet

CLASSES = ClassSet(("cat", "dog", "emu"))
SIZE = (12, 20)
# Image id → columns of the object in ground truth and mask (class, from, to), and confidence.
SCENES = {
    "a/1": ((1, 4, 12), (1, 4, 12), 0.9),  # right
    "a/2": ((2, 4, 12), (2, 8, 16), 0.5),  # half of it: IoU 4 / 12
    "b": ((1, 4, 12), (2, 4, 12), 0.7),  # another class
    "c": ((3, 0, 20), (3, 0, 5), 0.3),  # a quarter of it
}
WORST_FIRST = ["b", "c", "a/2", "a/1"]
LEAST_CONFIDENT_FIRST = ["c", "a/2", "b", "a/1"]
ENGINE = {"model": "tiny", "weights": "tiny.pt", "weights_sha256": "ab" * 32, "licence": "MIT-0", "torch": "2.9"}


def band(scene):
    """(H, W) uint8: a class between two columns."""
    k, first, last = scene
    values = np.zeros(SIZE, np.uint8)
    values[:, first:last] = k
    return values


def make_world(root: Path, scenes=SCENES, classes=CLASSES) -> Path:
    """Write images/, truth/ and run/ (seeds/ with CAMs, crf/ refined from it) below `root`; returns run/."""
    run = root / "run"
    rng = np.random.default_rng(0)
    for sample_id, (target, mask, _) in scenes.items():
        image = root / "images" / f"{sample_id}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*SIZE, 3), np.uint8)).save(image)
        write_mask(root / "truth" / f"{sample_id}.png", band(target))
        scores = np.where(band(mask)[None] > 0, 0.8, 0.1).astype(np.float32)[:, ::4, ::4]
        write_cam(RunFolder(run / "seeds").cams, Cam(sample_id, np.array([mask[0]]), scores, SIZE), {})
        for stage in ("seeds", "crf"):
            write_mask(run / stage / f"{sample_id}.png", band(mask))
    record = {"classes": class_record(classes), "engine": ENGINE, "inputs": [str(root / "images")]}
    write_run_record(run / "seeds", {"command": "cams", "settings": {"size": 64, "background_score": 0.4}, **record})
    source = {"source": str(run / "seeds"), "background_score": 0.4}
    write_run_record(run / "crf", {"command": "crf", "settings": {"iterations": 10}, **source, **record})
    write_manifest(run / "seeds", root, scenes, confident=False)
    write_manifest(run / "crf", root, scenes, confident=True)
    return run


def write_manifest(folder, root, scenes, *, confident, others=()):
    """A line for each scene, made from its image; `others` are further entries."""
    with Manifest(RunFolder(folder), overwrite=True) as manifest:
        for sample_id, (_, mask, confidence) in scenes.items():
            files = (FileIdentity(str(root / "images" / f"{sample_id}.png"), 1, 1, "0"),)
            known = {"confidence": confidence, "class_confidence": {str(mask[0]): confidence}, "coverage": 1.0}
            entry = ManifestEntry(
                sample_id, "ok", output=f"{sample_id}.png", files=files, **(known if confident else {})
            )
            manifest.append(entry)
        for entry in others:
            manifest.append(entry)
