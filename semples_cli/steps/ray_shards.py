"""All shards of a run as tasks of Ray, which finds a place for each and starts those again whose worker or node died.

Nothing is scheduled here. A shard is safe to start again, and writes to the run folder itself; so the folder must lie
where all nodes see it under the same path.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.errors import BusyError, SemplesError, SettingsError
from semples_cli.steps.cam_record import Note
from semples_cli.steps.progress import silent
from semples_cli.steps.ray_cluster import Slots, connect, shown
from semples_cli.steps.shards import add_up
from semples_cli.types import Progress, RunSummary, Shard

# Of one shard, by Ray, when its worker or node dies.
MAX_RETRIES = 5
# A shard that another process still holds: that of a node which is lost to Ray, but not yet to the file system.
BUSY_TRIES, BUSY_PAUSE = 30, 2.0
POLL_SECONDS = 1.0

Work = Callable[[Shard, Progress, Note], RunSummary]


@dataclass(frozen=True)
class ShardEnded:
    """What a task gives back.

    Attributes:
        summary: How the shard ended; None: it could not be done.
        error: Why not.
        notes: What it had to say.
    """

    summary: RunSummary | None
    error: SemplesError | None
    notes: tuple[str, ...]


def run_shards(
    work: Work, run: RunFolder | None, num_items: int, slots: Slots, progress: Progress, note: Note
) -> tuple[RunSummary, int]:
    """Do all shards of a run.

    Args:
        work: Does one; it travels by pickle, and so does what it is bound to.
        run: Where they write manifests, for the progress; None: they write none.
        num_items: Items in all, for the number of shards and for the progress.
        slots: How to spread them.
        progress: Called as (done, total) now and then.
        note: Called with what the shards have to say, each sentence once.

    Returns:
        How all ended together, and how many shards there were.

    Raises:
        SettingsError: Ray is not installed, no cluster answers, or none of its nodes is large enough.
        SemplesError: A shard could not be done; the others have been stopped, and what they wrote is kept.
    """
    started = time.perf_counter()
    with redirect_stdout(sys.stderr), connect() as ray:  # Ray says there what becomes of its nodes
        resources = ray.cluster_resources()
        slots.check_nodes([node["Resources"] for node in ray.nodes() if node["Alive"]])
        count = slots.count(resources, num_items)
        note(f"{count} shards on Ray: {shown(resources)}")
        task = ray.remote(do_shard).options(
            max_retries=MAX_RETRIES,
            num_cpus=slots.cpus,
            num_gpus=1 if slots.gpus and resources.get("GPU", 0) else 0,
        )
        sent, here = ray.put(work), str(Path.cwd())
        running = [task.remote(sent, Shard(i, count), here) for i in range(1, count + 1)]
        ended = _gather(ray, running, _Written(run), num_items, progress, _once(note))
    return add_up(ended, time.perf_counter() - started), count


def do_shard(work: Work, shard: Shard, folder: str) -> ShardEnded:
    """Do one shard, in a process of Ray.

    Args:
        work: Does it.
        shard: Which.
        folder: The folder that relative paths are meant from.
    """
    notes: list[str] = []
    try:
        os.chdir(folder)
    except OSError as error:
        msg = f"{folder}: not here on {os.uname().nodename} ({error.strerror}); all nodes must see the same folders"
        return ShardEnded(None, SettingsError(msg), ())
    for attempt in range(1, BUSY_TRIES + 1):
        try:
            return ShardEnded(work(shard, silent, notes.append), None, tuple(notes))
        except BusyError as error:
            if attempt == BUSY_TRIES:
                return ShardEnded(None, error, tuple(notes))
            time.sleep(BUSY_PAUSE)
        except SemplesError as error:
            return ShardEnded(None, error, tuple(notes))
    raise AssertionError  # the last attempt returns


def _gather(
    ray: Any,  # noqa: ANN401
    running: list[Any],
    written: "_Written",
    num_items: int,
    progress: Progress,
    note: Note,
) -> list[RunSummary]:
    """What the tasks came to, in the order in which they end; on an error, or Ctrl-C, the others are stopped."""
    ended: list[RunSummary] = []
    try:
        while running:
            ready, running = ray.wait(running, timeout=POLL_SECONDS)
            for each in ready:
                made = ray.get(each)
                for sentence in made.notes:
                    note(sentence)
                if made.error is not None:
                    raise made.error
                ended.append(made.summary)
            progress(min(written.count(ended), num_items), num_items)
    except ray.exceptions.RayTaskError:  # a bug of ours keeps its traceback
        raise
    except ray.exceptions.RayError as error:
        name = type(error).__name__
        msg = f"a shard was lost {MAX_RETRIES + 1} times ({name}), most likely for want of memory: start the run again"
        raise SemplesError(msg) from None
    finally:
        for each in running:
            ray.cancel(each, force=True)
    progress(num_items, num_items)
    return ended


def _once(note: Note) -> Note:
    said: set[str] = set()

    def say(sentence: str) -> None:
        if sentence not in said:
            said.add(sentence)
            note(sentence)

    return say


class _Written:
    """Counts what is done: by the lines that shards add to their manifests, or without any by the shards that ended."""

    def __init__(self, run: RunFolder | None) -> None:
        self._run = run
        self._read: dict[Path, int] = {path: path.stat().st_size for path in run.shard_manifests} if run else {}
        self._lines = 0

    def count(self, ended: Sequence[RunSummary]) -> int:
        """Items since the beginning, those among them that were there."""
        kept = sum(each.resumed for each in ended)
        if self._run is None:
            return kept + sum(each.written + len(each.failed) for each in ended)
        for path in self._run.shard_manifests:
            try:
                with path.open("rb") as handle:
                    handle.seek(self._read.get(path, 0))
                    data = handle.read()
            except OSError:  # taken in by the first shard
                continue
            self._lines += data.count(b"\n")
            self._read[path] = self._read.get(path, 0) + len(data)
        return kept + self._lines
