"""How well images match the texts of classes: CLIP's own zero-shot reading, of whole images of any shape."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from semples_cli.config.tagging import TagSettings
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.device import is_out_of_memory
from semples_cli.engine.preprocess import to_pixels
from semples_cli.errors import EngineError, SettingsError
from semples_cli.functional.tagging import text_margins
from semples_cli.types import ClassSet, FloatArray


class ImageTagger:
    """Scores images against a class set; texts are encoded once, here.

    Letters: N images, F classes, S CLIP's own image size.

    Attributes:
        batch_size: Images that go through CLIP at once; halved for good when device memory runs out.
        background_words: The settings' words without those that are a class's own name.
    """

    def __init__(self, engine: ClipEngine, class_set: ClassSet, settings: TagSettings) -> None:
        """Encode the texts of all classes and background words.

        Raises:
            SettingsError: There is one class and no background word: nothing to compare with.
        """
        own = {name.casefold() for name in (*class_set.names, *class_set.prompt_names)}
        self.background_words = tuple(word for word in settings.background_words if word.casefold() not in own)
        self.batch_size = settings.batch_size
        self._engine = engine
        self._num_classes = len(class_set)
        words = (*class_set.prompt_names, *self.background_words)
        if len(words) < 2:
            msg = f"{words[0]!r} alone has nothing to be compared with: give more classes, or --background-words voc"
            raise SettingsError(msg)
        self._texts = engine.encode_texts([settings.template.replace("{}", word) for word in words])

    def pixels(self, image: npt.NDArray[np.uint8]) -> torch.Tensor:
        """An image as CLIP shall see it: whole, its longest side S pixels, the rest filled with CLIP's mean colour.

        Cropping to a square, as CLIP's own transform does, loses what stands at the edge, and squeezing distorts it:
        both propose worse labels (docs/results.md).

        Args:
            image: (H, W, 3) uint8.

        Returns:
            (3, S, S) float32, normalised.
        """
        (height, width), margins = self.place(image.shape[:2])
        seen = to_pixels(image, (height, width), self._engine.preprocess.mean, self._engine.preprocess.std)
        return functional.pad(seen, margins)

    def place(self, image_size: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
        """Where an image of (H, W) pixels lies in the square: its size there, and left, right, top, bottom margins."""
        side, longest = self._engine.image_size, max(image_size)
        height, width = (max(1, round(length * side / longest)) for length in image_size)
        top, left = (side - height) // 2, (side - width) // 2
        return (height, width), (left, side - width - left, top, side - height - top)

    def scores(self, pixels: Sequence[torch.Tensor]) -> FloatArray:
        """The margin of each class: how far its cosine is above the mean of all texts.

        Args:
            pixels: (3, S, S) of each image, from `pixels`.

        Returns:
            (N, F) float32 in [-2, 2].

        Raises:
            EngineError: Not even one image fits into the device's memory.
        """
        return text_margins(self.cosines(pixels), self._num_classes).astype(np.float32)

    def cosines(self, pixels: Sequence[torch.Tensor]) -> FloatArray:
        """Cosine of each image and each of the T texts, those of the classes first.

        Args:
            pixels: (3, S, S) of each image, from `pixels`.

        Returns:
            (N, T) float32 in [-1, 1].

        Raises:
            EngineError: Not even one image fits into the device's memory.
        """
        found: list[FloatArray] = [np.zeros((0, len(self._texts)), np.float32)]
        start = 0
        while start < len(pixels):
            chosen = pixels[start : start + self.batch_size]
            cosines = self._try_batch(chosen)
            if cosines is not None:
                found.append(cosines)
                start += len(chosen)
        return np.concatenate(found)

    def _try_batch(self, pixels: Sequence[torch.Tensor]) -> FloatArray | None:
        """The (N, T) cosines of a batch; None where memory ran out and the batch size has been halved."""
        try:
            return self._cosines(torch.stack(list(pixels)))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Here, and not in the handler: the traceback that held the batch's tensors is gone.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(pixels) == 1:
            msg = f"out of memory on {self._engine.device} with a single image: give --device cpu"
            raise EngineError(msg)
        self.batch_size = len(pixels) // 2
        return None

    @torch.no_grad()
    def _cosines(self, batch: torch.Tensor) -> FloatArray:
        with self._engine.autocast():
            features = self._engine.model.encode_image(batch.to(self._engine.device))
        cosines = functional.normalize(features.float(), dim=-1) @ self._texts.T
        return cosines.cpu().numpy().astype(np.float32, copy=False)
