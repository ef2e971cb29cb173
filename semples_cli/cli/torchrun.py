"""The command line under torchrun: which commands several processes share, and which process speaks."""

import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import typer

from semples_cli.cli.console import EXIT_INTERRUPTED, EXIT_ITEMS_FAILED, error_border
from semples_cli.errors import SettingsError

# Commands whose processes do one thing together.
TRAININGS = ("train-generator", "learn-prompts", "refine")
# Seconds in which torchrun ends this process if the main one has failed too, which has then said why.
GRACE = 5.0


def run_as_rank(app: typer.Typer) -> None:
    """Run a command as one of several processes: the main one speaks, the others only of what befalls them alone.

    Raises:
        SystemExit: Always, with the exit code of the command.
    """
    try:
        rank, size = _admit(app, sys.argv[1:])
    except typer.Exit as refused:
        sys.exit(refused.exit_code)
    if rank > 0:
        _run_quietly(app, f"process {rank} of {size}")
    else:
        _run(app)


@error_border
def _admit(app: typer.Typer, arguments: Sequence[str]) -> tuple[int, int]:
    """Rank and number of the processes, if they have something to do together."""
    from semples_cli.engine.data_parallel import launched

    rank, size = launched()
    name = next((argument for argument in arguments if not argument.startswith("-")), None)
    if size == 1 or name is None or name in TRAININGS:
        return rank, size
    if rank > 0:
        raise typer.Exit(SettingsError.exit_code)
    commands = getattr(typer.main.get_command(app), "commands", {})
    has_shards = name in commands and any(each.name == "shard" for each in commands[name].params)
    cure = (
        f"start each process by itself with --shard 1/{size} to {size}/{size}" if has_shards else "leave torchrun out"
    )
    msg = f"semples {name}: torchrun would do all of it {size} times; it is for {', '.join(TRAININGS)}: {cure}"
    raise SettingsError(msg)


def _run(app: typer.Typer) -> None:
    from semples_cli.engine.data_parallel import leave_ranks

    try:
        app()
    except SystemExit as ended:
        if ended.code in (None, 0, EXIT_ITEMS_FAILED):  # after an error, the others may be gone
            leave_ranks()
        raise


def _run_quietly(app: typer.Typer, name: str) -> None:
    """Whatever the main process says too is not said again; bugs keep their traceback."""
    said, stderr = StringIO(), sys.stderr
    try:
        with redirect_stdout(StringIO()), redirect_stderr(said):
            _run(app)
    except SystemExit as ended:
        if ended.code not in (None, 0, EXIT_ITEMS_FAILED, EXIT_INTERRUPTED):
            time.sleep(GRACE)
            *_, last = said.getvalue().strip().split("\n")
            stderr.write(f"{name}: {last}\n")
        raise
