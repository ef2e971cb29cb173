"""kill -9 in the midst of every command; the same command again then gives what an undisturbed one gives.

Two kinds of moments. In CI `cams` and `crf` die at each operation by which a file appears, changes or goes, before it,
after it, and in the midst of a line of the manifest. By `make test-faults` every command that writes is killed at
random moments as well, several times in a row, before it may end.
"""

import random
import signal
import time

import pytest
from commands import check_whole, outcome, unfinished
from kill_list import CAMS, COMMANDS, CRF, PROCESSES

from semples_cli.cli.app import app

SIGKILLED = -signal.SIGKILL


def test_every_command_that_writes_is_on_the_list():
    reading = {"check", "prompts show", "labels inspect", "models list", "models pull"}  # pull: the hub's own library
    built_in = {"demo"}  # the other commands, one after the other
    names = {info.name for info in app.registered_commands if not info.hidden}
    for group in app.registered_groups:
        names |= {f"{group.name} {info.name}" for info in group.typer_instance.registered_commands}
    killed = {name for name in names for each in COMMANDS if each.arguments.startswith(f"{name} ")}
    assert killed == names - reading - built_in


@pytest.mark.parametrize("command", [CAMS, CRF], ids=lambda each: each.name)
def test_it_may_die_at_any_operation(semples, begin, command):
    out, line = begin(command)
    ended, moments = semples.count_moments(*line)
    assert ended.code == 0, ended.stderr
    expected = outcome(out)
    assert moments > 5 * 16  # of each image: a mask, an overlay, a line of three moments
    # Every moment of the first images, and then some of each kind.
    chosen = [*range(10), *range(10, moments, moments // 6), moments - 1]
    for moment in chosen:
        out, line = begin(command)
        assert semples.run(*line, die_at=moment).code == SIGKILLED
        assert unfinished(out) == []
        ended = semples.run(*line)
        assert ended.code == 0, ended.stderr
        check_whole(out, expected)


def kill_at_random(semples, begin, command, kills, rng):
    """How often a kill found the command at work: it may have ended before."""
    out, line = begin(command)
    whole = semples.run(*line)
    assert whole.code == 0, whole.stderr
    expected = outcome(out)
    out, line = begin(command)
    hits, asked = 0, 0
    while hits < kills and asked < 4 * kills:
        running = semples.start(*line)
        time.sleep(rng.uniform(0, whole.seconds))
        running.signal(signal.SIGKILL)
        code = running.end().code
        assert code in (0, SIGKILLED)
        hits, asked = hits + (code == SIGKILLED), asked + 1
        assert unfinished(out) == []
        if code == 0 or rng.random() < 0.3:  # now and then from the beginning
            out, line = begin(command)
    ended = semples.run(*line)
    assert ended.code == 0, ended.stderr
    check_whole(out, expected)
    return hits


def test_workers_of_a_killed_run_do_not_write_on(semples, begin):
    assert kill_at_random(semples, begin, PROCESSES, 1, random.Random(0)) == 1


@pytest.mark.faults
@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each.name)
def test_killed_at_random_and_gone_on_with(semples, begin, command, record_property):
    hits = kill_at_random(semples, begin, command, command.kills, random.Random(command.name))
    record_property("kills", hits)
    assert hits == command.kills
