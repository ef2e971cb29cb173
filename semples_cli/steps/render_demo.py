"""Renders the built-in world to disk in the layout of a VOC devkit, with labels.csv beside it."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.artifacts.csv_text import csv_text
from semples_cli.artifacts.file_lock import lock_file
from semples_cli.artifacts.mask_png import read_mask, write_mask
from semples_cli.config import WorldSettings
from semples_cli.demo.names import BACKGROUNDS, OBJECTS, paired_backgrounds
from semples_cli.demo.world import render_scene
from semples_cli.errors import ArtifactError, SettingsError
from semples_cli.steps.progress import tqdm_progress
from semples_cli.types import MaskArray, Progress, RunSummary

FORMAT_VERSION = 1
SPLIT = "train"
RECORD = "world.json"
IMAGES, GROUND_TRUTH, BACKGROUND_MASKS = "JPEGImages", "SegmentationClass", "Backgrounds"


def render_demo(
    out: Path, settings: WorldSettings, *, overwrite: bool = False, progress: Progress | None = None
) -> RunSummary:
    """Render a world; a scene that an interrupted run already wrote is kept.

    Writes JPEGImages/<id>.png (lossless, unlike VOC's), SegmentationClass/<id>.png (ground truth), Backgrounds/<id>.png
    (index of the background, 0 on objects), ImageSets/, labels.csv, classes.txt, backgrounds.txt and world.json.

    Args:
        out: Folder of the world; made if missing.
        settings: The world. One that differs only in `num_images` begins with the same scenes.
        overwrite: Replace the world that lies in `out`.
        progress: Called with (scenes done, scenes in all); None draws a tqdm bar.

    Returns:
        How many scenes were written and kept.

    Raises:
        SettingsError: `out` holds another world and `overwrite` is off, or files that are no world at all.
        ArtifactError: A file of the world is damaged, or another process renders it.
    """
    started = time.perf_counter()
    progress = progress or tqdm_progress("render")
    with lock_file(out):
        _prepare(out, settings, overwrite=overwrite)
        labels: dict[str, list[str]] = {}
        written = 0
        for index in range(settings.num_images):
            target, is_new = _keep_or_render(out, settings, index)
            labels[scene_id(settings, index)] = [OBJECTS[k - 1] for k in np.unique(target) if k]
            written += is_new
            progress(index + 1, settings.num_images)
        _write_lists(out, labels)
    return RunSummary(written, settings.num_images - written, (), (), time.perf_counter() - started)


def scene_id(settings: WorldSettings, index: int) -> str:
    """Id of a scene, such as `0_0_000012`: seed, pairing, number."""
    return f"{settings.seed}_{settings.pairing}_{index:06d}"


def _scene_files(out: Path, settings: WorldSettings, index: int) -> tuple[Path, Path, Path]:
    name = f"{scene_id(settings, index)}.png"
    return out / IMAGES / name, out / GROUND_TRUTH / name, out / BACKGROUND_MASKS / name


def _keep_or_render(out: Path, settings: WorldSettings, index: int) -> tuple[MaskArray, bool]:
    image, ground_truth, backgrounds = _scene_files(out, settings, index)
    if image.exists() and ground_truth.exists() and backgrounds.exists():
        return read_mask(ground_truth), False
    scene = render_scene(settings, index)
    with open_atomic(image) as handle:
        Image.fromarray(scene.image).save(handle, "PNG")
    write_mask(ground_truth, scene.target)
    write_mask(backgrounds, scene.backgrounds)
    return scene.target, True


def _prepare(out: Path, settings: WorldSettings, *, overwrite: bool) -> None:
    """Make sure that `out` holds this world's record and no other world's files."""
    record = out / RECORD
    if not record.exists():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            msg = f"{out} is no world of `semples demo-data` (it has no {RECORD}) and not empty: choose another --out"
            raise SettingsError(msg)
    else:
        before = _read_settings(record)
        if before != settings and not overwrite:
            msg = f"{out} holds another world ({_difference(before, settings)}): choose another --out, or --overwrite"
            raise SettingsError(msg)
        if overwrite:
            _remove(out, before)
    with open_atomic(record) as handle:
        handle.write(json.dumps(_as_record(settings), indent=1).encode() + b"\n")


def _remove(out: Path, settings: WorldSettings) -> None:
    """Remove the scenes of a world, and nothing that somebody else put there."""
    for index in range(settings.num_images):
        for path in _scene_files(out, settings, index):
            path.unlink(missing_ok=True)


def _as_record(settings: WorldSettings) -> dict[str, object]:
    return {
        "format_version": FORMAT_VERSION,
        "settings": asdict(settings),
        "own_backgrounds": dict(zip(OBJECTS, paired_backgrounds(settings.pairing), strict=True)),
        "objects": OBJECTS,
        "backgrounds": BACKGROUNDS,
    }


def _read_settings(record: Path) -> WorldSettings:
    try:
        document = json.loads(record.read_bytes())
        version = document["format_version"]
        settings = WorldSettings(**document["settings"])
    except (ValueError, KeyError, TypeError, SettingsError) as error:
        msg = f"{record} is damaged ({error}): delete the folder and render the world again"
        raise ArtifactError(msg) from error
    if version != FORMAT_VERSION:
        msg = f"{record}: world of format {version}, but this semples renders {FORMAT_VERSION}: choose another --out"
        raise ArtifactError(msg)
    return settings


def _difference(before: WorldSettings, now: WorldSettings) -> str:
    pairs = ((name, value, getattr(now, name)) for name, value in asdict(before).items())
    return ", ".join(f"{name} {old}, not {new}" for name, old, new in pairs if old != new)


def _write_lists(out: Path, labels: dict[str, list[str]]) -> None:
    _write_lines(out / "classes.txt", OBJECTS)
    _write_lines(out / "backgrounds.txt", BACKGROUNDS)
    _write_lines(out / "ImageSets" / "Segmentation" / f"{SPLIT}.txt", list(labels))
    for name in OBJECTS:
        lines = [f"{sample_id} {1 if name in present else -1:2d}" for sample_id, present in labels.items()]
        _write_lines(out / "ImageSets" / "Main" / f"{name}_{SPLIT}.txt", lines)
    rows = [(f"{sample_id}.png", "|".join(present)) for sample_id, present in labels.items()]
    with open_atomic(out / "labels.csv") as handle:
        handle.write(csv_text([("image", "labels"), *rows]).encode())


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    with open_atomic(path) as handle:
        handle.write("".join(f"{line}\n" for line in lines).encode())
