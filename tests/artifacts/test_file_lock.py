"""One writer per file: who is told what, what is left behind, and the race with the holder that removes its lock."""

import os
import signal
import subprocess
import sys

import pytest

from semples_cli.artifacts import file_lock as module
from semples_cli.artifacts.file_lock import lock_file
from semples_cli.errors import ArtifactError

HOLD = """
import sys, time
from pathlib import Path
from semples_cli.artifacts.file_lock import lock_file
with lock_file(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "prompts.safetensors"


@pytest.fixture
def lock(path):
    return path.with_name("prompts.safetensors.lock")


def test_the_lock_is_there_while_it_is_held_and_gone_afterwards(path, lock):
    for _ in range(2):
        with lock_file(path):
            assert list(path.parent.iterdir()) == [lock]
            assert lock.read_text() == f"{os.getpid()}\n"
        assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_it_is_gone_after_an_error_too(path, error):
    with pytest.raises(error), lock_file(path):
        raise error
    assert list(path.parent.iterdir()) == []


def test_the_file_itself_is_left_alone(path):
    with lock_file(path):
        path.write_text("result")
    assert path.read_text() == "result"


def test_a_second_writer_is_told_which_file_and_who_writes_it_and_takes_nothing_away(path, lock):
    with lock_file(path):
        with pytest.raises(ArtifactError) as caught, lock_file(path):
            pytest.fail("two writers")
        assert str(caught.value) == (
            f"{path}: another semples run (process {os.getpid()}) is writing here; "
            "wait until it ends, or choose another --out"
        )
        assert lock.exists()
        with pytest.raises(ArtifactError, match="another semples run"), lock_file(path):
            pytest.fail("the refused one must not have given the lock back")


def test_locks_of_two_files_of_one_folder_go_together(path):
    with lock_file(path), lock_file(path.with_name("generator_initial.safetensors")):
        assert len(list(path.parent.iterdir())) == 2


def test_what_a_killed_process_left_is_taken_over(path, lock):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(ArtifactError, match=rf"process {holder.pid}\) is writing here"), lock_file(path):
                pytest.fail("two writers")
        finally:
            holder.send_signal(signal.SIGKILL)
    assert lock.exists()
    with lock_file(path):
        assert lock.read_text() == f"{os.getpid()}\n"
    assert not lock.exists()


def test_a_lock_that_its_holder_removed_meanwhile_is_not_mistaken_for_ours(path, lock, monkeypatch):
    """The first try locks a file that has no name any more; without a second one two writers could follow."""
    real, taken = module.lock_run, []

    def lock_run(where):
        handle = real(where)
        taken.append(handle)
        if len(taken) == 1:
            where.unlink()  # gone
        elif len(taken) == 2:
            where.unlink()  # gone, and another one there already
            where.touch()
        return handle

    monkeypatch.setattr(module, "lock_run", lock_run)
    with lock_file(path):
        assert len(taken) == 3
        assert [handle.closed for handle in taken] == [True, True, False]
        with pytest.raises(ArtifactError, match="another semples run"):
            real(lock)
    assert taken[2].closed
    assert not lock.exists()


def test_a_folder_that_cannot_be_written_is_said_with_the_file(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    message = r"file/p: cannot write here \(.*\); choose another --out"
    with pytest.raises(ArtifactError, match=message), lock_file(tmp_path / "file" / "p"):
        pytest.fail("written")
