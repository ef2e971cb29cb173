"""Disks that fill up, and permissions that are lost, in the midst of a run: one line, and nothing half-written.

A full disk is injected into the files that a command opens; by `make test-faults` it is also a real one, of tmpfs.
"""

import json
import os
import shutil
import subprocess

import pytest
from commands import check_whole, leftovers, outcome, unfinished
from kill_list import CAMS, COMMANDS, CRF, PROCESSES
from test_ctrl_c import wait_for

NO_ROOM = "No space left on device"


def check_refusal(ended, out, *said, partial=()):
    """The run stopped, said it in one line, and left nothing that is not whole; `partial`: what it may leave."""
    assert ended.code == 1, ended.stderr
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert all(text in errors[0] for text in said), errors
    assert "Traceback" not in ended.stderr
    assert unfinished(out) == []
    assert {name for name in leftovers(out) if name.endswith(".partial")} <= set(partial)


def fill_up(semples, begin, command, numbers):
    """How often the disk was full before the command ended."""
    out, line = begin(command)
    whole = semples.run(*line)
    assert whole.code == 0, whole.stderr
    expected, full = outcome(out), 0
    for number in numbers:
        out, line = begin(command)
        ended = semples.run(*line, full_after=number, disk=str(out))
        if ended.code != 0:
            check_refusal(ended, out, NO_ROOM, "make room")
            full += 1
            ended = semples.run(*line)
        assert ended.code == 0, ended.stderr
        check_whole(out, expected)
    return full


@pytest.mark.parametrize("command", [CAMS, CRF], ids=lambda each: each.name)
def test_a_full_disk_stops_the_run_at_the_first_file(semples, begin, command):
    assert fill_up(semples, begin, command, [0, 1, 20]) == 3


@pytest.mark.faults
@pytest.mark.parametrize("command", [each for each in COMMANDS if each is not PROCESSES], ids=lambda each: each.name)
def test_every_command_on_a_full_disk(semples, begin, command):
    fill_up(semples, begin, command, [0, 1, 2, 3, 5, 8, 13])


def test_a_lost_permission_stops_the_run(semples, begin):
    out, line = begin(CAMS)
    whole = semples.run(*line)
    assert whole.code == 0
    expected = outcome(out)
    out, line = begin(CAMS)
    (out / "overlays").mkdir()
    (out / "overlays").chmod(0o555)
    check_refusal(semples.run(*line, obedient=True), out, "overlays", "Permission denied", "give the permission")
    (out / "overlays").chmod(0o755)
    assert semples.run(*line, obedient=True).code == 0
    check_whole(out, expected)


def test_a_permission_that_is_lost_in_the_midst(semples, many, weights, place):
    out = place()
    line = ("cams", "--data", many, "--weights", weights, "--device", "cpu", "--precision", "fp32", "--out", out)
    running = semples.start(*line, obedient=True)
    wait_for(lambda: len(list(out.glob("*.png"))) > 40)
    out.chmod(0o555)
    ended = running.end()
    out.chmod(0o755)
    # What was being written may lie there: removing it takes the same permission.
    begun = [path.name for path in out.glob("*.png.partial")][:2]
    check_refusal(ended, out, str(out), "Permission denied", "give the permission", partial=begun)
    again = semples.run(*line, "--json", obedient=True)
    assert again.code == 0
    result = json.loads(again.stdout)
    assert result["written"] + result["resumed"] == len(list(out.glob("*.png"))) == 600
    assert result["resumed"] > 30
    assert leftovers(out) == []


def test_a_folder_that_may_not_be_written_is_refused_at_once(semples, begin):
    out, line = begin(CAMS)
    out.chmod(0o555)
    ended = semples.run(*line, obedient=True)
    out.chmod(0o755)
    check_refusal(ended, out, str(out), "Permission denied", "choose another --out")
    assert list(out.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own; call it with its size in kilobytes, and again to change that."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = []

    def resize(kilobytes):
        options = f"{'remount,' if mounted else ''}size={kilobytes}k"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.decode()}")
        mounted.append(kilobytes)
        return folder

    yield resize
    if mounted:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.faults
@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each.name)
def test_a_real_disk_that_fills_up(semples, small_disk, command, base, more, world, weights):
    if command.copied:
        pytest.skip("works in a folder that is full already")
    out = small_disk(400_000) / "out"
    line = command.line(world=world, base=base, weights=weights, more=more, out=out)
    out.mkdir()
    assert semples.run(*line).code == 0
    expected = outcome(out)
    size = sum(path.stat().st_blocks for path in out.rglob("*")) // 2
    shutil.rmtree(out)
    small_disk(max(size // 2, 16))
    out.mkdir()
    ended = semples.run(*line)
    small_disk(400_000)
    if ended.code:  # small files may fit all the same
        assert ended.code == 1, ended.stderr
        assert "Traceback" not in ended.stderr
        assert sum(each.startswith("error: ") for each in ended.stderr.splitlines()) == 1
        assert unfinished(out) == []
        ended = semples.run(*line)
    assert ended.code == 0, ended.stderr
    check_whole(out, expected)


def test_a_worker_that_dies_costs_its_item_and_no_other(semples, begin):
    """Killed from outside, as by a system that runs out of memory; the items in flight are done again."""
    slow = ("--iterations", "100")
    out, line = begin(PROCESSES)
    assert semples.run(*line, *slow).code == 0
    expected = outcome(out)
    out, line = begin(PROCESSES)
    running = semples.start(*line, *slow)
    wait_for(lambda: any(out.glob("*.png")))
    victim, *_ = workers_of(running.pid)
    os.kill(victim, 9)
    ended = running.end()
    assert ended.code == 0, ended.stderr
    check_whole(out, expected)


def workers_of(pid):
    """Processes that a process has spawned for work, by /proc."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                with open(f"/proc/{entry.name}/stat") as stat, open(f"/proc/{entry.name}/cmdline") as line:  # noqa: PTH123
                    parent, command = int(stat.read().rsplit(")", 1)[1].split()[1]), line.read()
            except OSError:
                continue
            if parent == pid and "spawn_main" in command:
                found.append(int(entry.name))
    return found
