"""A process of torchrun: semples, several commands one after the other, with a fault where the test asks for one.

    torchrun --nproc-per-node 2 rank_process.py FAULT COMMANDS

FAULT: 'kill' ends the second process in its third step without a word, in its first life; 'memory' fills its memory
there. COMMANDS: JSON, the arguments of each command. Where a training begins is added to `restored.txt`.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from semples_cli.__main__ import main
from semples_cli.cli import torchrun
from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.engine.training_loop import Training
from semples_cli.errors import EngineError

FAULTY_STEP = 3
RANK, LIFE = (os.environ.get(name, "0") for name in ("RANK", "TORCHELASTIC_RESTART_COUNT"))


def kill():
    if LIFE == "0":
        os.kill(os.getpid(), signal.SIGKILL)


def fill_memory():
    msg = "out of memory on cuda:1 with a single image"
    raise EngineError(msg)


def put_in(fault):
    accumulate, steps = Training._try_accumulate, []

    def faulty(self, batch, total):
        steps.append(total)
        if RANK == "1" and len(steps) == FAULTY_STEP:
            fault()
        return accumulate(self, batch, total)

    Training._try_accumulate = faulty


def record_starts():
    restore = Training._restore

    def recorded(self, checkpoint):
        steps = restore(self, checkpoint)
        if RANK == "0":
            with Path("restored.txt").open("a") as file:
                file.write(f"{LIFE} {steps}\n")
        return steps

    Training._restore = recorded


if __name__ == "__main__":
    torch.set_num_threads(1)
    torchrun.GRACE = 1.0
    Checkpoint.__init__.__defaults__ = (1,)  # a state after every step, so that there is something to go on from
    record_starts()
    put_in({"kill": kill, "memory": fill_memory}[sys.argv[1]])
    for command in json.loads(sys.argv[2]):
        sys.argv[1:] = command
        try:
            main()
        except SystemExit as ended:
            if ended.code:
                raise
