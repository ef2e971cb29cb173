"""Reads a pickle of plain numpy arrays, or torch tensors, without running anything in it.

A pickle is a program: it names functions, and unpickling calls them. Here every name that it may use stands for a
small class of ours that only takes note of what it was given; no function of numpy, or of anything else, is within
its reach. The arrays are made after the pickle has ended, from bytes whose number must fit their shape.
"""

import io
import pickle
import pickletools
import re
import warnings
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

# What a damaged or hostile stream can raise: memory, because it may announce more bytes than there are.
DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    ImportError,
    OverflowError,
    RecursionError,
    MemoryError,
)
# Things within one another: an array of one dict of lists of arrays is 3.
_DEEPEST = 3
_MEMO = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_PLAIN_TYPE = re.compile(r"b1|[iu][1248]|f[248]|O[48]")


class ForbiddenGlobal(pickle.UnpicklingError):
    """The pickle names something that plain arrays do not need.

    Attributes:
        name: What it names, such as 'os.system'.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class _Piece:
    """What a name in the pickle stands for. A state is refused here, or a pickle could set any attribute."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401  # whatever the pickle says
        _refuse(f"a {type(self).__name__} with a state")


class _ArrayType(_Piece):
    """numpy.ndarray as a name only: it is handed to `_reconstruct`, and never called."""

    __slots__ = ()

    def __init__(self, *_: object) -> None:
        _refuse("an array that is not made by _reconstruct")


class _Type(_Piece):
    """numpy.dtype: the letter and bytes of a number, and, by its state, their order."""

    __slots__ = ("spec",)

    def __init__(self, spec: str, *_: object) -> None:
        if not isinstance(spec, str) or not _PLAIN_TYPE.fullmatch(spec):
            _refuse(f"an array of type {spec!r}")
        self.spec = spec

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401
        order, described = state[1], state[2:5]
        if order not in ("<", ">", "|", "=") or described != (None, None, None):
            _refuse("an array with fields")
        if not self.is_object:
            self.spec = f"{order}{self.spec.lstrip('<>|=')}"

    @property
    def is_object(self) -> bool:
        return self.spec.startswith("O")


class _Array(_Piece):
    """numpy's _reconstruct: an empty array, whose state is its content."""

    __slots__ = ("value",)

    def __init__(self, *_: object) -> None:
        self.value: object = None

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401
        _, shape, kind, fortran, raw = state
        if kind.is_object:
            if shape != () or len(raw) != 1:
                _refuse(f"an array of objects of shape {shape}")
            self.value = raw[0]
        else:
            self.value = _numbers(raw, kind, shape, "F" if fortran else "C")


class _FromBuffer(_Array):
    """numpy's _frombuffer, of pickle protocol 5."""

    __slots__ = ()

    def __init__(self, raw: bytes, kind: _Type, shape: tuple[int, ...], order: str = "C") -> None:
        self.value = _numbers(raw, kind, shape, order)


class _Scalar(_Array):
    """numpy's scalar: one number, such as a class number that is a key."""

    __slots__ = ()

    def __init__(self, kind: _Type, raw: bytes) -> None:
        self.value = _numbers(raw, kind, (), "C")[()]

    def __hash__(self) -> int:
        return hash(self.value)

    def __eq__(self, other: object) -> bool:
        return self.value == (other.value if isinstance(other, _Scalar) else other)


class _Bytes(_Piece):
    """_codecs.encode, by which protocol 2 writes bytes: as text in Latin-1, in which each is one character."""

    __slots__ = ()

    def __new__(cls, text: str, encoding: str) -> bytes:  # type: ignore[misc]
        if encoding != "latin1":
            _refuse(f"bytes as text in {encoding!r}")
        return text.encode("latin1")


class _Storage(_Piece):
    """torch's _load_from_bytes: the numbers of a tensor, as torch.save wrote them."""

    __slots__ = ("raw",)

    def __init__(self, raw: bytes) -> None:
        self.raw = raw


class _Hooks(_Piece):
    """collections.OrderedDict, empty: a tensor's hooks, of which there are none."""

    __slots__ = ()

    def __init__(self) -> None:
        """Nothing is taken."""


