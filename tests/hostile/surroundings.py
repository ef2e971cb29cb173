"""What every hostile case is held against: nothing outside of the output changes, nothing half-done stays."""

import gc
import hashlib
import json
import os
import signal
import stat
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

from typer.testing import CliRunner

from semples_cli.cli.app import app

# Not a measure of speed: without it, a read that never ends would end the whole test run.
ENDLESS_SECONDS = 240


# Names are bytes here, for some are no UTF-8.
def state_of(root, leave_out=()):
    """Name → kind, rights, size and hash or target of all below a folder, but what lies in `leave_out`."""
    found, kept_out = {}, [os.fsencode(each) for each in leave_out]
    for place, folders, names in os.walk(os.fsencode(root)):
        folders[:] = [name for name in folders if os.path.join(place, name) not in kept_out]  # noqa: PTH118
        for name in (*folders, *names):
            path = os.path.join(place, name)  # noqa: PTH118
            if path not in kept_out:
                found[path] = _facts(path)
    return found


def _facts(path):
    facts = os.lstat(path)
    if stat.S_ISLNK(facts.st_mode):
        return "link", os.readlink(path)  # noqa: PTH115
    if not stat.S_ISREG(facts.st_mode):
        return stat.S_IFMT(facts.st_mode), facts.st_mode
    content = Path(os.fsdecode(path)).read_bytes()
    return facts.st_mode, facts.st_size, hashlib.sha256(content).hexdigest()


def open_below(root):
    """Files below a folder that this process holds open; nothing where the system does not tell."""
    if found := _held_below(root):
        gc.collect()  # what waits for it is no leak
        found = _held_below(root)
    return found


def _held_below(root):
    held = []
    handles = Path("/proc/self/fd")
    for handle in handles.iterdir() if handles.is_dir() else ():
        with suppress(OSError):  # the one of the listing itself
            held.append(str(handle.readlink()))
    return sorted(path for path in held if path.startswith(str(root)))


def partials(root):
    """Names of unfinished files below a folder."""
    return [path for path in state_of(root) if path.endswith((b".partial", b".state", b".tmp"))]


@contextmanager
def unharmed(root, *outputs):
    """Within, only what lies in `outputs` may change below `root`, and nothing half-written or open may stay."""
    given, before, threads = set(partials(root)), state_of(root, outputs), threading.active_count()
    with ending():
        yield
    assert state_of(root, outputs) == before
    assert set(partials(root)) <= given
    assert open_below(root) == []
    assert threading.active_count() <= threads + 1  # tqdm keeps one


@contextmanager
def ending():
    """What is within fails where it would never end."""

    def give_up(*_):
        raise AssertionError("it does not end")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(ENDLESS_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def semples(*arguments, stdin=None):
    """Run a command; what it ends with is an exit code, never an exception that got through the border."""
    result = CliRunner().invoke(app, list(map(str, arguments)), input=stdin, env={"COLUMNS": "300", "TERM": "dumb"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.stderr
    return result


def document_of(result):
    """The JSON document on stdout, which is one line."""
    assert result.stdout.count("\n") == 1, result.stdout + result.stderr
    return json.loads(result.stdout)


def error_of(result):
    """The one line of a command that stopped."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    return lines[0]


def is_plain(text):
    """Whether a line holds nothing that moves, colours or turns what a terminal shows."""
    unsafe = {*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029, 0x200E}
    return not unsafe & set(map(ord, text)) and not any(0xD800 <= ord(each) < 0xE000 for each in text)
