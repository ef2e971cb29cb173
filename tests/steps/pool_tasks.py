"""Tasks that worker processes import in the tests of the process pool."""

import os
import signal
import time
from pathlib import Path

from semples_cli.errors import DataError


def double(job):
    return 2 * job


def sometimes(job):
    if job == 3:
        msg = "three is bad"
        raise DataError(msg)
    if job == 4:
        Path("/nowhere/at/all").read_bytes()
    if job == 5:
        raise MemoryError
    return job


def bug(job):
    msg = "a bug"
    raise ZeroDivisionError(msg)


def die_on_seven(job):
    if job == 7:
        os._exit(1)
    return job


def die_once(path):
    if not path.exists():
        path.write_text("died")
        os._exit(1)
    return "alive"


def killed(job):
    os.kill(os.getpid(), signal.SIGKILL)


def leave_pid(path):
    path.with_name(f"{os.getpid()}.pid").write_text("")
    time.sleep(0.05)
    return os.getpid()


def touch_on_interrupt(folder):
    (folder / "started").write_text("")
    time.sleep(1)
    (folder / "finished").write_text("")
