"""What a mask generator is trained on: labelled images, in batches of random views, the next one read ahead.

Order and views follow from (seed, epoch, image) alone, so that an interrupted training goes on as if it had not been,
and several processes that each read their share of a batch see together what one would.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from semples_cli.config import GeneratorSettings
from semples_cli.engine.augmentation import erase, rand_augment
from semples_cli.engine.background_regions import MappedImages
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.data_parallel import ALONE, Ranks
from semples_cli.engine.preprocess import to_pixels
from semples_cli.engine.tower_features import DropPath
from semples_cli.engine.views import Crop, cut_image, cut_maps, random_crop

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class LabelledImages:
    """Images that are read when they are needed, and their labels, which are known before.

    Attributes:
        class_indices: Class indices 1..F of each image; () where nothing is present.
        read: Number of an image, from 0 → (H, W, 3) uint8, or None where it cannot be read. Called from a thread.
    """

    class_indices: Sequence[tuple[int, ...]]
    read: Callable[[int], Image | None]


@dataclass(frozen=True)
class ViewBatch:
    """Views and labels of the images of a step.

    Attributes:
        pixels: (B, 3, S, S) float32, normalised, on the CPU.
        class_indices: Class indices 1..F of each.
        drop_path: What the generator's own tower passes over in this step; None: nothing.
        maps: The same part of the maps that came with the images, (K, S, S) float32 each; () where none came.
    """

    pixels: torch.Tensor
    class_indices: tuple[tuple[int, ...], ...]
    drop_path: DropPath | None = None
    maps: tuple[torch.Tensor, ...] = ()

    def part(self, start: int, stop: int) -> "ViewBatch":
        """Images `start` to `stop` of it."""
        return ViewBatch(self.pixels[start:stop], self.class_indices[start:stop], self.drop_path, self.maps[start:stop])


@dataclass(frozen=True)
class ViewBatches:
    """The steps of a training, as far as they are this process's.

    Attributes:
        engine: Whose input size and normalisation the views have.
        images: The images, or images with maps.
        chosen: Numbers of the images that take part.
        settings: Epochs, batch size, crop scale, augmentation and seed. The size is that of a whole batch.
        ranks: The processes that share out each batch.
    """

    engine: ClipEngine
    images: LabelledImages | MappedImages
    chosen: Sequence[int]
    settings: GeneratorSettings
    ranks: Ranks = ALONE

    @property
    def num_steps(self) -> int:
        """Steps of the whole training; the last batch of an epoch may be smaller."""
        return self.settings.epochs * self._steps_an_epoch

    @property
    def _steps_an_epoch(self) -> int:
        return -(-len(self.chosen) // self.settings.batch_size)

    def read(self, first: int) -> Iterator[ViewBatch]:
        """The batches from step `first` on; while one is in use, a thread makes the next."""
        with ThreadPoolExecutor(1) as thread:
            ahead: Future[ViewBatch] | None = None
            for step in range(first, self.num_steps):
                current, ahead = ahead, thread.submit(self.batch, step)
                if current is not None:
                    yield current.result()
            if ahead is not None:
                yield ahead.result()

    def batch(self, step: int) -> ViewBatch:
        """This process's share of the batch of one step; without the images that cannot be read."""
        epoch, place = divmod(step, self._steps_an_epoch)
        settings, side = self.settings, self.engine.image_size
        order = np.random.default_rng((settings.seed, epoch)).permutation(len(self.chosen))
        planned = order[place * settings.batch_size : (place + 1) * settings.batch_size].tolist()
        pixels, classes, maps = [], [], []
        for number in self.ranks.share(len(planned)):
            i = self.chosen[planned[number]]
            loaded = self.images.read(i)
            if loaded is None:
                continue
            image, maps_of_image = loaded if isinstance(loaded, tuple) else (loaded, None)
            rng = np.random.default_rng((settings.seed, epoch, i))
            crop = random_crop((image.shape[0], image.shape[1]), settings.crop_scale, rng)
            pixels.append(self._view(image, crop, rng))
            classes.append(self.images.class_indices[i])
            if maps_of_image is not None:
                whole = torch.from_numpy(maps_of_image)
                maps.append(cut_maps(whole, (image.shape[0], image.shape[1]), side, crop))
        stacked = torch.stack(pixels) if pixels else torch.empty(0, 3, side, side)
        return ViewBatch(stacked, tuple(classes), maps=tuple(maps))

    def _view(self, image: Image, crop: Crop, rng: np.random.Generator) -> torch.Tensor:
        """A view of an image: (3, S, S) float32, normalised."""
        settings, preprocess, side = self.settings, self.engine.preprocess, self.engine.image_size
        view = cut_image(image, side, crop)
        if settings.rand_augment:
            view = rand_augment(view, settings.rand_augment, preprocess.mean, rng)
        pixels = to_pixels(view, (side, side), preprocess.mean, preprocess.std)
        return erase(pixels, settings.erasing, rng) if settings.erasing else pixels
