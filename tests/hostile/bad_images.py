"""Hostile image files as bytes, made anew and always the same: damaged, lying about themselves, or merely rare.

`CASES` maps the name of a case to the file's suffix, its content, and what must come of it: 'refused', 'read', or
'either' where chance decides, as after a flipped bit.
"""

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from PIL import Image

SIZE = (24, 40)  # height, width
ORIENTATION = 0x0112


@dataclass(frozen=True)
class BadImage:
    """One file.

    Attributes:
        suffix: Of its name, with the dot.
        make: Its content.
        outcome: 'refused', 'read' or 'either'.
        size: (H, W) of its mask, where it is read.
        says: What the message must say, where it is refused.
    """

    suffix: str
    make: Callable[[], bytes]
    outcome: str = "refused"
    size: tuple[int, int] | None = SIZE
    says: str = ""


@lru_cache
def picture(mode: str = "RGB", shift: int = 0) -> Image.Image:
    """A small picture, smooth enough for every encoder."""
    coarse = np.random.default_rng(shift).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(coarse).resize(SIZE[::-1], Image.Resampling.BICUBIC).convert(mode)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of an image in a format of Pillow's."""
    buffer = io.BytesIO()
    image.copy().save(buffer, kind, **options)  # encoders leave notes on the image itself
    return buffer.getvalue()


@lru_cache
def whole(kind: str) -> bytes:
    """A good file of a format."""
    options = {"JPEG": {"quality": 90}, "TIFF": {"compression": "tiff_adobe_deflate"}, "WEBP": {"lossless": True}}
    mode = {"GIF": "P"}.get(kind, "RGB")
    return encode(picture(mode), kind, **options.get(kind, {}))


SUFFIX = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "TIFF": ".tif",
    "WEBP": ".webp",
    "GIF": ".gif",
    "BMP": ".bmp",
    "PPM": ".ppm",
}
# Shares of the file that are left.
CUTS = (0.01, 0.1, 0.3, 0.5, 0.7, 0.95)
FLIPS = range(6)


