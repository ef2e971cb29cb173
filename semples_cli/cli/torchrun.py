"""The command line under torchrun: which commands several processes share, and which process speaks."""

import os
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import typer

from semples_cli.cli.console import EXIT_ITEMS_FAILED, error_border
from semples_cli.errors import SettingsError

# Commands whose processes do one thing together.
TRAININGS = ("run", "train-generator", "learn-prompts", "refine")
# Seconds in which torchrun ends this process if the main one has failed too, and has said why.
GRACE = 5.0
_DONE = (None, 0, EXIT_ITEMS_FAILED)


def run_as_rank(app: typer.Typer) -> None:
    """Run a command as one of several processes: the main one speaks, the others only of what befalls them alone.

    Raises:
        SystemExit: Always, with the exit code of the command.
    """
    rank = os.environ.get("RANK", "0")
    if rank == "0":
        _run(app)
    else:
        _run_quietly(app, f"process {rank}")


def _run(app: typer.Typer) -> None:
    from semples_cli.engine.data_parallel import leave_ranks

    try:
        _check_command(app, sys.argv[1:])
        app()
    except typer.Exit as refused:
        sys.exit(refused.exit_code)
    except SystemExit as ended:
        if ended.code in _DONE:  # after an error, the others may be gone
            leave_ranks()
        raise


def _run_quietly(app: typer.Typer, name: str) -> None:
    """What the main process says too is not said again, nor that items failed; bugs keep their traceback."""
    said, stderr = StringIO(), sys.stderr
    try:
        with redirect_stdout(StringIO()), redirect_stderr(said):
            _run(app)
    except SystemExit as ended:
        if ended.code in _DONE:
            sys.exit(0)
        # torchrun ends all at the first that ends like this: it shall be the main one, if that failed as well.
        time.sleep(GRACE)
        *_, last = said.getvalue().strip().split("\n")
        stderr.write(f"{name}: {last}\n")
        raise


@error_border
def _check_command(app: typer.Typer, arguments: Sequence[str]) -> None:
    """Refuse commands of which every process would do the same.

    Raises:
        SettingsError: Says what to do instead.
    """
    from semples_cli.engine.data_parallel import launched

    _, size = launched()
    name = next((argument for argument in arguments if not argument.startswith("-")), None)
    if size == 1 or name is None or name in TRAININGS:
        return
    commands = getattr(typer.main.get_command(app), "commands", {})
    has_shards = name in commands and any(each.name == "shard" for each in commands[name].params)
    cure = (
        f"start each process by itself with --shard 1/{size} to {size}/{size}" if has_shards else "leave torchrun out"
    )
    msg = f"semples {name}: torchrun would do all of it {size} times; it is for {', '.join(TRAININGS)}: {cure}"
    raise SettingsError(msg)
