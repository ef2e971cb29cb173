"""What the tiny CLIP knows, how far its object texts lean to their background, and what its seeds reach.

    python benchmarks/tiny_clip.py --seeds 1 2 3 --num-images 200

Prints the tables of docs/tiny-clip.md and docs/results.md: zero-shot accuracy, lean, and mIoU of the training-free
seeds on rendered worlds that were never trained on, at the default background score and at the best by ground truth.
"""

import argparse
from dataclasses import replace

import numpy as np
import torch

from semples_cli.config import CamSettings, EngineSettings, WorldSettings
from semples_cli.data.background_words import read_background_words
from semples_cli.demo.model import DEMO_CAM_SETTINGS, model_dir
from semples_cli.demo.names import BACKGROUNDS, OBJECTS, paired_backgrounds
from semples_cli.demo.world import Scene, render_background, render_object, render_scene
from semples_cli.engine.build import build_engine
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.seeds import SeedGenerator
from semples_cli.functional.background_curve import BackgroundCurve
from semples_cli.functional.masks import resize_scores
from semples_cli.types import ClassSet

CLASSES = ClassSet(OBJECTS)
WORDS = {"none": (), "hand-written (voc)": read_background_words("voc"), "the true ones": BACKGROUNDS}


def knowledge(engine: ClipEngine, seed: int, count: int) -> dict[str, float]:
    world = WorldSettings(seed=seed)
    objects = [render_object(world, n) for n in range(count)]
    bare = [render_background(world, n) for n in range(count)]
    texts = engine.encode_texts([f"a photo of a {name}." for name in (*OBJECTS, *BACKGROUNDS)])
    object_texts, background_texts = texts[: len(OBJECTS)], texts[len(OBJECTS) :]
    right = (engine.encode_images([s.image for s in objects]) @ object_texts.T).argmax(1).cpu().numpy() + 1
    cosines = (engine.encode_images([s.image for s in bare]) @ object_texts.T).cpu().numpy()
    own_seen = np.stack([[name in s.background_names for name in paired_backgrounds()] for s in bare])
    words = (object_texts @ background_texts.T).cpu().numpy()
    return {
        "zero-shot, object alone": float(np.mean(right == [s.target.max() for s in objects])),
        "zero-shot, largest background": _background_accuracy(engine, bare, background_texts),
        "cos(object text, bare own background)": float(cosines[own_seen].mean()),
        "cos(object text, other bare backgrounds)": float(cosines[~own_seen].mean()),
        "cos(object text, own background text)": float(words.diagonal().mean()),
        "cos(object text, other background texts)": float(words[~np.eye(len(words), dtype=bool)].mean()),
    }


def _background_accuracy(engine: ClipEngine, bare: list[Scene], texts: torch.Tensor) -> float:
    found = (engine.encode_images([s.image for s in bare]) @ texts.T).argmax(1).cpu().numpy()
    return float(np.mean([BACKGROUNDS[b] in s.background_names for b, s in zip(found, bare, strict=True)]))


def seeds(engine: ClipEngine, settings: CamSettings, world: WorldSettings) -> tuple[float, float, float, float]:
    """mIoU at the default background score, at the best, that score, and leakage at the default."""
    scenes = [render_scene(world, n) for n in range(world.num_images)]
    present = [tuple(CLASSES.index_of(name) for name in scene.object_names) for scene in scenes]
    maps = SeedGenerator(engine, CLASSES, settings).maps([scene.image for scene in scenes], present)
    curve, leaked = BackgroundCurve(len(CLASSES) + 1), []
    own = [BACKGROUNDS.index(name) + 1 for name in paired_backgrounds(world.pairing)]
    for scene, scores, classes in zip(scenes, maps, present, strict=True):
        full = resize_scores(scores, scene.target.shape)
        curve.update(scene.target, full, np.array(classes))
        for k, score in zip(classes, full, strict=True):
            if (region := scene.backgrounds == own[k - 1]).any():
                called = (score > settings.background_score) & (score == full.max(0))
                leaked.append((called & region).sum() / region.sum())
    miou = curve.miou()
    default = int(np.argmin(np.abs(curve.thresholds - settings.background_score)))
    return miou[default], miou[curve.best()], curve.thresholds[curve.best()], float(np.mean(leaked))


def _row(name: str, values: np.ndarray) -> None:
    cells = (f"{100 * m:.1f} ± {100 * s:.1f}" for m, s in zip(values.mean(0), values.std(0, ddof=1), strict=True))
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default=str(model_dir()))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--num-images", type=int, default=200)
    parser.add_argument("--bias", type=float, default=0.9)
    parser.add_argument("--sweep", action="store_true", help="all affinity layers; for choosing, on seed 0")
    args = parser.parse_args()
    engine = build_engine(EngineSettings(weights=args.weights, device="cpu", precision="fp32"))
    known = [knowledge(engine, seed, args.num_images) for seed in args.seeds]
    print("| measure | mean ± std over seeds |\n| --- | --- |")
    for name in known[0]:
        values = np.array([k[name] for k in known])
        print(f"| {name} | {values.mean():.3f} ± {values.std(ddof=1) if len(values) > 1 else 0:.3f} |")
    layers = ["none", "1", "2", "3", "4", "first:2", "all"] if args.sweep else ["none", "1", "2"]
    print("\n| background words, affinity layers | mIoU at 0.4 | best mIoU | at score (× 100) | leakage |")
    print("| --- | --- | --- | --- | --- |")
    for words, listed in WORDS.items():
        for layer in layers:
            settings = replace(DEMO_CAM_SETTINGS, background_words=listed, affinity_layers=layer)
            rows = [
                seeds(engine, settings, WorldSettings(seed=s, num_images=args.num_images, bias=args.bias))
                for s in args.seeds
            ]
            _row(f"{words}, {layer}", np.array(rows if len(rows) > 1 else rows * 2))


if __name__ == "__main__":
    main()
