"""The progress bar of the Python API: tqdm, which knows terminals and notebooks."""

from semples_cli.types import Progress


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


def silent(done: int, total: int) -> None:
    """A progress callback that draws nothing."""
    del done, total
