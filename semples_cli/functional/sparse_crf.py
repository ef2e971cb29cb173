"""The dense CRF as sparse matrices: mean-field inference by numpy and scipy alone.

Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", NeurIPS 2011, with
the filter of Adams, Baek and Davis (2010). Kernels are normalised on both sides, and labels cost by the Potts model, as
pydensecrf2 does it unless told otherwise. All that takes time releases the interpreter lock, so threads share the work.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from semples_cli.functional.permutohedral import Lattice, normalised_lattice

FloatArray = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]

# Channels that are filtered at once: rows of several use the caches better, but the way into rows and back costs too.
CHANNELS = 8
FEWEST_IN_ROWS = 4
# A position kernel depends on the size alone, and photographs of one collection have few; large ones are not kept.
KEPT_SIZES = 4
LARGEST_KEPT = 2**20


def infer_sparse(
    image: ImageArray,
    unary: FloatArray,
    gaussian: tuple[float, float],
    bilateral: tuple[float, float, float],
    iterations: int,
) -> FloatArray:
    """Mean-field marginals of the dense CRF.

    Args:
        image: (H, W, 3) uint8 RGB.
        unary: (n, H, W) float32 energies (negative log-probabilities), n >= 1.
        gaussian: sxy in pixels and compat of the position kernel.
        bilateral: sxy in pixels, srgb in 8-bit levels, and compat of the appearance kernel.
        iterations: Mean-field iterations.

    Returns:
        (n, H, W) float32 probabilities that add up to 1 over n.

    Raises:
        SettingsError: A kernel is too narrow for the image.
    """
    height, width = image.shape[:2]
    kernels = [
        (_position_kernel(height, width, gaussian[0]), np.float32(gaussian[1])),
        (_appearance_kernel(image, *bilateral[:2]), np.float32(bilateral[2])),
    ]
    energies = unary.reshape(len(unary), -1)
    to_all = _messages(kernels, np.ones(energies.shape[1], np.float32))
    marginals = _normalised(np.negative(energies))
    for _ in range(iterations):
        marginals = _updated(marginals, energies, kernels, to_all)
    return marginals.reshape(unary.shape)


def _updated(
    marginals: FloatArray, energies: FloatArray, kernels: list[tuple[Lattice, np.float32]], to_all: FloatArray
) -> FloatArray:
    """One iteration. Marginals add up to 1, so the last label's message is what the others leave of that of all."""
    updated = np.negative(energies)
    updated[-1] += to_all
    filtered = len(marginals) - 1
    at_once = CHANNELS if filtered >= FEWEST_IN_ROWS else 1
    for start in range(0, filtered, at_once):
        part = slice(start, min(start + at_once, filtered))
        values = marginals[start] if at_once == 1 else np.ascontiguousarray(marginals[part].T)
        messages = np.ascontiguousarray(_messages(kernels, values).T).reshape(-1, energies.shape[1])
        updated[part] += messages
        updated[-1] -= messages.sum(axis=0)
    return _normalised(updated)


def _messages(kernels: list[tuple[Lattice, np.float32]], values: FloatArray) -> FloatArray:
    (first, weight), *others = kernels
    messages = first.apply(values)
    messages *= weight
    for kernel, weight in others:
        message = kernel.apply(values)
        message *= weight
        messages += message
    return messages


def _normalised(logits: FloatArray) -> FloatArray:
    """Softmax over labels, in place."""
    logits -= logits.max(axis=0)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=0)
    return logits


def _appearance_kernel(image: ImageArray, sxy: float, srgb: float) -> Lattice:
    height, width = image.shape[:2]
    colours = image.reshape(-1, 3).T / np.float32(srgb)
    return normalised_lattice(np.concatenate([_positions(height, width, sxy), colours]))


def _position_kernel(height: int, width: int, sxy: float) -> Lattice:
    build = _kept_position_kernel if height * width <= LARGEST_KEPT else _build_position_kernel
    return build(height, width, sxy)


def _build_position_kernel(height: int, width: int, sxy: float) -> Lattice:
    return normalised_lattice(_positions(height, width, sxy))


_kept_position_kernel = lru_cache(KEPT_SIZES)(_build_position_kernel)


def _positions(height: int, width: int, sxy: float) -> FloatArray:
    """Column and row of each pixel in standard deviations, (2, H·W) float32, row by row."""
    rows, columns = np.divmod(np.arange(height * width, dtype=np.int32), width)
    return np.stack([columns, rows]).astype(np.float32) / np.float32(sxy)
