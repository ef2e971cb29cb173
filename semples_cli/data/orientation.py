"""Reads from its header alone how large an image is once it stands upright."""

from pathlib import Path

from PIL import Image

from semples_cli.tars.members import open_file

_ORIENTATION, _WIDTH, _HEIGHT = 0x0112, 256, 257
_SIDEWAYS = (5, 6, 7, 8)
_PNG_SIGNATURE = 8


def upright_size(path: Path, image: Image.Image) -> tuple[int, int]:
    """(H, W) after the EXIF orientation is applied; no pixel is decoded.

    Args:
        path: The file.
        image: The same, opened and not loaded.
    """
    # Pillow's PNG reader would decode the pixels to look for EXIF behind them.
    exif = Image.Image.getexif(image)
    width, height = image.size
    if image.format == "TIFF":  # whose size Pillow gives upright in some versions and as stored in others
        width, height = exif.get(_WIDTH, width), exif.get(_HEIGHT, height)
    if image.format == "PNG" and _ORIENTATION not in exif:
        exif.load(_last_png_exif(path))
    return (width, height) if exif.get(_ORIENTATION) in _SIDEWAYS else (height, width)


def _last_png_exif(path: Path) -> bytes:
    """Content of the eXIf chunk, wherever it stands among the chunks (length, type, content, checksum); or nothing."""
    with open_file(path) as file:
        file.seek(_PNG_SIGNATURE)
        while len(head := file.read(8)) == 8:
            length = int.from_bytes(head[:4], "big")
            if head[4:] == b"eXIf":
                return file.read(length)
            file.seek(length + 4, 1)
    return b""
