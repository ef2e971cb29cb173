"""One writer per file: a lock beside the file, which is gone afterwards, as users look into the folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from semples_cli.artifacts.run_lock import lock_run
from semples_cli.errors import ArtifactError


@contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Hold `<path>.lock` for as long as a file takes to make; a process that dies gives it back, however it dies.

    What a dead process left is taken over. Locks of different files may be held one within the other.

    Args:
        path: The file that is going to be written; its folder is made where it is missing.

    Raises:
        ArtifactError: Another process is writing the file, or nothing can be written here.
    """
    lock = path.with_name(f"{path.name}.lock")
    handle = _lock(path, lock)
    while not _is(handle, lock):  # its last holder removed it between our opening and our locking
        handle.close()
        handle = _lock(path, lock)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file
            lock.unlink()
        handle.close()
        if os.name == "nt":
            with suppress(OSError):  # the next one holds it already
                lock.unlink()


def _lock(path: Path, lock: Path) -> BinaryIO:
    try:
        return lock_run(lock)
    except ArtifactError as error:
        reason = str(error).removeprefix(f"{lock.parent.parent}: ")  # a run's lock lies one folder deeper
        msg = f"{path}: {reason}"
        raise ArtifactError(msg) from None


def _is(handle: BinaryIO, lock: Path) -> bool:
    """Whether the open file is the one of that name."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), lock.stat())
    except FileNotFoundError:
        return False
