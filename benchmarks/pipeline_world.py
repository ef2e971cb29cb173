"""A rendered world in memory, the parts of the pipeline on it, and what its masks are worth.

Ground truth is read by `World.measure` and by nothing else.
"""

import contextlib
import copy
import functools
import multiprocessing
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semples_cli.config import CamSettings, CrfSettings, GeneratorSettings, PromptSettings, WorldSettings
from semples_cli.data.background_words import read_background_words
from semples_cli.demo.model import (
    DEMO_CAM_SETTINGS,
    DEMO_CRF_SETTINGS,
    DEMO_GENERATOR_CAM_SETTINGS,
    DEMO_GENERATOR_SETTINGS,
    DEMO_PROMPT_SETTINGS,
)
from semples_cli.demo.names import BACKGROUNDS, OBJECTS, paired_backgrounds
from semples_cli.demo.world import render_scene
from semples_cli.engine.background_regions import MappedImages, embed_background_regions
from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.generator_cams import GeneratorCams
from semples_cli.engine.generator_objectives import BackgroundTexts
from semples_cli.engine.generator_training import (
    encode_labels,
    train_fitted,
    train_initial,
    train_matching,
    train_refined,
)
from semples_cli.engine.generators.clip_head import ClipGenerator, build_clip_head
from semples_cli.engine.generators.protocol import MaskGenerator
from semples_cli.engine.generators.weaktr import WeakTrGenerator, build_weaktr
from semples_cli.engine.prompt_training import PromptLearning
from semples_cli.engine.prompts import PromptEncoder
from semples_cli.engine.seeds import CompetingPrompts, SeedGenerator
from semples_cli.engine.training_batches import LabelledImages
from semples_cli.functional.background_curve import BackgroundCurve
from semples_cli.functional.crf import DenseCrf, refine_labels
from semples_cli.functional.masks import resize_scores, seed_mask
from semples_cli.functional.metrics import DatasetScores, confusion_counts, dataset_scores
from semples_cli.types import ClassSet

CLASSES = ClassSet(OBJECTS)
WORDS = read_background_words("voc")
DEFAULT_SCORE = 0.4
Maps = list[np.ndarray]


@dataclass(frozen=True)
class Tuning:
    """All settings of the pipeline."""

    cams: CamSettings = DEMO_CAM_SETTINGS
    generator_cams: CamSettings = DEMO_GENERATOR_CAM_SETTINGS
    generator: GeneratorSettings = DEMO_GENERATOR_SETTINGS
    prompts: PromptSettings = DEMO_PROMPT_SETTINGS
    crf: CrfSettings = DEMO_CRF_SETTINGS


