"""How large a store of CAMs is: a sample as COCO 2014 has images and classes, extrapolated to its training set.

    python benchmarks/cam_store.py [--images 2000] [--total 82081] [--size 512] [--scale 1.2]

Sizes, numbers of classes and the grid are COCO's; the maps are smooth noise stretched to [0, 1], which packs worse than
real ones. Written by `write_cam`, and read back once; bytes as the files say and as the disk counts them.
"""

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image

from semples_cli.artifacts.cam_store import find_cams, read_cam, stored_scores, write_cam
from semples_cli.config import CamSettings
from semples_cli.engine.preprocess import network_size
from semples_cli.types import Cam

# (H, W) and share of COCO's images; classes in an image and share: 2.9 on average.
SIZES = {(480, 640): 0.7, (640, 480): 0.23, (427, 640): 0.07}
CLASSES = {0: 0.01, 1: 0.23, 2: 0.27, 3: 0.2, 4: 0.13, 5: 0.07, 6: 0.05, 8: 0.04}


def smooth(rng: np.random.Generator, grid: tuple[int, int]) -> np.ndarray:
    """A map with values at all levels, as float32 in [0, 1]."""
    coarse = Image.fromarray(rng.random((6, 8), np.float32))
    made = np.asarray(coarse.resize(grid[::-1], Image.Resampling.BICUBIC))
    return (made - made.min()) / (made.max() - made.min())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--total", type=int, default=82_081)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--scale", type=float, default=1.2, help="the largest of the scales decides the grid")
    args = parser.parse_args()
    rng, settings = np.random.default_rng(0), asdict(CamSettings(size=args.size, scales=(1.0, args.scale)))
    with tempfile.TemporaryDirectory() as folder:
        started = perf_counter()
        for n in range(args.images):
            size = list(SIZES)[rng.choice(len(SIZES), p=list(SIZES.values()))]
            count = int(rng.choice(list(CLASSES), p=list(CLASSES.values())))
            grid = tuple(side // 16 for side in network_size(size, args.size, 16, args.scale))
            maps = np.stack([smooth(rng, grid) for _ in range(count)]) if count else np.zeros((0, *grid), np.float32)
            indices = np.sort(rng.choice(np.arange(1, 81), count, replace=False))
            write_cam(Path(folder), Cam(f"{n:06}", indices, stored_scores(maps), size), settings)
        written = perf_counter() - started
        files = find_cams(Path(folder))
        stats = [path.stat() for path in files.values()]
        started = perf_counter()
        for sample_id, path in files.items():
            read_cam(path, sample_id)
        read = perf_counter() - started
    factor = args.total / args.images / 1e9
    print(
        json.dumps(
            {
                "images": args.images,
                "bytes_an_image": round(sum(each.st_size for each in stats) / args.images),
                "gigabytes_in_all": round(factor * sum(each.st_size for each in stats), 2),
                "gigabytes_on_disk": round(factor * sum(each.st_blocks * 512 for each in stats), 2),
                "ms_to_make_and_write": round(1000 * written / args.images, 2),
                "ms_to_read": round(1000 * read / args.images, 2),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
