"""The permutohedral lattice: Gaussian filtering in many dimensions, in time that grows with the points alone.

Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", Eurographics 2010. Each point
lies in a simplex of the lattice and splats its value onto the d + 1 vertices of that; the lattice is blurred along its
d + 1 axes by (1/2, 1, 1/2); each point slices its result out of the same vertices. Scale and rounding are those of
Krähenbühl and Koltun (NeurIPS 2011), so that vertices and weights are theirs.

Along each axis the vertices are laid out as they follow one another, with an empty slot wherever a neighbour is
missing: a blur adds shifted arrays, and the way from one axis to the next is one gather.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_array, csr_array

from semples_cli.functional.lattice_vertices import lay_out, number_vertices

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
SlotArray = npt.NDArray[np.int32]
RankArray = npt.NDArray[np.int8]

BLOCK = 16384  # points at once: what they need then stays in the processor's cache
SMALLEST_SUM = np.float32(1e-20)  # Krähenbühl and Koltun's guard of the root


@dataclass(frozen=True)
class Lattice:
    """A Gaussian kernel over N points: slice · blur · splat.

    Attributes:
        splat: (slots, N) float32: from points to vertices, laid out along the first axis.
        steps: For each further axis, the slot of the axis before that each of its slots is filled from.
        slice: (N, slots) float32: from vertices, laid out along the last axis, to points.
    """

    splat: csc_array
    steps: tuple[IntArray, ...]
    slice: csr_array

    def apply(self, values: FloatArray) -> FloatArray:
        """Filter values.

        Args:
            values: (N,) or (N, channels) float32, contiguous.

        Returns:
            The same shape, float32.
        """
        slots = _blur(self.splat @ values)
        for step in self.steps:
            slots = _blur(np.take(slots, step, axis=0, mode="clip"))  # all are inside; 'clip' is the fastest
        filtered: FloatArray = self.slice @ slots
        return filtered


def _blur(slots: FloatArray) -> FloatArray:
    """Each slot and half of both neighbours; what that leaves in empty slots is never read, but for the first: 0."""
    blurred = np.empty_like(slots)
    inner = blurred[1:-1]
    np.add(slots[:-2], slots[2:], out=inner)
    inner *= np.float32(0.5)
    inner += slots[1:-1]
    blurred[0] = 0
    return blurred


def normalised_lattice(features: FloatArray) -> Lattice:
    """The Gaussian kernel K of points, normalised on both sides: D^-1/2 K D^-1/2, where D holds the row sums of K.

    Args:
        features: (d, N) float32, in standard deviations of the kernel; d >= 2, N >= 1.

    Raises:
        SettingsError: The points lie too many standard deviations apart for the vertices to be numbered.
    """
    weights, quotients, orders = _locate(features)
    vertices, corners, simplices = number_vertices(quotients, orders)
    slots = lay_out(vertices)
    steps = tuple(_step(before, after) for before, after in pairwise(slots))
    entry, leave = (
        np.take(np.take(each.astype(np.int32), corners), simplices, axis=0) for each in (slots[0], slots[-1])
    )
    sums = _lattice(weights, entry, steps, leave).apply(np.ones(len(weights), np.float32))
    weights *= np.repeat(1 / np.sqrt(sums + SMALLEST_SUM), weights.shape[1]).reshape(weights.shape)
    return _lattice(weights, entry, steps, leave)


def _step(before: IntArray, after: IntArray) -> IntArray:
    """The slot before of what lies in each slot after; slot 0, which is empty, for empty ones."""
    step = np.zeros(after.max() + 2, np.int64)
    step[after] = before
    return step


def _lattice(weights: FloatArray, entry: SlotArray, steps: tuple[IntArray, ...], leave: SlotArray) -> Lattice:
    """Both matrices share the weights: point n is column n of the one and row n of the other."""
    num, corners = weights.shape
    bounds = np.arange(0, weights.size + 1, corners, dtype=np.int32)
    slots = (int(entry.max()) + 2, len(steps[-1]))
    return Lattice(
        csc_array((weights.ravel(), entry.ravel(), bounds), shape=(slots[0], num)),
        steps,
        csr_array((weights.ravel(), leave.ravel(), bounds), shape=(num, slots[1])),
    )


def _locate(features: FloatArray) -> tuple[FloatArray, SlotArray, SlotArray]:
    """The simplex that each point lies in.

    Returns:
        Barycentric weights (N, d + 1), by the remainder of the vertex; quotients (d, N) of the vertex with remainder 0;
        the order (N,) of the first d coordinates inside the simplex, as a number in base d + 1.
    """
    dims, num = features.shape
    weights = np.empty((num, dims + 1), np.float32)
    quotients = np.empty((dims, num), np.int32)
    orders = np.zeros(num, np.int32)
    for start in range(0, num, BLOCK):
        part = slice(start, start + BLOCK)
        elevated = _elevate(features[:, part])
        nearest, ranks = _nearest_vertex(elevated)
        weights[part] = _barycentric(elevated, nearest).T
        quotients[:, part] = nearest[:dims]
        for rank in ranks[:dims]:
            orders[part] = orders[part] * (dims + 1) + rank
    return weights, quotients, orders


def _elevate(features: FloatArray) -> FloatArray:
    """Onto the plane of d + 1 coordinates that add up to 0 (page 5 of Adams et al.), scaled to a filter of σ 1."""
    dims = len(features)
    deviation = float(np.float32(np.sqrt(2 / 3) * (dims + 1)))
    elevated = np.empty((dims + 1, *features.shape[1:]), np.float32)
    total = np.zeros(features.shape[1:], np.float32)
    for axis in range(dims, 0, -1):
        scaled = features[axis - 1] * np.float32(deviation / np.sqrt((axis + 1) * axis))
        elevated[axis] = total - np.float32(axis) * scaled
        total += scaled
    elevated[0] = total
    return elevated


def _nearest_vertex(elevated: FloatArray) -> tuple[FloatArray, RankArray]:
    """Quotients of the nearest vertex with remainder 0, and the ranks of the distances to it, 0 for the largest."""
    dims = len(elevated) - 1
    side = np.float32(dims + 1)
    nearest = np.rint(elevated * (np.float32(1) / side))
    distance = elevated - nearest * side
    ranks = np.zeros(elevated.shape, np.int8)
    for one in range(dims):
        for other in range(one + 1, dims + 1):
            is_less = (distance[one] < distance[other]).view(np.int8)
            ranks[one] += is_less
            ranks[other] += np.int8(1) - is_less
    ranks += nearest.sum(axis=0).astype(np.int8)  # rounding may leave the plane: this brings it back
    turns = (ranks < 0).view(np.int8) - (ranks > dims).view(np.int8)
    ranks += turns * np.int8(dims + 1)
    nearest += turns
    return nearest, ranks


def _barycentric(elevated: FloatArray, nearest: FloatArray) -> FloatArray:
    """Weights of the vertices by remainder, (d + 1, N): differences of sorted distances (page 10 of Adams et al.)."""
    side = np.float32(len(elevated))
    ascending = (elevated - nearest * side) * (np.float32(1) / side)
    for last in range(len(ascending) - 1, 0, -1):
        for one in range(last):  # exchanges of whole rows are much faster than a sort of each column
            least = np.minimum(ascending[one], ascending[one + 1])
            np.maximum(ascending[one], ascending[one + 1], out=ascending[one + 1])
            ascending[one] = least
    weights = np.empty_like(ascending)
    weights[0] = ascending[0] + (np.float32(1) - ascending[-1])
    np.subtract(ascending[1:], ascending[:-1], out=weights[1:])
    return weights
