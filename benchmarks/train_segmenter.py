"""What a segmentation network learns from the masks of each stage, and which share that is of full supervision.

    python benchmarks/train_segmenter.py --seeds 0 1 2 --json build/segmenter.json
    python benchmarks/train_segmenter.py --tables build/segmenter.json

Trains examples/train_segmenter/train_segmenter.py on the seeds, the refined masks (SemPLeS), the masks after the CRF
and the full ground truth of one world; another world, of seed 100 higher, is validated on. `semples demo` makes the
masks, once; the seeds are those of the network's training. Its settings were chosen with full ground truth on the
worlds of seed 0 and 100, the latter to validate, and on no other. `--demo FOLDER` takes a finished demo.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from runs import Run, add_arguments, do_runs, fingerprint, read_runs
from tables import Runs, markdown, spread

from semples_cli.engine.clip import ClipEngine

SCRIPT = Path(__file__).parents[1] / "examples" / "train_segmenter" / "train_segmenter.py"
GROUND_TRUTH = "ground truth"
ROWS = {"seeds": "seeds", "refined": "refined", "crf": "crf", GROUND_TRUTH: "world/SegmentationClass"}
"""What is trained on, and where it lies in the folder of a demo."""

VAL_OFFSET = 100
OPTIONS = ("--arch=lraspp_mobilenet_v3_large", "--size=64", "--epochs=80", "--batch-size=16", "--lr=6e-3")


@dataclass(frozen=True)
class Training(Run):
    """One training; `seed` is the network's."""

    masks: str


def train(engine: ClipEngine, run: Training, demo: Path, held_out: Path) -> dict[str, Any]:
    """The figures of one training, as shares of 1, and the mIoU of the masks that it saw."""
    del engine
    folders = {
        "--images": demo / "world" / "JPEGImages",
        "--masks": demo / ROWS[run.masks],
        "--classes": demo / "world" / "classes.txt",
        "--val-images": held_out / "JPEGImages",
        "--val-masks": held_out / "SegmentationClass",
    }
    options = [str(word) for option in folders.items() for word in option]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, str(SCRIPT), *options, *OPTIONS, "--seed", str(run.seed), "--device", "cpu"]
        subprocess.run([*command, "--out", out], env=os.environ | threads, stdout=sys.stderr, check=True)
        figures = json.loads((Path(out) / "metrics.json").read_text())
    kept = {key: figures[key] for key in ("miou", "num_classes_averaged", "pixel_accuracy", "iou", "loss")}
    return kept | {"mask_miou": mask_miou(demo)[run.masks]}


def mask_miou(demo: Path) -> dict[str, float]:
    """The mIoU of the masks of each stage, on the images that are trained on."""
    stages = json.loads((demo / "report.json").read_text())["stages"]
    return {stage["name"]: stage["miou"] for stage in stages} | {GROUND_TRUTH: 1.0}


def make_world(folder: Path, run: Run, *command: str) -> Path:
    """Render a world with one of our commands; what an earlier run of it made is kept, another world refused."""
    world = {"--seed": run.world, "--num-images": run.num_images, "--bias": run.bias, "--pairing": run.pairing}
    options = [str(word) for option in world.items() for word in option]
    command = (sys.executable, "-m", "semples_cli", *command, *options, "--out", str(folder))
    subprocess.run(command, stdout=sys.stderr, check=True)
    return folder


def check_demo(demo: Path, run: Run) -> None:
    """End the program where a folder does not hold the finished demo of this world."""
    try:
        found = json.loads((demo / "report.json").read_text())["world"]
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"{demo}: no finished `semples demo` here ({error}); leave --demo out, and one is made")
    if found != asdict(run.world_settings()):
        sys.exit(f"{demo}: a demo of the world {found}, not of {asdict(run.world_settings())}; leave --demo out")


def results_table(runs: Runs) -> str:
    """A line for what was trained on: the masks' own mIoU, val mIoU, and its share of the ground truth's, by seed."""
    full = {key_of(run): run["miou"] for run in runs if run["run"]["masks"] == GROUND_TRUTH}
    lines = []
    for row in ROWS:
        these = [run for run in runs if run["run"]["masks"] == row]
        if not these:
            continue
        shares = [100 * run["miou"] / full[key_of(run)] for run in these if key_of(run) in full]
        seen = sorted({round(100 * run["mask_miou"], 1) for run in these})
        cells = [", ".join(map(str, seen)), spread([100 * run["miou"] for run in these])]
        lines.append([row, str(len(these)), *cells, f"{spread(shares)} %" if shares else "–"])
    return markdown(["trained on", "runs", "mIoU of these masks", "val mIoU", "share retained"], lines)


def key_of(run: Mapping[str, Any]) -> tuple[Any, ...]:
    """What runs that differ in their masks alone have in common."""
    about = run["run"]
    return (run["fingerprint"], *(about[key] for key in sorted(about) if key != "masks"))


def main() -> None:
    """Do the runs, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.set_defaults(worlds=[1])
    parser.add_argument("--demo", type=Path, help="a finished demo of the one world; without, it is made in --out")
    parser.add_argument("--out", type=Path, default=Path("build/segmenter"), help="folder for demos and worlds")
    args = parser.parse_args()
    if args.tables:
        print(results_table([run for path in args.tables for run in read_runs(path)]))
        return
    runs = []
    for world in args.worlds:
        about = (args.pairing, args.bias, args.num_images)
        first = Run(world, None, *about)
        demo = args.demo or make_world(args.out / f"demo{world}", first, "demo")
        check_demo(demo, first)
        val = world + VAL_OFFSET
        held_out = make_world(args.out / f"world{val}", Run(val, None, *about), "demo-data")
        wanted = [Training(world, seed, *about, masks) for seed in args.seeds for masks in ROWS]
        work = partial(train, demo=demo, held_out=held_out)
        runs += do_runs(wanted, fingerprint([OPTIONS, mask_miou(demo)]), work, args)
    print(results_table(runs))


if __name__ == "__main__":
    main()
