"""What `apply_crf` reads: a folder of CAMs or masks, and the images that they were made from."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from semples_cli.artifacts.mask_png import find_masks
from semples_cli.artifacts.run_folder import RunFolder, read_class_set, read_run_record
from semples_cli.config import CrfSettings
from semples_cli.data.braces import expand_braces
from semples_cli.data.image_folder import ImageFile, check_output_folder, find_images
from semples_cli.errors import ArtifactError, DataError, SettingsError
from semples_cli.steps.cam_reader import ANY_FORM, PNG, CamForm
from semples_cli.steps.cam_source import CamSource, Note, open_cams
from semples_cli.types import ClassSet

KINDS = ("cams", "masks")


def find_kind(source: Path) -> str:
    """What a folder holds: 'cams' where there are any, else 'masks'."""
    if RunFolder(source).cams.is_dir():
        return "cams"
    return "cams" if any(next(source.rglob(f"*{suffix}"), None) for suffix in (".npz", ".npy")) else "masks"


@dataclass(frozen=True)
class CrfSource:
    """What is refined.

    Attributes:
        folder: The folder that was given.
        kind: 'cams' or 'masks'.
        files: CAM or mask by image id.
        cams: The CAMs, where these are refined.
        record: The run.json that goes with them; empty where there is none.
        background_score: What the CAMs are cut at before a 'labels' CRF; None where nothing is cut.
        class_set: The classes, where they are known.
    """

    folder: Path
    kind: str
    files: Mapping[str, Path]
    cams: CamSource | None
    record: Mapping[str, Any]
    background_score: float | None
    class_set: ClassSet | None = None


def open_source(
    folder: Path,
    kind: str,
    settings: CrfSettings,
    form: CamForm = ANY_FORM,
    class_set: ClassSet | None = None,
    note: Note | None = None,
) -> CrfSource:
    """Find the masks or CAMs of a folder, and what is recorded about them.

    Args:
        folder: Where they lie.
        kind: One of `KINDS`.
        settings: The CRF.
        form: What the user says about CAMs of other projects.
        class_set: The classes, where the user says them.
        note: Called with a sentence about what was recognised.

    Raises:
        ArtifactError: There are none.
        DataError: CAMs of another project are not recognised.
        SettingsError: The kind is unknown or does not go with the unary; or CAMs are to be cut at a score that is not
            recorded.
    """
    if kind not in KINDS:
        msg = f"cannot refine {kind!r}: choose one of {', '.join(KINDS)}"
        raise SettingsError(msg)
    if kind == "masks" and settings.unary == "scores":
        msg = f"{folder}: masks carry no scores; choose a preset with labels (semples-voc), or refine from CAMs"
        raise SettingsError(msg)
    cams = open_cams(folder, class_set, *form, note=note) if kind == "cams" else None
    if cams is not None and cams.format == PNG:
        msg = f"{folder}: these are masks, not CAMs; refine them with --from masks"
        raise SettingsError(msg)
    files = find_masks(folder) if cams is None else cams.paths
    if not files:
        msg = f"{folder}: no mask PNGs here; give the folder that holds <id>.png"
        raise ArtifactError(msg)
    inside = folder.absolute()
    root = inside.parent.parent if inside.parts[-2:] == (".semples", "cams") else folder
    record, recorded = read_run_record(root) or {}, read_class_set(root)
    _check_classes(folder, recorded, class_set)
    cut = _background_score(folder, record) if kind == "cams" and settings.unary == "labels" else None
    return CrfSource(folder, kind, files, cams, record, cut, class_set or recorded)


def _check_classes(folder: Path, recorded: ClassSet | None, class_set: ClassSet | None) -> None:
    if class_set is not None and recorded is not None and class_set.names != recorded.names:
        msg = f"{folder}: its run.json says other classes than --classes; leave --classes out"
        raise SettingsError(msg)


def _background_score(folder: Path, record: Mapping[str, Any]) -> float:
    score = (record.get("settings") or {}).get("background_score")
    if not isinstance(score, int | float):
        msg = (
            f"{folder}: no run.json says at which background score these CAMs are cut into labels; "
            "refine from their masks, or choose a preset with scores (clip-es)"
        )
        raise SettingsError(msg)
    return float(score)


def find_pictures(
    images: Sequence[ImageFile] | Path | None, origin: CrfSource
) -> tuple[CrfSource, dict[str, Path], list[Path]]:
    """Find the images, and give CAMs of other projects their ids.

    Args:
        images: As `apply_crf` takes them.
        origin: What is refined.

    Returns:
        The source by the ids of the images, path of each image by id, and where they were found, as absolute paths
        for run.json.

    Raises:
        DataError: None of them has the id of a mask or CAM, or several may have one.
        SettingsError: Neither `images` nor the record of the source says where they are.
    """
    if images is None:
        inputs = [Path(path) for path in origin.record.get("inputs") or ()]
        if not inputs:
            msg = f"{origin.folder}: nothing here says where the images are; give them with --images FOLDER"
            raise SettingsError(msg)
    else:
        inputs = expand_braces([images]) if isinstance(images, Path) else sorted({_root(file) for file in images})
    found = images if images is not None and not isinstance(images, Path) else find_images(inputs)
    pictures = {file.id: file.path for file in found}
    if origin.cams is not None:
        origin = replace(origin, files=origin.cams.named_as(pictures).paths)
    if not pictures.keys() & origin.files.keys():
        msg = (
            f"no image has the id of a {origin.kind[:-1]}: the images are {_some(pictures)}, the {origin.kind} in "
            f"{origin.folder} are {_some(origin.files)}; give the image folder that they were made from"
        )
        raise DataError(msg)
    return origin, pictures, [path.absolute() for path in inputs]


def _some(ids: Mapping[str, Path]) -> str:
    return ", ".join(repr(item) for item in list(ids)[:3]) + (", …" if len(ids) > 3 else "") if ids else "none"


def _root(image: ImageFile) -> Path:
    return image.path.absolute().parents[image.id.count("/")]


def check_out(out: Path, origin: CrfSource, inputs: Sequence[Path]) -> None:
    """Refuse an output folder in which something that is read would be replaced, or found as input the next time.

    Raises:
        SettingsError: It is, holds or lies in the source, or is the folder of the images.
    """
    target, source = (Path(os.path.realpath(each)) for each in (out, origin.folder))  # resolve() stumbles over loops
    if target.is_relative_to(source) or source.is_relative_to(target):
        msg = f"--out {out} and {origin.folder} lie inside each other: choose a folder apart from the one that is read"
        raise SettingsError(msg)
    check_output_folder(inputs, out)
