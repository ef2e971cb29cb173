"""Clusters of Ray, by a stand-in."""

import socket
import sys

import pytest
from fake_ray import FakeRay

from semples_cli.errors import SettingsError
from semples_cli.steps import ray_cluster
from semples_cli.steps.ray_cluster import Slots, connect, shown


@pytest.fixture
def ray(monkeypatch):
    fake = FakeRay({"CPU": 8.0})
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return fake


@pytest.mark.parametrize(
    ("slots", "resources", "items", "count"),
    [
        (Slots(), {"CPU": 8.0}, 10**6, 32),
        (Slots(cpus=4), {"CPU": 8.0}, 10**6, 8),
        (Slots(cpus=16), {"CPU": 8.0}, 10**6, 4),
        (Slots(gpus=True), {"CPU": 64.0, "GPU": 2.0}, 10**6, 8),
        (Slots(gpus=False), {"CPU": 2.0, "GPU": 2.0}, 10**6, 8),
        (Slots(gpus=True), {"CPU": 2.0}, 10**6, 8),
        (Slots(), {"CPU": 8.0}, 65, 2),
        (Slots(), {"CPU": 8.0}, 0, 1),
        (Slots(), {}, 10**6, 4),
        (Slots(5), {"CPU": 8.0}, 1, 5),
    ],
)
def test_shards_by_the_size_of_the_cluster(slots, resources, items, count):
    assert slots.count(resources, items) == count


@pytest.mark.parametrize(
    ("slots", "nodes", "said"),
    [
        (Slots(cpus=8), [{"CPU": 4.0}, {"CPU": 8.0}], None),
        (Slots(cpus=9), [{"CPU": 4.0}, {"CPU": 8.0}], "--ray-cpus 9: the largest node of the cluster has 8 cores"),
        (Slots(cpus=1), [], "--ray-cpus 1: the largest node of the cluster has 0 cores"),
        (Slots(cpus=8, gpus=True), [{"CPU": 8.0}], None),
        (Slots(cpus=8, gpus=False), [{"CPU": 4.0, "GPU": 1.0}, {"CPU": 8.0}], None),
        (Slots(cpus=8, gpus=True), [{"CPU": 4.0, "GPU": 1.0}, {"CPU": 8.0}], "largest node with a GPU .* has 4 cores"),
    ],
)
def test_a_shard_needs_a_node_that_is_large_enough(slots, nodes, said):
    if said is None:
        slots.check_nodes(nodes)
        return
    with pytest.raises(SettingsError, match=said):
        slots.check_nodes(nodes)


def test_resources_for_people():
    assert shown({"CPU": 8.0, "GPU": 2.0, "memory": 1e9}) == "8 CPUs, 2 GPUs"
    assert shown({"CPU": 8.0, "GPU": 0.0}) == "8 CPUs"


def test_a_cluster_that_was_started_ends(ray):
    with connect() as found:
        assert found is ray
        assert ray.up
    assert not ray.up


def test_it_ends_after_an_error_too(ray):
    with pytest.raises(ZeroDivisionError), connect():
        raise ZeroDivisionError
    assert not ray.up


def test_a_ray_that_is_up_stays_up(ray):
    ray.up = True
    with connect():
        pass
    assert ray.up


def test_without_ray_the_cure_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingsError, match=r"pip install 'semples\[ray\]'"), connect():
        pass


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_answers_is_said_at_once(ray, monkeypatch, scheme):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, but nobody listens
        address = f"{scheme}127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(SettingsError, match=f"RAY_ADDRESS={address}: no answer .*ray status"), connect():
            pass
    assert not ray.up


def test_a_host_that_is_not_known_is_said(ray, monkeypatch):
    def refuse(*_):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(ray_cluster.socket, "create_connection", refuse)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    with pytest.raises(SettingsError, match=r"RAY_ADDRESS=head:6379: no answer .*Name or service not known"), connect():
        pass


def test_an_address_that_answers_is_joined(ray, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        with connect():
            assert ray.up


@pytest.mark.parametrize("address", ["auto", "local", "head", "head:port", "[::1"])
def test_other_addresses_are_left_to_ray(ray, monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(ray_cluster.socket, "create_connection", None)
    with connect():
        assert ray.up


@pytest.mark.parametrize("kind", [ConnectionError, RuntimeError, ValueError])
def test_what_ray_does_not_join_is_said_in_its_words(ray, monkeypatch, kind):
    def refuse(**_):
        message = "Version mismatch: 2.9\nmore"
        raise kind(message)

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with pytest.raises(SettingsError, match=r"\(RAY_ADDRESS=auto\): Version mismatch: 2.9$"), connect():
        pass
