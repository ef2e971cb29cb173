"""Work over many items by processes: bounded memory, one bad item stops nothing, a worker that dies fails its item.

Processes and not threads (`thread_pool`) where a task holds the interpreter lock, as pydensecrf2 does. They are
spawned, never forked: a fork of a process that has used torch or a terminal can hang.
"""

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import connection, get_context, parent_process
from typing import TypeVar

from semples_cli.errors import SemplesError, UnwritableError

Job = TypeVar("Job")
Result = TypeVar("Result")

# Enough that no worker waits for the parent, few enough that the list of a million items is never held.
JOBS_PER_WORKER = 3

WORKER_DIED = "its worker process died, twice: most likely the system ran out of memory; lower --workers"


def available_cores() -> int:
    """Cores that this process may use, which in a container or a Slurm job are fewer than the machine has."""
    allowed = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def process_each(
    task: Callable[[Job], Result], jobs: Iterable[Job], workers: int
) -> Generator[tuple[Job, Result | SemplesError], None, None]:
    """Run a task over jobs and yield each job with its result, in the order in which they end.

    A SemplesError or OSError of one item, or memory that runs out, is yielded in place of its result. When a worker
    process dies, the items in flight are done again one at a time, so that only the one that kills it is lost.

    Args:
        task: A function at the top level of a module; it and the jobs travel by pickle.
        jobs: Consumed as workers become free.
        workers: Processes; 1 runs everything in this one.

    Yields:
        (job, result), or (job, error).

    Raises:
        SemplesError: Worker processes cannot start.
        UnwritableError: A task cannot write any more, so that no other could.
        Exception: Whatever else the task raises: a bug, not a bad item.
    """
    if workers == 1:
        yield from ((job, attempt(task, job)) for job in jobs)
        return
    queue = iter(jobs)
    while suspects := (yield from _until_broken(task, queue, workers, workers * JOBS_PER_WORKER)):
        alone = iter(suspects)
        while killers := (yield from _until_broken(task, alone, 1, 1)):
            yield from ((job, SemplesError(WORKER_DIED)) for job in killers)


def _until_broken(
    task: Callable[[Job], Result], queue: Iterator[Job], workers: int, most_running: int
) -> Generator[tuple[Job, Result | SemplesError], None, list[Job]]:
    """Work off the queue; on the death of a worker, stop and return what was in flight."""
    running: dict[Future[Result | SemplesError], Job] = {}
    pool = _pool(workers)
    try:
        while True:
            for job in islice(queue, most_running - len(running)):
                running[_submit(pool, task, job)] = job
            if not running:
                return []
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running[future], future.result()
                del running[future]
    except BrokenProcessPool:
        return list(running.values())
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, task: Callable[[Job], Result], job: Job) -> Future[Result | SemplesError]:
    try:
        return pool.submit(attempt, task, job)
    except BrokenProcessPool as error:
        # Like a job that was in flight when the pool broke: it must not get lost between queue and pool.
        future: Future[Result | SemplesError] = Future()
        future.set_exception(error)
        return future


def _pool(workers: int) -> ProcessPoolExecutor:
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)
    try:
        pool.submit(os.getpid).result()
    except BrokenProcessPool:
        pool.shutdown()
        msg = (
            "worker processes cannot start; in a script of your own, call this below `if __name__ == '__main__':`, "
            "or give workers=1"
        )
        raise SemplesError(msg) from None
    return pool


def _start_worker() -> None:
    # Ctrl-C reaches the whole process group: the parent decides, the workers finish the item in hand.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Without this, workers of a parent that was killed wait for jobs for ever."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def attempt(task: Callable[[Job], Result], job: Job) -> Result | SemplesError:
    """Run a task on one job; what is wrong with the job alone is returned, and all else is raised."""
    try:
        return task(job)
    except UnwritableError:
        raise
    except SemplesError as error:
        return error
    except OSError as error:
        return SemplesError(f"{error.filename or 'file'}: {error.strerror or error}")
    except MemoryError:
        return SemplesError("not enough memory for this item")