class World:
    """A rendered world in memory, and the pipeline's parts on it."""

    def __init__(self, engine: ClipEngine, settings: WorldSettings) -> None:
        self.engine, self.settings = engine, settings
        self.scenes = [render_scene(settings, n) for n in range(settings.num_images)]
        self.images = [scene.image for scene in self.scenes]
        self.present = [tuple(CLASSES.index_of(name) for name in scene.object_names) for scene in self.scenes]
        self.labelled = LabelledImages(self.present, lambda i: self.images[i])

    def seeds(self, settings: CamSettings, prompts: torch.Tensor | None = None) -> Maps:
        """Maps without training."""
        competing = None
        if prompts is not None:
            competing = CompetingPrompts(prompts, torch.ones(len(prompts), dtype=torch.bool))
        return SeedGenerator(self.engine, CLASSES, settings, competing).maps(self.images, self.present)

    def generator_maps(self, generator: MaskGenerator, settings: CamSettings) -> Maps:
        """Maps of a trained generator."""
        return GeneratorCams(self.engine, generator, CLASSES, settings, {}).maps(self.images, self.present)

    def train(
        self,
        stage: str,
        settings: GeneratorSettings,
        start: MaskGenerator | None = None,
        texts: BackgroundTexts | None = None,
    ) -> MaskGenerator:
        """Initial weights without `start`; from them stage (a) without `texts`, stage (c) with them."""
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Checkpoint(Path(folder) / "state", stage, every=10**9)
            if start is None:
                generator = self._fresh(settings)
                train_initial(generator, self.labelled, settings, checkpoint, silent)
                return generator
            generator = type(start)(self.engine, copy.deepcopy(start.network))
            arguments = (generator, self.labelled, CLASSES.prompt_names)
            if texts is None:
                train_matching(*arguments, settings, checkpoint, silent)
            else:
                train_refined(*arguments, texts, settings, checkpoint, silent)
            return generator

    def train_on(self, generator: MaskGenerator, settings: GeneratorSettings) -> MaskGenerator:
        """Initial weights from those that a generator has."""
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Checkpoint(Path(folder) / "state", "initial", every=10**9)
            train_initial(generator, self.labelled, settings, checkpoint, silent)
        return generator

    def fit(self, maps: Maps, settings: GeneratorSettings) -> MaskGenerator:
        """A generator fitted to maps."""
        generator = self._fresh(settings)
        images = MappedImages(self.present, lambda i: (self.images[i], maps[i]))
        with tempfile.TemporaryDirectory() as folder:
            train_fitted(generator, images, settings, Checkpoint(Path(folder) / "state", "f", every=10**9), silent)
        return generator

    def _fresh(self, settings: GeneratorSettings) -> MaskGenerator:
        if settings.kind == "weaktr":
            return WeakTrGenerator(self.engine, build_weaktr(len(CLASSES), settings))
        return ClipGenerator(self.engine, build_clip_head(self.engine, len(CLASSES), settings))

    def learn(self, maps: Maps, settings: PromptSettings) -> torch.Tensor:
        """(F, D) features of prompts learned on these maps."""
        images = MappedImages(self.present, lambda i: (self.images[i], maps[i]))
        regions = embed_background_regions(self.engine, images, settings, silent)
        learning = PromptLearning(self.engine, regions, encode_labels(self.engine, CLASSES.prompt_names), settings)
        with tempfile.TemporaryDirectory() as folder:
            vectors, _ = learning.run(Checkpoint(Path(folder) / "state", "prompts", every=10**9), silent)
        with torch.no_grad():
            return PromptEncoder(self.engine)(torch.from_numpy(vectors))

    def measure(
        self, maps: Maps, score: float, crf: CrfSettings | None = None, pool: Executor | None = None
    ) -> dict[str, Any]:
        """Figures of some maps, in percent.

        `default` and `tuned` are mIoU at DEFAULT_SCORE and at `score`, `best` at the score that the ground truth likes
        best; `leakage…` at the first two; `crf…` their mIoU after the CRF, where one is given; `lost` counts the
        classes present of which `tuned` has not one pixel; `iou…` is the IoU by class at the first two, None where its
        union is empty; `curve` is the mIoU at 0.00, 0.01, …, 1.00.
        """
        curve = BackgroundCurve(len(CLASSES) + 1)
        full = [resize_scores(each, scene.target.shape) for each, scene in zip(maps, self.scenes, strict=True)]
        for scene, scores, classes in zip(self.scenes, full, self.present, strict=True):
            curve.update(scene.target, scores, np.array(classes))
        miou = 100 * curve.miou()
        best = curve.best()
        figures: dict[str, Any] = {"best": miou[best], "best_score": float(curve.thresholds[best])}
        by_class = {}
        for name, at in (("default", DEFAULT_SCORE), ("tuned", score)):
            masks = [seed_mask(each, np.array(k), at) for each, k in zip(full, self.present, strict=True)]
            figures[name] = miou[round(100 * at)]
            figures[f"leakage_{name}"] = 100 * self._leakage(masks)
            by_class[f"iou_{name}"] = class_percents(self._scores(masks))
            if crf is not None:
                refined = refine_all(self.images, masks, crf, pool)
                figures[f"crf_{name}"] = 100 * self._scores(refined).miou
            figures["lost"] = len({k for classes in self.present for k in classes} - set(np.unique(np.stack(masks))))
        rounded = {key: round(float(value), 3) for key, value in figures.items()}
        return rounded | by_class | {"curve": miou.round(2).tolist()}

    def _scores(self, masks: Sequence[np.ndarray]) -> DatasetScores:
        pairs = zip(self.scenes, masks, strict=True)
        return dataset_scores(sum(confusion_counts(s.target, mask, len(CLASSES) + 1) for s, mask in pairs))

    def _leakage(self, masks: Sequence[np.ndarray]) -> float:
        """Of the pixels of class k's own background in images of k, the share called k; the mean over classes."""
        own = [BACKGROUNDS.index(name) + 1 for name in paired_backgrounds(self.settings.pairing)]
        called, pixels = np.zeros(len(own)), np.zeros(len(own))
        for scene, mask, classes in zip(self.scenes, masks, self.present, strict=True):
            for k in classes:
                values = mask[scene.backgrounds == own[k - 1]]
                called[k - 1] += (values == k).sum()
                pixels[k - 1] += values.size
        return float((called / np.maximum(pixels, 1))[pixels > 0].mean())


def class_percents(scores: DatasetScores) -> dict[str, float | None]:
    """IoU of background and classes in percent; None where there is none, for JSON has no NaN."""
    names = ("background", *OBJECTS)
    return {name: None if np.isnan(v) else round(100 * float(v), 2) for name, v in zip(names, scores.iou, strict=True)}


def refine_all(
    images: Sequence[np.ndarray], masks: Sequence[np.ndarray], settings: CrfSettings, pool: Executor | None = None
) -> list[np.ndarray]:
    """Masks after the dense CRF; the same with a pool and without."""
    refine = functools.partial(refine_one, settings=settings)
    if pool is None:
        return list(map(refine, images, masks))
    return list(pool.map(refine, images, masks, chunksize=25))


def refine_one(image: np.ndarray, mask: np.ndarray, settings: CrfSettings) -> np.ndarray:
    """A mask after the dense CRF."""
    options = {k: v for k, v in asdict(settings).items() if k not in ("unary", "gt_prob", "min_confidence")}
    return refine_labels(image, mask, settings.gt_prob, DenseCrf(**options))[0]


@contextlib.contextmanager
def crf_pool(workers: int) -> Iterator[Executor | None]:
    """Processes for the CRF of all rows of a run; none for one worker. Left open, it would keep a job from ending."""
    if workers == 1:
        yield None
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield pool


def describe(engine: ClipEngine, learned: torch.Tensor, pairing: int) -> dict[str, Any]:
    """What the prompts have learned: `own` the share of them that are nearest to the class's own background."""
    words = (*BACKGROUNDS, *OBJECTS)
    nearest = [words[i] for i in (learned @ encode_labels(engine, words).T).argmax(1).tolist()]
    own = paired_backgrounds(pairing)
    missed = {k: word for k, word, right in zip(OBJECTS, nearest, own, strict=True) if word != right}
    return {"own": 100 * (1 - len(missed) / len(own)), "missed": missed}


def silent(done: int, total: int) -> None:
    """No progress bar."""
    del done, total
