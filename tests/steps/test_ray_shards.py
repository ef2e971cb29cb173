"""`run_shards` on a stand-in for Ray; tests/cli/test_ray.py has a real one."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from fake_ray import FakeRay, RayError, RayTaskError

from semples_cli.artifacts.manifest import Manifest
from semples_cli.artifacts.manifest_entries import ManifestEntry
from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.errors import ArtifactError, BusyError, SemplesError, SettingsError
from semples_cli.steps import ray_shards
from semples_cli.steps.ray_cluster import Slots
from semples_cli.steps.ray_shards import do_shard, run_shards
from semples_cli.types import RunSummary, Shard


@pytest.fixture
def ray(monkeypatch):
    fake = FakeRay({"CPU": 8.0})
    monkeypatch.setitem(sys.modules, "ray", fake)
    return fake


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a shard changes the folder, for its own process as a rule
    return RunFolder(tmp_path / "out")


def work_of(run, fault=None):
    """Enters its items into the manifest of its shard."""

    def work(shard, progress, note):
        progress(0, 1)
        note("the same of all")
        note(f"shard {shard}")
        if fault is not None:
            fault(shard)
        with Manifest(run, shard=shard) as manifest:
            manifest.let_others_begin()
            manifest.append(ManifestEntry(f"{shard.index}", "ok", output="x"))
        return RunSummary(1, 2, ((f"s{shard.index}", "why"),), (), 1.0)

    return work


def spread(run, work, slots=None, notes=None, seen=None):
    progress = (lambda *_: None) if seen is None else (lambda *each: seen.append(each))
    note = (lambda _: None) if notes is None else notes.append
    return run_shards(work, run, 3, slots or Slots(3), progress, note)


def test_all_shards_together(ray, run, capsys):
    notes, seen = [], []
    ended, count = spread(run, work_of(run), notes=notes, seen=seen)
    assert count == 3
    assert (ended.written, ended.resumed, ended.failed) == (3, 6, ())
    assert ended.skipped == (("s1", "why"), ("s2", "why"), ("s3", "why"))
    assert notes == ["3 shards on Ray: 8 CPUs", "the same of all", "shard 1/3", "shard 2/3", "shard 3/3"]
    assert seen[-1] == (3, 3)
    assert ray.asked == {"max_retries": ray_shards.MAX_RETRIES, "num_cpus": 1, "num_gpus": 0}
    assert not ray.up
    said = capsys.readouterr()
    assert said.out == ""
    assert "a node was lost" in said.err


def test_a_gpu_for_each_where_there_are_any(ray, run):
    ray.resources = {"CPU": 8.0, "GPU": 2.0}
    spread(run, work_of(run), Slots(2, gpus=True))
    assert ray.asked["num_gpus"] == 1


def test_an_error_of_one_shard_stops_the_others(ray, run):
    def fault(shard):
        if shard.index == 2:
            msg = "no such images"
            raise ArtifactError(msg)

    with pytest.raises(ArtifactError, match="no such images"):
        spread(run, work_of(run, fault))
    assert len(ray.cancelled) == 1
    assert not ray.up


def test_a_shard_that_is_lost_again_and_again_is_said(ray, run):
    def fault(shard):
        raise RayError

    with pytest.raises(SemplesError, match=r"a shard was lost 6 times \(RayError\), most likely for want of memory"):
        spread(run, work_of(run, fault))
    assert not ray.up


def test_a_bug_keeps_its_traceback(ray, run):
    def fault(shard):
        raise ZeroDivisionError

    with pytest.raises(RayTaskError, match="ZeroDivisionError"):
        spread(run, work_of(run, fault))
    assert not ray.up


def test_shards_that_no_node_can_take_are_refused(ray, run):
    with pytest.raises(SettingsError, match="--ray-cpus 9: the largest node of the cluster has 8 cores"):
        spread(run, work_of(run), Slots(cpus=9))
    assert not ray.up


def test_without_manifests_progress_is_by_shards(ray):
    seen = []
    ended, count = run_shards(
        lambda *_: RunSummary(2, 1, (), (("x", "why"),), 1.0), None, 8, Slots(2), lambda *each: seen.append(each), print
    )
    assert (ended.written, ended.resumed, count) == (4, 2, 2)
    assert seen == [(4, 8), (8, 8), (8, 8)]


def test_ctrl_c_stops_all(ray, run, monkeypatch):
    def wait(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(ray, "wait", wait)
    with pytest.raises(KeyboardInterrupt):
        spread(run, work_of(run))
    assert len(ray.cancelled) == 3
    assert not ray.up


def test_a_shard_that_a_lost_node_still_holds_is_waited_for(run, monkeypatch, tmp_path):
    monkeypatch.setattr(ray_shards, "BUSY_PAUSE", 0.05)
    holder = Manifest(run, shard=Shard(1, 1))
    holder.let_others_begin()
    with ThreadPoolExecutor(1) as thread:
        doing = thread.submit(do_shard, work_of(run), Shard(1, 1), str(tmp_path))
        with pytest.raises(TimeoutError):
            doing.result(0.3)
        holder.close()
        assert doing.result(10).summary.written == 1
    monkeypatch.setattr(ray_shards, "BUSY_TRIES", 2)
    holder = Manifest(run, shard=Shard(1, 1))
    holder.let_others_begin()
    ended = do_shard(work_of(run), Shard(1, 1), str(tmp_path))
    holder.close()
    assert isinstance(ended.error, BusyError)


def test_a_folder_that_a_node_does_not_see_is_said_with_the_cure(tmp_path, run):
    ended = do_shard(work_of(run), Shard(1, 1), str(tmp_path / "nowhere"))
    assert isinstance(ended.error, SettingsError)
    assert "all nodes must see the same folders" in str(ended.error)


def test_lines_are_counted_as_they_are_written(run):
    with Manifest(run, shard=Shard(1, 2)) as manifest:
        manifest.append(ManifestEntry("before", "ok"))
        written = ray_shards._Written(run)
        assert written.count([]) == 0
        manifest.append(ManifestEntry("a", "ok"))
        manifest.append(ManifestEntry("b", "ok"))
        assert written.count([]) == 2
        assert written.count([]) == 2
        manifest.let_others_begin()
        with Manifest(run, shard=Shard(2, 2)) as other:
            other.append(ManifestEntry("c", "ok"))
            assert written.count([]) == 3
