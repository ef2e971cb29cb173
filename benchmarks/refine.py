"""One step of prompt-guided refinement against the straightforward way, and against its CLIP passes alone.

    python benchmarks/refine.py --batch-size 16 --repeats 9
    python benchmarks/refine.py --clip ViT-B-32 --batch-size 4

Straightforward: foreground and background regions in two calls, label texts and prompts encoded in every step, every
attention map of every layer built, gradients computed for CLIP's own weights too, as they are where nobody freezes
them. It computes the same loss and the same gradients of the head, which is checked before anything is timed.

CLIP passes: `region passes` is forward and backward, to the pixels, over the foreground and background regions in one
batch; `tower pass` is the forward pass over the views in which the generator reads patches and attention. Nothing that
trains this generator can do without both. Contenders take turns; medians, and in brackets the fastest and the slowest.
"""

import argparse
import copy
import functools
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter

import open_clip
import torch

from semples_cli.config import EngineSettings, GeneratorSettings, WorldSettings
from semples_cli.demo.model import DEMO_GENERATOR_SETTINGS, model_dir
from semples_cli.demo.names import BACKGROUNDS, OBJECTS
from semples_cli.demo.world import render_scene
from semples_cli.engine.build import build_engine
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.generator_objectives import BackgroundTexts, RegionObjective
from semples_cli.engine.generator_training import encode_labels
from semples_cli.engine.generators.clip_head import ClipGenerator, build_clip_head
from semples_cli.engine.model_dir import ModelDir, write_model_dir
from semples_cli.engine.region_features import encode_regions
from semples_cli.engine.tower_features import read_tower
from semples_cli.engine.training_batches import LabelledImages, ViewBatch, ViewBatches
from semples_cli.functional.losses import matching_loss, refinement_loss, similarity
from semples_cli.functional.regions import cut_regions, region_maps, sharpen_maps
from semples_cli.types import ClassSet

CLASSES = ClassSet(OBJECTS)


