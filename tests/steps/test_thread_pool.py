import os
import signal
import sys
import threading
import time
from contextlib import closing

import pool_tasks
import pytest
from test_process_pool import run_script

from semples_cli.errors import DataError
from semples_cli.steps.thread_pool import thread_each


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 25])
def test_every_job_comes_back_once_with_its_own_result(workers, count):
    results = list(thread_each(pool_tasks.double, range(count), workers))
    assert sorted(results) == [(job, 2 * job) for job in range(count)]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_item_is_a_result_and_the_rest_is_done(workers):
    results = dict(thread_each(pool_tasks.sometimes, range(8), workers))
    assert [results[job] for job in (0, 1, 2, 6, 7)] == [0, 1, 2, 6, 7]
    assert isinstance(results[3], DataError)
    assert str(results[3]) == "three is bad"
    assert str(results[4]) == "/nowhere/at/all: No such file or directory"
    assert str(results[5]) == "not enough memory for this item"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bug_is_not_hidden(workers):
    with pytest.raises(ZeroDivisionError, match="a bug"):
        list(thread_each(pool_tasks.bug, range(3), workers))


def test_jobs_are_taken_as_workers_become_free_and_in_the_callers_thread():
    taken = []

    def jobs():
        for job in range(100):
            taken.append(threading.get_ident())
            yield job

    with closing(thread_each(pool_tasks.double, jobs(), 2)) as results:
        next(results)
        assert len(taken) <= 8
    assert len(taken) <= 8
    assert set(taken) == {threading.get_ident()}


def test_as_many_threads_as_workers_are_at_work_at_once():
    together = threading.Barrier(3, timeout=20)
    results = list(thread_each(lambda job: together.wait() >= 0, range(6), 3))
    assert results == [(job, True) for job, _ in results]
    assert len(results) == 6


def test_one_worker_is_the_callers_thread():
    assert list(thread_each(lambda job: threading.get_ident(), [0], 1)) == [(0, threading.get_ident())]


def test_no_thread_is_left():
    before = threading.active_count()
    with closing(thread_each(pool_tasks.double, range(50), 3)) as results:
        next(results)
    assert threading.active_count() == before


INTERRUPTED = """
import sys
from pathlib import Path
import pool_tasks
from semples_cli.steps.thread_pool import thread_each
try:
    list(thread_each(pool_tasks.touch_on_interrupt, [Path(sys.argv[1])], 2))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of a process group")
def test_ctrl_c_lets_the_item_in_hand_finish_and_is_passed_on(tmp_path):
    with run_script(INTERRUPTED, tmp_path) as parent:
        deadline = time.monotonic() + 20
        while not (tmp_path / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(parent.pid, signal.SIGINT)
        out, err = parent.communicate(timeout=30)
    assert out == "interrupted\n"
    assert (tmp_path / "finished").exists()
    assert err == ""
