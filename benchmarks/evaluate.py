"""The background-score curve: one pass against a loop over the scores, side by side in one run.

    python benchmarks/evaluate.py [--images 40] [--thresholds 60] [--classes 21] [--maps 3] [--rounds 3] [--json]

One pass: `BackgroundCurve`. Loop: for each score, cut every image and count it, with our own one-bincount confusion
matrix. Plain loop: for each score, argmax over stacked maps and three boolean sums a class, as evaluation scripts do.
All three start from maps at full size in memory; their counts must be equal. Then what surrounds the counting in one
pass from files: reading the ground-truth PNG, reading the CAM, resizing it; and the whole of `semples evaluate` from
files, masks and CAMs, by 1 to 4 threads (--workers), whose counts must be equal too. Rounds are interleaved; medians.
"""

import argparse
import json
import platform
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image

from semples_cli.artifacts.cam_store import read_cam, write_cam
from semples_cli.artifacts.mask_png import read_mask, write_mask
from semples_cli.functional.background_curve import BackgroundCurve
from semples_cli.functional.masks import resize_scores, seed_mask
from semples_cli.functional.metrics import class_counts, confusion_counts
from semples_cli.steps.evaluate_masks import compare_cams, compare_masks
from semples_cli.steps.process_pool import available_cores
from semples_cli.steps.progress import silent
from semples_cli.types import Cam, ClassSet

SIZE = (375, 500)
GRID = (24, 32)
WORKERS = (1, 2, 4)


def make_inputs(folder, args):
    """Smooth ground truth with ignored borders, and CAMs that know something of it; as files."""
    rng = np.random.default_rng(0)
    for number in range(args.images):
        indices = np.sort(rng.choice(np.arange(1, args.classes), args.maps, replace=False))
        noise = rng.random((args.maps + 1, 6, 8), np.float32)
        target = np.array([0, *indices], np.uint8)[resize_scores(noise, SIZE).argmax(0)]
        edge = np.zeros(SIZE, bool)
        edge[1:] |= target[1:] != target[:-1]
        edge[:, 1:] |= target[:, 1:] != target[:, :-1]
        target[edge] = 255
        write_mask(folder / f"truth/{number}.png", target)
        write_mask(folder / f"masks/{number}.png", np.roll(target, 9, 1))
        small = np.stack([np.asarray(Image.fromarray(each).resize(GRID[::-1])) for each in noise[1:]])
        scores = np.clip(0.7 * small + 0.3 * rng.random(small.shape, np.float32), 0, 1)
        write_cam(folder / "cams", Cam(str(number), indices, scores.astype(np.float32), SIZE), {})


def read_inputs(folder, args):
    """Inputs as the counting wants them, and the seconds that each part of reading takes."""
    inputs, seconds = [], {"read PNG": 0.0, "read CAM": 0.0, "resize": 0.0}
    for number in range(args.images):
        at = [perf_counter()]
        target = read_mask(folder / f"truth/{number}.png")
        at.append(perf_counter())
        cam = read_cam(folder / f"cams/{number}.npz", str(number))
        at.append(perf_counter())
        inputs.append((target, resize_scores(cam.scores, SIZE), cam.class_indices))
        at.append(perf_counter())
        for part, spent in zip(seconds, np.diff(at).tolist(), strict=True):
            seconds[part] += spent
    return inputs, seconds


def one_pass(inputs, thresholds, num_classes):
    curve = BackgroundCurve(num_classes, thresholds)
    for image in inputs:
        curve.update(*image)
    curve.best()
    return [class_counts(curve.confusion(index)) for index in range(len(thresholds))]


def loop(inputs, thresholds, num_classes):
    return [
        class_counts(sum(confusion_counts(t, seed_mask(s, k, score), num_classes) for t, s, k in inputs))
        for score in thresholds
    ]


def plain_loop(inputs, thresholds, num_classes):
    found = []
    for score in thresholds:
        counts = np.zeros((3, num_classes), np.int64)
        for target, scores, indices in inputs:
            stacked = np.concatenate([np.full((1, *target.shape), score, np.float32), scores])
            predicted = np.array([0, *indices])[stacked.argmax(0)]
            counted = target < 255
            for index in range(num_classes):
                p, t = (predicted == index) & counted, (target == index) & counted
                counts[:, index] += (p & t).sum(), p.sum(), t.sum()
        found.append(counts)
    return found


def from_files(folder, num_classes):
    """Seconds of `semples evaluate` without starting Python and writing a report, by what is read and by how many."""
    classes = ClassSet(tuple(f"class {index}" for index in range(1, num_classes)))
    comparisons = {
        "masks": compare_masks(folder / "masks", folder / "truth", classes),
        "CAMs": compare_cams(folder / "cams", folder / "truth", classes),
    }
    seconds = {}
    for name, comparison in comparisons.items():
        found = []
        for workers in WORKERS:
            started = perf_counter()
            counts = comparison.count(progress=silent, workers=workers)
            seconds[f"{name}, {workers} thread{'s' if workers > 1 else ''}"] = perf_counter() - started
            found.append((counts.confusion, counts.curve))
        if not all((a == b).all() for each in found for a, b in zip(each, found[0], strict=True)):
            msg = "the counts of threads differ: nothing is measured"
            raise SystemExit(msg)
    return seconds


def measure(folder, args):
    thresholds = (np.arange(args.thresholds) / args.thresholds).tolist()
    ways = {"one pass": one_pass, "loop": loop, "plain loop": plain_loop}
    seconds = {}
    for _ in range(args.rounds):
        inputs, parts = read_inputs(folder, args)
        found = {}
        for name, way in ways.items():
            started = perf_counter()
            found[name] = np.array(way(inputs, thresholds, args.classes))
            parts[name] = perf_counter() - started
        if not all((counts == found["one pass"]).all() for counts in found.values()):
            msg = "the counts differ: nothing is measured"
            raise SystemExit(msg)
        parts |= from_files(folder, args.classes)
        for name, spent in parts.items():
            seconds.setdefault(name, []).append(spent)
    return {name: statistics.median(spent) for name, spent in seconds.items()}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", 40), ("thresholds", 60), ("classes", 21), ("maps", 3), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        make_inputs(Path(folder), args)
        seconds = measure(Path(folder), args)
    machine = (
        f"{platform.processor() or platform.machine()}, {available_cores()} cores, Python {platform.python_version()}, "
        f"numpy {np.__version__}"
    )
    if args.json:
        print(json.dumps({"machine": machine, "settings": vars(args), "seconds": seconds}))
        return
    print(
        f"{machine}; {args.images} images {SIZE[0]} x {SIZE[1]}, {args.maps} maps, {args.thresholds} background scores"
    )
    for name, spent in seconds.items():
        times = f"{spent / seconds['one pass']:8.1f} x one pass" if "loop" in name else ""
        print(f"{name:16}{spent:9.3f} s{1000 * spent / args.images:9.2f} ms an image{times}")


if __name__ == "__main__":
    main()
