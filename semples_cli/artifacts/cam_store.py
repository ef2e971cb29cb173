"""CAMs on disk: one small `<id>.npz` per image, float16 on the patch grid, no pickle."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.errors import ArtifactError, SemplesError, one_line
from semples_cli.tars.regular import open_regular
from semples_cli.types import MAX_CLASSES, Cam, FloatArray

FORMAT_VERSION = 1
SUFFIX = ".npz"

# 254 classes on a grid of 1000 × 1000; an archive of less than a megabyte may announce gigabytes.
MAX_CAM_BYTES = 2**29
# A map is enlarged to it, at 4 bytes a pixel.
MAX_IMAGE_PIXELS = 2**29

_CURE = "delete it and run `semples cams` again with the same --out"


def stored_scores(scores: FloatArray) -> FloatArray:
    """The scores as they come back from a file: rounded to float16.

    A step that cuts a mask from memory cuts it from these, so that the same mask comes out of the file later.

    Args:
        scores: (K, h, w) float32 in [0, 1].

    Returns:
        (K, h, w) float32 in [0, 1], at most 2**-12 off.
    """
    return scores.astype(np.float16).astype(np.float32)


def write_cam(folder: Path, cam: Cam, settings: Mapping[str, object]) -> Path:
    """Write one CAM, whole or not at all; the same CAM gives the same bytes.

    Args:
        folder: The `cams` folder of a run; the tree of ids is kept below it.
        cam: What to write; its scores are rounded to float16.
        settings: What the CAM was made with, kept beside it as JSON.

    Returns:
        The file, `<folder>/<id>.npz`.
    """
    path = folder / f"{cam.sample_id}{SUFFIX}"
    with open_atomic(path) as handle:
        np.savez_compressed(
            handle,
            format_version=np.int64(FORMAT_VERSION),
            class_indices=cam.class_indices.astype(np.int64),
            scores=cam.scores.astype(np.float16),
            image_size=np.array(cam.image_size, np.int64),
            settings=np.array(json.dumps(settings, sort_keys=True)),
        )
    return path


def read_cam(path: Path, sample_id: str) -> Cam:
    """Read one CAM.

    Args:
        path: A file that `write_cam` wrote.
        sample_id: Id of the image that the CAM belongs to.

    Returns:
        The CAM; scores (K, h, w) float32 in [0, 1].

    Raises:
        ArtifactError: The file is missing, damaged, of a newer semples, or its arrays do not go together.
    """
    try:
        arrays = _read_arrays(path)
    except FileNotFoundError:
        msg = f"{path}: no CAM here; run `semples cams` to make it"
        raise ArtifactError(msg) from None
    except SemplesError:
        raise
    except (
        Exception
    ) as error:  # the bytes may be anybody's, and neither zipfile nor numpy has a list of what they raise
        msg = f"{path}: not a readable CAM ({one_line(error)}); {_CURE}"
        raise ArtifactError(msg) from None
    _check_arrays(path, arrays)
    try:
        height, width = (int(n) for n in arrays["image_size"])
        with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is refused as that
            scores = arrays["scores"].astype(np.float32)
        return Cam(sample_id, arrays["class_indices"].astype(np.int64), scores, (height, width))
    except ArtifactError as error:
        msg = f"{path}: {error}; {_CURE}"
        raise ArtifactError(msg) from None


def find_cams(folder: Path) -> dict[str, Path]:
    """Every CAM below a folder.

    Args:
        folder: The output of `semples cams`, or its `.semples/cams` folder itself.

    Returns:
        Path of each CAM by image id, sorted by id.

    Raises:
        ArtifactError: There is none.
    """
    run = RunFolder(folder)
    root = run.cams if run.hidden.is_dir() else folder
    found = {path.relative_to(root).with_suffix("").as_posix(): path for path in root.rglob(f"*{SUFFIX}")}
    if not found:
        msg = f"{folder}: no CAMs here; give the folder that `semples cams IMAGES --out FOLDER` wrote"
        raise ArtifactError(msg)
    return dict(sorted(found.items()))


def _read_arrays(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    # Opened here, because np.load leaves its own handle open when the archive is damaged.
    with open_regular(path) as handle:
        _check_size(path, handle)
        with np.load(handle, allow_pickle=False) as archive, np.errstate(all="ignore"):  # shapes that overflow
            return _take_arrays(path, archive)


def _check_size(path: Path, handle: BinaryIO) -> None:
    """Refuse what would fill the memory, by what the archive announces; more than that, zipfile does not unpack."""
    with zipfile.ZipFile(handle) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MAX_CAM_BYTES:
        msg = f"{path}: {size} bytes unpacked, more than the {MAX_CAM_BYTES} that a CAM may have; {_CURE}"
        raise ArtifactError(msg)
    handle.seek(0)


def _take_arrays(path: Path, archive: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, npt.NDArray[np.generic]]:
    version = int(archive["format_version"])
    if version > FORMAT_VERSION:
        msg = f"{path}: CAM format {version}, but this semples reads up to {FORMAT_VERSION}; upgrade semples"
        raise ArtifactError(msg)
    # What is no array in there comes as bytes.
    return {name: np.asarray(archive[name]) for name in ("class_indices", "scores", "image_size")}


def _check_arrays(path: Path, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
    classes, size, scores = arrays["class_indices"], arrays["image_size"], arrays["scores"]
    whole = np.issubdtype(classes.dtype, np.integer) and np.issubdtype(size.dtype, np.integer)
    shaped = size.shape == (2,) and classes.ndim == 1 and scores.ndim == 3
    if not whole or not shaped or not np.issubdtype(scores.dtype, np.floating):
        kinds = ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in arrays.items())
        msg = f"{path}: its arrays are {kinds}, which is not a CAM; {_CURE}"
        raise ArtifactError(msg)
    height, width = (int(side) for side in size)
    if min(height, width) < 1 or height * width > MAX_IMAGE_PIXELS:
        msg = f"{path}: an image of size {tuple(size.tolist())} cannot be; {_CURE}"
        raise ArtifactError(msg)
    if len(scores) and 0 in scores.shape:
        msg = f"{path}: maps of shape {scores.shape} have no pixel; {_CURE}"
        raise ArtifactError(msg)
    if any(not 1 <= k <= MAX_CLASSES for k in classes.tolist()) or len(set(classes.tolist())) < len(classes):
        msg = f"{path}: class indices {classes.tolist()} must be different and lie in 1..{MAX_CLASSES}; {_CURE}"
        raise ArtifactError(msg)
