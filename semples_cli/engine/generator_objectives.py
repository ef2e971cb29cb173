"""What a mask generator is trained for: image-level classes first, then regions that match their labels.

Source: WeakTr (Zhu et al. 2023, arXiv 2304.01184) for the first; SemPLeS (Lin et al. 2025, arXiv 2401.11791, sections
3.2 and 3.4) for matching and refinement.

Letters: B images, N pairs of an image and a class present in it, F classes, D embedding width, M prompts of a class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn import functional

from semples_cli.config import GeneratorSettings
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.generators.protocol import MaskGenerator
from semples_cli.engine.region_features import encode_regions
from semples_cli.engine.training_batches import ViewBatch
from semples_cli.functional.losses import pull_loss, push_loss, refinement_loss, similarity
from semples_cli.functional.regions import cut_regions, region_maps, sharpen_maps

EPSILON = 1e-4
"""Maps are kept this far from 0 and 1 before a logarithm."""


class Objective(Protocol):
    """A loss of named terms, each a mean over items, so that parts of a batch add up to the whole exactly.

    Attributes:
        weights: Weight of each term in the loss.
    """

    weights: Mapping[str, float]

    def num_items(self, batch: ViewBatch) -> int:
        """Items that the terms are means over."""
        ...

    def terms(self, generator: MaskGenerator, batch: ViewBatch) -> dict[str, torch.Tensor]:
        """The terms, scalars, of a batch with at least one item."""
        ...


class ClassificationObjective:
    """Multi-label soft margin of coarse logits, pooled before the ReLU, of pooled fine maps, and of class tokens.

    Attributes:
        weights: 1 for 'coarse' and 'fine', and for 'tokens' where there are class tokens.
    """

    def __init__(self, engine: ClipEngine, num_classes: int, *, class_tokens: bool = False) -> None:
        """F = `num_classes`; `class_tokens`: whether the generator has them."""
        names = ("coarse", "fine", "tokens") if class_tokens else ("coarse", "fine")
        self.weights: Mapping[str, float] = dict.fromkeys(names, 1.0)
        self._device = engine.device
        self._num_classes = num_classes

    def num_items(self, batch: ViewBatch) -> int:
        """Images; one without any class counts, for it says what is absent."""
        return len(batch.class_indices)

    def terms(self, generator: MaskGenerator, batch: ViewBatch) -> dict[str, torch.Tensor]:
        """See `Objective`."""
        targets = torch.zeros(len(batch.class_indices), self._num_classes)
        for row, indices in zip(targets, batch.class_indices, strict=True):
            row[[k - 1 for k in indices]] = 1
        targets = targets.to(self._device)
        maps = generator.class_maps(batch.pixels.to(self._device), None, batch.drop_path)
        logits = {"coarse": maps.coarse.mean((-2, -1)), "fine": maps.fine.mean((-2, -1)), "tokens": maps.tokens}
        return {
            name: functional.multilabel_soft_margin_loss(logit, targets)
            for name, logit in logits.items()
            if logit is not None
        }


class FittingObjective:
    """Binary cross-entropy against given maps as soft targets: of the class logits of every patch, and of the maps.

    What follows the logits alone says which patches belong to the class, absent classes included; the stretched fine
    maps are what masks are cut from. The mean over images is one of means, so that no image counts for its classes.

    Attributes:
        weights: 1 for 'present' and 'absent' (logits of the classes in an image, and of all others) and for 'fine'.
    """

    def __init__(self, engine: ClipEngine, epsilon: float) -> None:
        """ε of the min-max of the fine maps."""
        self.weights: Mapping[str, float] = {"present": 1.0, "absent": 1.0, "fine": 1.0}
        self._device = engine.device
        self._epsilon = epsilon

    def num_items(self, batch: ViewBatch) -> int:
        """Images."""
        return len(batch.class_indices)

    def terms(self, generator: MaskGenerator, batch: ViewBatch) -> dict[str, torch.Tensor]:
        """See `Objective`; every image has a class."""
        rows, slots, classes, columns = (each.to(self._device) for each in _pairs(batch.class_indices))
        targets = torch.cat(batch.maps).to(self._device)
        maps = generator.class_maps(batch.pixels.to(self._device), columns, batch.drop_path)
        fine = region_maps(maps.fine[rows, slots], (targets.shape[-2], targets.shape[-1]), self._epsilon)
        coarse = functional.adaptive_avg_pool2d(targets, (maps.coarse.shape[-2], maps.coarse.shape[-1]))
        present = functional.binary_cross_entropy_with_logits(maps.coarse[rows, classes], coarse, reduction="none")
        stretched = functional.binary_cross_entropy(fine.clamp(EPSILON, 1 - EPSILON), targets, reduction="none")
        absent = torch.ones(maps.coarse.shape[:2], device=self._device)
        absent[rows, classes] = 0
        nothing = functional.softplus(maps.coarse).mean((-2, -1)) * absent
        share = 1 / torch.bincount(rows, minlength=len(batch.class_indices))[rows] / len(batch.class_indices)
        return {
            "present": (present.mean((-2, -1)) * share).sum(),
            "absent": (nothing.sum(1) / absent.sum(1).clamp(min=1)).mean(),
            "fine": (stretched.mean((-2, -1)) * share).sum(),
        }


@dataclass(frozen=True)
class BackgroundTexts:
    """Texts that the foreground must not look like.

    Attributes:
        features: (F, D) or (F, M, D) float32, L2-normalised: of each class's prompt, or of its M words.
        usable: (F,) bool: classes whose texts can be used; the others are not refined.
    """

    features: torch.Tensor
    usable: torch.Tensor


class RegionObjective:
    """Segment-label matching and, where background texts are given, prompt-guided refinement.

    Attributes:
        weights: 1 for 'foreground', λ_b for 'background' and, with texts, λ_r for 'refinement'; 0 for 'range', the
            mean range of the fine maps before they are stretched, which tells how much ε damps them.
    """

    def __init__(
        self,
        engine: ClipEngine,
        label_features: torch.Tensor,
        settings: GeneratorSettings,
        texts: BackgroundTexts | None = None,
    ) -> None:
        """Take the (F, D) features of the label texts, and what the foreground must not look like."""
        self.weights: Mapping[str, float] = {"foreground": 1.0, "background": settings.lambda_b, "range": 0.0}
        if texts is not None:
            self.weights = {**self.weights, "refinement": settings.lambda_r}
            texts = BackgroundTexts(texts.features.to(engine.device), texts.usable.to(engine.device))
        self._engine = engine
        self._labels = label_features.to(engine.device)
        self._settings = settings
        self._texts = texts

    def num_items(self, batch: ViewBatch) -> int:
        """Pairs of an image and a class present in it."""
        return sum(len(indices) for indices in batch.class_indices)

    def terms(self, generator: MaskGenerator, batch: ViewBatch) -> dict[str, torch.Tensor]:
        """See `Objective`; all regions go through CLIP in one batch."""
        rows, slots, classes, columns = (each.to(self._engine.device) for each in _pairs(batch.class_indices))
        pixels = batch.pixels.to(self._engine.device)
        fine = generator.class_maps(pixels, columns, batch.drop_path).fine[rows, slots]
        maps = region_maps(fine, (pixels.shape[-2], pixels.shape[-1]), self._settings.region_epsilon)
        maps = sharpen_maps(maps, self._settings.region_sharpness)
        features = encode_regions(self._engine, torch.cat(cut_regions(pixels[rows], maps)))
        foreground, background = features.chunk(2)
        labels = self._labels[classes]
        terms = {
            "foreground": pull_loss(self._similarity(foreground, labels)),
            "background": push_loss(self._similarity(background, labels)),
            "range": (fine.amax((-2, -1)) - fine.amin((-2, -1))).mean().detach(),
        }
        if self._texts is not None:
            terms["refinement"] = self._refinement(foreground, classes, self._texts)
        return terms

    def _refinement(self, foreground: torch.Tensor, classes: torch.Tensor, texts: BackgroundTexts) -> torch.Tensor:
        """The mean is over all pairs, those of unusable texts as 0: no pair weighs more because others are left out."""
        kept = texts.usable[classes]
        features = texts.features[classes[kept]]
        features = features[:, None] if features.ndim == 2 else features
        similarities = self._similarity(foreground[kept, None], features)
        return refinement_loss(similarities.flatten()) * (int(kept.sum()) / len(classes))

    def _similarity(self, regions: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        return similarity((regions * texts).sum(dim=-1), self._settings.similarity)


def _pairs(class_indices: Sequence[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Row, slot and class column of each pair, (N,); and (B, K) columns by slot, short rows filled up with column 0."""
    most = max(len(indices) for indices in class_indices)
    columns = torch.zeros(len(class_indices), most, dtype=torch.int64)
    for row, indices in zip(columns, class_indices, strict=True):
        row[: len(indices)] = torch.tensor(indices, dtype=torch.int64) - 1
    counts = torch.tensor([len(indices) for indices in class_indices])
    rows, slots = torch.nonzero(torch.arange(most)[None] < counts[:, None], as_tuple=True)
    return rows, slots, columns[rows, slots], columns
