"""Processes that train together: who they are, and the few things that they tell one another.

torchrun starts them, on one machine or on many, and says to each in its environment which one it is. Every process has
the whole of model and plan; a step's images, and with them the arithmetic, are shared out. What is exchanged is small:
gradients as one sum over all, counts and losses as plain numbers. Without torchrun there is one process, which is never
asked to wait for another.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import torch
from torch import distributed

from semples_cli.engine.device import resolve_device
from semples_cli.engine.rendezvous import open_store
from semples_cli.errors import EngineError, SemplesError, SettingsError

FORMING = timedelta(minutes=30)
"""How long processes wait for one another at the start, and for the gradients of the slowest."""
WAITING = timedelta(days=7)
"""How long they wait for what the main process does alone."""
GRACE = 10.0
"""Seconds in which torchrun ends this process once another has failed, which has said why."""

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """The processes of a training, seen from one of them.

    Attributes:
        rank: Number of this one, from 0.
        size: How many there are.
        carrier: Device that gradients travel on.
        group: Waits long, and carries objects between processors; None where there is one process.
    """

    rank: int = 0
    size: int = 1
    carrier: torch.device = field(default_factory=lambda: torch.device("cpu"))
    group: Any = field(default=None, repr=False)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that speaks and writes."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """The part of `count` things that is this process's: adjoining, of equal size but for one, maybe empty."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def gather(self, value: T) -> list[T]:
        """What every process gives, in their order; all are given the same list.

        Raises:
            EngineError: Another process is gone.
        """
        if self.size == 1:
            return [value]
        gathered: list[Any] = [None] * self.size
        with _among_others():
            distributed.all_gather_object(gathered, value, group=self.group)
        return gathered

    def from_main(self, make: Callable[[], T]) -> T:
        """What the main process makes, while the others wait for it; its refusal is raised by all.

        Args:
            make: Called in the main process alone; its result can be pickled, and holds no tensor of a GPU.

        Raises:
            SemplesError: That of `make`.
            EngineError: Another process is gone.
        """
        if self.size == 1:
            return make()
        made: list[Any] = [_outcome(make) if self.is_main else None]
        with _among_others():
            distributed.broadcast_object_list(made, src=0, group=self.group)
        if isinstance(made[0], SemplesError):
            raise made[0]
        result: T = made[0]
        return result

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter | torch.Tensor]) -> None:
        """Add up the gradients of all processes, in place; a parameter that has none anywhere keeps none.

        Args:
            parameters: The same in every process, all on one device.

        Raises:
            EngineError: Another process is gone.
        """
        if self.size == 1:
            return
        parts = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
        # An optimiser passes over a parameter without gradient, but not over one whose gradient is 0.
        has_gradient = parts[0].new_tensor([each.grad is not None for each in parameters], dtype=torch.float32)
        flat = torch.cat([part.flatten() for part in (*parts, has_gradient)]).to(self.carrier)
        with _among_others():
            distributed.all_reduce(flat)
        *summed, counts = torch.split(flat.to(parts[0].device), [part.numel() for part in (*parts, has_gradient)])
        for parameter, gradient, count in zip(parameters, summed, counts.tolist(), strict=True):
            parameter.grad = gradient.view_as(parameter).to(parameter.dtype) if count else None


ALONE = Ranks()
"""One process, which is how everything runs without torchrun."""


def launched() -> tuple[int, int]:
    """Rank and number of the processes that torchrun started; (0, 1) without it.

    Raises:
        SettingsError: Its environment variables are no numbers.
    """
    if not all(name in os.environ for name in _VARIABLES):
        return 0, 1
    return _number("RANK"), _number("WORLD_SIZE")


def own_device(name: str) -> str:
    """The device of this process: of several on one machine, each has the GPU of its own number.

    Args:
        name: What the user asked for; see `resolve_device`.

    Raises:
        EngineError: There is no such device, or there are more processes than GPUs.
        SettingsError: One GPU is named, but there are several processes.
    """
    here, number = _number("LOCAL_WORLD_SIZE", 1), _number("LOCAL_RANK", 0)
    if launched()[1] == 1 or resolve_device(name).type != "cuda":
        return name
    if ":" in name and here == 1:
        return name
    if ":" in name:
        msg = f"--device {name}: torchrun started {here} processes on this machine, each on a GPU of its own; "
        raise SettingsError(msg + "give --device cuda or leave it out")
    if number >= torch.cuda.device_count():
        msg = f"torchrun started {here} processes on this machine, but torch sees {torch.cuda.device_count()} GPUs: "
        raise EngineError(msg + "give --nproc-per-node as many, or --device cpu")
    return f"cuda:{number}"


def join_ranks(device: torch.device) -> Ranks:
    """Meet the other processes that torchrun started; only the first call waits for them.

    Every process must come here, and call the same step with the same arguments from then on.

    Args:
        device: That of this process's model.

    Returns:
        Everyone, `ALONE` without torchrun.

    Raises:
        EngineError: They do not find one another.
    """
    rank, size = launched()
    return ALONE if size == 1 else _join(rank, size, device)


def leave_ranks() -> None:
    """Part from the others when everything is done; not on the way out of an error, where it could wait for ever."""
    _join.cache_clear()
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


@cache
def _join(rank: int, size: int, device: torch.device) -> Ranks:
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        if not distributed.is_initialized():
            store = open_store(rank, FORMING)
            distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=FORMING)
        # NCCL computes while it waits, and gives up when its time is over: what takes long goes through gloo.
        group = distributed.new_group(backend="gloo", timeout=WAITING)
    except (RuntimeError, ValueError) as error:
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        msg = (
            f"process {rank} of {size} did not find the others at {address} ({_reason(error)}): start all of them, "
            "let the machines reach each other, and name the network by GLOO_SOCKET_IFNAME where there are several"
        )
        raise EngineError(msg) from None
    return Ranks(rank, size, device if backend == "nccl" else torch.device("cpu"), group)


@contextmanager
def _among_others() -> Iterator[None]:
    """Another process's end comes out as an error of the network: let torchrun end this one too, before it says so."""
    try:
        yield
    except RuntimeError as error:
        time.sleep(GRACE)
        msg = (
            f"another process of this training has ended ({_reason(error)}); its own message says why; the same "
            "command goes on from the last state, also with another number of processes"
        )
        raise EngineError(msg) from None


def _outcome(make: Callable[[], object]) -> object:
    try:
        return make()
    except SemplesError as error:
        return error


def _number(name: str, default: int | None = None) -> int:
    text = os.environ.get(name, "" if default is None else str(default))
    if not text.isdecimal():
        msg = (
            f"the environment variable {name} is {text!r}, and no number: start the processes by torchrun, or unset it"
        )
        raise SettingsError(msg)
    return int(text)


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].partition(". ")[0] or type(error).__name__
