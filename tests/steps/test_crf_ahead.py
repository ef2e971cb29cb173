"""Passes of the CRF while another run writes: which items, when, how it ends; refining is played by a function."""

import threading
import time

import pytest

from semples_cli.artifacts.manifest import Manifest
from semples_cli.artifacts.manifest_entries import ManifestEntry
from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.errors import ArtifactError
from semples_cli.steps import crf_ahead
from semples_cli.steps.crf_ahead import CrfAhead


class Refiner:
    """Enters items into the manifest of `out`, and remembers the passes."""

    def __init__(self, out, error=None, gate=None):
        self.out, self.error, self.gate = out, error, gate
        self.passes, self.running = [], threading.Event()

    def __call__(self, ids, progress):
        self.passes.append(sorted(ids))
        self.running.set()
        with Manifest(self.out) as manifest:
            for number, item in enumerate(sorted(ids), 1):
                if self.gate is not None:
                    assert self.gate.wait(10)
                if self.error is not None:
                    raise self.error
                manifest.append(ManifestEntry(item, "ok", output="x"))
                progress(number, len(ids))


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(crf_ahead, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(crf_ahead, "LEAST_ITEMS", 2)
    return RunFolder(tmp_path / "source"), RunFolder(tmp_path / "out")


def finish(folder, *ids, status="ok"):
    with Manifest(folder) as manifest:
        for item in ids:
            manifest.append(ManifestEntry(item, status, output="x" if status == "ok" else ""))


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_what_is_finished_is_refined_in_passes(folders):
    source, out = folders
    finish(source, "old")
    refine = Refiner(out)
    with CrfAhead(source, out, refine) as ahead:
        finish(source, "a", "b")
        until(lambda: len(refine.passes) == 1)
        finish(source, "c")
        finish(source, "bad", status="failed")
        finish(source, "d", "e")
        until(lambda: out.manifest.exists() and len(out.manifest.read_bytes().splitlines()) == 5)
    assert refine.passes[0] == ["a", "b"]
    assert sorted(item for each in refine.passes for item in each) == ["a", "b", "c", "d", "e"]
    assert ahead.began
    assert ahead.written == 5


def test_too_few_are_left_to_the_last_pass(folders):
    source, out = folders
    refine = Refiner(out)
    with CrfAhead(source, out, refine) as ahead:
        finish(source, "a")
        time.sleep(0.1)
    assert refine.passes == []
    assert not ahead.began
    assert ahead.written == 0


def test_a_pass_is_worth_its_scan_of_the_folder(folders, monkeypatch):
    monkeypatch.setattr(crf_ahead, "LEAST_SHARE", 0.5)
    source, out = folders
    refine = Refiner(out)
    with CrfAhead(source, out, refine):
        finish(source, *map(str, range(10)))
        until(lambda: refine.passes)
        finish(source, "a", "b", "c", "d")  # fewer than half of ten
        time.sleep(0.1)
        assert len(refine.passes) == 1
        finish(source, "e")
        until(lambda: len(refine.passes) == 2)
    assert refine.passes[1] == ["a", "b", "c", "d", "e"]


def test_it_stops_between_two_items_when_the_block_ends(folders):
    source, out = folders
    refine = Refiner(out, gate=threading.Event())
    ahead = CrfAhead(source, out, refine)
    with ahead:
        finish(source, "a", "b", "c")
        assert refine.running.wait(10)
        threading.Timer(0.1, refine.gate.set).start()  # while the block waits for the item in hand
    assert ahead.written == 1
    with Manifest(out) as manifest:  # the lock was given back
        assert set(manifest.entries) == {"a"}


@pytest.mark.parametrize("error", [ArtifactError("disk full"), OSError("no space"), MemoryError()])
def test_what_the_last_pass_will_say_ends_it_quietly(folders, error):
    source, out = folders
    refine = Refiner(out, error)
    with CrfAhead(source, out, refine) as ahead:
        finish(source, "a", "b")
        until(lambda: not ahead._thread.is_alive())
        finish(source, "c", "d")
    assert len(refine.passes) == 1
    assert ahead.began
    assert ahead.written == 0


def test_a_bug_is_raised_where_the_block_ends(folders):
    source, out = folders
    ahead = CrfAhead(source, out, Refiner(out, ZeroDivisionError())).__enter__()
    finish(source, "a", "b")
    until(lambda: not ahead._thread.is_alive())
    with pytest.raises(ZeroDivisionError):
        ahead.__exit__(None, None, None)


def test_an_error_of_the_block_comes_first(folders):
    source, out = folders
    ahead = CrfAhead(source, out, Refiner(out, ZeroDivisionError()))

    def interrupted():
        with ahead:
            finish(source, "a", "b")
            until(lambda: not ahead._thread.is_alive())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()


def test_a_manifest_that_begins_anew_is_read_from_its_start(folders):
    source, out = folders
    finish(source, *(f"old {i}" for i in range(9)))
    finish(out, "x", "y")
    refine = Refiner(out)
    with CrfAhead(source, out, refine, overwrite=True) as ahead:
        with Manifest(source, overwrite=True) as manifest:
            manifest.append(ManifestEntry("a", "ok", output="x"))
            manifest.append(ManifestEntry("b", "ok", output="x"))
        until(lambda: len(out.manifest.read_bytes().splitlines()) == 4)
    assert refine.passes == [["a", "b"]]
    assert ahead.written == 4  # of `out`, everything since its start, which the first pass would have made empty


def test_a_torn_line_is_waited_for(folders):
    source, out = folders
    finish(source, "a", "b")
    whole = source.manifest.read_bytes()
    source.manifest.write_bytes(b"")
    tail = crf_ahead._Tail(source.manifest)
    source.manifest.write_bytes(whole[:-5])
    assert tail.read() == {"a"}
    assert tail.read() == set()
    source.manifest.write_bytes(whole)
    assert tail.read() == {"b"}
    assert crf_ahead._Tail(out.manifest).read() == set()
