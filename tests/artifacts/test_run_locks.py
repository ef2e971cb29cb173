import subprocess
import sys
import threading

import pytest

from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.artifacts.run_lock import is_locked, try_lock
from semples_cli.artifacts.run_locks import GATE, RunLocks, remove_shard_locks
from semples_cli.errors import ArtifactError
from semples_cli.types import Shard

FIRST, SECOND = Shard(1, 2), Shard(2, 2)


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "run")


def begin(run, shard=None):
    """Begin and let others begin at once."""
    locks = RunLocks(run, shard)
    locks.let_others_begin()
    return locks


def test_shards_work_side_by_side_and_the_first_is_alone(run):
    first, second = begin(run, FIRST), begin(run, SECOND)
    assert (first.is_alone, second.is_alone) == (True, False)
    first.close()
    second.close()
    again = begin(run, SECOND)
    assert again.is_alone
    again.close()


def test_the_same_shard_is_done_once(run):
    with_lock = begin(run, FIRST)
    with pytest.raises(ArtifactError, match=r"shard 1/2 of this run \(process \d+\) is writing here; wait"):
        RunLocks(run, FIRST)
    with_lock.close()
    begin(run, FIRST).close()


def test_a_whole_run_waits_for_no_shard_and_shards_for_no_whole_run(run):
    whole = begin(run)
    with pytest.raises(ArtifactError, match="a semples run that is not cut into shards is at work here"):
        RunLocks(run, FIRST)
    with pytest.raises(ArtifactError, match="another semples run"):
        RunLocks(run)
    whole.close()
    shards = [begin(run, Shard(i, 6)) for i in range(1, 6)]
    with pytest.raises(ArtifactError, match=r"5 of the shards .*\(1/6, 2/6, 3/6, 4/6, …\); wait"):
        RunLocks(run)
    for each in shards:
        each.close()
    begin(run).close()


def test_a_refusal_holds_nothing(run):
    whole = begin(run)
    for shard in (None, FIRST):
        with pytest.raises(ArtifactError):
            RunLocks(run, shard)
    assert not is_locked(run.hidden / GATE)
    assert not is_locked(run.lock_of(FIRST))
    whole.close()
    assert not is_locked(run.lock)


def test_who_begins_waits_until_the_one_before_has_begun(run):
    first = RunLocks(run, FIRST)
    begun = []
    thread = threading.Thread(target=lambda: begun.append(RunLocks(run, SECOND)))
    thread.start()
    thread.join(0.3)
    assert not begun
    first.let_others_begin()
    thread.join(10)
    assert begun[0].is_alone is False
    begun[0].close()
    first.close()


HOLD = """
import sys
from pathlib import Path
from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.artifacts.run_locks import RunLocks
from semples_cli.types import Shard
locks = RunLocks(RunFolder(Path(sys.argv[1])), Shard(1, 2))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_killed_process_gives_back_its_shard_and_the_gate(run):
    command = [sys.executable, "-c", HOLD, str(run.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        assert is_locked(run.hidden / GATE)
        assert is_locked(run.lock_of(FIRST))
        holder.kill()
    locks = begin(run, FIRST)
    assert locks.is_alone
    locks.close()


def test_locks_of_shards_that_are_gone_can_be_removed(run):
    for i in (1, 2, 3):
        begin(run, Shard(i, 3)).close()
    own = RunLocks(run, SECOND)
    remove_shard_locks(run, SECOND)
    assert [path.name for path in sorted(run.hidden.glob("lock-*of*"))] == ["lock-2of2"]
    own.close()


def test_nothing_is_made_by_asking_whether_a_lock_is_taken(tmp_path):
    assert not is_locked(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_lock_is_taken_once(tmp_path):
    handle = try_lock(tmp_path / "folder" / "lock")
    assert try_lock(tmp_path / "folder" / "lock") is None
    handle.close()
    again = try_lock(tmp_path / "folder" / "lock")
    assert again is not None
    again.close()


def test_a_folder_that_cannot_be_written_is_refused_with_the_cure(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match=r"cannot write here .*; choose another --out"):
        RunLocks(RunFolder(tmp_path / "file"), FIRST)
