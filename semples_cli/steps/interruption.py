"""Ctrl-C once finishes what is in hand and says how far the run got; twice stops at once."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType, TracebackType
from typing import Self, TypeVar

from semples_cli.types import Progress, RunSummary

Item = TypeVar("Item")

SENTENCE = "Ctrl-C: finishing what is in hand; once more stops at once"


class InterruptedRun(KeyboardInterrupt):
    """A run over many items that ended early because somebody asked it to; all that it says is written is.

    Attributes:
        summary: How far it got.
        left: Items that are left to do.
    """

    def __init__(self, summary: RunSummary, left: int) -> None:
        super().__init__(f"interrupted with {left} left")
        self.summary = summary
        self.left = left


class Interruption:
    """Takes Ctrl-C while a run is at work; a context manager around it.

    The first one is remembered, and whoever works on asks between two items. The second raises KeyboardInterrupt
    wherever the run is. Nothing changes where this is not the main thread, which alone gets signals, or where somebody
    else takes care of Ctrl-C.

    Args:
        note: Called, from another thread, with a sentence on what a second Ctrl-C does.
        enabled: False: as where somebody else takes care of it.

    Attributes:
        is_asked: Ctrl-C was pressed.
    """

    def __init__(self, note: Callable[[str], None] | None = None, *, enabled: bool = True) -> None:
        self.is_asked = False
        self._note, self._enabled = note, enabled
        self._taken = False

    def __enter__(self) -> Self:
        alone = threading.current_thread() is threading.main_thread()
        if self._enabled and alone and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._ask)
            self._taken = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._taken:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def until(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, up to the one that is in hand when Ctrl-C is pressed."""
        for item in items:
            if self.is_asked:
                return
            yield item

    def ending(self, progress: Progress) -> Progress:
        """A progress callback that ends what it is told of, by a KeyboardInterrupt, once Ctrl-C is pressed."""

        def update(done: int, total: int) -> None:
            progress(done, total)
            if self.is_asked:
                raise KeyboardInterrupt

        return update

    def _ask(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self.is_asked:
            raise KeyboardInterrupt
        self.is_asked = True
        if self._note is not None:
            # In a thread: this may have come in the middle of a write to the very stream that the note goes to.
            threading.Thread(target=self._note, args=(SENTENCE,), daemon=True).start()
