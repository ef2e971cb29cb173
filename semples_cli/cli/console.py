"""The only room that writes on the terminal: results on stdout, everything else on stderr."""

import errno
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from semples_cli.cli.terminal_text import json_escaped, make_visible, visible
from semples_cli.errors import SemplesError
from semples_cli.steps.interruption import InterruptedRun
from semples_cli.types import Progress as ProgressCallback
from semples_cli.types import RunSummary

EXIT_ITEMS_FAILED = 3
EXIT_INTERRUPTED = 130
MOST_LISTED = 20
SECONDS_BETWEEN_LINES = 30

P = ParamSpec("P")
R = TypeVar("R")


def stderr() -> Console:
    """The console for progress, notes and errors; made anew, so that a redirected stderr is honoured."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """A note on stderr, on one line."""
    stderr().print(Text(visible(text)))


def warn(text: str) -> None:
    """A warning on stderr, on one line."""
    stderr().print(Text.assemble(("warning:", "yellow"), " ", visible(text)))


def print_json(value: Mapping[str, Any]) -> None:
    """The result for machines: one JSON document on stdout."""
    document = json_escaped(json.dumps(value, ensure_ascii=False, allow_nan=False))
    if _shown(document) != document:
        document = json.dumps(value, allow_nan=False)
    sys.stdout.write(document + "\n")


def print_table(table: Table) -> None:
    """The result for people: a table on stdout."""
    make_visible(table)
    console = Console(highlight=False, emoji=False)
    with console.capture() as rendered:
        console.print(table)
    sys.stdout.write(_shown(rendered.get()))


def _shown(text: str) -> str:
    """The text as stdout takes it: what its encoding, of an older system perhaps, has no sign for, as an escape."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


@contextmanager
def progress_bar(description: str) -> Iterator[ProgressCallback]:
    """Progress on stderr with rate and time left: a rich bar, or a line every 30 s where stderr is no terminal."""
    console = stderr()
    if not console.is_terminal:
        yield _line_progress(description)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(description, total=None, rate="")

        def update(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=f"{speed:.1f}/s" if speed else "")

        yield update


def _line_progress(description: str) -> ProgressCallback:
    """For logs: a line every 30 s of work, so that short runs leave none; rates are of the time since the last one."""
    last: tuple[float, int] | None = None

    def update(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if last is None:  # what came before, such as the planning, says nothing of the rate
            last = now, done
        then, before = last
        if now - then < SECONDS_BETWEEN_LINES:
            return
        last, rate = (now, done), (done - before) / (now - then)
        left = f", about {(total - done) / rate / 60:.0f} min left" if rate else ""
        say(f"{description}: {done} of {total}, {rate:.1f}/s{left}")

    return update


def report_summary(summary: RunSummary, noun: str) -> int:
    """Say how a run over many images ended, and return the exit code that tells the truth about it.

    Args:
        summary: What the step returned.
        noun: What was written, such as 'masks'.

    Returns:
        0, or 3 if any item failed.
    """
    rate = f", {summary.written / summary.seconds:.1f}/s" if summary.written and summary.seconds > 0 else ""
    parts = [f"{summary.written} {noun} written in {summary.seconds:.1f} s{rate}"]
    if summary.resumed:
        parts.append(f"{summary.resumed} kept from an earlier run")
    if summary.skipped:
        parts.append(f"{len(summary.skipped)} skipped")
    if summary.failed:
        parts.append(f"{len(summary.failed)} failed")
    say("; ".join(parts))
    list_items("skipped", summary.skipped)
    list_items("failed", summary.failed)
    return EXIT_ITEMS_FAILED if summary.failed else 0


def list_items(kind: str, items: tuple[tuple[str, str], ...]) -> None:
    """List (id, reason) pairs on stderr, the first 20 of them."""
    for item_id, reason in items[:MOST_LISTED]:
        say(f"  {kind}: {item_id}: {reason}")
    if len(items) > MOST_LISTED:
        say(f"  … and {len(items) - MOST_LISTED} more {kind}")


def _report_interrupted(error: InterruptedRun) -> str:
    report_summary(error.summary, "items")
    return f" with {error.left} left"


def _report_error(text: str) -> None:
    stderr().print(Text.assemble(("error:", "red"), " ", visible(text)))


def error_border(command: Callable[P, R]) -> Callable[P, R]:
    """Turn a SemplesError into one line on stderr and its exit code; Ctrl-C into 130. Bugs keep their traceback.

    What the system refuses is no bug: an OSError that nobody on its way had more to say about is one line, too.
    """

    @functools.wraps(command)
    def bordered(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except SemplesError as error:
            _report_error(str(error))
            raise typer.Exit(error.exit_code) from None
        except OSError as error:
            if error.errno in (None, errno.EPIPE):  # whoever read our output has gone, which typer knows
                raise
            _report_error(f"{error.filename or 'input or output'}: {error.strerror}; mend that, and run it again")
            raise typer.Exit(SemplesError.exit_code) from None
        except KeyboardInterrupt as error:
            left = _report_interrupted(error) if isinstance(error, InterruptedRun) else ""
            say(f"interrupted{left}; what is written is complete, run the same command again to go on")
            raise typer.Exit(EXIT_INTERRUPTED) from None

    return bordered
