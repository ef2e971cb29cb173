"""Reads whole text files that people bring: UTF-8, with or without a BOM; what is none is refused with its line."""

import os
import stat
from pathlib import Path

from semples_cli.errors import DataError

# Tables of images, however many, are smaller; what is larger is not read into memory to find that out.
MAX_BYTES = 4 * 2**30

_UTF16 = (b"\xff\xfe", b"\xfe\xff")  # UTF-32 begins so too, or with zeros


def read_text(path: Path, cure: str) -> str:
    """The text of a file.

    Args:
        path: The file; a pipe is read to its end.
        cure: What to do where it is no UTF-8 text, for the message: 'export it as CSV UTF-8'.

    Raises:
        DataError: It cannot be read, is a device or too large, is no UTF-8, or holds NUL characters.
    """
    content = read_bytes(path)
    if content.startswith(_UTF16):
        msg = f"{path}:1: UTF-16 text, which cannot be read as UTF-8 text; {cure}"
        raise DataError(msg)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = f"byte 0x{content[error.start]:02x}"
        msg = f"{path}:{_line(content, error.start)}: cannot be read as UTF-8 text ({byte}); {cure}"
        raise DataError(msg) from None
    if (at := content.find(0)) >= 0:
        msg = f"{path}:{_line(content, at)}: holds NUL characters, so it is no text (or UTF-16); {cure}"
        raise DataError(msg)
    return text


def read_bytes(path: Path, most: int = -1) -> bytes:
    """The content of a file, or its first bytes.

    Args:
        path: The file; a device such as /dev/zero has no end, and is not begun.
        most: How many bytes; -1 for all.

    Raises:
        DataError: It cannot be read, is a device, or is too large to be read whole.
    """
    try:
        return _read(path, most)
    except OSError as error:
        what = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        msg = f"{path}: {what}; correct the path"
        raise DataError(msg) from None
    except ValueError:  # a path that holds a NUL
        msg = f"{str(path)!r}: no such file; correct the path"
        raise DataError(msg) from None


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; a name that is too long is none, where `Path.is_dir` raises."""
    return os.path.isdir(path)  # noqa: PTH112


def is_file(path: Path) -> bool:
    """Whether there is such a file, likewise."""
    return os.path.isfile(path)  # noqa: PTH113


def _read(path: Path, most: int) -> bytes:
    facts = path.stat()
    if stat.S_ISCHR(facts.st_mode) or stat.S_ISBLK(facts.st_mode):
        msg = f"{path}: a device, not a file; correct the path"
        raise DataError(msg)
    with path.open("rb") as handle:
        if most < 0 and facts.st_size > MAX_BYTES:
            msg = f"{path}: more than {MAX_BYTES >> 30} GiB, too large for labels; correct the path, or take it apart"
            raise DataError(msg)
        return handle.read(most)


def _line(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) + 1
