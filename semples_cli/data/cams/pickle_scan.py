"""Reads through a pickle without loading it, and refuses what would harm the unpickler itself.

Python's unpickler trusts what it is told: a place in its memo is an index into a table that grows to it, so 5 bytes
ask for 64 GB; the hash of a key that is a tuple of tuples goes down as deep as they go, until the process dies; and
among wide numbers there are as many of one hash as one likes, so that a dict of them takes hours.
"""

import pickle
import pickletools
import warnings
from typing import BinaryIO, NoReturn

# Tuples within one another: the state of an array of a dict of arrays has 6.
DEEPEST_TUPLE = 100
# Of a number: no array counts further.
WIDEST = 64

_PUT = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GET = frozenset({"GET", "BINGET", "LONG_BINGET"})
_TUPLE = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})
# Objects by a number of a registry, which the unpickler takes without asking for a name.
_REGISTERED = frozenset({"EXT1", "EXT2", "EXT4"})
_MARK = -1


def _effect(opcode: pickletools.OpcodeInfo) -> tuple[bool, int, int, bool]:
    """Whether it takes all down to the last mark, how many below that, how many it puts, and whether it nests."""
    before = opcode.stack_before
    down_to_mark = pickletools.markobject in before
    pops = before.index(pickletools.markobject) if down_to_mark else len(before)
    return down_to_mark, pops, len(opcode.stack_after), opcode.name in _TUPLE


_EFFECTS = {opcode.name: _effect(opcode) for opcode in pickletools.opcodes}


class ForbiddenGlobal(pickle.UnpicklingError):
    """The pickle names something that plain arrays do not need.

    Attributes:
        name: What it names, such as 'os.system'.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def scan_pickle(handle: BinaryIO, size: int, widest: int = WIDEST) -> None:
    """Read one pickle to its end, where the handle is left.

    Lengths that the pickle has not got are refused too; on a bytearray that is cut short, the unpickler stumbles.

    Args:
        handle: At its first byte.
        size: Bytes that there are.
        widest: Bits that a number in it may have.

    Raises:
        pickle.UnpicklingError: It would harm the unpickler.
        ValueError: It is damaged.
        IndexError: It takes more from its stack than there is.
        KeyError: It takes from a place in its memo where there is nothing.
    """
    depths = _Depths()
    with warnings.catch_warnings(action="ignore"):  # text with odd escapes is not its business
        for opcode, argument, _ in pickletools.genops(handle):
            if opcode.name in _REGISTERED:
                refuse("an object by its number")
            if isinstance(argument, int) and argument.bit_length() > widest:
                refuse(f"a number of {argument.bit_length()} bits")
            if opcode.name in _PUT and int(str(argument)) > size:
                refuse(f"place {argument} in a memo")
            if depths.follow(opcode, argument) > DEEPEST_TUPLE:
                refuse("tuples in tuples")


class _Depths:
    """The unpickler's stack and memo, with the depth of tuples in place of each object: never less than it is."""

    def __init__(self) -> None:
        self._stack: list[int] = []
        self._memo: dict[int, int] = {}

    def follow(self, opcode: pickletools.OpcodeInfo, argument: object) -> int:
        """Do what an opcode does; the depth of what it made."""
        name, stack = opcode.name, self._stack
        if name in _PUT or name == "MEMOIZE":
            self._memo[len(self._memo) if name == "MEMOIZE" else int(str(argument))] = stack[-1]
        elif name in _GET:
            stack.append(self._memo[int(str(argument))])
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "MARK":
            stack.append(_MARK)
        else:
            down_to_mark, pops, pushes, deeper = _EFFECTS[name]
            made = self._take(down_to_mark, pops) + deeper
            stack.extend([made] * pushes)
            return made
        return 0

    def _take(self, down_to_mark: bool, pops: int) -> int:
        """Take as many, and first all down to the last mark if it says so; the deepest of them."""
        stack, deepest = self._stack, 0
        if down_to_mark:
            while (depth := stack.pop()) != _MARK:
                deepest = max(deepest, depth)
        for _ in range(pops):
            deepest = max(deepest, stack.pop())
        return deepest


def refuse(what: str) -> NoReturn:
    """Say what a pickle holds that is not read.

    Raises:
        pickle.UnpicklingError: Always.
    """
    msg = f"it holds {what}"
    raise pickle.UnpicklingError(msg)
