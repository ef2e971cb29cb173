"""Two of the same command on one output at the same time: the second is told whose process is at it, and goes."""

import os
import re
import signal

import pytest
from commands import Semples, check_whole, outcome
from kill_list import CAMS, COMMANDS, CRF
from test_ctrl_c import wait_for

from semples_cli.artifacts.run_lock import is_locked
from semples_cli.artifacts.run_locks import GATE


@pytest.fixture(scope="session")
def rival(tmp_path_factory):
    runner = Semples(tmp_path_factory.mktemp("rival"))
    yield runner
    runner.close()


def holders(out):
    """Processes that say, in a lock below or beside a folder, that they are writing there."""
    locks = [path for path in [*out.rglob("*lock*"), *out.parent.glob("*.lock")] if path.is_file()]
    return {path.read_text(errors="replace").strip() for path in locks}


def is_at_work(out, running):
    """It holds a lock, and has passed the gate behind which others wait while one begins."""
    return str(running.pid) in holders(out) and not any(map(is_locked, out.rglob(GATE)))


def disturb(semples, rival, begin, command):
    """Stop a command in the midst, start it once more, and let it go on; whether the second met the first."""
    out, line = begin(command)
    ended = semples.run(*line)
    assert ended.code == 0, ended.stderr
    expected = outcome(out)
    out, line = begin(command)
    running = semples.start(*line)
    wait_for(lambda: is_at_work(out, running) or running.has_ended)
    running.signal(signal.SIGSTOP)
    is_met = is_at_work(out, running) and not running.has_ended
    second = rival.run(*line) if is_met else None
    running.signal(signal.SIGCONT)
    first = running.end()
    assert first.code == 0, first.stderr
    check_whole(out, expected)
    if second is not None:
        (error,) = (text for text in second.stderr.splitlines() if text.startswith("error: "))
        assert second.code == 1
        assert re.search(rf"\(process {running.pid}\) is writing here; wait until it ends", error), error
    return is_met


@pytest.mark.parametrize("command", [CAMS, CRF], ids=lambda each: each.name)
def test_the_second_is_refused_and_the_first_undisturbed(semples, rival, begin, command):
    assert disturb(semples, rival, begin, command)


@pytest.mark.faults
@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each.name)
def test_of_every_command(semples, rival, begin, command):
    met = any(disturb(semples, rival, begin, command) for _ in range(5))
    if not met:
        pytest.skip("it was never caught at its writing, which takes a moment")


def test_a_lock_ends_with_its_process(semples, begin):
    out, line = begin(CAMS)
    running = semples.start(*line)
    wait_for(lambda: str(running.pid) in holders(out))
    os.kill(running.pid, signal.SIGKILL)
    assert running.end().code == -signal.SIGKILL
    assert str(running.pid) in holders(out)  # the file stays, the lock does not
    assert semples.run(*line).code == 0
