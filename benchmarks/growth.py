"""How time and memory grow: with the number of images, with resolution and cores, and with the number of classes.

    python benchmarks/growth.py images --image-counts 500 1000 2000 4000
    python benchmarks/growth.py resolution --sizes 224 336 448 512 640 768
    python benchmarks/growth.py classes --class-counts 10 20 80 254
    python benchmarks/growth.py files

images: the commands themselves on the built-in world and model; seconds and peak memory of each whole process, start-up
included, and once more over what is finished (resume). resolution: CAMs of ViT-B-16 with random weights and the bare
forward pass in turns, on one thread and on all; what the pass computes (its matrix products) as a share of what one
large matrix product computes here. files: the whole step from JPEGs to masks against the network alone. classes: a step
of prompt learning, and the background-score curve of one image.
"""

import argparse
import functools
import logging
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from cams_speed import CLASSES, bare, random_engine, time_in_turns
from gpu import random_images, tower_flops
from PIL import Image

from semples_cli.config import CamSettings, EngineSettings, PromptSettings
from semples_cli.data.background_words import read_background_words
from semples_cli.demo.model import model_dir
from semples_cli.engine.background_regions import MappedImages, embed_background_regions
from semples_cli.engine.build import build_engine
from semples_cli.engine.checkpoint import Checkpoint
from semples_cli.engine.generator_training import encode_labels
from semples_cli.engine.prompt_training import PromptLearning
from semples_cli.engine.seeds import SeedGenerator
from semples_cli.functional.background_curve import BackgroundCurve
from semples_cli.steps.make_cams import make_cams
from semples_cli.steps.progress import silent
from semples_cli.types import Sample

Row = tuple[str, ...]


# Between us and the command: a process counts the memory of the one that it was forked from as its own.
LAUNCH = """
import os, sys
process = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ)
_, status, usage = os.wait4(process, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""


def run_command(*args: object) -> tuple[float, float]:
    """Seconds and peak memory in MB of `semples` with these arguments; its children's memory is their own."""
    command = [sys.executable, "-c", LAUNCH, "-m", "semples_cli", *map(str, args), "--json"]
    started = perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    seconds = perf_counter() - started
    code, peak = map(int, done.stdout.splitlines()[-1].split())
    if code:
        sys.exit(f"semples {' '.join(map(str, args))} ended with {code}")
    return seconds, peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def by_images(args: argparse.Namespace) -> Iterator[Row]:
    """One world of the largest count; each count takes the first of its images."""
    yield "images", "command", "s", "s / 1000 images", "peak MB"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_command("demo-data", "--out", folder / "world", "--num-images", max(args.image_counts))
        for count in args.image_counts:
            out = folder / str(count)
            ids = sorted(path.stem for path in (folder / "world/SegmentationClass").glob("*.png"))[:count]
            (folder / "ids.txt").write_text("\n".join(ids) + "\n")
            world, masks, refined = folder / "world", out / "masks", out / "refined"
            cams = ("cams", "--data", world, "--weights", model_dir(), "--size", 64, "--limit", count, "--out", masks)
            truth = (world / "SegmentationClass", "--split-list", folder / "ids.txt")
            commands = {
                "cams": cams,
                "cams, resumed": cams,
                "crf": ("crf", masks, "--out", refined),
                "evaluate": ("evaluate", refined, *truth),
                "evaluate --cams": ("evaluate", masks, *truth, "--cams"),
            }
            for what, command in commands.items():
                seconds, peak = run_command(*command)
                yield str(count), what, f"{seconds:.1f}", f"{1000 * seconds / count:.1f}", f"{peak:.0f}"


def peak_gflops(repeats: int) -> float:
    """What one product of two large matrices reaches, in float32 on the threads of now."""
    one, other = torch.randn(2048, 2048), torch.randn(2048, 2048)
    (seconds,) = time_in_turns({"product": lambda: one @ other}, repeats).values()
    return 2 * 2048**3 / min(seconds) / 1e9


def by_resolution(args: argparse.Namespace) -> Iterator[Row]:
    """Two classes an image."""
    yield "threads", "size", "bare forward, s", "CAMs, s an image", "over bare", "GFLOP/s of bare", "share of a product"
    engine, words = random_engine(args.model, "fp32", "cpu"), read_background_words("voc")
    for threads in sorted({1, os.cpu_count() or 1}):
        torch.set_num_threads(threads)
        peak = peak_gflops(args.repeats)
        for size in args.sizes:
            settings = CamSettings(size=size, batch_size=2, background_words=words)
            generator, images = SeedGenerator(engine, CLASSES, settings), random_images(2, size)
            contenders = {
                "bare": functools.partial(bare, engine, images, settings),
                "cams": functools.partial(generator.maps, images, [(1, 2)] * 2),
            }
            spent = time_in_turns(contenders, args.repeats)
            plain, cams = (median(seconds) / len(images) for seconds in spent.values())
            rate = tower_flops(engine, size) / plain / 1e9
            yield (
                *(str(threads), str(size), f"{plain:.3f}", f"{cams:.3f}", f"{cams / plain:.2f}"),
                *(f"{rate:.0f}", f"{100 * rate / peak:.0f} %"),
            )


