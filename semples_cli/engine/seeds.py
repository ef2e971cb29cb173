"""Training-free CAMs: softmax-GradCAM at CLIP's last block, spread by its own attention (CLIP-ES, Lin et al. 2023)."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch

from semples_cli.config import CamSettings
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.device import is_out_of_memory
from semples_cli.engine.layers import parse_layers
from semples_cli.engine.preprocess import network_size, to_pixels
from semples_cli.errors import DataError, EngineError
from semples_cli.functional.affinity import propagate, symmetric_affinity
from semples_cli.functional.cam import average_maps, class_margins, grad_cam, min_max
from semples_cli.types import ClassSet, FloatArray

Image = npt.NDArray[np.uint8]
Size = tuple[int, int]


class SeedGenerator:
    """Makes CAMs of a class set; texts are encoded once, here.

    Letters: N images, K classes present in one, F classes, D embedding width, W tower width, P patches.

    Attributes:
        batch_size: Images that go through CLIP at once; halved for good when device memory runs out.
        background_words: The settings' words without those that are a class's own name, which would compete with it.
    """

    def __init__(self, engine: ClipEngine, class_set: ClassSet, settings: CamSettings) -> None:
        """Encode the texts of all classes and background words.

        Raises:
            SettingsError: The affinity layers do not go with the model.
        """
        self._engine = engine
        self._settings = settings
        self._layers = parse_layers(settings.affinity_layers, engine.num_layers)
        own = {name.casefold() for name in (*class_set.names, *class_set.prompt_names)}
        self.background_words = tuple(word for word in settings.background_words if word.casefold() not in own)
        words = (*class_set.prompt_names, *self.background_words)
        self._texts = engine.encode_texts([settings.template.replace("{}", word) for word in words])
        self._num_classes = len(class_set)
        self.batch_size = settings.batch_size

    def grid_size(self, image_size: Size) -> Size:
        """(h, w) of the maps of an (H, W) image: the patch grid of the largest scale."""
        height, width = self._network_sizes(image_size)[int(np.argmax(self._settings.scales))]
        return height // self._engine.patch_size, width // self._engine.patch_size

    def maps(self, images: Sequence[Image], class_indices: Sequence[Sequence[int]]) -> list[FloatArray]:
        """CAMs of the classes that are present in each image.

        Args:
            images: (H, W, 3) uint8 each; sizes may differ, those that the network reads at one size share batches.
            class_indices: Class indices 1..F of each image, in the order that its maps shall have.

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
                made = self._try_batch([images[i] for i in chosen], [class_indices[i] for i in chosen])
                if made is None:
                    continue
                for i, scores in zip(chosen, made, strict=True):
                    results[i] = scores
                start += len(chosen)
        return results

    def _check(self, images: Sequence[Image], class_indices: Sequence[Sequence[int]]) -> None:
        if len(images) != len(class_indices):
            msg = f"{len(images)} images but classes for {len(class_indices)}: give one tuple of classes for each image"
            raise DataError(msg)
        for indices in class_indices:
            if any(not 1 <= k <= self._num_classes for k in indices):
                msg = f"class indices {tuple(indices)} must lie in 1..{self._num_classes}"
                raise DataError(msg)

    def _network_sizes(self, image_size: Size) -> tuple[Size, ...]:
        patch = self._engine.patch_size
        return tuple(network_size(image_size, self._settings.size, patch, scale) for scale in self._settings.scales)

    def _buckets(self, images: Sequence[Image], class_indices: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Images of one network size, those with as many classes next to each other: a batch costs its largest K."""

        def size(i: int) -> tuple[Size, ...]:
            return self._network_sizes(images[i].shape[:2])

        labelled = [i for i, indices in enumerate(class_indices) if indices]
        ordered = sorted(labelled, key=lambda i: (size(i), len(class_indices[i])))
        for _, bucket in groupby(ordered, key=size):
            yield list(bucket)

    def _try_batch(self, images: Sequence[Image], classes: Sequence[Sequence[int]]) -> list[FloatArray] | None:
        """The maps of a batch; None where memory ran out and the batch size has been halved."""
        try:
            return self._batch_maps(images, classes)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Here, and not in the handler: the traceback that held the batch's tensors is gone.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(images) == 1:
            msg = (
                f"out of memory on {self._engine.device} with a single image at size {self._settings.size}: give a "
                "smaller --size, fewer --affinity-layers, or --device cpu"
            )
            raise EngineError(msg)
        self.batch_size = len(images) // 2
        return None

    def _batch_maps(self, images: Sequence[Image], classes: Sequence[Sequence[int]]) -> list[FloatArray]:
        """Maps of images that share their network sizes, averaged over scales and flips."""
        engine = self._engine
        passes: list[list[torch.Tensor]] = []
        for size in self._network_sizes(images[0].shape[:2]):
            pixels = torch.stack(
                [to_pixels(image, size, engine.preprocess.mean, engine.preprocess.std) for image in images]
            ).to(engine.device)
            passes.append(self._pass_maps(pixels, classes))
            if self._settings.flips:
                passes.append([maps.flip(-1) for maps in self._pass_maps(pixels.flip(-1), classes)])
        grid = self.grid_size(images[0].shape[:2])
        averaged = (average_maps(of_image, grid) for of_image in zip(*passes, strict=True))
        return [min_max(maps).cpu().numpy().astype(np.float32, copy=False) for maps in averaged]

    def _pass_maps(self, pixels: torch.Tensor, classes: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """(K, h, w) in [0, 1] of each image at one scale: GradCAM, then affinity."""
        h, w = (side // self._engine.patch_size for side in pixels.shape[-2:])
        tokens, attentions = self._engine.tokens_before_last_block(pixels, self._layers)
        attention = self._mean(attentions)
        del attentions
        cams = self._grad_cams(tokens, classes)
        made = []
        for b, indices in enumerate(classes):
            maps = min_max(cams[b, : len(indices)].reshape(-1, h, w))
            made.append(maps if attention is None else self._spread(maps, attention[b]))
        return made

    def _spread(self, maps: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
        """Affinity in float64 where the device has it: it is close to uniform, and min-max blows up what is left."""
        exact = torch.float32 if maps.device.type == "mps" else torch.float64
        affinity = symmetric_affinity(attention.to(exact))
        settings = self._settings
        return propagate(maps, affinity, steps=settings.affinity_steps, box_threshold=settings.box_threshold)

    @staticmethod
    def _mean(attentions: dict[int, torch.Tensor]) -> torch.Tensor | None:
        """(B, P, P) mean over the chosen layers; None where none was chosen."""
        if not attentions:
            return None
        total = torch.zeros_like(next(iter(attentions.values())))
        for attention in attentions.values():  # not stacked: that would be all of them in memory twice
            total += attention
        return total / len(attentions)

    def _grad_cams(self, tokens: torch.Tensor, classes: Sequence[Sequence[int]]) -> torch.Tensor:
        """(B, K_max, P) GradCAMs; row k of an image is its k-th class, rows beyond its classes mean nothing.

        One backward pass gives the k-th class of all images at once, for no image depends on another. Runs in float32
        whatever the engine's precision: these gradients are small numbers.
        """
        targets, competing = self._targets(classes)
        normed = self._engine.norm_before_last_block(tokens).requires_grad_()
        features = self._engine.patch_features(tokens, normed)
        logits = self._engine.logit_scale * features @ self._texts.T
        cams = []
        for k in range(targets.shape[1]):
            margins = class_margins(logits, competing, targets[:, k]).sum()
            last = k == targets.shape[1] - 1
            (gradients,) = torch.autograd.grad(margins, normed, retain_graph=not last)
            cams.append(grad_cam(normed.detach()[:, 1:], gradients[:, 1:]))
        return torch.stack(cams, dim=1)

    def _targets(self, classes: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Texts (B, K_max) that are looked for, short rows filled with their last; and (B, T) that compete."""
        most = max(len(indices) for indices in classes)
        columns = [[k - 1 for k in indices] for indices in classes]
        targets = torch.tensor([row + row[-1:] * (most - len(row)) for row in columns])
        competing = torch.zeros(len(classes), len(self._texts), dtype=torch.bool)
        competing[:, self._num_classes :] = True
        competing.scatter_(1, targets, True)
        return targets.to(self._engine.device), competing.to(self._engine.device)
