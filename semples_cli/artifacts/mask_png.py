"""Masks as 8-bit PNGs: written with the VOC palette or as grey levels, read back as raw class indices."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.artifacts.run_folder import OVERLAYS, refuse_stages
from semples_cli.errors import ArtifactError, SettingsError, one_line
from semples_cli.tars.regular import open_regular
from semples_cli.types import MaskArray

# What a few kilobytes may announce, they would take as gigabytes of memory.
MAX_MASK_PIXELS = 178_956_970
MAX_FILE_BYTES = 2**30

_HEADER_BYTES = 26
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KINDS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}  # PNG colour types


def write_mask(path: Path, values: MaskArray, mode: str = "palette") -> None:
    """Write one mask, whole or not at all.

    Args:
        path: The PNG to write; missing folders are made.
        values: (H, W) uint8: 0 background, 1..F classes, 255 ignore.
        mode: 'palette' (VOC colours; `cv2.imread(path, 0)` reads their luminance, not the indices) or 'L' (grey levels
            that are the indices).

    Raises:
        SettingsError: Another mode.
        ArtifactError: `values` is not (H, W) uint8.
    """
    if mode not in ("palette", "L"):
        msg = f"mask mode {mode!r}: choose palette or L"
        raise SettingsError(msg)
    if values.ndim != 2 or values.dtype != np.uint8:
        msg = f"{path}: a mask is (height, width) uint8, not {values.shape} {values.dtype}"
        raise ArtifactError(msg)
    image = Image.fromarray(np.ascontiguousarray(values))
    if mode == "palette":
        image.putpalette(voc_palette().tobytes())
    with open_atomic(path) as handle:
        image.save(handle, "PNG")


def read_mask(path: Path) -> MaskArray:
    """Read the class indices of a mask: palette indices or grey levels as they are, colours never converted.

    Args:
        path: A palette or 8-bit grey PNG.

    Returns:
        (H, W) uint8, read-only.

    Raises:
        ArtifactError: Missing, damaged, too large, no PNG, or of a kind whose pixels are not class indices; the message
            has the cure.
    """
    try:
        data = _read_checked(path)
    except OSError as error:
        msg = f"{path}: cannot read this mask: {error.strerror}"
        raise ArtifactError(msg) from error
    try:
        # Not by Image.open, whose limit is a global of the module, and warns first.
        PngImageFile(io.BytesIO(data)).verify()  # checksums, which decoding alone does not look at
        return np.asarray(PngImageFile(io.BytesIO(data)))
    except Exception as error:  # the bytes may be anybody's, and the decoder has no list of what it raises
        msg = f"{path}: this PNG is damaged ({one_line(error)}): write or fetch it again"
        raise ArtifactError(msg) from error


def find_masks(folder: Path) -> dict[str, Path]:
    """All PNGs under a folder, by id: relative POSIX path without suffix.

    Hidden files and folders (such as `.semples`) and the folder of overlay pictures are left out.

    Args:
        folder: Where to look.

    Returns:
        Id to path, sorted by id.

    Raises:
        ArtifactError: No such folder, one around several runs, or two files of one id (`a.png`, `a.PNG`).
    """
    refuse_stages(folder)
    if not folder.is_dir():
        msg = f"{folder}: no such folder; give the folder that holds the mask PNGs"
        raise ArtifactError(msg)
    found: dict[str, Path] = {}
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts) or inside.parts[0] == OVERLAYS
        if hidden or path.suffix.lower() != ".png" or not path.is_file():
            continue
        sample_id = inside.with_suffix("").as_posix()
        if sample_id in found:
            msg = f"{found[sample_id]} and {path} are both the mask of {sample_id!r}: remove one"
            raise ArtifactError(msg)
        found[sample_id] = path
    return dict(sorted(found.items()))


def voc_palette() -> npt.NDArray[np.uint8]:
    """The colours of PASCAL VOC: the bits of the value, three at a time, become the high bits of red, green and blue.

    Returns:
        (256, 3) uint8 RGB; row = mask value.
    """
    value = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        palette[:, bit % 3] |= (((value >> bit) & 1) << (7 - bit // 3)).astype(np.uint8)
    return palette


def _read_checked(path: Path) -> bytes:
    """The whole file, when its header is one of a mask.

    Raises:
        OSError: It cannot be read.
        ArtifactError: It is no mask, or too large.
    """
    with open_regular(path) as handle:
        head = handle.read(_HEADER_BYTES)
        _check_kind(path, head)
        width, height = struct.unpack_from(">II", head, 16)
        _check_limit(path, width * height, MAX_MASK_PIXELS, f"{height} × {width} pixels")
        size = os.fstat(handle.fileno()).st_size
        _check_limit(path, size, MAX_FILE_BYTES, f"{size} bytes")
        return head + handle.read()


def _check_limit(path: Path, size: int, most: int, what: str) -> None:
    if size > most:
        msg = f"{path}: {what}, more than the {most} that a mask may have: fetch it again, or cut it into tiles"
        raise ArtifactError(msg)


def _check_kind(path: Path, data: bytes) -> None:
    if not data.startswith(_SIGNATURE) or len(data) < _HEADER_BYTES:
        what = "is empty" if not data else "is not a PNG"
        msg = f"{path}: this file {what}: masks are palette or 8-bit grey PNGs, whose pixels are class indices"
        raise ArtifactError(msg)
    depth, kind = struct.unpack_from("BB", data, 24)
    if kind == 3 or (kind == 0 and depth == 8):
        return
    msg = (
        f"{path}: {depth}-bit {_KINDS.get(kind, 'unknown')} PNG, whose pixels are not class indices: save the mask as "
        f"palette or 8-bit grey PNG with 0 for background, 1, 2, … for the classes and 255 for ignore"
    )
    raise ArtifactError(msg)
