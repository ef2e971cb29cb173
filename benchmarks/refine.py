"""One step of prompt-guided refinement against the straightforward way, and against its two CLIP passes alone.

    python benchmarks/refine.py --batch-size 16 --repeats 5

Straightforward: foreground and background regions in two calls, label texts encoded in every step, attention maps built
whole, gradients computed for CLIP's own weights too, as they are where nobody freezes them.
"""

import argparse
import copy
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from time import perf_counter

import torch

from semples_cli.config import EngineSettings, WorldSettings
from semples_cli.demo.model import DEMO_GENERATOR_SETTINGS, model_dir
from semples_cli.demo.names import BACKGROUNDS, OBJECTS
from semples_cli.demo.world import render_scene
from semples_cli.engine.build import build_engine
from semples_cli.engine.generator_objectives import BackgroundTexts, RegionObjective
from semples_cli.engine.generator_training import encode_labels
from semples_cli.engine.generators.clip_head import ClipGenerator, build_clip_head
from semples_cli.engine.region_features import encode_regions
from semples_cli.engine.tower_features import read_tower
from semples_cli.engine.training_batches import LabelledImages, ViewBatches
from semples_cli.functional.losses import matching_loss, refinement_loss, similarity
from semples_cli.functional.regions import cut_regions, region_maps
from semples_cli.types import ClassSet

CLASSES = ClassSet(OBJECTS)


def timed(step: Callable[[], None], repeats: int) -> float:
    step()
    times = []
    for _ in range(repeats):
        started = perf_counter()
        step()
        times.append(perf_counter() - started)
    return median(times)


def whole_attention_maps(generator: ClipGenerator, pixels: torch.Tensor) -> torch.Tensor:
    """(B, F, h, w): every attention map built, weighted, averaged, multiplied with the coarse maps."""
    head = generator.head
    features = read_tower(generator.engine, pixels, head.pooling)
    batch, _, width = features.patches.shape
    coarse = head.head(features.patches.transpose(1, 2).reshape(batch, width, *features.grid)).relu()
    attention = (features.queries @ features.keys.transpose(-1, -2)).softmax(-1)[..., 1:]  # (L, B, H, P, P)
    weights = head.fusion(features.head_features)  # (B, L, H)
    fused = torch.einsum("lbhpq,blh->bpq", attention, weights) / (weights.shape[1] * weights.shape[2])
    fine = fused @ coarse.flatten(2).transpose(1, 2)
    return fine.transpose(1, 2).reshape(batch, -1, *features.grid)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--weights", default=str(model_dir()))
    args = parser.parse_args()
    engine = build_engine(EngineSettings(weights=args.weights, device="cpu", precision="fp32"))
    settings = replace(DEMO_GENERATOR_SETTINGS, batch_size=args.batch_size, micro_batch=args.batch_size)
    scenes = [render_scene(WorldSettings(seed=1), n) for n in range(args.batch_size)]
    present = [tuple(CLASSES.index_of(name) for name in scene.object_names) for scene in scenes]
    images = LabelledImages(present, lambda i: scenes[i].image)
    batch = ViewBatches(engine, images, range(args.batch_size), settings).batch(0)
    rows = torch.tensor([b for b, classes in enumerate(batch.class_indices) for _ in classes])
    columns = torch.tensor([k - 1 for classes in batch.class_indices for k in classes])
    texts = BackgroundTexts(encode_labels(engine, BACKGROUNDS), torch.ones(len(CLASSES), dtype=torch.bool))
    generator = ClipGenerator(engine, build_clip_head(engine, len(CLASSES), settings))
    objective = RegionObjective(engine, encode_labels(engine, OBJECTS), settings, texts)
    side = engine.image_size
    unfrozen = copy.deepcopy(engine)
    unfrozen.model.requires_grad_(True)

    def ours() -> None:
        terms = objective.terms(generator, batch)
        sum(weight * terms[name] for name, weight in objective.weights.items()).backward()

    def two_passes() -> None:
        regions = batch.pixels[rows].repeat(2, 1, 1, 1).requires_grad_()
        encode_regions(engine, regions).sum().backward()

    def straightforward() -> None:
        maps = region_maps(whole_attention_maps(generator, batch.pixels)[rows, columns], (side, side), 0.1)
        foreground, background = (encode_regions(unfrozen, r) for r in cut_regions(batch.pixels[rows], maps))
        labels = encode_labels(engine, [OBJECTS[k] for k in columns.tolist()])
        prompts = encode_labels(engine, [BACKGROUNDS[k] for k in columns.tolist()])
        alike = [
            similarity((a * b).sum(-1), settings.similarity)
            for a, b in ((foreground, labels), (background, labels), (foreground, prompts))
        ]
        loss = matching_loss(alike[0], alike[1], settings.lambda_b) + settings.lambda_r * refinement_loss(alike[2])
        loss.backward()

    times = {step.__name__: timed(step, args.repeats) for step in (ours, two_passes, straightforward)}
    threads = torch.get_num_threads()
    print(f"batch {args.batch_size}, {len(rows)} pairs, {threads} threads, float32, median of {args.repeats}")
    print("| step | seconds |\n| --- | --- |")
    for name, seconds in times.items():
        print(f"| {name.replace('_', ' ')} | {seconds:.3f} |")
    print(
        f"straightforward / ours {times['straightforward'] / times['ours']:.2f}; ours / two CLIP passes "
        f"{times['ours'] / times['two_passes']:.2f}"
    )


if __name__ == "__main__":
    main()
