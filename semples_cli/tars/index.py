"""Where the members of a tar file lie: one pass over its headers, then about 50 bytes a member.

Names are those of the archive as tar itself unpacks them: without `./` and leading slashes. What cannot be read (a
link, a sparse file, a name that is there twice) keeps its place with the reason, so that it fails by name when it is
asked for, and stops nothing else.
"""

import os
import tarfile
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import FileIO

# No image is larger; a header that says more is damaged, or means harm.
MAX_MEMBER_BYTES = 2**30
# File systems take 255 bytes a part, and masks and CAMs are called a little longer than their images.
MAX_PART_BYTES = 240
MAX_NAME_BYTES = 1024
# Writers fill up to 10 KiB with zeros.
_TAIL_BYTES = 1 << 16
_BLOCK = 512

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
UNPACK = "its members cannot be reached at random: decompress it to a plain .tar, or unpack it into a folder"

# What tarfile lets through where headers are damaged.
_DAMAGE = (tarfile.TarError, OSError, ValueError, EOFError, IndexError, OverflowError, RecursionError, MemoryError)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a member lies.

    Attributes:
        offset: Its first byte, counted from the begin of the tar.
        size: Bytes.
        trouble: Why it cannot be read; '' if it can.
    """

    offset: int
    size: int
    trouble: str = ""


class TarIndex:
    """The members of a tar, sorted by name.

    Args:
        places: (offset, size) by name.
        troubles: Why a member cannot be read, by name; of those that cannot.
        problems: What is wrong with the tar as a whole; its members up to there are good.

    Attributes:
        problems: As given.
    """

    def __init__(
        self, places: Mapping[bytes, tuple[int, int]], troubles: Mapping[bytes, str], problems: tuple[str, ...] = ()
    ) -> None:
        names = sorted(places)
        self.problems = problems
        self._troubles = dict(troubles)
        self._offsets = array("q", (places[name][0] for name in names))
        self._sizes = array("q", (places[name][1] for name in names))
        self._text = b"".join(names)
        self._ends = array("q", _running_sums(names))

    def __len__(self) -> int:
        return len(self._offsets)

    def __iter__(self) -> Iterator[str]:
        return (_decode(self._name(i)) for i in range(len(self)))

    def find(self, name: str) -> Place | None:
        """Where a member lies; None if there is none of this name."""
        wanted = _encode(name)
        i = bisect_left(range(len(self)), wanted, key=self._name)
        if i == len(self) or self._name(i) != wanted:
            return None
        return Place(self._offsets[i], self._sizes[i], self._troubles.get(wanted, ""))

    def _name(self, i: int) -> bytes:
        return self._text[self._ends[i - 1] if i else 0 : self._ends[i]]


def read_index(handle: FileIO) -> TarIndex:
    """Index an open tar file by one pass over its headers.

    Args:
        handle: The file, unbuffered: no more than the headers is read.

    Raises:
        ValueError: It is no tar, or a compressed one; the message says what to do.
        OSError: It cannot be read.
    """
    _check_plain(handle)
    try:
        archive = tarfile.open(fileobj=handle, mode="r:", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
    except tarfile.TarError as error:
        msg = f"not a tar file ({error}); get it again, or take it out of the folder"
        raise ValueError(msg) from None
    collected = _Collected(os.fstat(handle.fileno()).st_size)
    with archive:
        try:
            _read_headers(archive, collected)
            _check_end(handle, archive.offset)
        except _DAMAGE as error:
            at = f"damaged from byte {min(archive.offset, collected.end)} on ({error})"
            collected.problems.append(f"{at}: images behind it are not seen; get the tar again")
    return TarIndex(collected.places, collected.troubles, tuple(collected.problems))


class _Collected:
    """Members as they come; `end`: size of the tar."""

    def __init__(self, end: int) -> None:
        self.places: dict[bytes, tuple[int, int]] = {}
        self.troubles: dict[bytes, str] = {}
        self.problems: list[str] = []
        self.end = end

    def add(self, info: tarfile.TarInfo) -> None:
        if info.isdir():
            return
        parts = info.name.split("/")
        kept = [part for part in parts if part not in ("", ".", "..")]
        name = _encode("/".join(kept))
        if not kept or b"\0" in name or len(name) > MAX_NAME_BYTES or max(map(len, name.split(b"/"))) > MAX_PART_BYTES:
            self.problems.append(f"the member {info.name[:60]!r} … has a name that no file can have; it is left out")
            return
        if name in self.places:
            self.troubles[name] = "there are several members of this name in the tar; write it again with one of them"
            return
        trouble = _OUTSIDE if ".." in parts else _trouble(info, self.end)
        self.places[name] = (0, 0) if trouble else (info.offset_data, info.size)  # its header may say any number
        if trouble:
            self.troubles[name] = trouble


_OUTSIDE = "its name leads out of the tar by '..'; write the tar again from inside the folder"


def _trouble(info: tarfile.TarInfo, end: int) -> str:
    if info.issym() or info.islnk():
        return "it is a link; write the tar again with the files (tar --dereference --hard-dereference)"
    if info.issparse():
        return "it is stored as a sparse file; write the tar again without --sparse"
    if not info.isreg():
        return "it is no file, but a device or a kind that is not known; take it out of the tar"
    if info.size > MAX_MEMBER_BYTES:
        return f"{info.size} bytes, more than the {MAX_MEMBER_BYTES} that a member may have; take it out of the tar"
    return "the tar ends before it does; get the tar again" if info.offset_data + info.size > end else ""


def _read_headers(archive: tarfile.TarFile, collected: _Collected) -> None:
    """Take all members; a header that leads backwards, on which tarfile would go in circles, ends it.

    Raises:
        Exception: One of _DAMAGE.
    """
    position = -1
    while (info := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # or it holds them all
        if info.size < 0 or info.offset_data <= position:
            msg = f"a header says {info.size} bytes"
            raise ValueError(msg)
        position = info.offset_data
        collected.add(info)


def _check_plain(handle: FileIO) -> None:
    head = handle.read(6)
    handle.seek(0)
    for magic, kind in _COMPRESSED.items():
        if head.startswith(magic):
            msg = f"this tar is compressed ({kind}), so {UNPACK}"
            raise ValueError(msg)


def _check_end(handle: FileIO, offset: int) -> None:
    """Refuse what tarfile passes over in silence: an end without its mark, or archives behind one another.

    Raises:
        ValueError: The archive does not end here as an archive ends.
    """
    handle.seek(offset)
    tail = handle.read(_TAIL_BYTES)
    if len(tail) < _BLOCK or any(tail[:_BLOCK]):
        msg = "its end is missing" if len(tail) < _BLOCK else "no header where one should be"
        raise ValueError(msg)
    if any(tail):
        msg = "a second archive follows; take them apart"
        raise ValueError(msg)


def _running_sums(names: list[bytes]) -> Iterator[int]:
    end = 0
    for name in names:
        end += len(name)
        yield end


def _encode(name: str) -> bytes:
    """One to one for every text, that of names that are no valid UTF-8 too."""
    return name.encode(errors="surrogatepass")


def _decode(name: bytes) -> str:
    return name.decode(errors="surrogatepass")
