"""`semples cams` on photographs in every mode, size and orientation, with ViT-B-16: images a second and peak memory.

    python benchmarks/cams.py [--model ViT-B-16] [--size 512] [--batch-size 8] [--precision auto] [--json]

The photographs are those inside the scikit-image and scikit-learn wheels, saved again. The weights are random, so
nothing is said about what is seen: only that all is read, that sizes and names are right, and what it costs. One file
is cut short, which has to end in exit code 3 with the others written.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import skimage
import sklearn
from PIL import Image, ImageOps

from semples_cli.artifacts.mask_png import find_masks, read_mask
from semples_cli.artifacts.run_folder import read_run_record

WHEELS = (Path(skimage.__file__).parent / "data", Path(sklearn.__file__).parent / "datasets/images")
NAMES = (
    *("astronaut", "brick", "camera", "cell", "chelsea", "clock_motion", "coffee", "coins", "grass", "gravel"),
    *("hubble_deep_field", "ihc", "moon", "motorcycle_left", "motorcycle_right", "china", "flower"),
)
ORIENTATION = 0x0112
CLASSES = ("cat", "person", "motorbike")
CUT = "cut"


def photographs():
    """Name and RGB picture of each photograph."""
    for name in NAMES:
        for folder in WHEELS:
            for path in folder.glob(f"{name}.*"):
                yield name, Image.open(path).convert("RGB")


def sixteen_bits(image):
    """A grey picture that uses all of 16 bits."""
    grey = np.asarray(image.convert("L")).astype(np.uint16)
    return Image.fromarray(grey * 257)


def faded(image, mode):
    """The picture with a transparent border."""
    alpha = Image.new("L", image.size)
    alpha.paste(255, (20, 20, image.width - 20, image.height - 20))
    image = image.convert(mode[:-1])
    image.putalpha(alpha)
    return image


# Suffix → how the picture is changed; each photograph takes two of them in turn.
VARIANTS = {
    "rgb.jpg": lambda image: image,
    "L.JPG": lambda image: image.convert("L"),
    "cmyk.jpeg": lambda image: image.convert("CMYK"),
    "rgba.png": lambda image: faded(image, "RGBA"),
    "la.png": lambda image: faded(image, "LA"),
    "palette.png": lambda image: image.quantize(64),
    "bits1.png": lambda image: image.convert("1"),
    "bits16.png": sixteen_bits,
    "gif.gif": lambda image: image.quantize(32),
    "bmp.bmp": lambda image: image,
    "tiff.TIFF": lambda image: image,
    "webp.webp": lambda image: image,
    "ppm.ppm": lambda image: image,
    "small.png": lambda image: image.resize((31, 17)),
    "wide.jpg": lambda image: image.crop((0, 0, image.width, image.height // 4)),
    "tall.jpg": lambda image: image.crop((0, 0, image.width // 4, image.height)),
    "large.jpg": lambda image: image.resize((2400, 1800)),
} | {f"exif{turn}.jpg": lambda image: image for turn in range(1, 9)}


def save_all(folder):
    """Save the pictures; (H, W) of each upright one by id."""
    sources = list(photographs())
    sizes = {}
    for number in range(max(len(VARIANTS), len(sources))):
        name, image = sources[number % len(sources)]
        suffix = list(VARIANTS)[number % len(VARIANTS)]
        path = folder / f"{number % 3}" / f"{name}-{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        if suffix.startswith("exif"):
            exif[ORIENTATION] = int(suffix[4])
        VARIANTS[suffix](image).save(path, **({"exif": exif} if len(exif) else {}))
        with Image.open(path) as saved:
            width, height = ImageOps.exif_transpose(saved).size
        sizes[path.relative_to(folder).with_suffix("").as_posix()] = (height, width)
    whole = next(folder.rglob("*rgb.jpg")).read_bytes()
    (folder / f"{CUT}.jpg").write_bytes(whole[: len(whole) // 2])
    rows = [
        f"{path.relative_to(folder).as_posix()},{'|'.join(CLASSES[: n % 3 + 1])}"
        for n, path in enumerate(images_in(folder))
    ]
    (folder / "labels.csv").write_text("\n".join(["image,labels", *rows]) + "\n")
    return sizes


def images_in(folder):
    """Every file of a folder, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def save_random_weights(model, path):
    """Weights as they are before any training; in a process of its own, whose memory does not count as ours."""
    code = (
        "import sys, torch, open_clip; from safetensors.torch import save_file; torch.manual_seed(0);"
        "save_file(open_clip.create_model(sys.argv[1], load_weights=False).state_dict(), sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", code, model, str(path)], check=True, stderr=subprocess.DEVNULL)


def run(folder, out, weights, options):
    """The result document, exit code, seconds of the whole process and its peak memory in MB."""
    command = [sys.executable, "-m", "semples_cli", "cams", str(folder), "--out", str(out), "--json"]
    command += [
        "--model",
        options.model,
        "--weights",
        str(weights),
        "--no-quick-gelu",
        "--precision",
        options.precision,
    ]
    command += ["--size", str(options.size), "--batch-size", str(options.batch_size)]
    started = perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    return json.loads(output), process.returncode, perf_counter() - started, usage.ru_maxrss * unit / 1e6


def check(sizes, out, document, code):
    """Stop unless every picture but the one that was cut has a mask of its own size."""
    problems = []
    if code != 3 or [entry["id"] for entry in document["failed"]] != [CUT]:
        problems.append(f"exit code {code}, failed: {document['failed']}; exactly {CUT!r} should fail")
    masks = {sample_id: read_mask(path).shape for sample_id, path in find_masks(out).items()}
    if masks != sizes:
        problems.append(f"sizes differ: {sorted(masks.items() ^ sizes.items())}")
    if problems:
        raise SystemExit("; ".join(problems))


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-B-16")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = save_all(folder / "images")
        weights = folder / "random.safetensors"
        save_random_weights(options.model, weights)
        document, code, seconds, peak = run(folder / "images", folder / "out", weights, options)
        check(sizes, folder / "out", document, code)
        precision = read_run_record(folder / "out")["engine"]["precision"]
    result = {
        "what": f"{len(sizes)} photographs, {options.model} with random weights, size {options.size}, batch size "
        f"{options.batch_size}, {precision}",
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load before {load:.1f}, "
        f"OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}",
        "images_per_second": round(document["written"] / document["seconds"], 3),
        "seconds_with_loading": round(seconds, 1),
        "peak_memory_mb": round(peak),
        "sizes_checked": len(sizes),
    }
    print(
        json.dumps(result)
        if options.json
        else "\n".join(f"{key.replace('_', ' ')}: {value}" for key, value in result.items())
    )


if __name__ == "__main__":
    main()
