"""What each part of SemPLeS adds, on worlds that nothing was tuned on.

    python benchmarks/ablation.py --worlds 1 2 3 --seeds 0 1 2
    python benchmarks/ablation.py --worlds 1 2 3 --pairing 5

Rows: training-free seeds with no background words, hand-written ones and learned prompts; the mask generator with its
initial weights, after matching, after refinement with hand-written words in place of the prompts, and with the prompts
(SemPLeS). Each as masks at the default background score, at the best by ground truth, and after the CRF. Ground truth
is read to measure and for nothing else. `--json FILE` keeps every single figure.
"""

import argparse
import copy
import functools
import json
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from semples_cli.config import (
    CamSettings,
    CrfSettings,
    EngineSettings,
    GeneratorSettings,
    PromptSettings,
    WorldSettings,
)
from semples_cli.data.background_words import read_background_words
from semples_cli.demo.model import (
    DEMO_CAM_SETTINGS,
    DEMO_CRF_SETTINGS,
    DEMO_GENERATOR_CAM_SETTINGS,
    DEMO_GENERATOR_SETTINGS,
    DEMO_PROMPT_SETTINGS,
    model_dir,
)
from semples_cli.demo.names import BACKGROUNDS, OBJECTS, paired_backgrounds
from semples_cli.demo.world import render_scene
from semples_cli.engine.background_regions import MappedImages, embed_background_regions
from semples_cli.engine.build import build_engine
from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.generator_cams import GeneratorCams
from semples_cli.engine.generator_objectives import BackgroundTexts
from semples_cli.engine.generator_training import encode_labels, train_initial, train_matching, train_refined
from semples_cli.engine.generators.clip_head import ClipGenerator, build_clip_head
from semples_cli.engine.prompt_training import PromptLearning
from semples_cli.engine.prompts import PromptEncoder
from semples_cli.engine.seeds import CompetingPrompts, SeedGenerator
from semples_cli.engine.training_batches import LabelledImages
from semples_cli.functional.background_curve import BackgroundCurve
from semples_cli.functional.crf import DenseCrf, refine_labels
from semples_cli.functional.masks import resize_scores, seed_mask
from semples_cli.functional.metrics import confusion_counts
from semples_cli.steps.background_texts import word_texts
from semples_cli.types import ClassSet

CLASSES = ClassSet(OBJECTS)
WORDS = read_background_words("voc")
ROWS = (
    "seeds, no words",
    "seeds, hand-written words",
    "seeds + learned prompts",
    "generator, initial",
    "+ L_match",
    "+ L_match + L_refine, hand-written words",
    "+ L_match + L_refine (SemPLeS)",
)
COLUMNS = ("mIoU", "best mIoU", "leakage", "mIoU after CRF")


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

    def seeds(self, settings: CamSettings, prompts: torch.Tensor | None = None) -> list[np.ndarray]:
        competing = None
        if prompts is not None:
            competing = CompetingPrompts(prompts, torch.ones(len(prompts), dtype=torch.bool))
        return SeedGenerator(self.engine, CLASSES, settings, competing).maps(self.images, self.present)

    def generator_maps(self, generator: ClipGenerator, settings: CamSettings) -> list[np.ndarray]:
        return GeneratorCams(self.engine, generator, CLASSES, settings, {}).maps(self.images, self.present)

    def train(
        self,
        stage: str,
        settings: GeneratorSettings,
        start: ClipGenerator | None = None,
        texts: BackgroundTexts | None = None,
    ) -> ClipGenerator:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Checkpoint(Path(folder) / "state", stage, every=10**9)
            if start is None:
                generator = ClipGenerator(self.engine, build_clip_head(self.engine, len(CLASSES), settings))
                train_initial(generator, self.labelled, settings, checkpoint, silent)
                return generator
            generator = ClipGenerator(self.engine, copy.deepcopy(start.head))
            arguments = (generator, self.labelled, CLASSES.prompt_names)
            if texts is None:
                train_matching(*arguments, settings, checkpoint, silent)
            else:
                train_refined(*arguments, texts, settings, checkpoint, silent)
            return generator

    def learn(self, maps: list[np.ndarray], settings: PromptSettings) -> torch.Tensor:
        """(F, D) features of prompts learned on these maps."""
        images = MappedImages(self.present, lambda i: (self.images[i], maps[i]))
        regions = embed_background_regions(self.engine, images, settings, silent)
        learning = PromptLearning(self.engine, regions, encode_labels(self.engine, CLASSES.prompt_names), settings)
        with tempfile.TemporaryDirectory() as folder:
            vectors, _ = learning.run(Checkpoint(Path(folder) / "state", "prompts", every=10**9), silent)
        with torch.no_grad():
            return PromptEncoder(self.engine)(torch.from_numpy(vectors))

    def measure(self, maps: list[np.ndarray], crf: CrfSettings | None, score: float = 0.4) -> tuple[float, ...]:
        """mIoU at the background score, at the best, leakage at the score, mIoU after the CRF; shares of 100."""
        curve, masks = BackgroundCurve(len(CLASSES) + 1), []
        for scene, scores, classes in zip(self.scenes, maps, self.present, strict=True):
            full = resize_scores(scores, scene.target.shape)
            curve.update(scene.target, full, np.array(classes))
            masks.append(seed_mask(full, np.array(classes), score))
        miou = curve.miou()
        default = int(np.argmin(np.abs(curve.thresholds - score)))
        after = np.nan if crf is None else self._miou(refine_all(self.images, masks, crf))
        return tuple(100 * float(v) for v in (miou[default], miou[curve.best()], self._leakage(masks), after))

    def _miou(self, masks: list[np.ndarray]) -> float:
        counts = sum(
            confusion_counts(scene.target, mask, len(CLASSES) + 1)
            for scene, mask in zip(self.scenes, masks, strict=True)
        )
        right = np.diag(counts)
        return float(np.mean(right / (counts.sum(1) + counts[:, : len(right)].sum(0) - right)))

    def _leakage(self, masks: list[np.ndarray]) -> float:
        own = [BACKGROUNDS.index(name) + 1 for name in paired_backgrounds(self.settings.pairing)]
        called, pixels = np.zeros(len(own)), np.zeros(len(own))
        for scene, mask, classes in zip(self.scenes, masks, self.present, strict=True):
            for k in classes:
                values = mask[scene.backgrounds == own[k - 1]]
                called[k - 1] += (values == k).sum()
                pixels[k - 1] += values.size
        return float((called / np.maximum(pixels, 1))[pixels > 0].mean())


