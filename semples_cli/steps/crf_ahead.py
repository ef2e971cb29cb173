"""The CRF on the cores while a GPU makes the masks of the next images."""

import json
from collections.abc import Callable, Set
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Self

from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.errors import SemplesError
from semples_cli.types import Progress

POLL_SECONDS = 1.0
# A pass looks through the whole folder: it begins when there is work for it, and for a twentieth of what is done.
LEAST_ITEMS, LEAST_SHARE = 64, 0.05

# Called with the ids to refine, and with what is told of each; may raise to end a pass.
Refine = Callable[[Set[str], Progress], object]


class CrfAhead:
    """Refines masks in a thread, pass by pass, as another run writes them; a context manager around that run.

    What it has not done when the block ends is left to a last pass, which keeps what is done and says what failed.
    The masks are those of that pass alone: an item that changes later is done again.

    Args:
        source: The run folder that is being written.
        out: The run folder of the CRF.
        refine: Does a pass: of these ids, those that it can; it is called from a thread.
        overwrite: The first pass forgets what lies in `out`.

    Attributes:
        written: Masks that lie in `out` through this one; known after the block.
        began: A pass has begun.

    Raises:
        Exception: At the end of the block, what a pass raised that is no SemplesError: a bug.
    """

    def __init__(self, source: RunFolder, out: RunFolder, refine: Refine, *, overwrite: bool = False) -> None:
        self.written = 0
        self.began = False
        self._made, self._refined = _Tail(source.manifest), _Tail(out.manifest, from_start=overwrite)
        self._refine = refine
        self._stopped = Event()
        self._bug: BaseException | None = None
        self._thread = Thread(target=self._run, name="crf ahead")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()  # until the items in hand are finished
        if self.began:
            self.written = len(self._refined.read())
        if self._bug is not None and error is None:
            raise self._bug

    def _run(self) -> None:
        waiting, done = set[str](), 0
        try:
            while not self._stopped.wait(POLL_SECONDS):
                waiting |= self._made.read()
                if len(waiting) >= max(LEAST_ITEMS, LEAST_SHARE * done):
                    self.began = True
                    self._refine(waiting, self._go_on)
                    done += len(waiting)
                    waiting = set()
        except (_StoppedError, SemplesError, OSError, MemoryError):  # the last pass meets the same, and says it
            return
        except BaseException as error:  # raised where the block ends
            self._bug = error

    def _go_on(self, done: int, total: int) -> None:
        del done, total
        if self._stopped.is_set():
            raise _StoppedError


class _StoppedError(Exception):
    """Ends a pass between two items."""


class _Tail:
    """The ids of the lines that a manifest gets from now on, or from its start, as far as they are done."""

    def __init__(self, path: Path, *, from_start: bool = False) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() and not from_start else 0

    def read(self) -> set[str]:
        """Those since the last time."""
        if not self._path.exists():
            return set()
        with self._path.open("rb") as handle:
            if handle.seek(0, 2) < self._offset:  # begun anew
                self._offset = 0
            handle.seek(self._offset)
            lines = [line for line in handle if line.endswith(b"\n")]
        self._offset += sum(map(len, lines))
        entries = map(json.loads, lines)
        return {entry["id"] for entry in entries if entry["status"] == "ok"}
