"""Reads a pickle of plain numpy arrays, or torch tensors, without running anything in it.

A pickle is a program: it names functions, and unpickling calls them. Here every name that it may use stands for a
small class of ours that only takes note of what it was given; no function of numpy, or of anything else, is within
its reach. Arrays are made of bytes that are there, whose number must fit their shape; what refers to one thing many
times cannot grow to much more than its own size.
"""

import io
import pickle
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from semples_cli.data.cams.pickle_scan import ForbiddenGlobal, refuse, scan_pickle
from semples_cli.data.cams.torch_storage import place_tensor, read_storage

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
# How much more than its own bytes, and than 128 kB, a pickle may come to, by referring to one thing again and again.
_LARGEST_GROWTH = 16
_ALLOWANCE = 2**17
_PLAIN_TYPE = re.compile(r"b1|[iu][1248]|f[248]|O[48]")


class _Piece:
    """What a name in the pickle stands for. A state is refused here, or a pickle could set any attribute."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401  # whatever the pickle says
        refuse(f"a {type(self).__name__} with a state")


class _ArrayType(_Piece):
    """numpy.ndarray as a name only: it is handed to `_reconstruct`, and never called."""

    __slots__ = ()

    def __init__(self, *_: object) -> None:
        refuse("an array that is not made by _reconstruct")


class _Type(_Piece):
    """numpy.dtype: the letter and bytes of a number, and, by its state, their order."""

    __slots__ = ("spec",)

    def __init__(self, spec: str, *_: object) -> None:
        if not isinstance(spec, str) or not _PLAIN_TYPE.fullmatch(spec):
            refuse(f"an array of type {spec!r}")
        self.spec = spec

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401
        order, described = state[1], state[2:5]
        if order not in ("<", ">", "|", "=") or described != (None, None, None):
            refuse("an array with fields")
        if not self.is_object:
            self.spec = f"{order}{self.spec.lstrip('<>|=')}"

    @property
    def is_object(self) -> bool:
        return self.spec.startswith("O")


class _Array(_Piece):
    """numpy's _reconstruct: an empty array, whose state is its content."""

    __slots__ = ("value",)

    def __init__(self, *_: object) -> None:
        self.value: object = ...  # no plain thing, and refused if it stays

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401
        _, shape, kind, fortran, raw = state
        if _checked(kind).is_object:
            if shape != () or len(raw) != 1:
                refuse(f"an array of objects of shape {shape}")
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


class _Encoder:
    """_codecs.encode, by which protocol 2 writes bytes: as text in Latin-1, in which each is one character.

    The same text becomes the same bytes, or a pickle that calls it on one text again and again would fill the memory.
    """

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}

    def __call__(self, text: str, encoding: str) -> bytes:
        if encoding != "latin1":
            refuse(f"bytes as text in {encoding!r}")
        if text not in self._known:
            self._known[text] = text.encode("latin1")
        return self._known[text]


class _Storage(_Piece):
    """torch's _load_from_bytes: the numbers of a tensor, as torch.save wrote them."""

    __slots__ = ("numbers",)

    def __init__(self, raw: bytes) -> None:
        self.numbers = read_storage(raw)


class _Hooks(_Piece):
    """collections.OrderedDict, empty: a tensor's hooks, of which there are none."""

    __slots__ = ()

    def __init__(self) -> None:
        """Nothing is taken."""


class _Tensor(_Array):
    """torch's _rebuild_tensor_v2: IRN and CLIMS keep tensors among their arrays."""

    __slots__ = ()

    def __init__(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
    ) -> None:
        self.value = place_tensor(storage.numbers, offset, shape, strides)


_NAMES: Mapping[tuple[str, str], type[_Piece]] = {
    ("numpy", "ndarray"): _ArrayType,
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _Array,  # numpy 1 calls its inner room core, numpy 2 _core
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _Scalar,
    ("numpy._core.multiarray", "scalar"): _Scalar,
    ("numpy.core.numeric", "_frombuffer"): _FromBuffer,
    ("numpy._core.numeric", "_frombuffer"): _FromBuffer,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch.storage", "_load_from_bytes"): _Storage,
    ("collections", "OrderedDict"): _Hooks,
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._encode = _Encoder()

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        if (module, name) == ("_codecs", "encode"):
            return self._encode
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
    scan_pickle(io.BytesIO(data), len(data))
    made = _Unpickler(data).load()
    return _Plain(_LARGEST_GROWTH * len(data) + _ALLOWANCE).of(made)


class _Plain:
    """Puts arrays in place of our notes on them.

    Args:
        most: How many things and bytes of arrays there may be: a list of the same list, of the same list again, is
            small until somebody walks through it.
    """

    def __init__(self, most: int) -> None:
        self._left = most

    def of(self, value: object, depth: int = 0) -> object:
        """The object; no deeper than CAMs go, or a cycle had no end."""
        if depth > _DEEPEST:
            refuse("containers in containers")
        if isinstance(value, _Array):
            return self._of_array(value, depth)
        self._count(1)
        if isinstance(value, dict):
            return {self.of(key, depth + 1): self.of(each, depth + 1) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.of(each, depth + 1) for each in value)
        if not isinstance(value, str | bytes | bytearray | int | float | None):
            refuse("something that is no array of numbers")
        return value

    def _of_array(self, array: _Array, depth: int) -> object:
        if not isinstance(array.value, np.ndarray | np.generic):
            return self.of(array.value, depth + 1)
        self._count(1 + array.value.nbytes)
        return array.value

    def _count(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            refuse("far more than its own size, by referring to one thing again and again")


def _checked(kind: object) -> _Type:
    if not isinstance(kind, _Type):
        refuse("an array whose type is none")
    return kind


def _numbers(raw: bytes, kind: object, shape: tuple[int, ...], order: str) -> npt.NDArray[Any]:
    kind = _checked(kind)
    if kind.is_object:
        refuse("objects as bytes")
    if not all(type(size) is int and size >= 0 for size in shape):
        refuse(f"an array of shape {shape}")
    return np.frombuffer(raw, np.dtype(kind.spec)).reshape(shape, order="F" if order == "F" else "C")