def silent(done: int, total: int) -> None:
    del done, total


def refine_one(job: tuple[np.ndarray, np.ndarray, CrfSettings]) -> np.ndarray:
    image, mask, settings = job
    options = {k: v for k, v in asdict(settings).items() if k not in ("unary", "gt_prob", "min_confidence")}
    return refine_labels(image, mask, settings.gt_prob, DenseCrf(**options))[0]


def refine_all(images: list[np.ndarray], masks: list[np.ndarray], settings: CrfSettings) -> list[np.ndarray]:
    jobs = [(image, mask, settings) for image, mask in zip(images, masks, strict=True)]
    return list(pool().map(refine_one, jobs, chunksize=25))


@functools.cache
def pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


def untrained_rows(world: World, tuning: Tuning) -> dict[str, list[np.ndarray]]:
    """The maps of the rows without training."""
    settings = (replace(tuning.cams, background_words=words) for words in ((), WORDS))
    return {row: world.seeds(each) for row, each in zip(ROWS[:2], settings, strict=True)}


def trained_rows(world: World, tuning: Tuning, seed: int) -> tuple[dict[str, list[np.ndarray]], torch.Tensor]:
    """The maps of the other rows, with one seed of training, and the features of the prompts."""
    generator = replace(tuning.generator, seed=seed)
    initial = world.train("initial", generator)
    matched = world.train("matched", generator, initial)
    matched_maps = world.generator_maps(matched, tuning.generator_cams)
    learned = world.learn(matched_maps, replace(tuning.prompts, seed=seed))
    usable = torch.ones(len(CLASSES), dtype=torch.bool)
    by_words = world.train("refined", generator, initial, word_texts(world.engine, WORDS, CLASSES))
    by_prompts = world.train("refined", generator, initial, BackgroundTexts(learned, usable))
    maps = (
        world.seeds(tuning.cams, learned),
        world.generator_maps(initial, tuning.generator_cams),
        matched_maps,
        world.generator_maps(by_words, tuning.generator_cams),
        world.generator_maps(by_prompts, tuning.generator_cams),
    )
    return dict(zip(ROWS[2:], maps, strict=True)), learned


def describe(engine: ClipEngine, learned: torch.Tensor, pairing: int) -> tuple[float, list[str]]:
    """Share of the prompts whose nearest word is the class's own background, and those words."""
    words = (*BACKGROUNDS, *OBJECTS)
    nearest = [words[i] for i in (learned @ encode_labels(engine, words).T).argmax(1).tolist()]
    own = paired_backgrounds(pairing)
    return float(np.mean([a == b for a, b in zip(nearest, own, strict=True)])), nearest


def print_table(figures: dict[str, list[tuple[float, ...]]]) -> None:
    print("| row | " + " | ".join(COLUMNS) + " |\n| --- |" + " --- |" * len(COLUMNS))
    for row, values in figures.items():
        table = np.array(values)
        spread = table.std(0, ddof=1) if len(table) > 1 else np.zeros(table.shape[1])
        print(
            f"| {row} | " + " | ".join(f"{m:.1f} ± {s:.1f}" for m, s in zip(table.mean(0), spread, strict=True)) + " |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default=str(model_dir()))
    parser.add_argument("--worlds", type=int, nargs="+", default=[1, 2, 3], help="seeds of worlds; 0 is for tuning")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of training")
    parser.add_argument("--pairing", type=int, default=0)
    parser.add_argument("--bias", type=float, default=0.9)
    parser.add_argument("--num-images", type=int, default=200)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    engine = build_engine(EngineSettings(weights=args.weights, device="cpu", precision="fp32"))
    tuning, figures, started = Tuning(), {row: [] for row in ROWS}, perf_counter()
    for world_seed in args.worlds:
        settings = WorldSettings(seed=world_seed, num_images=args.num_images, bias=args.bias, pairing=args.pairing)
        world = World(engine, settings)
        fixed = {row: world.measure(maps, tuning.crf) for row, maps in untrained_rows(world, tuning).items()}
        for seed in args.seeds:
            trained, learned = trained_rows(world, tuning, seed)
            measured = fixed | {row: world.measure(maps, tuning.crf) for row, maps in trained.items()}
            for row, values in measured.items():
                figures[row].append(values)
            share, nearest = describe(engine, learned, args.pairing)
            said = f"world {world_seed}, seed {seed}: {perf_counter() - started:.0f} s"
            print(f"{said}; own background nearest: {share:.0%} ({', '.join(nearest)})", flush=True)
            if args.json:
                arguments = vars(args) | {"json": str(args.json)}
                args.json.write_text(json.dumps({"columns": COLUMNS, "arguments": arguments, "rows": figures}))
    print_table(figures)


if __name__ == "__main__":
    main()
