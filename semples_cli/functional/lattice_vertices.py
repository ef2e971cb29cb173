"""Vertices of the permutohedral lattice: numbering those that points touch, and ordering them along each axis.

A vertex has d + 1 integer coordinates that add up to 0 and leave the same remainder modulo d + 1 (Adams, Baek and
Davis, 2010). It is known by that remainder and the quotients of its first d coordinates, packed into one integer: to
find equal vertices, and those that follow one another, is to sort.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from semples_cli.errors import SettingsError

IntArray = npt.NDArray[np.int64]
SlotArray = npt.NDArray[np.int32]

KEY_BITS = 63


@dataclass(frozen=True)
class Vertices:
    """The M vertices of a lattice, each once.

    Attributes:
        quotients: (d, M) int64: first d coordinates // (d + 1), from 0.
        remainders: (M,) int64 in 0..d: any coordinate % (d + 1).
    """

    quotients: IntArray
    remainders: IntArray


def number_vertices(quotients: SlotArray, orders: SlotArray) -> tuple[Vertices, SlotArray, SlotArray]:
    """The vertices of the simplices that points lie in.

    Many points share a simplex, so the simplices are numbered first, and then their vertices.

    Args:
        quotients: (d, N) int32: of each point's nearest vertex with remainder 0.
        orders: (N,) int32: the ranks of its first d distances to that, as digits in base d + 1.

    Returns:
        The vertices; which of them each of S simplices has, by their remainder, (S, d + 1) int32; the simplex of each
        point, (N,) int32.

    Raises:
        SettingsError: They lie too far apart to be numbered.
    """
    dims, sides = len(quotients), len(quotients) + 1
    quotients = quotients - quotients.min(axis=1, keepdims=True) + 1  # a vertex may lie one below the nearest
    sizes = [int(row.max()) + 1 for row in quotients]
    _check_bits([*sizes, sides**dims])
    strides = _strides(sizes)
    simplices, owners = _number(_pack(quotients, strides) * sides**dims + orders)
    nearest, order = np.divmod(simplices, sides**dims)
    ranks = np.arange(sides**dims)[:, None] // sides ** np.arange(dims - 1, -1, -1) % sides
    corners = np.empty((len(simplices), sides), np.int32)
    found: list[IntArray] = []
    for remainder in range(sides):
        below = (ranks > dims - remainder) @ strides
        keys, numbers = _number(nearest - np.take(below, order))
        corners[:, remainder] = numbers + sum(map(len, found))
        found.append(keys)
    remainders = np.repeat(np.arange(sides), [len(keys) for keys in found])
    return Vertices(_unpack(np.concatenate(found), sizes), remainders), corners, owners


def lay_out(vertices: Vertices) -> list[IntArray]:
    """Slots for the vertices along each axis: neighbours next to each other, an empty slot wherever there is none.

    A step along axis j takes d from coordinate j and adds 1 to all others, so that the remainder grows by 1, or falls
    from d to 0. What no step changes numbers the line that a vertex lies on; another coordinate says where on it.

    Args:
        vertices: The vertices.

    Returns:
        For each of the d + 1 axes, the slot of each vertex, (M,) int64 from 1; slot 0, and the one after the last, are
        empty.

    Raises:
        SettingsError: They lie too far apart to be numbered.
    """
    dims = len(vertices.quotients)
    widths = [int(row.max()) + 1 for row in vertices.quotients]
    sizes = [width + (dims + 1) * (max(widths[:2]) + 1) for width in widths]  # no line's number reaches into another's
    _check_bits(sizes)
    strides = _strides(sizes)
    packed = _pack(vertices.quotients, strides)
    return [_along(vertices, axis, packed, strides) for axis in range(dims + 1)]


def _along(vertices: Vertices, axis: int, packed: IntArray, strides: IntArray) -> IntArray:
    dims = len(strides)
    own = int(strides[axis]) if axis < dims else 0  # the last coordinate follows from the others and is not packed
    other = vertices.quotients[1 if axis == 0 else 0]
    lines = packed + other * ((dims + 1) * own - int(strides.sum())) + vertices.remainders * own
    places = other * (dims + 1) + vertices.remainders
    return _slots(lines, places)


def _slots(lines: IntArray, places: IntArray) -> IntArray:
    """Slots that put the places of a line in order; consecutive places touch, all else is parted by an empty slot."""
    span = int(places.max()) + 2
    keys = lines - lines.min()
    if int(keys.max() + 1).bit_length() + span.bit_length() <= KEY_BITS:
        keys = keys * span + places
        ordered, order = _sort(keys)
        touches = np.diff(ordered) == 1
    else:
        order = np.lexsort((places, lines))
        touches = (np.diff(lines[order]) == 0) & (np.diff(places[order]) == 1)
    slots = np.arange(1, len(order) + 1)
    slots[1:] += np.cumsum(~touches)
    placed = np.empty_like(slots)
    placed[order] = slots
    return placed


def _number(keys: IntArray) -> tuple[IntArray, SlotArray]:
    """The different keys in ascending order, and which of them each key is."""
    ordered, order = _sort(keys)
    is_new = np.empty(len(keys), np.bool_)
    is_new[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=is_new[1:])
    numbers = np.empty(len(keys), np.int32)
    numbers[order] = np.cumsum(is_new, dtype=np.int32) - 1
    return ordered[is_new], numbers


def _sort(keys: IntArray) -> tuple[IntArray, IntArray]:
    """Keys of at least 0 in ascending order, and where each came from.

    Where there is room, the index travels in the low bits: numpy sorts numbers twice as fast as it finds their order.
    """
    bits = len(keys).bit_length()
    if int(keys.max()).bit_length() + bits > KEY_BITS:
        order = np.argsort(keys)
        return keys[order], order
    ordered = np.sort((keys << bits) | np.arange(len(keys)))
    return ordered >> bits, ordered & ((1 << bits) - 1)


def _pack(quotients: npt.NDArray[np.signedinteger], strides: IntArray) -> IntArray:
    packed: IntArray = quotients[-1].astype(np.int64)
    for row, stride in zip(quotients[:-1], strides[:-1], strict=True):
        packed += row * stride
    return packed


def _unpack(packed: IntArray, sizes: list[int]) -> IntArray:
    quotients = np.empty((len(sizes), len(packed)), np.int64)
    for row, size in zip(quotients[::-1], reversed(sizes), strict=True):  # numpy divides faster by one number
        packed, row[:] = np.divmod(packed, size)
    return quotients


def _strides(sizes: list[int]) -> IntArray:
    """Of each coordinate in a number whose digits have these sizes, the last varying fastest."""
    strides: IntArray = np.cumprod([1, *sizes[:0:-1]], dtype=np.int64)[::-1]
    return strides


def _check_bits(sizes: list[int]) -> None:
    if sum(size.bit_length() for size in sizes) > KEY_BITS:
        msg = (
            "the CRF's kernel is too narrow for this image, its lattice has too many cells to number: give larger "
            "standard deviations (sxy, srgb)"
        )
        raise SettingsError(msg)
