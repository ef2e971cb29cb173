"""Who writes in a run folder: one whole run, or any number of its shards, each shard once.

Everybody begins behind one gate, so that two who begin at once see one another. A lock is one of the operating system
and ends with its process; on a cluster the folder must lie on a file system whose locks reach all machines (NFS, and
Lustre mounted with `flock`, do).
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.artifacts.run_lock import is_locked, lock_run, try_lock
from semples_cli.errors import BusyError
from semples_cli.types import Shard

GATE = "lock-begin"
SHARD_LOCKS = "lock-*of*"
# Seconds between two looks at the gate.
PAUSE = 0.05


class RunLocks:
    """The locks that one process holds.

    Attributes:
        is_alone: Nobody else was at work in the folder when this one began.
    """

    def __init__(self, run: RunFolder, shard: Shard | None = None) -> None:
        """Begin; wait for others that are beginning.

        Args:
            run: The run folder.
            shard: The shard that this process does; None: the whole run.

        Raises:
            BusyError: A whole run, or this very shard, is at work; a whole run begins while shards are.
            ArtifactError: Nothing can be written here.
        """
        self._gate = _pass_gate(run.hidden / GATE)
        with ExitStack() as held:
            held.callback(self._gate.close)
            self._lock = lock_run(run.lock_of(shard), _name(shard))
            held.callback(self._lock.close)
            others = [path for path in _shard_locks(run) if path != run.lock_of(shard) and is_locked(path)]
            if shard is None and others:
                msg = (
                    f"{run.root}: {len(others)} of the shards of a run are at work here ({', '.join(_shown(others))}); "
                    "wait until they end, or choose another --out"
                )
                raise BusyError(msg)
            if shard is not None and is_locked(run.lock):
                msg = f"{run.root}: a semples run that is not cut into shards is at work here; wait until it ends"
                raise BusyError(msg)
            self.is_alone = not others
            held.pop_all()

    def let_others_begin(self) -> None:
        """Open the gate, when what the others must find is written."""
        self._gate.close()

    def close(self) -> None:
        """Give everything back."""
        self._gate.close()
        self._lock.close()


def remove_shard_locks(run: RunFolder, shard: Shard | None) -> None:
    """Take away lock files of shards that are not at work; only for who is alone and still behind the gate."""
    for path in _shard_locks(run):
        if path != run.lock_of(shard):
            path.unlink(missing_ok=True)


def _shard_locks(run: RunFolder) -> Iterator[Path]:
    return run.hidden.glob(SHARD_LOCKS)


def _name(shard: Shard | None) -> str:
    return "another semples run" if shard is None else f"shard {shard} of this run"


def _shown(locks: list[Path], most: int = 4) -> list[str]:
    names = [path.name.removeprefix("lock-").replace("of", "/") for path in sorted(locks)]
    return names if len(names) <= most else [*names[:most], "…"]


def _pass_gate(path: Path) -> BinaryIO:
    while (handle := try_lock(path)) is None:
        time.sleep(PAUSE)
    return handle