@dataclass
class Step:
    """What a step of either kind needs."""

    engine: ClipEngine
    settings: GeneratorSettings
    batch: ViewBatch

    def __post_init__(self) -> None:
        self.rows = torch.tensor([b for b, classes in enumerate(self.batch.class_indices) for _ in classes])
        self.columns = torch.tensor([k - 1 for classes in self.batch.class_indices for k in classes])
        self.generator = ClipGenerator(self.engine, build_clip_head(self.engine, len(CLASSES), self.settings))
        texts = BackgroundTexts(encode_labels(self.engine, BACKGROUNDS), torch.ones(len(CLASSES), dtype=torch.bool))
        self.objective = RegionObjective(self.engine, encode_labels(self.engine, OBJECTS), self.settings, texts)
        self.unfrozen = copy.deepcopy(self.engine)
        self.unfrozen.model.requires_grad_(True)

    def ours(self) -> torch.Tensor:
        terms = self.objective.terms(self.generator, self.batch)
        loss = sum(weight * terms[name] for name, weight in self.objective.weights.items())
        loss.backward()
        return loss

    def region_passes(self) -> None:
        regions = self.batch.pixels[self.rows].repeat(2, 1, 1, 1).requires_grad_()
        encode_regions(self.engine, regions).sum().backward()

    def tower_pass(self) -> None:
        read_tower(self.engine, self.batch.pixels, self.generator.network.pooling)

    def straightforward(self) -> torch.Tensor:
        settings, pixels = self.settings, self.batch.pixels
        fine = self._whole_attention_maps()[self.rows, self.columns]
        maps = region_maps(fine, tuple(pixels.shape[-2:]), settings.region_epsilon)
        regions = cut_regions(pixels[self.rows], sharpen_maps(maps, settings.region_sharpness))
        foreground, background = (encode_regions(self.unfrozen, each) for each in regions)
        labels = encode_labels(self.engine, [OBJECTS[k] for k in self.columns.tolist()])
        prompts = encode_labels(self.engine, [BACKGROUNDS[k] for k in self.columns.tolist()])
        pairs = ((foreground, labels), (background, labels), (foreground, prompts))
        alike = [similarity((a * b).sum(-1), settings.similarity) for a, b in pairs]
        loss = matching_loss(alike[0], alike[1], settings.lambda_b) + settings.lambda_r * refinement_loss(alike[2])
        loss.backward()
        return loss

    def _whole_attention_maps(self) -> torch.Tensor:
        """(B, F, h, w): every attention map built, weighted, averaged, multiplied with the evidence of all classes."""
        head = self.generator.network
        features = read_tower(self.engine, self.batch.pixels, head.pooling)
        batch, _, width = features.patches.shape
        coarse = head.head(features.patches.transpose(1, 2).reshape(batch, width, *features.grid))
        evidence = torch.where(coarse > 0, coarse, 0.1 * (coarse - coarse.detach()))
        attention = (features.queries @ features.keys.transpose(-1, -2)).softmax(-1)[..., 1:]  # (L, B, H, P, P)
        weights = head.fusion(features.head_features)  # (B, L, H)
        fused = torch.einsum("lbhpq,blh->bpq", attention, weights) / (weights.shape[1] * weights.shape[2])
        fine = (fused @ evidence.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(evidence.shape)
        return fine + head.residual * evidence


def check(step: Step) -> None:
    """Both ways have the same loss and the same gradients of the head; else there is nothing to compare."""
    results = []
    for way in (step.ours, step.straightforward):
        step.generator.network.zero_grad()
        loss = way()
        results.append([loss.detach(), *(p.grad.clone() for p in step.generator.network.parameters())])
    for one, other in zip(*results, strict=True):
        if not torch.allclose(one, other, rtol=1e-3, atol=1e-4 * float(other.abs().max())):
            sys.exit(f"the two ways differ by {float((one - other).abs().max()):.2g}; nothing is timed")


def time_in_turns(steps: list[Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each call; every contender once to warm up, then one after the other."""
    times: dict[str, list[float]] = {step.__name__: [] for step in steps}
    for repeat in range(1 + repeats):
        for step in steps:
            started = perf_counter()
            step()
            if repeat:
                times[step.__name__].append(perf_counter() - started)
    return times


def build(name: str) -> ClipEngine:
    """The built-in CLIP, or one of open_clip's with random weights."""
    make = functools.partial(EngineSettings, device="cpu", precision="fp32")
    if name == "tiny":
        return build_engine(make(weights=str(model_dir())))
    config = open_clip.get_model_config(name)
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        write_model_dir(ModelDir(Path(folder) / "random", config, licence="CC0"), open_clip.CLIP(**config).state_dict())
        return build_engine(make(weights=str(Path(folder) / "random")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", default="tiny", help="tiny, or open_clip's name of a ViT, with random weights")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    engine = build(args.clip)
    settings = replace(DEMO_GENERATOR_SETTINGS, batch_size=args.batch_size, micro_batch=args.batch_size)
    scenes = [render_scene(WorldSettings(seed=1), n) for n in range(args.batch_size)]
    present = [tuple(CLASSES.index_of(name) for name in scene.object_names) for scene in scenes]
    images = LabelledImages(present, lambda i: scenes[i].image)
    step = Step(engine, settings, ViewBatches(engine, images, range(args.batch_size), settings).batch(0))
    check(step)
    times = time_in_turns([step.ours, step.straightforward, step.region_passes, step.tower_pass], args.repeats)
    print(
        f"{args.clip}, {args.batch_size} images of {engine.image_size} pixels, {len(step.rows)} pairs, "
        f"{torch.get_num_threads()} threads, float32, median of {args.repeats} (fastest to slowest)"
    )
    print("| step | seconds |\n| --- | --- |")
    for name, each in times.items():
        print(f"| {name.replace('_', ' ')} | {median(each):.3f} ({min(each):.3f} to {max(each):.3f}) |")
    ours, plain, regions, tower = (median(each) for each in times.values())
    print(
        f"\nstraightforward / ours {plain / ours:.2f}; ours / region passes {ours / regions:.2f}; "
        f"ours / (region passes + tower pass) {ours / (regions + tower):.2f}"
    )


if __name__ == "__main__":
    main()
