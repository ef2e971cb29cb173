"""All shards of a run as tasks of Ray, which finds a place for each and starts those again whose worker or node died.

Nothing is scheduled here. A shard is safe to start again, and writes to the run folder itself; so the folder must lie
where all nodes see it under the same path.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.errors import BusyError, SemplesError, SettingsError
from semples_cli.steps.cam_record import Note
from semples_cli.steps.progress import silent
from semples_cli.steps.shards import add_up
from semples_cli.types import Progress, RunSummary, Shard

# Of one shard, by Ray, when its worker or node dies.
MAX_RETRIES = 5
# A shard that another process still holds: that of a node which is lost to Ray, but not yet to the file system.
BUSY_TRIES, BUSY_PAUSE = 30, 2.0
SHARDS_A_SLOT = 4
# Fewer are not worth loading a model for.
LEAST_ITEMS = 64
POLL_SECONDS = 1.0

Work = Callable[[Shard, Progress, Note], RunSummary]


@dataclass(frozen=True)
class Slots:
    """How a run is spread.

    Attributes:
        num_shards: Shards in all; None: four for each slot of the cluster, of 64 items or more.
        cpus: Cores of each shard.
        gpus: A shard takes a GPU, where the cluster has any.
    """

    num_shards: int | None = None
    cpus: int = 1
    gpus: bool = False

    def count(self, resources: Mapping[str, float], num_items: int) -> int:
        """Shards for a cluster of these resources, as Ray names them."""
        if self.num_shards is not None:
            return self.num_shards
        num_gpus = int(resources.get("GPU", 0)) if self.gpus else 0
        slots = num_gpus or max(1, int(resources.get("CPU", 1)) // self.cpus)
        return max(1, min(SHARDS_A_SLOT * slots, -(-num_items // LEAST_ITEMS)))


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


def run_shards(work: Work, run: RunFolder, num_items: int, slots: Slots, progress: Progress, note: Note) -> RunSummary:
    """Do all shards of a run.

    Args:
        work: Does one; it travels by pickle, and so does what it is bound to.
        run: Where they write.
        num_items: Items in all, for the number of shards and for the progress.
        slots: How to spread them.
        progress: Called as (done, total) now and then.
        note: Called with what the shards have to say, each sentence once.

    Returns:
        How all ended together.

    Raises:
        SettingsError: Ray is not installed.
        SemplesError: A shard could not be done; the others have been stopped, and what they wrote is kept.
    """
    with redirect_stdout(sys.stderr):  # Ray says there what becomes of its nodes; stdout is for results
        return _run_shards(_import_ray(), work, run, num_items, slots, progress, note)


def _run_shards(
    ray: Any,  # noqa: ANN401
    work: Work,
    run: RunFolder,
    num_items: int,
    slots: Slots,
    progress: Progress,
    note: Note,
) -> RunSummary:
    started, was_up = time.perf_counter(), ray.is_initialized()
    if not was_up:
        ray.init(log_to_driver=False, include_dashboard=False, configure_logging=False)
    try:
        resources = ray.cluster_resources()
        count = slots.count(resources, num_items)
        note(f"{count} shards on Ray: {_shown(resources)}")
        task = ray.remote(do_shard).options(
            max_retries=MAX_RETRIES,
            num_cpus=slots.cpus,
            num_gpus=1 if slots.gpus and resources.get("GPU", 0) else 0,
        )
        sent, here = ray.put(work), str(Path.cwd())
        running = [task.remote(sent, Shard(i, count), here) for i in range(1, count + 1)]
        ended = _gather(ray, running, _Written(run), num_items, progress, note)
    finally:
        if not was_up:
            ray.shutdown()
    return add_up(ended, time.perf_counter() - started)


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


def _import_ray() -> Any:  # noqa: ANN401  # an optional package
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    try:
        import ray
    except ImportError:
        msg = "--backend ray needs Ray: pip install 'semples[ray]'"
        raise SettingsError(msg) from None
    return ray


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
    said: set[str] = set()
    try:
        while running:
            ready, running = ray.wait(running, timeout=POLL_SECONDS)
            for each in ready:
                made = ray.get(each)
                for sentence in made.notes:
                    if sentence not in said:
                        said.add(sentence)
                        note(sentence)
                if made.error is not None:
                    raise made.error
                ended.append(made.summary)
            kept = sum(each.resumed for each in ended)
            progress(min(kept + written.count(), num_items), num_items)
    except ray.exceptions.RayError as error:
        name = type(error).__name__
        msg = f"a shard was lost {MAX_RETRIES + 1} times ({name}), most likely for want of memory: start the run again"
        raise SemplesError(msg) from None
    finally:
        for each in running:
            ray.cancel(each, force=True)
    progress(num_items, num_items)
    return ended


class _Written:
    """Counts the lines that shards add to their manifests."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._read: dict[Path, int] = {path: path.stat().st_size for path in run.shard_manifests}
        self._lines = 0

    def count(self) -> int:
        """Lines since the beginning."""
        for path in self._run.shard_manifests:
            try:
                with path.open("rb") as handle:
                    handle.seek(self._read.get(path, 0))
                    data = handle.read()
            except OSError:  # taken in by the first shard
                continue
            self._lines += data.count(b"\n")
            self._read[path] = self._read.get(path, 0) + len(data)
        return self._lines


def _shown(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{resources[name]:g} {name}s" for name in ("CPU", "GPU") if resources.get(name))
