"""A cluster of Ray: found or started, and how a run is spread over it."""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from semples_cli.errors import SettingsError

SHARDS_A_SLOT = 4
# Fewer are not worth loading a model for.
LEAST_ITEMS = 64
# For the address of a cluster, before Ray itself is asked: it would wait for minutes and say nothing.
ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Slots:
    """How a run is spread.

    Attributes:
        num_shards: Shards in all; None: four for each slot of the cluster, of 64 items or more.
        cpus: Cores of each shard.
        gpus: A shard takes a GPU, where the cluster has any.
    """

    num_shards: int | None = None
    cpus: int = 1
    gpus: bool = False

    def count(self, resources: Mapping[str, float], num_items: int) -> int:
        """Shards for a cluster of these resources, as Ray names them."""
        if self.num_shards is not None:
            return self.num_shards
        num_gpus = int(resources.get("GPU", 0)) if self.gpus else 0
        slots = num_gpus or max(1, int(resources.get("CPU", 1)) // self.cpus)
        return max(1, min(SHARDS_A_SLOT * slots, -(-num_items // LEAST_ITEMS)))

    def check_nodes(self, nodes: Sequence[Mapping[str, float]]) -> None:
        """Refuse shards for which no node is large enough: Ray would wait for one for ever.

        Args:
            nodes: The resources of each, as Ray names them.

        Raises:
            SettingsError: There is none; the message has the largest.
        """
        with_gpu = [node for node in nodes if node.get("GPU", 0) >= 1] if self.gpus else []
        largest = max((node.get("CPU", 0) for node in with_gpu or nodes), default=0)
        if largest < self.cpus:
            kind = " with a GPU" if with_gpu else ""
            msg = f"--ray-cpus {self.cpus}: the largest node{kind} of the cluster has {largest:g} cores; give no more"
            raise SettingsError(msg)


@contextmanager
def connect() -> Iterator[Any]:
    """Ray with a cluster: the one it has already, that of RAY_ADDRESS, or one on this machine that ends with us.

    Yields:
        The module.

    Raises:
        SettingsError: Ray is not installed, or no cluster answers.
    """
    ray = _import_ray()
    if ray.is_initialized():
        yield ray
        return
    address = os.environ.get("RAY_ADDRESS", "")
    _check_answer(address)
    try:
        ray.init(log_to_driver=False, include_dashboard=False, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        msg = f"Ray does not start or join a cluster (RAY_ADDRESS={address or 'not set'}): {reason}"
        raise SettingsError(msg) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def shown(resources: Mapping[str, float]) -> str:
    """Resources for people."""
    return ", ".join(f"{resources[name]:g} {name}s" for name in ("CPU", "GPU") if resources.get(name))


def _import_ray() -> Any:  # noqa: ANN401  # an optional package
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    try:
        import ray
    except ImportError:
        msg = "--backend ray needs Ray: pip install 'semples[ray]'"
        raise SettingsError(msg) from None
    return ray


def _check_answer(address: str) -> None:
    """Say of an address with host and port that nobody is there; Ray itself judges any other."""
    try:
        parts = urlsplit(address if "//" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is no number, half a bracket
        return
    if host is None or port is None:
        return
    try:
        socket.create_connection((host, port), ANSWER_SECONDS).close()
    except OSError as error:
        msg = (
            f"RAY_ADDRESS={address}: no answer ({error}); is the cluster up (ray status), and is this its address? "
            "Without RAY_ADDRESS the cores of this machine are used"
        )
        raise SettingsError(msg) from None
