"""What a GPU does with CAMs, prompt learning and refinement: images a second, and the share of the card's peak.

    python benchmarks/gpu.py --device cuda --json gpu.json
    python benchmarks/gpu.py --device cpu --models ViT-B-32 --size 64 --images 4 --batch-sizes 2 --repeats 1

Random weights and images in memory: nothing is said about what is seen. CAMs: `maps` of labelled images, at each batch
size and precision, beside the bare forward pass of the tower and beside one image and one class at a time
(`cams_speed.py` has both). Prompt learning: background regions through CLIP, then steps of the prompts. Refinement:
whole trainings of stage (c). The share of peak counts the products of the forward pass alone against `--peak`, the
TFLOP/s of the card's data sheet for each precision; without it none is printed. Contenders take turns; medians.
"""

import argparse
import functools
import json
import logging
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from cams_speed import CLASSES, Straightforward, bare, random_engine, time_in_turns

from semples_cli.config import CamSettings, GeneratorSettings, PromptSettings
from semples_cli.data.background_words import read_background_words
from semples_cli.engine.background_regions import MappedImages, embed_background_regions
from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.generator_objectives import BackgroundTexts
from semples_cli.engine.generator_training import encode_labels, train_refined
from semples_cli.engine.generators.clip_head import ClipGenerator, build_clip_head
from semples_cli.engine.prompt_training import PromptLearning
from semples_cli.engine.seeds import SeedGenerator
from semples_cli.engine.training_batches import LabelledImages
from semples_cli.steps.progress import silent

Contenders = dict[str, Callable[[], object]]


def tower_flops(engine: ClipEngine, side: int) -> float:
    """Multiplications and additions of one image's forward pass through the tower, by its matrix products."""
    tokens, width = (side // engine.patch_size) ** 2 + 1, engine.width
    hidden = engine.blocks[0].mlp[0].out_features
    block = 2 * tokens * width * (4 * width + 2 * hidden) + 4 * tokens**2 * width
    return engine.num_layers * block + 2 * tokens * width * 3 * engine.patch_size**2


def random_images(count: int, side: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (side, side, 3), np.uint8) for _ in range(count)]


def present(count: int) -> list[tuple[int, ...]]:
    """One to three classes an image."""
    return [tuple(range(1, n % 3 + 2)) for n in range(count)]


def cams(engine: ClipEngine, name: str, images: Sequence[np.ndarray], args: argparse.Namespace) -> Iterator[dict]:
    """CAMs at each batch size; one at a time is measured once."""
    words, classes = read_background_words("voc"), present(len(images))
    for batch_size in args.batch_sizes:
        settings = CamSettings(size=args.size, batch_size=batch_size, background_words=words)
        generator = SeedGenerator(engine, CLASSES, settings)
        prepared = [generator.prepare(image) for image in images]
        contenders: Contenders = {
            "cams": functools.partial(generator.maps, images, classes, prepared),
            "bare forward": functools.partial(bare, engine, images, settings),
        }
        if batch_size == args.batch_sizes[0] and engine.dtype == torch.float32:
            way = Straightforward(name, engine, generator)
            contenders["one at a time"] = functools.partial(way.maps, images, classes)
        for what, seconds in time_in_turns(contenders, args.repeats).items():
            yield {"what": what, "batch_size": batch_size, "rate": len(images) / median(seconds), "unit": "images/s"}


