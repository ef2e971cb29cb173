"""Background regions of all (image, class) pairs through CLIP once, for contrastive prompt learning.

The published way sends every region through CLIP in every step. CLIP is frozen and so are the maps, so a region's
features never change: here each pair is embedded in V augmented views, and the training draws from those. Of several
processes each embeds its share of the images, and keeps those features to itself: it is the one that learns from them.

Letters: N pairs of an image and a class present in it, V views, K classes present in one image, D embedding width.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from semples_cli.config import PromptSettings
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.data_parallel import ALONE, Ranks
from semples_cli.engine.device import is_out_of_memory
from semples_cli.engine.preprocess import to_pixels
from semples_cli.engine.region_features import encode_regions
from semples_cli.engine.views import cut_image, cut_maps, random_crop
from semples_cli.errors import EngineError, UnwritableError
from semples_cli.functional.regions import cut_regions, region_maps, sharpen_maps
from semples_cli.types import FloatArray, IndexArray, Progress

BATCH = 64
"""Regions that go through CLIP at once, for as long as memory lasts."""
IN_MEMORY = 2**30
"""Bytes of features from which on they are kept in a file and mapped."""


@dataclass(frozen=True)
class MappedImages:
    """Images with their CAMs, which are read when they are needed.

    Attributes:
        class_indices: Class indices 1..F of each image, in the order of its maps.
        read: Number of an image, from 0 → (H, W, 3) uint8 and (K, h, w) float32, or None where it cannot be read.
    """

    class_indices: Sequence[tuple[int, ...]]
    read: Callable[[int], tuple[npt.NDArray[np.uint8], FloatArray] | None]


@dataclass(frozen=True)
class BackgroundRegions:
    """Features of background regions.

    Attributes:
        features: (V, N, D) float32, L2-normalised; of several processes each has those of an adjoining part of the N.
        class_indices: (N,) int64 in 1..F, of all pairs.
        first: Number of the pair that the features begin with.
    """

    features: FloatArray
    class_indices: IndexArray
    first: int = 0

    def held(self, pairs: IndexArray) -> npt.NDArray[np.bool_]:
        """Which of some pairs, by number, have their features here."""
        held: npt.NDArray[np.bool_] = (pairs >= self.first) & (pairs < self.first + self.features.shape[1])
        return held


@torch.no_grad()
def embed_background_regions(
    engine: ClipEngine,
    images: MappedImages,
    settings: PromptSettings,
    progress: Progress,
    store: Path | None = None,
    ranks: Ranks = ALONE,
) -> BackgroundRegions:
    """Embed the background region of every pair in every view.

    A view follows from (seed, image, view) alone. It is the same part of image and map; the map is stretched to [0, 1]
    within the view, and sharpened. When the device's memory runs out, fewer regions go through CLIP at once from there
    on; that moves the last bits of the features and nothing else.

    Args:
        engine: The frozen CLIP.
        images: The images; one that cannot be read is left out.
        settings: Views, crop scale, seed, and how the maps cut.
        progress: Called with (images done, images) of this process's share.
        store: File for the features where they are too large for memory; None: always in memory. Of this process alone.
        ranks: The processes that share out the images.

    Returns:
        The features of the images that could be read, in the order of the images.

    Raises:
        UnwritableError: There is no room for the file.
        EngineError: Not even one region fits into the device's memory, or another process is gone.
    """
    share = ranks.share(len(images.class_indices))
    total = sum(len(images.class_indices[i]) for i in share)
    features = _allocate((settings.views, total, engine.embed_dim), store)
    encoder = _Encoder(engine)
    classes: list[int] = []
    waiting: list[tuple[tuple[int, ...], torch.Tensor]] = []
    for done, i in enumerate(share, 1):
        indices = images.class_indices[i]
        loaded = images.read(i) if indices else None
        if loaded is not None:
            waiting.append((indices, torch.stack(list(_views(engine, settings, i, *loaded)))))
        if sum(len(each) for each, _ in waiting) * settings.views >= BATCH or done == len(share):
            _embed(encoder, features, len(classes), waiting)
            classes.extend(k for each, _ in waiting for k in each)
            waiting = []
        progress(done, len(share))
    everyone = ranks.gather(np.array(classes, np.int64))
    first = sum(map(len, everyone[: ranks.rank]))
    return BackgroundRegions(features[:, : len(classes)], np.concatenate(everyone), first)


def _allocate(shape: tuple[int, int, int], store: Path | None) -> FloatArray:
    if store is None or int(np.prod(shape)) * 4 <= IN_MEMORY:
        return np.zeros(shape, np.float32)
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        store.unlink(missing_ok=True)  # were it a link, the writing would go elsewhere
        features = np.memmap(store, np.float32, "w+", shape=shape)
        _reserve(store, features.nbytes)
    except OSError as error:
        msg = (
            f"{store}: {int(np.prod(shape)) * 4 / 2**30:.1f} GiB for the features of the regions cannot be had there "
            f"({error.strerror}); make room, or write the prompts to another disk"
        )
        raise UnwritableError(msg) from error
    return features


def _reserve(store: Path, num_bytes: int) -> None:
    """Take the room on the disk now: mapped memory without room behind it ends the process with a signal."""
    if hasattr(os, "posix_fallocate"):  # not on Windows
        with store.open("r+b") as handle:
            os.posix_fallocate(handle.fileno(), 0, num_bytes)


def _views(
    engine: ClipEngine, settings: PromptSettings, i: int, image: npt.NDArray[np.uint8], maps: FloatArray
) -> Iterator[torch.Tensor]:
    """(K, 3, S, S) background regions of each view."""
    side, size = engine.image_size, (image.shape[0], image.shape[1])
    for view in range(settings.views):
        crop = random_crop(size, settings.crop_scale, np.random.default_rng((settings.seed, i, view)))
        pixels = to_pixels(cut_image(image, side, crop), (side, side), engine.preprocess.mean, engine.preprocess.std)
        cut = region_maps(cut_maps(torch.from_numpy(maps), size, side, crop), (side, side), settings.region_epsilon)
        cut = sharpen_maps(cut, settings.region_sharpness, settings.region_border)
        yield cut_regions(pixels.expand(len(maps), -1, -1, -1), cut)[1]


def _embed(
    encoder: "_Encoder", features: FloatArray, start: int, waiting: Sequence[tuple[tuple[int, ...], torch.Tensor]]
) -> None:
    """Write the features of pairs from number `start` on."""
    if not waiting:
        return
    regions = torch.cat([views for _, views in waiting], dim=1)  # (V, pairs, 3, S, S)
    num_views, num_pairs = regions.shape[:2]
    made = encoder.encode(regions.flatten(0, 1)).numpy().reshape(num_views, num_pairs, -1)
    features[:, start : start + num_pairs] = made


class _Encoder:
    """CLIP on as many regions at once as memory allows; the number is halved for good when it runs out."""

    def __init__(self, engine: ClipEngine) -> None:
        self._engine = engine
        self._batch = BATCH

    def encode(self, regions: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) regions → (N, D) float32 features, both on the CPU."""
        made: list[torch.Tensor] = []
        start = 0
        while start < len(regions):
            features = self._try(regions[start : start + self._batch])
            if features is not None:
                made.append(features)
                start += len(features)
        return torch.cat(made)

    def _try(self, regions: torch.Tensor) -> torch.Tensor | None:
        """The features of a batch; None where memory ran out and the batch has been halved."""
        try:
            return encode_regions(self._engine, regions.to(self._engine.device)).cpu()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Here, and not in the handler: the traceback that held the batch's tensors is gone.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(regions) == 1:
            msg = (
                f"out of memory on {self._engine.device} with a single background region; use --precision bf16, "
                "--device cpu, or a smaller CLIP"
            )
            raise EngineError(msg)
        self._batch = len(regions) // 2
        return None
