"""Opens files that may lie inside a tar, where they lie: nothing is unpacked.

A path leads through a tar where an ancestor of it is a file called `….tar`. Each open file has a handle of its own, so
threads and processes do not meet; the indexes of tars are shared by the threads of a process. An index holds as long as
size and time of change of its tar do, and is made anew after that, so a tar that changes is never read at old places.
"""

import errno
import io
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from semples_cli.errors import DataError
from semples_cli.tars.index import Place, TarIndex, read_index
from semples_cli.tars.regular import open_regular, open_unbuffered

SUFFIX = ".tar"
# About 400 MB of indexes: six ImageNets, or two with a label file to each image.
MAX_INDEXED = 8_000_000


@dataclass(frozen=True)
class FileFacts:
    """What tells a file from what it was earlier.

    Attributes:
        size: Bytes; of a member those of the member.
        mtime_ns: Time of last change in nanoseconds; of a member that of its tar.
    """

    size: int
    mtime_ns: int


def open_file(path: Path) -> io.BufferedReader:
    """Open a file for reading, be it inside a tar.

    Raises:
        OSError: There is none, or it cannot be read; `strerror` says why and what to do.
    """
    try:
        return open_regular(path)
    except OSError:
        inside = split_path(path)
        if inside is None:
            raise
    handle, place, _ = _open_at(*inside)
    return io.BufferedReader(_Window(handle, place))


def stat_file(path: Path) -> FileFacts:
    """Size and time of change of a file, be it inside a tar.

    Raises:
        OSError: There is none, or it cannot be read.
    """
    try:
        stat = path.stat()
    except OSError:
        inside = split_path(path)
        if inside is None:
            raise
    else:
        return FileFacts(stat.st_size, stat.st_mtime_ns)
    handle, place, mtime_ns = _open_at(*inside)
    handle.close()
    return FileFacts(place.size, mtime_ns)


def is_file(path: Path) -> bool:
    """Whether there is such a file, be it inside a tar, and be it that it cannot be read."""
    if path.is_file():
        return True
    inside = split_path(path)
    try:
        return inside is not None and _index_of(inside[0]).find(inside[1]) is not None
    except OSError:
        return False


def split_path(path: Path) -> tuple[Path, str] | None:
    """The tar that a path leads through, and the name behind it; None if it leads through none."""
    for place in path.parents:
        if place.suffix.lower() == SUFFIX and place.is_file():
            return place, path.relative_to(place).as_posix()
    return None


def read_tar(tar: Path) -> TarIndex:
    """The members of a tar.

    Raises:
        DataError: It cannot be read, or is compressed, or no tar.
    """
    try:
        return _index_of(tar)
    except OSError as error:
        msg = f"{tar}: {error.strerror}"
        raise DataError(msg) from None


class _Window(io.RawIOBase):
    """A member as a file of its own; closing it closes the tar's handle, which is its alone."""

    def __init__(self, handle: io.FileIO, place: Place) -> None:
        super().__init__()
        self._handle = handle
        self._place = place
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._place.size}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        left = max(self._place.size - self._at, 0)
        self._handle.seek(self._place.offset + self._at)
        count = self._handle.readinto(memoryview(buffer)[:left])
        self._at += count
        return count

    def close(self) -> None:
        self._handle.close()
        super().close()


# Size, time of change in nanoseconds and file number of a tar when it was indexed.
_Stamp = tuple[int, int, int]


class _Indexes:
    """The indexes in use, least recently used first, as many as `MAX_INDEXED` members allow."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[_Stamp, TarIndex]] = OrderedDict()

    def get(self, tar: Path, handle: io.FileIO) -> TarIndex:
        """The index of an open tar: as known, or made now; threads that want the same one wait."""
        key, stamp = str(tar.absolute()), _stamp(handle)
        with self.lock:
            known = self._kept.pop(key, None)
            if known is None or known[0] != stamp:
                known = stamp, read_index(handle)
                self._make_room(len(known[1]))
            self._kept[key] = known
            return known[1]

    def _make_room(self, num_members: int) -> None:
        total = num_members + sum(len(index) for _, index in self._kept.values())
        while total > MAX_INDEXED and self._kept:
            total -= len(self._kept.popitem(last=False)[1][1])


_indexes = _Indexes()


def _renew_lock() -> None:
    """Another thread may have held the lock when this process was forked off, and would never give it back."""
    _indexes.lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew_lock)


def _stamp(handle: io.FileIO) -> _Stamp:
    stat = os.fstat(handle.fileno())
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _index_of(tar: Path) -> TarIndex:
    with _open_tar(tar) as handle:
        return _index(tar, handle)


def _index(tar: Path, handle: io.FileIO) -> TarIndex:
    """An index, with every trouble as an OSError, as that of any other file."""
    try:
        return _indexes.get(tar, handle)
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error), str(tar)) from None


def _open_tar(tar: Path) -> io.FileIO:
    return open_unbuffered(tar)


def _open_at(tar: Path, name: str) -> tuple[io.FileIO, Place, int]:
    """The tar, open, where a member lies in it, and its time of change."""
    handle = _open_tar(tar)
    try:
        return handle, _find(_index(tar, handle), tar, name), _stamp(handle)[1]
    except BaseException:
        handle.close()
        raise


def _find(index: TarIndex, tar: Path, name: str) -> Place:
    place = index.find(name)
    if place is None:
        raise FileNotFoundError(errno.ENOENT, "no such member in the tar", str(tar / name))
    if place.trouble:
        raise OSError(errno.EINVAL, place.trouble, str(tar / name))
    return place
