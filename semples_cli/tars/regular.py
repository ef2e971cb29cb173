"""Opens regular files and nothing else: reading a pipe may wait for ever, and a device such as /dev/zero has no end.

Folders that others packed can hold such things under any name, and links that lead to them.
"""

import errno
import io
import os
import stat
from collections.abc import Callable
from pathlib import Path

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# Where a pipe takes the file's place between the look and the opening, this does not wait for its other end.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file for reading.

    Raises:
        OSError: There is none, it cannot be read, or it is a pipe, a socket or a device; `strerror` says which.
    """
    return io.BufferedReader(open_unbuffered(path))


def open_unbuffered(path: Path) -> io.FileIO:
    """The same without a buffer.

    Raises:
        OSError: As `open_regular`.
    """
    _check(path, path.stat().st_mode)  # before it is opened: opening alone makes some devices act
    handle = io.FileIO(path, "rb", opener=_open_at_once)
    try:
        _check(path, os.fstat(handle.fileno()).st_mode)
    except OSError:
        handle.close()
        raise
    return handle


def read_regular(path: Path) -> bytes:
    """The content of a file.

    Raises:
        OSError: As `open_regular`.
    """
    with open_regular(path) as handle:
        return handle.read()


def special_kind(mode: int) -> str:
    """What a file is that is neither a regular one nor a folder, such as 'a pipe', by its `st_mode`; else ''."""
    return next((kind for is_such, kind in _KINDS if is_such(mode)), "")


def _check(path: Path, mode: int) -> None:
    if kind := special_kind(mode):
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | _AT_ONCE)
