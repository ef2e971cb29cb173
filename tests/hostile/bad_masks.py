"""Hostile mask files: `CASES` maps a name to the content of `<id>.png` and what must be said of it, '' if nothing.

The image that each goes with is 24 × 40, the classes are boat, cat and dog: 1, 2, 3.
"""

import struct
import zlib
from collections.abc import Callable

import numpy as np
from bad_images import SIZE, announcing, chunk, chunks, encode, flipped, frames, picture, whole, zipped
from PIL import Image

from semples_cli.artifacts.mask_png import voc_palette


def values(largest: int = 3, shape: tuple[int, int] = SIZE) -> np.ndarray:
    """A mask of every value up to one, and of 255."""
    field = np.arange(shape[0] * shape[1]).reshape(shape) * (largest + 2) // (shape[0] * shape[1])
    return np.where(field > largest, 255, field).astype(np.uint8)


def mask(array: np.ndarray | None = None, **options: object) -> bytes:
    """A palette PNG."""
    image = Image.fromarray(values() if array is None else array)
    image.putpalette(voc_palette().tobytes())
    return encode(image, "PNG", **options)


def grey(bits: int) -> bytes:
    """A grey PNG of so many bits a pixel, which Pillow does not write."""
    row = b"\0" + bytes((SIZE[1] * bits + 7) // 8)
    header = struct.pack(">IIBBBBB", SIZE[1], SIZE[0], bits, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * SIZE[0])) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def with_text(size: int) -> bytes:
    """A mask with a compressed text of so many bytes."""
    parts = chunks(mask())
    return mask()[:8] + b"".join([parts[0], chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(size))), *parts[1:]])


def without_palette() -> bytes:
    """A palette PNG that has none."""
    return mask()[:8] + b"".join(part for part in chunks(mask()) if part[4:8] != b"PLTE")


_KIND, _DAMAGE, _NO_PNG = "whose pixels are not class indices", "this PNG is damaged", "is not a PNG"
_SIZE, _CLASS = "size", "class"

CASES: dict[str, tuple[Callable[[], bytes], str]] = {
    "16-bit-grey": (lambda: grey(16), _KIND),
    "4-bit-grey": (lambda: grey(4), _KIND),
    "2-bit-grey": (lambda: grey(2), _KIND),
    "1-bit-grey": (lambda: grey(1), _KIND),
    "rgb": (lambda: encode(picture("RGB"), "PNG"), _KIND),
    "rgba": (lambda: encode(picture("RGBA"), "PNG"), _KIND),
    "grey-with-alpha": (lambda: encode(picture("LA"), "PNG"), _KIND),
    "colour-type-nobody-knows": (lambda: mask()[:25] + b"\x07" + mask()[26:], _KIND),
    "jpeg": (lambda: whole("JPEG"), _NO_PNG),
    "tiff": (lambda: encode(Image.fromarray(values()), "TIFF"), _NO_PNG),
    "gif": (lambda: whole("GIF"), _NO_PNG),
    "webp": (lambda: whole("WEBP"), _NO_PNG),
    "bmp": (lambda: encode(Image.fromarray(values()), "BMP"), _NO_PNG),
    "npy": (lambda: b"\x93NUMPY\x01\0v\0" + bytes(200), _NO_PNG),
    "html": (lambda: b"<!DOCTYPE html><html></html>", _NO_PNG),
    "zip": (zipped, _NO_PNG),
    "svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", _NO_PNG),
    "empty": (lambda: b"", "is empty"),
    "signature-alone": (lambda: mask()[:8], _NO_PNG),
    "cut-in-its-header": (lambda: mask()[:29], _DAMAGE),
    "cut-in-its-palette": (lambda: mask()[:400], _DAMAGE),
    "cut-in-its-pixels": (lambda: mask()[:-30], _DAMAGE),
    "cut-before-its-end": (lambda: mask()[:-12], _DAMAGE),
    "bits-turned-0": (lambda: flipped(mask(), "0", 1, 41), _DAMAGE),
    "bits-turned-1": (lambda: flipped(mask(), "1", 2, 41), _DAMAGE),
    "bits-turned-2": (lambda: flipped(mask(), "2", 9, 41), _DAMAGE),
    "bits-turned-in-its-header": (lambda: flipped(mask()[:33], "3", 1, 26) + mask()[33:], _DAMAGE),
    "text-of-50-mb": (lambda: with_text(50 * 2**20), _DAMAGE),
    "announces-50000x50000": (
        lambda: announcing(50_000, 50_000)[:24] + b"\x08\x03" + bytes(99),
        "more than the 178956970",
    ),
    "no-pixel": (lambda: announcing(0, 0)[:24] + b"\x08\x03" + bytes(99), _DAMAGE),
    "one-pixel": (lambda: mask(np.zeros((1, 1), np.uint8)), _SIZE),
    "turned": (lambda: mask(values(3, SIZE[::-1])), _SIZE),
    "a-pixel-too-wide": (lambda: mask(values(3, (24, 41))), _SIZE),
    "twice-as-large": (lambda: mask(values(3, (48, 80))), _SIZE),
    "class-beyond-the-list": (lambda: mask(values(4)), _CLASS),
    "every-grey-level": (lambda: encode(Image.fromarray(values(254)), "PNG"), _CLASS),
    "grey-levels-are-classes": (lambda: encode(Image.fromarray(values()), "PNG"), ""),
    "without-palette-is-no-matter": (without_palette, ""),
    "without-its-last-byte-is-no-matter": (lambda: mask()[:-1], ""),
    "transparent-palette-is-no-matter": (lambda: mask(transparency=0), ""),
    "animated-takes-its-first": (lambda: frames("PNG", "P"), _CLASS),
    "1-bit-palette-is-no-matter": (lambda: mask(np.minimum(values(), 1), bits=1), ""),
    "all-ignored-is-no-matter": (lambda: mask(np.full(SIZE, 255, np.uint8)), ""),
    "bytes-behind-its-end-are-no-matter": (lambda: mask() + b"more" * 99, ""),
}
