"""Reads images of every common kind as upright 8-bit RGB."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from semples_cli.data.orientation import upright_size
from semples_cli.errors import DataError, SemplesError, one_line
from semples_cli.tars.members import open_file

DEFAULT_MAX_PIXELS = 100_000_000

ImageArray = npt.NDArray[np.uint8]

# Pillow's own limit is a global of the module; threads that read images must not restore each other's.
_LIMIT_LOCK = threading.Lock()
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")
# Whatever a file is called, no other reader of Pillow's forty is tried: one of them hands PostScript to Ghostscript.
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "PPM", *(("AVIF",) if find_spec("PIL.AvifImagePlugin") else ()))

# Where Pillow keeps it; it looks there for an orientation that EXIF does not say.
_XMP = frozenset({"XML:com.adobe.xmp", "xmp"})

# Odd tags, of which Pillow warns, are nothing that whoever waits for masks could mend.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def read_image(path: Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> ImageArray:
    """Read one image: EXIF orientation applied, alpha composited on white, 16 bits scaled to 8, first frame only.

    Args:
        path: The file; it may lie inside a tar.
        max_pixels: Refuse larger images before they are decoded.

    Returns:
        (H, W, 3) uint8 RGB, contiguous and writable.

    Raises:
        DataError: The file is missing, damaged, truncated, too large, or of a kind that has no 8-bit reading.
    """
    with _opened(path) as image:
        _check_pixels(path, image, max_pixels)
        with _refusing_damage(path):
            _load(image)
            return np.array(_to_rgb(path, ImageOps.exif_transpose(image)))


def read_image_size(path: Path) -> tuple[int, int]:
    """(H, W) of the upright image, from the header alone.

    Raises:
        DataError: The file is missing or is no image.
    """
    with _opened(path) as image, _refusing_damage(path):
        _check_any_pixel(path, image)
        return upright_size(path, image)


def _load(image: Image.Image) -> None:
    """Decode; XMP that a PNG has behind its pixels is left out: `read_image_size`, which must agree, never sees it."""
    early = _XMP & image.info.keys()
    image.load()
    for name in _XMP - early:
        image.info.pop(name, None)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image with its header read; Pillow does not close a file that it did not open."""
    with _open(path) as handle, _identify(path, handle) as image:
        yield image


def _open(path: Path) -> BinaryIO:
    try:
        return open_file(path)
    except FileNotFoundError:
        msg = f"{path}: no such image; correct the path, or take it out of the list"
        raise DataError(msg) from None
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror or error}; mend that, or take it out of the folder"
        raise DataError(msg) from None


def _identify(path: Path, handle: BinaryIO) -> Image.Image:
    with _refusing_damage(path):
        try:
            return _open_unlimited(handle)
        except UnidentifiedImageError:
            msg = f"{path}: not an image that can be read; convert it to PNG or JPEG, or take it out of the folder"
            raise DataError(msg) from None


@contextmanager
def _refusing_damage(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises at bytes of a stranger into a DataError: its makers name no list of that."""
    try:
        yield
    except SemplesError:
        raise
    except MemoryError:
        msg = f"{path}: not enough memory to decode it; shrink it, or give the machine more"
        raise DataError(msg) from None
    except Exception as error:
        reason = one_line(error)
        msg = f"{path}: damaged or incomplete image ({reason}); get the file again, or take it out of the folder"
        raise DataError(msg) from None


def _open_unlimited(handle: BinaryIO) -> Image.Image:
    """Pillow's own limit only warns at first, and raises later; ours is checked before anything is decoded."""
    with _LIMIT_LOCK:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(handle, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _check_pixels(path: Path, image: Image.Image, max_pixels: int) -> None:
    _check_any_pixel(path, image)
    width, height = image.size
    if width * height > max_pixels:
        msg = (
            f"{path}: {height} × {width} is {width * height} pixels, more than the {max_pixels} allowed; shrink it, "
            f"or allow it by --max-pixels {width * height}"
        )
        raise DataError(msg)


def _check_any_pixel(path: Path, image: Image.Image) -> None:
    if 0 in image.size:
        msg = f"{path}: an image of {image.height} × {image.width} has no pixel; get the file again"
        raise DataError(msg)


def _to_rgb(path: Path, image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BIT:
        return _sixteen_to_eight(path, image).convert("RGB")
    if image.mode == "F":
        msg = f"{path}: floating-point pixels have no agreed range; convert the image to 8 or 16 bits"
        raise DataError(msg)
    if image.mode == "LAB":
        msg = f"{path}: Lab pixels, whose white point is not known; convert the image to RGB"
        raise DataError(msg)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _sixteen_to_eight(path: Path, image: Image.Image) -> Image.Image:
    """Scale 0..65535 to 0..255; Pillow's own conversion would saturate everything above 255."""
    stored = np.asarray(image)
    if not 0 <= stored.min() <= stored.max() <= 65535:
        msg = f"{path}: pixel values from {stored.min()} to {stored.max()} do not fit 16 bits; convert it to 8"
        raise DataError(msg)
    values = stored.astype(np.uint32)
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
