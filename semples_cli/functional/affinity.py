"""Class-aware attention-based affinity: spreads a map along the attention between patches.

Source: CLIP-ES (Lin et al. 2023, arXiv 2212.09506, section 3.3); the doubly normalised matrix is Sinkhorn's.

Letters: K classes, P = h·w patches in row-major order.
"""

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from semples_cli.functional.cam import min_max

SINKHORN_ROUNDS = 3
EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


class Affinity:
    r"""Attention with rows and columns that add up to 1, averaged with its transpose; never built as a matrix.

    Dividing by column sums, then by row sums, three times over scales each column by c and each row by r, which
    products of the attention with vectors find:

    .. math:: c \leftarrow 1 / (A^\top r),\quad r \leftarrow 1 / (A c);\qquad
        \tfrac12 \big(\mathrm{diag}(r)\, A\, \mathrm{diag}(c) + \mathrm{diag}(c)\, A^\top \mathrm{diag}(r)\big)

    Example:
        >>> Affinity(torch.tensor([[1.0, 3.0], [3.0, 9.0]])) @ torch.eye(2)
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])
    """

    def __init__(self, attention: torch.Tensor) -> None:
        """Find the scales.

        Args:
            attention: (P, P), positive: [i, j] is how much patch i looks at patch j. Its dtype is that of the products.
        """
        self._attention = attention
        self._rows = torch.ones_like(attention[:, :1])
        for _ in range(SINKHORN_ROUNDS):
            self._columns = 1 / (attention.T @ self._rows)
            self._rows = 1 / (attention @ self._columns)

    @property
    def dtype(self) -> torch.dtype:
        """That of the products."""
        return self._attention.dtype

    def __matmul__(self, columns: torch.Tensor) -> torch.Tensor:
        """(P, K) → (P, K), of the same dtype."""
        forth = self._rows * (self._attention @ (self._columns * columns))
        back = self._columns * (self._attention.T @ (self._rows * columns))
        return (forth + back) / 2


def box_mask(scores: npt.NDArray[np.float32], threshold: float) -> npt.NDArray[np.bool_]:
    """Where affinity may reach from: inside the boxes around the map's components above a threshold.

    Components are 8-connected: patches that touch at a corner belong together.

    Args:
        scores: (h, w) in [0, 1].
        threshold: In [0, 1]; a score must be above it.

    Returns:
        (h, w) bool.

    Example:
        >>> scores = np.float32([[0.9, 0.0, 0.0], [0.0, 0.9, 0.0], [0.0, 0.0, 0.3]])
        >>> box_mask(scores, 0.4).astype(int)
        array([[1, 1, 0],
               [1, 1, 0],
               [0, 0, 0]])
    """
    labels, _ = ndimage.label(scores > threshold, structure=EIGHT_NEIGHBOURS)
    mask = np.zeros(scores.shape, dtype=bool)
    for box in ndimage.find_objects(labels):
        mask[box] = True
    return mask


def propagate(maps: torch.Tensor, affinity: Affinity, *, steps: int, box_threshold: float) -> torch.Tensor:
    """Multiply each map by the affinity squared `steps` times, columns outside the map's boxes left out; min-max.

    Leaving a column out of A is the same as zeroing that patch of the map, and A squared times m is A (A m): 2^steps
    products with vectors take the place of matrix products.

    Args:
        maps: (K, h, w) in [0, 1].
        affinity: Of the same patches.
        steps: Squarings; 0 uses the affinity as it is.
        box_threshold: In [0, 1]: see `box_mask`.

    Returns:
        (K, h, w) in [0, 1], dtype of `maps`; a map with nothing above the threshold becomes 0.

    Example:
        >>> affinity = Affinity(torch.tensor([[0.9, 0.1], [0.1, 0.9]]))
        >>> propagate(torch.tensor([[[1.0, 0.5]]]), affinity, steps=0, box_threshold=0.6)
        tensor([[[1., 0.]]])
    """
    boxes = np.stack([box_mask(m, box_threshold) for m in maps.float().cpu().numpy()])
    columns = (maps * torch.from_numpy(boxes).to(maps.device)).flatten(1).T.to(affinity.dtype)
    for _ in range(2**steps):
        columns = affinity @ columns
    return min_max(columns.T.reshape(maps.shape)).to(maps.dtype)
