"""The progress bar of the Python API: tqdm, which knows terminals and notebooks."""

from collections.abc import Callable

from semples_cli.types import Progress

# Called with the name of a part of a step; returns the progress callback of that part.
Begin = Callable[[str], Progress]


def tqdm_progress(description: str) -> Progress:
    """A (done, total) callback that draws a tqdm bar on stderr; the default of every step."""
    from tqdm.auto import tqdm

    bar = tqdm(desc=description, leave=False)

    def update(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return update


def begin_late(begin: Begin, name: str) -> Progress:
    """A part that is announced when it first has something to tell: only one bar is drawn at a time."""
    started: list[Progress] = []

    def progress(done: int, total: int) -> None:
        if not started:
            started.append(begin(name))
        started[0](done, total)

    return progress


def silent(done: int, total: int) -> None:
    """A progress callback that draws nothing."""
    del done, total
