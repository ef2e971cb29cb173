"""Processes of one life find each other, also where torchrun's store still holds the places of the dead."""

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import repeat

import pytest
from torch import distributed

from semples_cli.engine import rendezvous
from semples_cli.engine.rendezvous import open_store

SOON = timedelta(seconds=20)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def meet(monkeypatch):
    """Open the store in two threads as two processes would, the main one a little later; what each reads in it."""
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setattr(rendezvous, "_meetings", repeat(0))

    def one(rank, sleep):
        sleep(rank)
        store = open_store(rank, SOON)
        store.set(f"from {rank}", str(rank))
        return store, store.get(f"from {1 - rank}")

    def run(port, agent, sleep=lambda rank: None):
        monkeypatch.setenv("MASTER_PORT", str(port))
        monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", str(agent))
        with ThreadPoolExecutor(2) as threads:
            (first, read), (second, other) = threads.map(one, (0, 1), (sleep, sleep))
        del first, second
        return read, other

    return run


@pytest.fixture
def board():
    """The store that torchrun's agent keeps."""
    return distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def test_without_an_agent_the_main_process_opens_the_store(meet):
    assert meet(free_port(), agent=False) == (b"1", b"0")


def test_with_an_agent_it_says_there_where_its_own_is(meet, board):
    assert meet(board.port, agent=True) == (b"1", b"0")
    assert int(board.get("semples-0")) != board.port


def test_the_place_of_a_dead_process_is_looked_at_again(meet, board, monkeypatch):
    board.set("semples-0", str(free_port()))
    looks = []
    monkeypatch.setattr(rendezvous.time, "sleep", looks.append)

    def wait_for_a_look(rank):
        while rank == 0 and not looks:
            os.sched_yield()

    assert meet(board.port, agent=True, sleep=wait_for_a_look) == (b"1", b"0")
    assert looks[0] == rendezvous.PAUSE


def test_a_main_process_that_never_comes_is_an_error(board, monkeypatch):
    board.set("semples-0", str(free_port()))
    for name, value in (("ADDR", "127.0.0.1"), ("PORT", str(board.port))):
        monkeypatch.setenv(f"MASTER_{name}", value)
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setattr(rendezvous, "_meetings", repeat(0))
    with pytest.raises(RuntimeError, match="refused"):
        open_store(1, timedelta(seconds=0.1))


def test_every_meeting_has_a_place_of_its_own(board, monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(board.port))
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setattr(rendezvous, "_meetings", iter((4, 5)))
    stores = [open_store(0, SOON) for _ in range(2)]
    assert [int(board.get(f"semples-{n}")) for n in (4, 5)] == [store.port for store in stores]
