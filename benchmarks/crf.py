"""Dense CRF: what `apply_crf` costs over the bare backend, and what a second process gains; all in one run.

    python benchmarks/crf.py [--images 12] [--rounds 3] [--workers 1 2] [--json]

Bare: pydensecrf2 alone (setting up and inference), images and masks in memory, one process. Ours: reading image and
mask, hashing, the same CRF, writing mask and manifest, starting the processes. Rounds are interleaved; medians.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image
from pydensecrf.densecrf import DenseCRF2D
from pydensecrf.utils import unary_from_labels

from semples_cli.artifacts.mask_png import read_mask, write_mask
from semples_cli.config import CRF_PRESETS
from semples_cli.steps.apply_crf import apply_crf
from semples_cli.steps.progress import silent

HEIGHT, WIDTH = 375, 500
LABELS = 3
SETTINGS = CRF_PRESETS["semples-voc"]


def make_inputs(folder, count):
    """Crops of two photographs, as JPEG, and masks of smooth random regions."""
    # Not at the top: each worker process imports this file again, and would wait for scikit-learn.
    from sklearn.datasets import load_sample_image

    rng = np.random.default_rng(0)
    photographs = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    (folder / "images").mkdir()
    for number in range(count):
        photograph = photographs[number % 2]
        top, left = (
            int(rng.integers(0, side - crop)) for side, crop in zip(photograph.shape[:2], (HEIGHT, WIDTH), strict=True)
        )
        crop = photograph[top : top + HEIGHT, left : left + WIDTH]
        Image.fromarray(crop).save(folder / "images" / f"{number:04}.jpg", quality=95)
        noise = [Image.fromarray(rng.random((6, 8), np.float32)) for _ in range(LABELS)]
        maps = np.stack([np.asarray(each.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)) for each in noise])
        write_mask(folder / "masks" / f"{number:04}.png", maps.argmax(0).astype(np.uint8))


def bare(inputs):
    """Seconds of the backend alone, and its masks."""
    started = perf_counter()
    masks = []
    for image, labels in inputs:
        field = DenseCRF2D(WIDTH, HEIGHT, LABELS)
        field.setUnaryEnergy(unary_from_labels(labels, LABELS, SETTINGS.gt_prob, zero_unsure=False))
        field.addPairwiseGaussian(sxy=SETTINGS.gaussian_sxy, compat=SETTINGS.gaussian_compat)
        field.addPairwiseBilateral(
            sxy=SETTINGS.bilateral_sxy, srgb=SETTINGS.bilateral_srgb, rgbim=image, compat=SETTINGS.bilateral_compat
        )
        masks.append(np.argmax(field.inference(SETTINGS.iterations), axis=0).reshape(HEIGHT, WIDTH))
    return perf_counter() - started, masks


def ours(folder, out, workers):
    """Seconds of the whole step."""
    started = perf_counter()
    summary = apply_crf(folder / "masks", folder / "images", out, SETTINGS, workers=workers, progress=silent)
    seconds = perf_counter() - started
    if summary.failed:
        msg = f"failed: {summary.failed}"
        raise SystemExit(msg)
    return seconds


def differing_pixels(out, masks):
    """Pixels in which the files differ from the backend's own masks: 0, or the comparison means nothing."""
    files = sorted(out.glob("*.png"))
    return sum(int((read_mask(path) != mask).sum()) for path, mask in zip(files, masks, strict=True))


def measure(folder, options):
    """Median seconds for each contender."""
    make_inputs(folder, options.images)
    names = sorted(path.stem for path in (folder / "images").iterdir())
    inputs = [
        (np.array(Image.open(folder / f"images/{name}.jpg")), read_mask(folder / f"masks/{name}.png")) for name in names
    ]
    times = {"bare": []} | {f"ours, {workers} workers": [] for workers in options.workers}
    differing = 0
    for number in range(options.rounds):
        seconds, masks = bare(inputs)
        times["bare"].append(seconds)
        for workers in options.workers:
            out = folder / f"out-{number}-{workers}"
            times[f"ours, {workers} workers"].append(ours(folder, out, workers))
            differing += differing_pixels(out, masks)
    return {name: statistics.median(seconds) for name, seconds in times.items()}, differing


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        medians, differing = measure(Path(folder), options)
    size = f"{WIDTH}x{HEIGHT}, {LABELS} labels"
    result = {
        "what": f"{options.images} images of {size}, semples-voc, median of {options.rounds}",
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load before {load:.1f}",
        "software": f"Python {platform.python_version()}, numpy {np.__version__}, pydensecrf2 {version('pydensecrf2')}",
        "differing_pixels": differing,
        "seconds_per_image": {name: round(seconds / options.images, 4) for name, seconds in medians.items()},
    }
    if options.json:
        print(json.dumps(result))
        return
    for name in ("what", "machine", "software", "differing_pixels"):
        print(f"{name.replace('_', ' ')}: {result[name]}")
    for name, seconds in result["seconds_per_image"].items():
        print(f"{name:>16}: {seconds:.3f} s/image, {medians['bare'] / options.images / seconds:.2f} x bare speed")


if __name__ == "__main__":
    main()
