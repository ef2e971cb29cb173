"""What a mask generator is: pixels in, class logits and maps out.

Letters: B images, F classes, K classes asked for, h, w patch grid, H', W' network pixels.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch

from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.tower_features import DropPath


@dataclass(frozen=True)
class ClassMaps:
    """The maps of a batch; differentiable in the generator's trained weights.

    Attributes:
        coarse: (B, F, h, w) class logits of each patch, before any ReLU; their mean is the score of the class.
        fine: (B, K, h, w) maps of the classes asked for, 0 or above, not yet stretched to [0, 1].
        tokens: (B, F) class logits of the class tokens; None where there are none.
    """

    coarse: torch.Tensor
    fine: torch.Tensor
    tokens: torch.Tensor | None = None


class Network(Protocol):
    """What a generator is trained and stored as: an nn.Module that knows its own shape.

    Attributes:
        num_classes: F.
        has_class_tokens: Whether its class maps come with logits of class tokens.
        shape: The arguments that it was made with, but the number of classes; JSON values.
    """

    num_classes: int
    has_class_tokens: bool
    shape: dict[str, int | float | str]

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Of an nn.Module."""
        ...

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Of an nn.Module."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, torch.Tensor]) -> object:
        """Of an nn.Module."""
        ...


class MaskGenerator(Protocol):
    """Makes class maps of images.

    Attributes:
        kind: Its name: 'clip_head' or 'weaktr'.
        patch_size: Side of its patches in pixels.
    """

    kind: str
    patch_size: int

    @property
    def engine(self) -> ClipEngine:
        """The CLIP whose pixels it takes and whose device it is on."""
        ...

    @property
    def network(self) -> Network:
        """All that its file holds."""
        ...

    def freeze_tower(self) -> None:
        """From now on class head and fusion alone are trained: only their parameters want a gradient."""
        ...

    def class_maps(
        self, pixels: torch.Tensor, columns: torch.Tensor | None = None, drop_path: DropPath | None = None
    ) -> ClassMaps:
        """Maps of a batch.

        Args:
            pixels: (B, 3, H', W') float32, normalised as CLIP's; sides are multiples of the generator's patch.
            columns: (B, K) int64 in 0..F-1: the classes whose fine maps are wanted; None: all F, in their order.
            drop_path: In training, what the tower passes over; None: nothing.
        """
        ...
