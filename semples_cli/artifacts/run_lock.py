"""One writer per file or folder: a lock of the operating system, which ends with its process however that ends."""

import os
import sys
from pathlib import Path
from typing import BinaryIO

from semples_cli.artifacts.own_files import open_in_place
from semples_cli.errors import ArtifactError, BusyError

if sys.platform == "win32":
    import msvcrt

    def _lock(handle: BinaryIO) -> None:
        # Windows locks bytes and then hides them from readers: lock one far behind the note.
        handle.seek(1 << 20)
        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(handle: BinaryIO) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lock_run(path: Path, holder: str = "another semples run") -> BinaryIO:
    """Take the lock of a run folder; closing the handle, or the end of the process, gives it back.

    The file stays: removing it would let a third process lock another file of the same name.

    Args:
        path: The lock file; made where it is missing.
        holder: Who it is, for the message, if the lock is taken.

    Returns:
        The open handle.

    Raises:
        BusyError: Another process holds the lock.
        ArtifactError: Nothing can be written here.
    """
    handle = try_lock(path)
    if handle is None:
        process = path.read_bytes()[:32].decode(errors="replace").strip()
        msg = (
            f"{path.parent.parent}: {holder} (process {process or 'unknown'}) is writing here; "
            "wait until it ends, or choose another --out"
        )
        raise BusyError(msg)
    # Only for the message above; the lock itself knows nothing of process numbers.
    handle.truncate(0)
    handle.write(f"{os.getpid()}\n".encode())
    handle.flush()
    return handle


def try_lock(path: Path) -> BinaryIO | None:
    """Take a lock if it is free: the open handle, or None.

    Args:
        path: The lock file; made where it is missing.

    Raises:
        ArtifactError: Nothing can be written here.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = open_in_place(path, "a+b")
    except OSError as error:
        msg = f"{path.parent.parent}: cannot write here ({error.strerror}); choose another --out"
        raise ArtifactError(msg) from None
    try:
        _lock(handle)
    except OSError:
        handle.close()
        return None
    return handle


def is_locked(path: Path) -> bool:
    """Whether another process, or another handle of this one, holds a lock; nothing is made by asking."""
    if not path.exists():
        return False
    handle = try_lock(path)
    if handle is None:
        return True
    handle.close()
    return False