def by_classes(args: argparse.Namespace) -> Iterator[Row]:
    """64 images of three classes each, so that only the length of the class list changes."""
    yield "classes", "prompt step, ms", "curve of a 375 × 500 image, ms", "curve, MB"
    engine = build_engine(EngineSettings(weights=str(model_dir()), device="cpu", precision="fp32"))
    rng, images = np.random.default_rng(0), random_images(64, 64)
    for count in args.class_counts:
        present = [tuple(sorted(rng.choice(count, 3, replace=False) + 1)) for _ in images]
        maps = [rng.random((3, 14, 14), np.float32) for _ in images]
        mapped = MappedImages(present, lambda i, maps=maps: (images[i], maps[i]))
        settings = PromptSettings(epochs=args.repeats, batch_size=64)
        regions = embed_background_regions(engine, mapped, settings, silent)
        learning = PromptLearning(
            engine, regions, encode_labels(engine, [f"thing {k}" for k in range(count)]), settings
        )
        with tempfile.TemporaryDirectory() as folder:
            started = perf_counter()
            learning.run(Checkpoint(Path(folder) / "state", "", every=10**9), silent)
        step = (perf_counter() - started) / learning.num_steps
        curve = BackgroundCurve(count + 1)
        target = rng.integers(0, min(count, 20) + 1, (375, 500), np.uint8)
        scores, indices = rng.random((3, 375, 500), np.float32), np.array([1, 2, 3])
        (spent,) = time_in_turns(
            {"curve": functools.partial(curve.update, target, scores, indices)}, args.repeats
        ).values()
        yield str(count), f"{1000 * step:.0f}", f"{1000 * median(spent):.1f}", f"{curve.counts.nbytes / 1e6:.0f}"


def by_files(args: argparse.Namespace) -> Iterator[Row]:
    """What reading, resizing, cutting and writing add to the network, whose batches they run beside."""
    yield "model", "images", "network alone, s an image", "whole step", "beyond the network"
    tiny = build_engine(EngineSettings(weights=str(model_dir()), device=args.device, precision="fp32"))
    large = random_engine(args.model, "fp32", args.device)
    for name, engine, size, count in ((args.model, large, 512, 16), ("tiny", tiny, 64, 400)):
        settings = CamSettings(size=size, background_words=read_background_words("voc"))
        generator = SeedGenerator(engine, CLASSES, settings)
        with tempfile.TemporaryDirectory() as folder:
            pictures = [np.roll(photograph(500, 375), 7 * n, axis=1) for n in range(count)]
            samples = [Sample(f"{n:04}", Path(folder) / f"{n:04}.jpg", (1, 2)) for n in range(count)]
            for sample, picture in zip(samples, pictures, strict=True):
                Image.fromarray(picture).save(sample.image_path, quality=90)
            prepared, out = [generator.prepare(picture) for picture in pictures], Path(folder) / "out"
            step = functools.partial(make_cams, samples, CLASSES, engine, out, settings, generator=generator)
            contenders = {
                "network": functools.partial(generator.maps, pictures, [(1, 2)] * count, prepared),
                "step": functools.partial(step, overwrite=True, progress=silent),
            }
            spent = time_in_turns(contenders, args.repeats)
        network, whole = (median(seconds) / count for seconds in spent.values())
        yield name, str(count), f"{network:.4f}", f"{whole:.4f}", f"{100 * (whole / network - 1):.1f} %"


def photograph(width: int, height: int) -> np.ndarray:
    """Smooth with some texture, (H, W, 3) uint8: as heavy to decode as a photograph."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    return np.clip(np.asarray(coarse) + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


PARTS = {"images": by_images, "files": by_files, "resolution": by_resolution, "classes": by_classes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all, if none is named")
    parser.add_argument("--image-counts", type=int, nargs="+", default=[500, 1000, 2000, 4000])
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 336, 448, 512, 640, 768])
    parser.add_argument("--class-counts", type=int, nargs="+", default=[10, 20, 80, 254])
    parser.add_argument("--model", default="ViT-B-16")
    parser.add_argument("--device", default="cpu", help="of files")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    logging.disable(logging.WARNING)  # open_clip on random weights, which are wanted here
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for part in args.parts or PARTS:
        print(f"\n{part}\n")
        for number, row in enumerate(PARTS[part](args)):
            print(f"| {' | '.join(row)} |", flush=True)
            if not number:
                print("| --- " * len(row) + "|", flush=True)


if __name__ == "__main__":
    main()
