"""Where the processes of a training meet: a store of this life of theirs, which is gone when they are.

torchrun keeps one store for all lives of its workers, and torch writes addresses into it by the same names in each
(pytorch#135712): after a restart a process would find those of the dead, and wait for them. Here the main process opens
a store and says in torchrun's where; who finds the place of a dead one finds nobody there, and looks again.
"""

import os
import socket
import time
from datetime import timedelta
from itertools import count
from typing import Any

from torch import distributed

PAUSE = 0.2
"""Seconds between two looks at a place where nobody is any more, or not yet."""

# The processes of one life meet again and again in the same order, as when a script calls one step after the other.
_meetings = count()


def open_store(rank: int, timeout: timedelta) -> Any:  # noqa: ANN401  # torch does not export its Store
    """The store in which all processes of this life find each other's addresses: a `torch.distributed.Store`.

    Args:
        rank: Number of this process.
        timeout: How long to wait for the main process, and later for what others write.

    Raises:
        RuntimeError: Of torch: the main process did not come.
        ValueError: The port in the environment is none.
    """
    address, port, place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), f"semples-{next(_meetings)}"
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":  # nobody opens one but the main process
        opened = _store(address, port, timeout, is_open=rank > 0)
        return distributed.PrefixStore(place, opened)  # type: ignore[attr-defined]
    board = _store(address, port, timeout)
    if rank == 0:
        own = _store(address, 0, timeout, is_open=False)
        board.set(place, str(own.port))
        return own
    return _store(address, _find_open(board, place, address, timeout), timeout)


def _find_open(board: Any, place: str, address: str, timeout: timedelta) -> int:  # noqa: ANN401
    """The port that is written at a place of the board, once somebody listens there."""
    deadline = time.monotonic() + timeout.total_seconds()
    while True:
        port = int(board.get(place))
        try:
            with socket.create_connection((address, port), timeout.total_seconds()):
                return port
        except OSError as error:
            if time.monotonic() > deadline:
                raise RuntimeError(str(error)) from None
        time.sleep(PAUSE)


def _store(address: str, port: int, timeout: timedelta, *, is_open: bool = True) -> Any:  # noqa: ANN401
    """A store that another process has opened, or that is opened here; port 0: a free one."""
    make: Any = distributed.TCPStore  # type: ignore[attr-defined]
    options = {"is_master": not is_open, "timeout": timeout, "wait_for_workers": False}
    return make(address, port, multi_tenant=port > 0, **options)
