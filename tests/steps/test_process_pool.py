import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pool_tasks
import pytest

from semples_cli.errors import DataError, SemplesError
from semples_cli.steps.process_pool import available_cores, process_each

HERE = Path(__file__).parent


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("count", [0, 1, 25])
def test_every_job_comes_back_once_with_its_own_result(workers, count):
    results = list(process_each(pool_tasks.double, range(count), workers))
    assert sorted(results) == [(job, 2 * job) for job in range(count)]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_item_is_a_result_and_the_rest_is_done(workers):
    results = dict(process_each(pool_tasks.sometimes, range(8), workers))
    assert [results[job] for job in (0, 1, 2, 6, 7)] == [0, 1, 2, 6, 7]
    assert isinstance(results[3], DataError)
    assert str(results[3]) == "three is bad"
    assert str(results[4]) == "/nowhere/at/all: No such file or directory"
    assert str(results[5]) == "not enough memory for this item"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bug_is_not_hidden(workers):
    with pytest.raises(ZeroDivisionError, match="a bug"):
        list(process_each(pool_tasks.bug, range(3), workers))


def test_jobs_are_taken_as_workers_become_free():
    taken = []

    def jobs():
        for job in range(100):
            taken.append(job)
            yield job

    with closing(process_each(pool_tasks.double, jobs(), 2)) as results:
        next(results)
        assert len(taken) <= 8
    assert len(taken) <= 8


def test_a_worker_that_dies_costs_only_its_own_item():
    results = dict(process_each(pool_tasks.die_on_seven, range(20), 2))
    assert sorted(results) == list(range(20))
    error = results.pop(7)
    assert isinstance(error, SemplesError)
    assert "its worker process died, twice" in str(error)
    assert "lower --workers" in str(error)
    assert results == {job: job for job in range(20) if job != 7}


def test_an_item_whose_worker_died_once_is_done_again(tmp_path):
    path = tmp_path / "mark"
    assert list(process_each(pool_tasks.die_once, [path], 2)) == [(path, "alive")]


def test_workers_that_the_system_kills_do_not_hang_the_run():
    results = list(process_each(pool_tasks.killed, range(3), 2))
    assert sorted(job for job, _ in results) == [0, 1, 2]
    assert all(isinstance(result, SemplesError) for _, result in results)


def test_cores_are_counted():
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


def run_script(text, *args):
    return subprocess.Popen(
        [sys.executable, "-c", text, *map(str, args)],
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell starts its background jobs, and a CI may start pytest, with the signal ignored, which is inherited
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_a_script_without_a_main_guard_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import pool_tasks\nfrom semples_cli.steps.process_pool import process_each\n"
        "print(list(process_each(pool_tasks.double, range(3), 2)))\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "SemplesError: worker processes cannot start; in a script of your own" in done.stderr
    assert "workers=1" in done.stderr


ENDLESS = """
import sys
from itertools import repeat
from pathlib import Path
import pool_tasks
from semples_cli.steps.process_pool import process_each
for _ in process_each(pool_tasks.leave_pid, repeat(Path(sys.argv[1]) / "x"), 2):
    print("one", flush=True)
"""


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    with run_script(ENDLESS, tmp_path) as parent:
        assert parent.stdout.readline() == "one\n"
        parent.kill()
    pids = [int(path.stem) for path in tmp_path.glob("*.pid")]
    assert pids
    deadline = time.monotonic() + 20
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, pids))


INTERRUPTED = """
import sys
from pathlib import Path
import pool_tasks
from semples_cli.steps.process_pool import process_each
try:
    list(process_each(pool_tasks.touch_on_interrupt, [Path(sys.argv[1])], 2))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_ctrl_c_lets_the_item_in_hand_finish_and_is_passed_on(tmp_path):
    with run_script(INTERRUPTED, tmp_path) as parent:
        deadline = time.monotonic() + 20
        while not (tmp_path / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(parent.pid, signal.SIGINT)  # as a terminal does: to parent and workers alike
        out, err = parent.communicate(timeout=30)
    assert out == "interrupted\n"
    assert (tmp_path / "finished").exists()
    assert err == ""
