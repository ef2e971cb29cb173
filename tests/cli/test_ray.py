"""`--backend ray` on a real cluster of Ray on this machine: `make test-ray`."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from small_world import PHOTOS
from typer.testing import CliRunner

from semples_cli.artifacts.manifest_entries import read_entries
from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.cli.app import app
from semples_cli.steps.ray_cluster import Slots
from semples_cli.steps.ray_shards import run_shards

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster():
    """Two nodes with one core each."""
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    os.environ["RAY_ADDRESS"] = made.address
    yield made
    del os.environ["RAY_ADDRESS"]
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def cams(photos, clip_dir, monkeypatch):
    monkeypatch.chdir(photos.parent)
    small = ["--device", "cpu", "--precision", "fp32", "--size", "40", "--batch-size", "1", "--json"]

    def command(out, *args):
        return ["cams", "images", "--out", out, "--weights", str(clip_dir), *small, *args]

    return command


def run(command):
    return CliRunner().invoke(app, command)


def files_of(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in Path(out).rglob("*.[pn][np][gz]")}


def test_shards_on_ray_write_what_one_process_writes(cluster, cams):
    assert run(cams("whole")).exit_code == 0
    done = run(cams("out", "--backend", "ray", "--num-shards", "3"))
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["written"], result["resumed"], result["failed"]) == (len(PHOTOS), 0, [])
    assert files_of("out") == files_of("whole")
    assert "3 shards on Ray: 2 CPUs" in done.stderr
    again = run(cams("out", "--backend", "ray", "--num-shards", "2"))
    assert json.loads(again.stdout)["resumed"] == len(PHOTOS)


def test_the_crf_on_ray(cluster, cams):
    assert run(cams("masks")).exit_code == 0
    assert run(["crf", "masks", "--out", "whole", "--workers", "1"]).exit_code == 0
    done = run(["crf", "masks", "--out", "out", "--backend", "ray", "--num-shards", "2", "--json"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["written"] == len(PHOTOS)
    assert files_of("out") == files_of("whole")


def test_items_that_fail_are_listed_as_by_one_process(cluster, cams, photos):
    (photos / "b.jpg").write_bytes(b"no image")
    done = run(cams("out", "--backend", "ray", "--num-shards", "2"))
    assert done.exit_code == 3
    assert [each["id"] for each in json.loads(done.stdout)["failed"]] == ["b"]


def test_what_no_shard_can_do_is_said_once(cluster, cams):
    done = run(cams("images", "--backend", "ray", "--num-shards", "2"))
    assert done.exit_code == 2
    assert done.stderr.count("error: ") == 1
    assert not list(Path("images").rglob("*.png"))


def test_an_evaluation_on_ray(cluster, cams):
    assert run(cams("masks")).exit_code == 0
    whole = run(["evaluate", "masks", "masks", "--out", "whole", "--json"])
    assert whole.exit_code == 0, whole.stderr
    done = run(["evaluate", "masks", "masks", "--out", "out", "--json", "--backend", "ray", "--num-shards", "3"])
    assert (done.exit_code, done.stdout) == (0, whole.stdout), done.stderr
    assert Path("out/report.html").read_bytes() == Path("whole/report.html").read_bytes()
    curve = ["evaluate", "masks", "masks", "--cams", "--json"]
    done = run([*curve, "--out", "cams", "--backend", "ray", "--num-shards", "2"])
    assert (done.exit_code, done.stdout) == (0, run(curve).stdout), done.stderr


def test_an_export_on_ray(cluster, cams):
    assert run(cams("masks")).exit_code == 0
    command = ["export", "masks", "--to", "coco", "--out", "out", "--json", "--backend", "ray", "--num-shards", "2"]
    done = run(command)
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["written"] == len(PHOTOS)
    names = [
        image["file_name"]
        for folder in document["folders"]
        for image in json.loads(Path(folder, "instances.json").read_bytes())["images"]
    ]
    assert len(names) == len(set(names)) == len(PHOTOS)


def test_what_a_shard_says_while_it_loads_is_said_here(cluster, cams):
    done = run(cams("out", "--backend", "ray", "--num-shards", "2"))
    assert done.stderr.count("\nloading ") == 1


def test_more_cores_than_any_node_has_are_refused(cluster, cams):
    done = run(cams("out", "--backend", "ray", "--ray-cpus", "2"))
    assert done.exit_code == 2
    assert "--ray-cpus 2: the largest node of the cluster has 1 cores" in done.stderr


def test_a_bug_is_not_a_lost_shard(cluster):
    with pytest.raises(TypeError, match=r"int\(\) takes at most 2 arguments"):  # with the traceback of the task
        run_shards(int, None, 1, Slots(1), lambda *_: None, print)


def workers():
    """Processes of Ray that do a shard."""
    found = subprocess.run(["pgrep", "-f", "ray::do_shard"], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def kill_one():
    while not (pids := workers()):
        time.sleep(0.05)
    time.sleep(1.0)
    for pid in pids[:1]:
        os.kill(pid, signal.SIGKILL)


def test_a_worker_that_is_killed_is_replaced(cluster, cams):
    run(cams("whole"))
    killer = threading.Thread(target=kill_one)
    killer.start()
    done = run(cams("out", "--backend", "ray", "--num-shards", "2"))
    killer.join()
    assert done.exit_code == 0, done.stderr
    assert set(read_entries(RunFolder(Path("out")))) == set(PHOTOS)
    assert files_of("out") == files_of("whole")


def test_a_node_that_is_lost_costs_nothing_but_time(cluster, cams):
    run(cams("whole"))
    lost = cluster.add_node(num_cpus=2)

    def lose():
        while not workers():
            time.sleep(0.05)
        time.sleep(1.0)
        cluster.remove_node(lost, allow_graceful=False)

    loser = threading.Thread(target=lose)
    loser.start()
    done = run(cams("out", "--backend", "ray", "--num-shards", "5"))
    loser.join()
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["failed"] == []
    assert set(read_entries(RunFolder(Path("out")))) == set(PHOTOS)
    assert files_of("out") == files_of("whole")


def test_ctrl_c_stops_the_shards(cluster, cams):
    command = [sys.executable, "-m", "semples_cli", *cams("out", "--backend", "ray", "--num-shards", "5")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not workers():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert process.returncode == 130
    for _ in range(100):
        if not workers():
            break
        time.sleep(0.1)
    assert not workers()
