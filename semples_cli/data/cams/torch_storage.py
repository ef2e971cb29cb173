"""The numbers of a torch tensor that lies among arrays, read without torch.

torch pickles a tensor as its storage, the bytes of `torch.save` in its older form, and how the tensor lies in it. That
form is five pickles (a number that tells it, a version, facts on the machine, the storage, its keys), and the numbers
with their count. torch's own reader is kept out: it would read far more than this, and allocate what it is told to.
"""

import io
import math
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from semples_cli.data.cams.pickle_scan import WIDEST, ForbiddenGlobal, refuse, scan_pickle

_MAGIC = 0x1950A86A20F9469CFC6C
_TYPES: Mapping[str, str] = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",  # the upper half of a float32
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


def read_storage(raw: bytes) -> npt.NDArray[Any]:
    """The numbers of a storage.

    Args:
        raw: What `torch.save(storage, …, _use_new_zipfile_serialization=False)` wrote.

    Returns:
        (N,), read-only unless they are bfloat16, which becomes float32.

    Raises:
        pickle.UnpicklingError: It is damaged, or anything else than numbers.
    """
    handle = io.BytesIO(raw)
    try:
        magic, _, _, storage, _ = (_read_one(handle, raw, widest) for widest in (_MAGIC.bit_length(), *[WIDEST] * 4))
        name, (kind, count) = storage.value
        if magic != _MAGIC or name != "storage":
            refuse("a torch tensor that is of another form")
        if int.from_bytes(handle.read(8), "little") != count:
            refuse("a torch tensor that has another number of numbers than it says")
        numbers = np.frombuffer(raw, _TYPES[kind], count, handle.tell())
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # damaged pickles raise anything
        refuse(f"a torch tensor that cannot be read ({type(error).__name__})")
    return (numbers.astype(np.uint32) << 16).view(np.float32) if kind == "BFloat16Storage" else numbers


def place_tensor(
    numbers: npt.NDArray[Any], offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> npt.NDArray[Any]:
    """A tensor as it lies in its storage.

    Args:
        numbers: (N,) of any type.
        offset: Of its first number.
        shape: Of the tensor.
        strides: In numbers, one for each axis.

    Returns:
        The tensor, a view; floats of any width as float32, then a copy.

    Raises:
        pickle.UnpicklingError: It reaches beyond the storage, or is larger.
    """
    if not all(type(each) is int and each >= 0 for each in (offset, *shape, *strides)):
        refuse(f"a torch tensor that is of shape {shape} and strides {strides}")
    if math.prod(shape) > len(numbers):
        refuse("a torch tensor that is larger than its numbers")
    width = numbers.itemsize
    try:
        view = np.ndarray(shape, numbers.dtype, numbers, width * offset, [width * stride for stride in strides])
    except (ValueError, OverflowError):  # numpy looks at both ends
        refuse("a torch tensor that leads out of its numbers")
    return view.astype(np.float32, copy=False) if view.dtype.kind == "f" else view


class _Note:
    """A state is refused here, or a pickle could set any attribute."""

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401  # whatever the pickle says
        refuse("a torch tensor that is of another form")


class _StorageType(_Note):
    """What a name such as torch.FloatStorage stands for."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Storage(_Note):
    """What a persistent id stands for: ('storage', type, key, location, count, None)."""

    def __init__(self, identity: Any) -> None:  # noqa: ANN401  # whatever the pickle says
        name, kind, _, _, count, view = identity
        if not isinstance(kind, _StorageType) or type(count) is not int or count < 0 or view is not None:
            refuse("a torch tensor that is of another form")
        self.value = name, (kind.name, count)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        if module != "torch" or name not in _TYPES:
            named = f"{module}.{name}"
            raise ForbiddenGlobal(named)
        return _StorageType(name)

    def persistent_load(self, pid: Any) -> _Storage:  # noqa: ANN401
        return _Storage(pid)


def _read_one(handle: io.BytesIO, raw: bytes, widest: int) -> Any:  # noqa: ANN401
    start = handle.tell()
    scan_pickle(handle, len(raw) - start, widest)
    return _Unpickler(io.BytesIO(raw[start : handle.tell()])).load()
