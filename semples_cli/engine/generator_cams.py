"""CAMs of a trained mask generator."""

from collections.abc import Mapping, Sequence

import torch

from semples_cli.config import CamSettings
from semples_cli.engine.cam_maker import CamMaker
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.generators.protocol import MaskGenerator
from semples_cli.types import ClassSet


class GeneratorCams(CamMaker):
    """Runs a mask generator at several scales and mirrored; the maps are summed as they are, then stretched.

    Of the settings it reads size, scales, flips and batch size.

    Attributes:
        record: What the generator is; its results depend on all of it.
    """

    def __init__(
        self,
        engine: ClipEngine,
        generator: MaskGenerator,
        class_set: ClassSet,
        settings: CamSettings,
        record: Mapping[str, object],
    ) -> None:
        """Take the generator as it is now.

        Args:
            engine: The CLIP whose normalisation and device the generator goes by.
            generator: A trained mask generator of these classes.
            class_set: The classes.
            settings: How CAMs are made.
            record: What tells this generator from others: its kind, its stage, the hash of its weights.
        """
        super().__init__(engine, len(class_set), settings, generator.patch_size)
        self.record = dict(record)
        self._generator = generator

    @torch.no_grad()
    def _pass_maps(self, pixels: torch.Tensor, classes: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        most = max(len(indices) for indices in classes)
        rows = [[k - 1 for k in (*indices, *[indices[-1]] * (most - len(indices)))] for indices in classes]
        fine = self._generator.class_maps(pixels, torch.tensor(rows, device=pixels.device)).fine
        return [fine[b, : len(indices)] for b, indices in enumerate(classes)]
