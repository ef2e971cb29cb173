"""How sure CLIP is that a region cut out of an image shows its class: confidence without ground truth.

Of all that we measured (docs/results.md, "Confidence") this goes best with the IoU of a region.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional

from semples_cli.config.tagging import TagSettings
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.tagging import ImageTagger
from semples_cli.types import ClassSet, FloatArray, MaskArray

# Of the softmax over cosines: where CLIP's own is capped, and where those that are in use stand.
LOGIT_SCALE = 100.0


class RegionMatcher:
    """Matches regions with the names of their classes, among all classes and background words.

    Letters: R regions, S CLIP's own image size.

    Attributes:
        batch_size: Regions at once; see `ImageTagger`.
        background_words: Words that compete with the classes.
    """

    def __init__(self, engine: ClipEngine, class_set: ClassSet, settings: TagSettings) -> None:
        """Encode the texts of all classes and background words.

        Raises:
            SettingsError: There is one class and no background word: nothing to compare with.
        """
        self._tagger = ImageTagger(engine, class_set, settings)
        self.background_words = self._tagger.background_words

    @property
    def batch_size(self) -> int:
        """Regions that go through CLIP at once."""
        return self._tagger.batch_size

    def regions(
        self, image: npt.NDArray[np.uint8], mask: MaskArray, class_indices: Sequence[int]
    ) -> list[torch.Tensor]:
        """What CLIP shall see of each region: the image with all else in CLIP's mean colour.

        Args:
            image: (H, W, 3) uint8.
            mask: (H, W) uint8.
            class_indices: The values of the regions, one or more pixels each.

        Returns:
            For each (3, S, S) float32, normalised.
        """
        (height, width), margins = self._tagger.place(mask.shape)
        pixels = self._tagger.pixels(image)
        small = np.array(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
        seen = (
            small == index if index in small else _touched(mask == index, (width, height)) for index in class_indices
        )
        return [pixels * functional.pad(torch.from_numpy(each), margins) for each in seen]

    def confidences(self, regions: Sequence[torch.Tensor], class_indices: Sequence[int]) -> FloatArray:
        """The probability that CLIP gives to each region's class.

        Args:
            regions: (3, S, S) of each, from `regions`.
            class_indices: The class of each, 1..F.

        Returns:
            (R,) float32 in [0, 1].

        Raises:
            EngineError: Not even one region fits into the device's memory.
        """
        cosines = torch.from_numpy(self._tagger.cosines(regions))
        shares = (LOGIT_SCALE * cosines).softmax(dim=-1)
        rows = torch.arange(len(class_indices))
        found: FloatArray = shares[rows, torch.tensor(class_indices, dtype=torch.int64) - 1].numpy()
        return found


def _touched(region: npt.NDArray[np.bool_], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The pixels of a smaller (width, height) in which any part of the region lies: a speck must not vanish."""
    spread = Image.fromarray(region.astype(np.float32)).resize(size, Image.Resampling.BOX)
    touched: npt.NDArray[np.bool_] = np.asarray(spread) > 0
    return touched