def flipped(content: bytes, seed: str, count: int = 3, first: int = 0) -> bytes:
    """The bytes with a few bits turned over, always the same ones for a seed."""
    chance, damaged = random.Random(seed), bytearray(content)
    for _ in range(count):
        damaged[chance.randrange(first, len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def chunks(png: bytes) -> list[bytes]:
    """The chunks of a PNG."""
    cuts = [8]
    while cuts[-1] < len(png):
        cuts.append(cuts[-1] + 12 + int.from_bytes(png[cuts[-1] : cuts[-1] + 4], "big"))
    return [png[start:end] for start, end in pairwise(cuts)]


def with_chunk(kind: bytes, content: bytes, place: int = 1) -> bytes:
    """A good PNG with one chunk more."""
    parts = chunks(whole("PNG"))
    return whole("PNG")[:8] + b"".join([*parts[:place], chunk(kind, content), *parts[place:]])


def announcing(width: int, height: int) -> bytes:
    """A PNG whose header promises more pixels than its data hold."""
    png = whole("PNG")
    header = chunk(b"IHDR", struct.pack(">II", width, height) + png[24:29])
    return png[:8] + header + png[33:]


def wide_tiff(width: int, height: int, value: int = 4) -> bytes:
    """A TIFF of any announced size; `value`: type of its size tags, 4 for a 32-bit number."""
    tags = ((256, value, width), (257, value, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (279, 4, 64))
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, number) for tag, kind, number in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0) + bytes(64)


def wide_gif(width: int, height: int) -> bytes:
    """A GIF of any announced size."""
    gif = bytearray(whole("GIF"))
    gif[6:10] = struct.pack("<HH", width, height)
    return bytes(gif)


def wide_webp() -> bytes:
    """A WebP that is announced at the largest size that there is, 16384 × 16384."""
    webp = bytearray(whole("WEBP"))
    webp[21:25] = b"\xff\xff\xff\x0f"
    return bytes(webp)


def wide_bmp(width: int, height: int) -> bytes:
    """A BMP of any announced size."""
    bmp = bytearray(whole("BMP"))
    bmp[18:26] = struct.pack("<ii", width, height)
    return bytes(bmp)


def wide_jpeg(width: int, height: int) -> bytes:
    """A JPEG of any announced size."""
    jpeg = bytearray(whole("JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(jpeg)


def grey16() -> Image.Image:
    """A 16-bit grey picture."""
    return Image.fromarray(np.asarray(picture("L")).astype(np.uint16) * 257)


def rgb16_png() -> bytes:
    """A PNG of 16 bits a channel, which Pillow does not write."""
    rows = np.asarray(picture()).astype(">u2") * 257
    raw = b"".join(b"\0" + row.tobytes() for row in rows.astype(">u2"))
    header = struct.pack(">IIBBBBB", SIZE[1], SIZE[0], 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def frames(kind: str, mode: str = "RGB", **options: object) -> bytes:
    """Three pictures in one file."""
    more = [picture(mode, shift) for shift in (1, 2)]
    return encode(picture(mode), kind, save_all=True, append_images=[each.copy() for each in more], **options)


def exif_jpeg(value: object, tag: int = ORIENTATION) -> bytes:
    """A JPEG with one EXIF tag."""
    exif = Image.Exif()
    exif[tag] = value
    return encode(picture(), "JPEG", exif=exif)


def raw_exif_jpeg(body: bytes) -> bytes:
    """A JPEG whose EXIF block is these bytes."""
    return encode(picture(), "JPEG", exif=b"Exif\0\0" + body)


def looping_exif() -> bytes:
    """EXIF whose directories, its own and that of the camera, lead back to themselves."""
    entries = struct.pack("<HHII", ORIENTATION, 3, 1, 6) + struct.pack("<HHII", 0x8769, 4, 1, 8)
    entries += struct.pack("<HHII", 0x8825, 4, 1, 8)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 3) + entries + struct.pack("<I", 8)


def zipped() -> bytes:
    """A zip, as of a data set that was never unpacked."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("photo.png", whole("PNG"))
    return buffer.getvalue()


def _damaged() -> dict[str, BadImage]:
    cases = {}
    for kind, suffix in SUFFIX.items():
        for share in CUTS:
            cases[f"{kind}-cut-{share}"] = BadImage(
                suffix, lambda kind=kind, share=share: whole(kind)[: int(len(whole(kind)) * share)]
            )
        for seed in FLIPS:
            cases[f"{kind}-flip-{seed}"] = BadImage(
                suffix, lambda kind=kind, seed=seed: flipped(whole(kind), f"{kind} {seed}"), "either", None
            )
        cases[f"{kind}-zeros-behind-the-header"] = BadImage(
            suffix, lambda kind=kind: whole(kind)[:30] + bytes(len(whole(kind)) - 30), "either", None
        )
    return cases


XMP = b'XML:com.adobe.xmp\0\0\0\0\0<a tiff:Orientation="6"/>'
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' width='40' height='24'><script>alert(1)</script></svg>"
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 24\n%%EndComments\n(x) (w) file\nshowpage\n%%EOF\n"

_NO_IMAGES = {
    "nothing": (".jpg", lambda: b""),
    "one-byte": (".png", lambda: b"\x89"),
    "text-called-jpg": (".jpg", lambda: b"https://example.org/photo.jpg\n"),
    "html-called-png": (".png", lambda: b"<!DOCTYPE html><html><title>404</title></html>"),
    "zip-called-png": (".png", zipped),
    "svg-called-png": (".png", lambda: SVG),
    "postscript-called-jpg": (".jpg", lambda: POSTSCRIPT),
    "lfs-pointer-called-jpg": (".jpg", lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
    "pdf-called-tif": (".tif", lambda: b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n"),
    "gzip-called-gif": (".gif", lambda: zlib.compress(whole("GIF"))),
    "png-in-capital-nonsense": (".PNG", lambda: b"\x89PNG\r\n\x1a\n" + bytes(40)),
    "only-signature-jpg": (".jpg", lambda: b"\xff\xd8\xff\xe0"),
    "only-signature-webp": (".webp", lambda: b"RIFF\0\0\0\0WEBP"),
    "only-signature-tif": (".tif", lambda: b"II*\0\x08\0\0\0"),
    "ppm-without-numbers": (".ppm", lambda: b"P6 many more 255\n"),
    "ppm-of-no-pixel": (".ppm", lambda: b"P6 0 0 255\n"),
    "ppm-of-negative-size": (".ppm", lambda: b"P6 -40 24 255\n"),
    "png-of-no-pixel": (".png", lambda: announcing(0, 24)),
    "bmp-of-no-pixel": (".bmp", lambda: wide_bmp(0, 0)),
    "tif-of-float-sizes": (".tif", lambda: wide_tiff(40, 24, value=11)),
    "png-without-pixels": (".png", lambda: whole("PNG")[:33] + chunks(whole("PNG"))[-1]),
    "png-with-a-chunk-of-2-gb": (".png", lambda: whole("PNG")[:33] + b"\x7f\xff\xff\xffIDAT" + bytes(99)),
}

# Announced sizes beyond --max-pixels, in files of a few kilobytes.
BOMBS: dict[str, BadImage] = {
    "png-50000x50000": BadImage(".png", lambda: announcing(50_000, 50_000), says="--max-pixels 2500000000"),
    "png-2-gigapixels-in-a-row": BadImage(".png", lambda: announcing(2**31 - 1, 1), says="--max-pixels"),
    "jpg-65000x65000": BadImage(".jpg", lambda: wide_jpeg(65_000, 65_000), says="--max-pixels"),
    "tif-4-gigapixels": BadImage(".tif", lambda: wide_tiff(65_536, 65_536), says="--max-pixels"),
    "gif-65535x65535": BadImage(".gif", lambda: wide_gif(65_535, 65_535), says="--max-pixels"),
    "webp-16384x16384": BadImage(".webp", wide_webp, says="--max-pixels 268435456"),
    "bmp-30000x30000": BadImage(".bmp", lambda: wide_bmp(30_000, 30_000), says="--max-pixels"),
    "ppm-99999x99999": BadImage(".ppm", lambda: b"P6 99999 99999 255\n" + bytes(99), says="--max-pixels"),
    "png-zTXt-of-50-mb": BadImage(".png", lambda: with_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50 * 2**20)))),
    "png-iTXt-of-50-mb": BadImage(
        ".png", lambda: with_chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(50 * 2**20)))
    ),
    "png-iCCP-of-50-mb": BadImage(
        ".png", lambda: with_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(50 * 2**20))), "either"
    ),
}


def _read(suffix: str, make: Callable[[], bytes], size: tuple[int, int] = SIZE) -> BadImage:
    return BadImage(suffix, make, "read", size)


_RARE: dict[str, BadImage] = {
    "1x1": _read(".png", lambda: encode(Image.new("RGB", (1, 1)), "PNG"), (1, 1)),
    "1-high-20000-wide": _read(".png", lambda: encode(Image.new("RGB", (20_000, 1)), "PNG"), (1, 20_000)),
    "20000-high-1-wide": _read(".png", lambda: encode(Image.new("RGB", (1, 20_000)), "PNG"), (20_000, 1)),
    "jpeg-called-png": _read(".png", lambda: whole("JPEG")),
    "webp-called-jpg": _read(".jpg", lambda: whole("WEBP")),
    "gif-called-tif": _read(".tif", lambda: whole("GIF")),
    "png-in-capitals": _read(".PNG", lambda: whole("PNG")),
    "gif-of-no-canvas": _read(".gif", lambda: wide_gif(0, 0)),
    "animated-gif": _read(".gif", lambda: frames("GIF", "P")),
    "animated-webp": _read(".webp", lambda: frames("WEBP")),
    "animated-png": _read(".png", lambda: frames("PNG")),
    "pages-tif": _read(".tif", lambda: frames("TIFF")),
    "mpo-called-jpg": _read(".jpg", lambda: frames("MPO")),
    "animated-gif-cut-in-its-last-frame": _read(".gif", lambda: frames("GIF", "P")[:-9]),
    "animated-png-of-damaged-control": BadImage(".png", lambda: with_chunk(b"acTL", bytes(8)), "either"),
    "palette": _read(".png", lambda: encode(picture("P"), "PNG")),
    "palette-with-transparency": _read(".png", lambda: encode(picture("P"), "PNG", transparency=3)),
    "palette-of-one-colour": _read(".png", lambda: encode(Image.new("P", SIZE[::-1]), "PNG")),
    "1-bit-png": _read(".png", lambda: encode(picture("1"), "PNG")),
    "1-bit-tif-group-4": _read(".tif", lambda: encode(picture("1"), "TIFF", compression="group4")),
    "16-bit-grey-png": _read(".png", lambda: encode(grey16(), "PNG")),
    "16-bit-grey-tif": _read(".tif", lambda: encode(grey16(), "TIFF")),
    "16-bit-rgb-png": _read(".png", rgb16_png),
    "32-bit-tif": _read(".tif", lambda: encode(picture("I"), "TIFF")),
    "32-bit-tif-beyond-16-bits": BadImage(
        ".tif", lambda: encode(Image.fromarray(np.full(SIZE, 2**20, np.int32)), "TIFF"), says="do not fit 16 bits"
    ),
    "32-bit-tif-below-0": BadImage(
        ".tif", lambda: encode(Image.fromarray(np.full(SIZE, -1, np.int32)), "TIFF"), says="do not fit 16 bits"
    ),
    "float-tif": BadImage(".tif", lambda: encode(picture("F"), "TIFF"), says="convert the image to 8 or 16 bits"),
    "float-tif-of-nan": BadImage(
        ".tif", lambda: encode(Image.fromarray(np.full(SIZE, np.nan, np.float32)), "TIFF"), says="floating-point"
    ),
    "pfm-called-ppm": BadImage(".ppm", lambda: encode(picture("F"), "PPM"), says="floating-point"),
    "cmyk-jpg": _read(".jpg", lambda: encode(picture("CMYK"), "JPEG")),
    "cmyk-tif": _read(".tif", lambda: encode(picture("CMYK"), "TIFF")),
    "grey-with-alpha": _read(".png", lambda: encode(picture("LA"), "PNG")),
    "rgba": _read(".webp", lambda: encode(picture("RGBA"), "WEBP")),
    "lab-tif": BadImage(".tif", lambda: encode(Image.new("LAB", SIZE[::-1]), "TIFF"), says="convert the image to RGB"),
    "ycbcr-tif": _read(".tif", lambda: encode(picture("YCbCr"), "TIFF", compression="jpeg")),
    "progressive-jpg": _read(".jpg", lambda: encode(picture(), "JPEG", progressive=True)),
    "plain-ppm": _read(".ppm", lambda: b"P3 40 24 255\n" + b"9 99 200 " * 960),
    "exif-turned": _read(".jpg", lambda: exif_jpeg(6), SIZE[::-1]),
    "exif-orientation-0": _read(".jpg", lambda: exif_jpeg(0)),
    "exif-orientation-9": _read(".jpg", lambda: exif_jpeg(9)),
    "exif-orientation-65535": _read(".jpg", lambda: exif_jpeg(65_535)),
    "exif-of-garbage": _read(".jpg", lambda: raw_exif_jpeg(b"\xde\xad\xbe\xef" * 9)),
    "exif-of-nothing": _read(".jpg", lambda: raw_exif_jpeg(b"")),
    "exif-cut": _read(".jpg", lambda: raw_exif_jpeg(b"II*\0\x08\0\0\0\x05\0")),
    "exif-beyond-the-file": _read(".jpg", lambda: raw_exif_jpeg(b"II*\0" + struct.pack("<I", 2**31))),
    "exif-in-circles": _read(".jpg", lambda: raw_exif_jpeg(looping_exif()), SIZE[::-1]),
    "exif-orientation-as-text": BadImage(".jpg", lambda: exif_jpeg("six", 0x010E), "read"),
    "xmp-orientation": _read(".png", lambda: with_chunk(b"iTXt", XMP), SIZE[::-1]),
    "xmp-orientation-behind-the-pixels": _read(".png", lambda: with_chunk(b"iTXt", XMP, place=-1)),
    "png-with-exif-of-garbage": BadImage(".png", lambda: with_chunk(b"eXIf", b"\xff" * 40), "either"),
    "png-of-wrong-checksum": BadImage(
        ".png", lambda: whole("PNG").replace(chunks(whole("PNG"))[0][-4:], b"\0\0\0\0", 1), "either"
    ),
}

CASES: dict[str, BadImage] = {
    **_damaged(),
    **{name: BadImage(suffix, make) for name, (suffix, make) in _NO_IMAGES.items()},
    **BOMBS,
    **_RARE,
}
