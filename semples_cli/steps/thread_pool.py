"""Work over many items by threads: what `process_pool` promises, for tasks that release the interpreter lock."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

from semples_cli.errors import SemplesError
from semples_cli.steps.process_pool import JOBS_PER_WORKER, Job, Result, attempt


def thread_each(
    task: Callable[[Job], Result], jobs: Iterable[Job], workers: int
) -> Generator[tuple[Job, Result | SemplesError], None, None]:
    """Run a task over jobs and yield each job with its result, in the order in which they end.

    A SemplesError or OSError of one item, or memory that runs out, is yielded in place of its result.

    Args:
        task: Spends its time in code that releases the interpreter lock.
        jobs: Consumed, by the caller's thread, as workers become free.
        workers: Threads; 1 runs everything in the caller's.

    Yields:
        (job, result), or (job, error).

    Raises:
        UnwritableError: A task cannot write any more, so that no other could.
        Exception: Whatever else the task raises: a bug, not a bad item.
    """
    if workers == 1:
        yield from ((job, attempt(task, job)) for job in jobs)
        return
    queue, running = iter(jobs), dict[Future[Result | SemplesError], Job]()
    pool = ThreadPoolExecutor(workers)
    try:
        while True:
            for job in islice(queue, workers * JOBS_PER_WORKER - len(running)):
                running[pool.submit(attempt, task, job)] = job
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running[future], future.result()
                del running[future]
    finally:
        pool.shutdown(cancel_futures=True)  # the items in hand are finished
