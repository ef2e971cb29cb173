"""What all makers of CAMs share: batches of one network size, scales and flips, memory that runs out."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch

from semples_cli.config import CamSettings
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.device import is_out_of_memory
from semples_cli.engine.preprocess import network_size, to_pixels
from semples_cli.errors import DataError, EngineError
from semples_cli.functional.cam import average_maps, min_max
from semples_cli.types import FloatArray

Image = npt.NDArray[np.uint8]
Size = tuple[int, int]
# The network's input at each scale, (3, H', W') float32.
Prepared = tuple[torch.Tensor, ...]


class CamMaker(ABC):
    """Makes CAMs of images that carry labels; what looks at one batch of pixels is left to each kind.

    Letters: N images, K classes present in one, F classes, h, w patch grid.

    Attributes:
        settings: Size, scales, flips, and what else the kind reads of them.
        batch_size: Images that go through CLIP at once; halved for good when device memory runs out.
        background_words: Words that compete with the classes; none but in a kind that has texts.
        record: What a run writes down about it beside model and settings, and what its results depend on; JSON values.
    """

    background_words: tuple[str, ...] = ()
    record: Mapping[str, object] = {}

    # What to do when not even one image fits into memory, for the message.
    _memory_cure = "give a smaller --size, or --device cpu"

    def __init__(
        self, engine: ClipEngine, num_classes: int, settings: CamSettings, patch_size: int | None = None
    ) -> None:
        """F = `num_classes`; `patch_size` in pixels, None: CLIP's."""
        self._patch_size = patch_size or engine.patch_size
        self.settings = settings
        self.batch_size = settings.batch_size
        self._engine = engine
        self._num_classes = num_classes
        self._looked_for: Counter[int] = Counter()
        self._found: set[int] = set()

    @property
    def never_found(self) -> dict[int, int]:
        """Class indices whose maps were 0 in all images so far, and in how many: a class may have died in training."""
        return {k: count for k, count in sorted(self._looked_for.items()) if k not in self._found}

    def grid_size(self, image_size: Size) -> Size:
        """(h, w) of the maps of an (H, W) image: the patch grid of the largest scale."""
        height, width = self._network_sizes(image_size)[int(np.argmax(self.settings.scales))]
        return height // self._patch_size, width // self._patch_size

    def prepare(self, image: Image) -> Prepared:
        """What the network reads of an image, at each scale: (3, H', W') float32 each, on the CPU. May run in a thread.

        Args:
            image: (H, W, 3) uint8.
        """
        mean, std = self._engine.preprocess.mean, self._engine.preprocess.std
        return tuple(to_pixels(image, size, mean, std) for size in self._network_sizes(image.shape[:2]))

    def maps(
        self,
        images: Sequence[Image],
        class_indices: Sequence[Sequence[int]],
        prepared: Sequence[Prepared] | None = None,
        *,
        counted: bool = True,
    ) -> list[FloatArray]:
        """CAMs of the classes that are present in each image.

        Args:
            images: (H, W, 3) uint8 each; sizes may differ, those that the network reads at one size share batches.
            class_indices: Class indices 1..F of each image, in the order that its maps shall have.
            prepared: From `prepare`, of each image, where a thread has done that already; None: done here.
            counted: Whether these images count for `never_found`.

        Returns:
            For each image (K, h, w) float32 in [0, 1].

        Raises:
            DataError: Images and classes do not go together.
            EngineError: Not even one image fits into the device's memory.
        """
        self._check(images, class_indices)
        results: list[FloatArray] = [
            np.zeros((0, *self.grid_size(image.shape[:2])), dtype=np.float32) for image in images
        ]
        for bucket in self._buckets(images, class_indices):
            start = 0
            while start < len(bucket):
                chosen = bucket[start : start + self.batch_size]
                ready = [self.prepare(images[i]) if prepared is None else prepared[i] for i in chosen]
                made = self._try_batch(ready, [class_indices[i] for i in chosen], images[chosen[0]].shape[:2])
                if made is None:
                    continue
                for i, scores in zip(chosen, made, strict=True):
                    results[i] = scores
                    if counted:
                        self._count(class_indices[i], scores)
                start += len(chosen)
        return results

    def _count(self, indices: Sequence[int], scores: FloatArray) -> None:
        self._looked_for.update(indices)
        self._found.update(k for k, of_class in zip(indices, scores, strict=True) if of_class.any())

    def _check(self, images: Sequence[Image], class_indices: Sequence[Sequence[int]]) -> None:
        if len(images) != len(class_indices):
            msg = f"{len(images)} images but classes for {len(class_indices)}: give one tuple of classes for each image"
            raise DataError(msg)
        for indices in class_indices:
            if any(not 1 <= k <= self._num_classes for k in indices):
                msg = f"class indices {tuple(indices)} must lie in 1..{self._num_classes}"
                raise DataError(msg)

    def _network_sizes(self, image_size: Size) -> tuple[Size, ...]:
        sizes = (network_size(image_size, self.settings.size, self._patch_size, s) for s in self.settings.scales)
        return tuple(sizes)

    def _buckets(self, images: Sequence[Image], class_indices: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Images of one network size, those with as many classes next to each other: a batch costs its largest K."""

        def size(i: int) -> tuple[Size, ...]:
            return self._network_sizes(images[i].shape[:2])

        labelled = [i for i, indices in enumerate(class_indices) if indices]
        ordered = sorted(labelled, key=lambda i: (size(i), len(class_indices[i])))
        for _, bucket in groupby(ordered, key=size):
            yield list(bucket)

    def _try_batch(
        self, prepared: Sequence[Prepared], classes: Sequence[Sequence[int]], image_size: Size
    ) -> list[FloatArray] | None:
        """The maps of a batch; None where memory ran out and the batch size has been halved."""
        try:
            return self._batch_maps(prepared, classes, image_size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Here, and not in the handler: the traceback that held the batch's tensors is gone.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(prepared) == 1:
            msg = (
                f"out of memory on {self._engine.device} with a single image at size {self.settings.size}: "
                f"{self._memory_cure}"
            )
            raise EngineError(msg)
        self.batch_size = len(prepared) // 2
        return None

    def _batch_maps(
        self, prepared: Sequence[Prepared], classes: Sequence[Sequence[int]], image_size: Size
    ) -> list[FloatArray]:
        """Maps of images that share their network sizes, averaged over scales and flips."""
        passes: list[list[torch.Tensor]] = []
        for at_scale in zip(*prepared, strict=True):
            pixels = self._send(torch.stack(at_scale))
            passes.append(self._pass_maps(pixels, classes))
            if self.settings.flips:
                passes.append([maps.flip(-1) for maps in self._pass_maps(pixels.flip(-1), classes)])
        grid = self.grid_size(image_size)
        averaged = (average_maps(of_image, grid) for of_image in zip(*passes, strict=True))
        return [min_max(maps).cpu().numpy().astype(np.float32, copy=False) for maps in averaged]

    def _send(self, pixels: torch.Tensor) -> torch.Tensor:
        """To the device; to a GPU from pinned memory, so that nobody waits for the copy."""
        if self._engine.device.type != "cuda":
            return pixels.to(self._engine.device)
        return pixels.pin_memory().to(self._engine.device, non_blocking=True)

    @abstractmethod
    def _pass_maps(self, pixels: torch.Tensor, classes: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """Maps of a batch at one scale.

        Args:
            pixels: (B, 3, H', W') float32, normalised, on the engine's device.
            classes: Class indices 1..F of each image, one or more.

        Returns:
            For each image (K, h, w), 0 or above; those of all scales must be comparable.
        """