class _Tensor(_Array):
    """torch's _rebuild_tensor_v2: IRN and CLIMS keep tensors among their arrays. torch reads them, weights only."""

    __slots__ = ()

    def __init__(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
    ) -> None:
        import torch

        try:
            with warnings.catch_warnings(action="ignore"):  # storages that know their type are on their way out
                numbers = torch.load(io.BytesIO(storage.raw), map_location="cpu", weights_only=True)
                flat = torch.empty(0, dtype=numbers.dtype).set_(numbers)
            tensor = flat.as_strided(shape, strides, offset)
        except Exception as error:  # torch raises anything where its bytes are damaged
            msg = f"it holds a torch tensor that cannot be read ({type(error).__name__})"
            raise pickle.UnpicklingError(msg) from None
        if tensor.numel() > flat.numel():
            _refuse("a torch tensor that is larger than its numbers")
        self.value = (tensor.float() if tensor.is_floating_point() else tensor).numpy()


_NAMES: Mapping[tuple[str, str], type[_Piece]] = {
    ("numpy", "ndarray"): _ArrayType,
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _Array,  # numpy 1 calls its inner room core, numpy 2 _core
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _Scalar,
    ("numpy._core.multiarray", "scalar"): _Scalar,
    ("numpy.core.numeric", "_frombuffer"): _FromBuffer,
    ("numpy._core.numeric", "_frombuffer"): _FromBuffer,
    ("_codecs", "encode"): _Bytes,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch.storage", "_load_from_bytes"): _Storage,
    ("collections", "OrderedDict"): _Hooks,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type[_Piece]:
        try:
            return _NAMES[module, name]
        except KeyError:
            named = f"{module}.{name}"
            raise ForbiddenGlobal(named) from None


def unpickle_plain(data: bytes) -> object:
    """What a pickle holds, if that is plain: numbers, text, lists, dicts, and numpy arrays of numbers.

    Args:
        data: The pickle, of any protocol up to 5, written under numpy 1 or 2.

    Returns:
        The object; a 0-d array of objects is the object in it. Arrays may be read-only.

    Raises:
        ForbiddenGlobal: The pickle names anything but numpy's arrays; nothing of it was called.
        DAMAGE: One of these: it is damaged, or holds arrays of something else than numbers.
    """
    _check_sizes(data)
    return _plain(_Unpickler(io.BytesIO(data)).load())


def _check_sizes(data: bytes) -> None:
    """Refuse, before anything is loaded, what makes the unpickler take memory that no pickle of this size needs.

    A place in its memo is an index into a table that grows to it: 5 bytes can ask for 64 GB. Lengths that the pickle
    has not got are refused by pickletools; on a bytearray that is cut short, Python's unpickler stumbles.
    """
    with warnings.catch_warnings(action="ignore"):  # text with odd escapes is not its business
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in _MEMO and int(str(argument)) > len(data):
                _refuse(f"place {argument} in a memo")


def _plain(value: object, depth: int = 0) -> object:
    """The object with arrays in place of our notes on them; no deeper than CAMs go, or a cycle had no end."""
    if depth > _DEEPEST:
        _refuse("containers in containers")
    if isinstance(value, _Array):
        return value.value if isinstance(value.value, np.ndarray | np.generic) else _plain(value.value, depth + 1)
    if isinstance(value, dict):
        return {_plain(key, depth + 1): _plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(each, depth + 1) for each in value)
    if not isinstance(value, str | bytes | bytearray | int | float | None):
        _refuse("something that is no array of numbers")
    return value


def _numbers(raw: bytes, kind: _Type, shape: tuple[int, ...], order: str) -> npt.NDArray[Any]:
    if kind.is_object:
        _refuse("objects as bytes")
    return np.frombuffer(raw, np.dtype(kind.spec)).reshape(shape, order="F" if order == "F" else "C")


def _refuse(what: str) -> NoReturn:
    msg = f"it holds {what}"
    raise pickle.UnpicklingError(msg)
