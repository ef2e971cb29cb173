"""Dense CRF: sparse matrices against pydensecrf2, what `apply_crf` adds, what workers and --crf-max-pixels gain.

    python benchmarks/crf.py [--images 12] [--rounds 3] [--workers 1 2] [--labels 2 3 5 21] [--presets all] [--json]

Bare: inference alone, set-up included, images and unaries in memory, one thread; on all cores: by one process each,
which share cache and memory, so that twice the cores are not twice as fast. Ours: `apply_crf`, with reading image and
mask, hashing, writing mask and manifest, and starting threads or processes. A quarter: `--crf-max-pixels` of a quarter
of the pixels. Contenders are interleaved, round by round; medians, and fastest to slowest round. Then one image in a
process of its own for each backend: how far it raises the memory that image and unary are in (Linux).
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image, ImageOps

from semples_cli.artifacts.mask_png import read_mask, write_mask
from semples_cli.config import CRF_PRESETS
from semples_cli.functional.crf import label_unary
from semples_cli.functional.crf_backends import choose_inference
from semples_cli.steps.apply_crf import apply_crf
from semples_cli.steps.progress import silent

HEIGHT, WIDTH = 375, 500
BACKENDS = ("pydensecrf2", "sparse")
MEMORY_SIZES = ((375, 500), (750, 1000))


def photographs(size=(WIDTH, HEIGHT)):
    """Photographs that come with scikit-image and scikit-learn, (H, W, 3) uint8."""
    # Not at the top: each worker process imports this file again, and would wait for both.
    from skimage import data
    from sklearn.datasets import load_sample_image

    pictures = [data.chelsea(), data.coffee(), data.astronaut(), data.rocket()]
    pictures += [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    return [np.asarray(ImageOps.fit(Image.fromarray(picture), size)) for picture in pictures]


def smooth_labels(rng, labels, size=(WIDTH, HEIGHT)):
    """A mask of smooth random regions that holds each label."""
    noise = [
        Image.fromarray(rng.random((6, 8), np.float32)).resize(size, Image.Resampling.BICUBIC) for _ in range(labels)
    ]
    mask = np.stack([np.asarray(each) for each in noise]).argmax(0).astype(np.uint8)
    mask[0, :labels] = range(labels)
    return mask


def make_inputs(folder, count, labels):
    """Photographs, mirrored where there are not enough, as JPEG; and masks."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    pictures = photographs()
    for number in range(count):
        picture = pictures[number % len(pictures)]
        mirrored = picture[:, :: 1 if number // len(pictures) % 2 == 0 else -1]
        Image.fromarray(np.ascontiguousarray(mirrored)).save(folder / "images" / f"{number:04}.jpg", quality=95)
        write_mask(folder / "masks" / f"{number:04}.png", smooth_labels(rng, labels))


def read_inputs(folder, gt_prob):
    """Images, and energies of the masks."""
    pairs = []
    for path in sorted((folder / "masks").glob("*.png")):
        mask = read_mask(path)
        image = np.array(Image.open(folder / "images" / f"{path.stem}.jpg"))
        pairs.append((image, label_unary(mask, np.unique(mask), gt_prob)))
    return pairs


def infer(backend, settings, image, unary):
    """Marginals of one image."""
    gaussian = (settings.gaussian_sxy, settings.gaussian_compat)
    bilateral = (settings.bilateral_sxy, settings.bilateral_srgb, settings.bilateral_compat)
    return choose_inference(backend, len(unary))(image, unary, gaussian, bilateral, settings.iterations)


def bare(backend, settings, inputs, out):
    """Masks of inference alone; `out` is not written."""
    del out
    return [infer(backend, settings, image, unary).argmax(0) for image, unary in inputs]


def bare_on_all_cores(backend, settings, inputs, out):
    """The same by as many processes as workers at most, forked with their inputs: what the machine itself allows."""
    del out
    count = min(os.cpu_count() or 1, len(inputs))
    parts = [inputs[i::count] for i in range(count)]
    context = get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in parts]
    workers = [
        context.Process(target=_send, args=(writer, backend, settings, part))
        for (_, writer), part in zip(pipes, parts, strict=True)
    ]
    for worker in workers:
        worker.start()
    found = [reader.recv() for reader, _ in pipes]
    for worker in workers:
        worker.join()
    return [found[i % count][i // count] for i in range(len(inputs))]


def _send(writer, backend, settings, part):
    writer.send([mask.astype(np.uint8) for mask in bare(backend, settings, part, None)])


def ours(folder, settings, workers, inputs, out):
    """Masks of the whole step; `inputs` are read from files again."""
    del inputs
    summary = apply_crf(folder / "masks", folder / "images", out, settings, workers=workers, progress=silent)
    if summary.failed:
        msg = f"failed: {summary.failed}"
        raise SystemExit(msg)
    return sorted(out.glob("*.png"))


def contenders(folder, settings, workers):
    """What is compared, by name; the first is what the others are compared with."""
    quarter = replace(settings, max_pixels=HEIGHT * WIDTH // 4)
    runs = {f"bare {backend}": partial(bare, backend, settings) for backend in BACKENDS}
    runs |= {f"bare {backend}, all cores": partial(bare_on_all_cores, backend, settings) for backend in BACKENDS}
    for backend in BACKENDS:
        for count in workers:
            name = f"ours {backend}, {count} worker{'s' * (count > 1)}"
            runs[name] = partial(ours, folder, replace(settings, backend=backend), count)
    return runs | {f"ours, a quarter, {workers[0]} worker": partial(ours, folder, quarter, workers[0])}


def measure(preset, labels, options):
    """Seconds an image of each contender, and in how many pixels of a million its masks differ from pydensecrf2's."""
    settings = replace(CRF_PRESETS[preset], unary="labels")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder, options.images, labels)
        inputs = read_inputs(folder, settings.gt_prob)
        runs = contenders(folder, settings, options.workers)
        seconds, reference, differing = {name: [] for name in runs}, None, {}
        for number in range(options.rounds):
            for place, (contender, run) in enumerate(runs.items()):
                started = perf_counter()
                masks = run(inputs, folder / f"out-{number}-{place}")
                seconds[contender].append((perf_counter() - started) / options.images)
                masks = [read_mask(mask) if isinstance(mask, Path) else mask for mask in masks]
                reference = masks if reference is None else reference
                changed = sum(int((one != other).sum()) for one, other in zip(masks, reference, strict=True))
                differing[contender] = changed / options.images / HEIGHT / WIDTH * 1e6
    return {name: summary(times, differing[name], seconds["bare pydensecrf2"]) for name, times in seconds.items()}


def summary(times, differing, reference):
    """Figures of one contender."""
    return {
        "seconds_per_image": round(statistics.median(times), 4),
        "fastest": round(min(times), 4),
        "slowest": round(max(times), 4),
        "speed": round(statistics.median(reference) / statistics.median(times), 2),
        "differing_per_million": round(differing, 2),
    }


def peak_memory(backend, preset, labels, size):
    """MiB by which one image raises the memory of a process that has imported everything."""
    image = photographs(size[::-1])[4]
    mask = smooth_labels(np.random.default_rng(0), labels, size[::-1])
    infer(backend, CRF_PRESETS[preset], image[:8, :8].copy(), label_unary(mask, np.unique(mask), 0.7)[:, :8, :8].copy())
    unary = label_unary(mask, np.unique(mask), 0.7)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to what is used now
    before = resident("VmHWM")
    infer(backend, CRF_PRESETS[preset], image, unary)
    return round((resident("VmHWM") - before) / 1024)


def resident(field):
    """KiB of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def measure_memory(preset, labels):
    """Peak MiB by size and backend, each in a process of its own."""
    found = {}
    for size in MEMORY_SIZES:
        for backend in BACKENDS:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                found[f"{size[1]}x{size[0]} {backend}"] = pool.submit(
                    peak_memory, backend, preset, labels, size
                ).result()
    return found


def print_table(title, figures):
    """One table."""
    print(f"\n{title}")
    for name, row in figures.items():
        spread = f"{row['fastest']:.3f} to {row['slowest']:.3f}"
        print(
            f"{name:>32}: {row['seconds_per_image']:.3f} s an image ({spread}), {row['speed']:.2f} x bare pydensecrf2, "
            f"{row['differing_per_million']:.1f} pixels in a million differ"
        )


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--labels", type=int, nargs="+", default=[2, 3, 5, 21])
    parser.add_argument("--presets", nargs="+", choices=CRF_PRESETS, default=["semples-voc"])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = {
        "what": f"{options.images} images of {WIDTH}x{HEIGHT}, medians of {options.rounds} rounds",
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load before "
        f"{os.getloadavg()[0]:.1f}",
        "software": f"Python {platform.python_version()}, numpy {np.__version__}, scipy {version('scipy')}, "
        f"pydensecrf2 {version('pydensecrf2')}",
    }
    if not options.json:
        print(*result.values(), sep="\n")
    for preset in options.presets:
        for labels in options.labels:
            figures = measure(preset, labels, options)
            result[f"{preset}, {labels} labels"] = figures
            if not options.json:
                print_table(f"{preset}, {labels} labels", figures)
                sys.stdout.flush()
    for labels in (3, 21):
        result[f"peak MiB, {labels} labels"] = measure_memory(options.presets[0], labels)
        if not options.json:
            print(f"\npeak MiB of one image, {labels} labels: {result[f'peak MiB, {labels} labels']}")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
