"""What a mask generator is: pixels in, class logits and maps out.

Letters: B images, F classes, K classes asked for, h, w patch grid, H', W' network pixels.
"""

from dataclasses import dataclass
from typing import Protocol

import torch

from semples_cli.engine.tower_features import DropPath


@dataclass(frozen=True)
class ClassMaps:
    """The maps of a batch; differentiable in the generator's trained weights.

    Attributes:
        coarse: (B, F, h, w) class logits of each patch, before any ReLU; their mean is the score of the class.
        fine: (B, K, h, w) maps of the classes asked for, 0 or above, not yet stretched to [0, 1].
    """

    coarse: torch.Tensor
    fine: torch.Tensor


class MaskGenerator(Protocol):
    """Makes class maps of images."""

    def class_maps(
        self, pixels: torch.Tensor, columns: torch.Tensor | None = None, drop_path: DropPath | None = None
    ) -> ClassMaps:
        """Maps of a batch.

        Args:
            pixels: (B, 3, H', W') float32, normalised; sides are multiples of the patch.
            columns: (B, K) int64 in 0..F-1: the classes whose fine maps are wanted; None: all F, in their order.
            drop_path: In training, what the tower passes over; None: nothing.
        """
        ...