def prompts(engine: ClipEngine, images: Sequence[np.ndarray], args: argparse.Namespace) -> Iterator[dict]:
    """Embedding of the background regions, and steps of stage (b)."""
    classes, rng = present(len(images)), np.random.default_rng(0)
    maps = [rng.random((len(each), 14, 14), np.float32) for each in classes]
    mapped = MappedImages(classes, lambda i: (images[i], maps[i]))
    settings = PromptSettings(epochs=args.epochs)
    regions = embed_background_regions(engine, mapped, settings, silent)
    labels = encode_labels(engine, CLASSES.prompt_names)
    embed = functools.partial(embed_background_regions, engine, mapped, settings, silent)

    def learn() -> None:
        PromptLearning(engine, regions, labels, settings).run(Checkpoint(args.folder / "p.state", "p"), silent)
        (args.folder / "p.state").unlink(missing_ok=True)

    spent = time_in_turns({"region features": embed, "prompt steps": learn}, args.repeats)
    count = regions.features.shape[0] * regions.features.shape[1]
    steps = PromptLearning(engine, regions, labels, settings).num_steps
    yield {"what": "region features", "rate": count / median(spent["region features"]), "unit": "regions/s"}
    yield {"what": "prompt steps", "rate": steps / median(spent["prompt steps"]), "unit": "steps/s"}


def refinement(engine: ClipEngine, images: Sequence[np.ndarray], args: argparse.Namespace) -> Iterator[dict]:
    """Whole trainings of stage (c), reading and views included."""
    settings = GeneratorSettings(epochs=args.epochs, batch_size=max(args.batch_sizes))
    labelled = LabelledImages(present(len(images)), lambda i: images[i])
    texts = BackgroundTexts(encode_labels(engine, CLASSES.prompt_names), torch.ones(len(CLASSES), dtype=torch.bool))

    def train() -> None:
        generator = ClipGenerator(engine, build_clip_head(engine, len(CLASSES), settings))
        state = Checkpoint(args.folder / "g.state", "g")
        train_refined(generator, labelled, CLASSES.prompt_names, texts, settings, state, silent)
        (args.folder / "g.state").unlink(missing_ok=True)

    (seconds,) = time_in_turns({"refinement": train}, args.repeats).values()
    rate = len(images) * settings.epochs / median(seconds)
    yield {"what": "refinement", "batch_size": settings.batch_size, "rate": rate, "unit": "images/s"}


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every figure, with model, precision, and the share of peak where that is known."""
    images = random_images(args.images, args.size)
    for name in args.models:
        for precision in args.precisions:
            engine = random_engine(name, precision, args.device)
            parts = (cams(engine, name, images, args), prompts(engine, images, args), refinement(engine, images, args))
            for figure in (each for part in parts for each in part):
                if args.peak and figure["what"] in ("cams", "bare forward"):
                    done = figure["rate"] * tower_flops(engine, args.size) / 1e12
                    figure["share of peak"] = done / args.peak[args.precisions.index(precision)]
                yield {"model": name, "precision": precision, **figure}


def card(device: str) -> str:
    """What it ran on."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--models", nargs="+", default=["ViT-B-16", "ViT-L-14"])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--peak", type=float, nargs="+", help="TFLOP/s of the card, one for each precision")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("build"), help="where states of trainings lie for a while")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if torch.device(args.device).type == "cuda" and not torch.cuda.is_available():
        sys.exit("no GPU here: give --device cpu, with a small --size and few --images, to see that the script works")
    if args.peak and len(args.peak) != len(args.precisions):
        parser.error("--peak: one figure for each of --precisions")
    logging.disable(logging.WARNING)  # open_clip on random weights, which are wanted here
    print(
        f"{card(args.device)}, {args.size} px, {args.images} images, torch {torch.__version__}, {datetime.now(UTC):%F}"
    )
    print("| model | precision | what | batch | rate | share of peak |")
    print("| --- | --- | --- | --- | --- | --- |")
    figures = []
    for each in measure(args):
        figures.append(each)
        share = f"{100 * each['share of peak']:.0f} %" if "share of peak" in each else ""
        cells = (each["model"], each["precision"], each["what"], str(each.get("batch_size", "")))
        print(f"| {' | '.join(cells)} | {each['rate']:.4g} {each['unit']} | {share} |", flush=True)
    if args.json:
        args.json.write_text(json.dumps({"device": card(args.device), "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
