"""What rules that choose the background score without ground truth are worth, on worlds that none was tuned on.

    python benchmarks/background_score.py --worlds 1 2 3 4 5 6 --seeds 0 --json build/background_score.json
    python benchmarks/background_score.py --tables build/background_score.json

For CAMs of each kind (the rows of ablation.py) the mIoU at the score that a rule chooses is taken from the best mIoU by
ground truth. Rules: the fixed 0.4; Otsu's threshold of the winning scores of all pixels; CLIP's match, the score at
which the cut-out region is most, and the rest least, taken for its label among classes and background words; and
border contrast, which is `--background-score auto`. 10 masks: the best score by ground truth of 10 images, measured on
the others.
"""

import argparse
import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ablation import read_tables, trained_maps, untrained_maps
from PIL import Image
from pipeline_world import CLASSES, WORDS, Maps, Tuning, World
from runs import Run, add_arguments, do_runs, fingerprint
from skimage.filters import threshold_otsu

from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.generator_training import encode_labels
from semples_cli.functional.background_curve import BackgroundCurve
from semples_cli.functional.border_contrast import BorderContrast
from semples_cli.functional.masks import resize_scores, seed_mask, strongest_map

FIXED, OTSU, MATCH, BORDER, CALIBRATED = "fixed 0.4", "Otsu", "CLIP's match", "border contrast (auto)", "10 masks"
RULES = (FIXED, OTSU, MATCH, BORDER, CALIBRATED)
MATCH_SCORES = np.arange(4, 19) * 0.05
# As `semples cams` does with many images, a sample of them is enough for what costs a pass through CLIP.
MATCH_IMAGES = 50
NUM_CALIBRATED = 10


def make_run(engine: ClipEngine, run: Run, tuning: Tuning, kept: Path | None) -> dict[str, Any]:
    """For each kind of CAMs the score that each rule chooses, and what it loses against the best."""
    world = World(engine, run.world_settings())
    return {"rules": {row: judge_rules(world, each) for row, each in keep_maps(world, run, tuning, kept).items()}}


def keep_maps(world: World, run: Run, tuning: Tuning, kept: Path | None) -> dict[str, Maps]:
    """The maps of each row, float16 as a CAM store keeps them; as an earlier run kept them, if it was the same."""
    path = None if kept is None else kept / f"{fingerprint([tuning, run])}.npz"
    if path is None or not path.exists():
        made = untrained_maps(world, tuning) | trained_maps(world, tuning, run.seed or 0)[0]
        halves = {row: [each.astype(np.float16) for each in maps] for row, maps in made.items()}
        if path is None:
            return {row: [each.astype(np.float32) for each in maps] for row, maps in halves.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{row: np.concatenate(maps) for row, maps in halves.items()})
    ends = np.cumsum([len(classes) for classes in world.present])[:-1]
    with np.load(path) as stored:
        return {row: np.split(stored[row].astype(np.float32), ends) for row in stored.files}


def judge_rules(world: World, maps: Maps) -> dict[str, dict[str, float]]:
    """Each rule's score, and the percent of mIoU between it and the best score by ground truth."""
    full = [resize_scores(each, scene.target.shape) for each, scene in zip(maps, world.scenes, strict=True)]
    everything = range(len(full))
    miou = measure(world, full, everything)
    scores = {
        FIXED: 0.4,
        OTSU: float(threshold_otsu(np.concatenate([strongest_map(each)[1].ravel() for each in full]))),
        MATCH: clip_match(world, full[:MATCH_IMAGES]),
        BORDER: border_contrast(world, full),
    }
    judged = {rule: {"score": score, "lost": lost(miou, score)} for rule, score in scores.items()}
    given = everything[:NUM_CALIBRATED]
    score = int(measure(world, full, given).argmax()) / 100
    judged[CALIBRATED] = {"score": score, "lost": lost(measure(world, full, everything[NUM_CALIBRATED:]), score)}
    return judged | {"best": {"score": int(miou.argmax()) / 100, "miou": float(miou.max())}}


def measure(world: World, full: Maps, chosen: Iterable[int]) -> np.ndarray:
    """The mIoU of some images at 0.00, 0.01, …, 1.00, in percent."""
    curve = BackgroundCurve(len(CLASSES) + 1)
    for n in chosen:
        curve.update(world.scenes[n].target, full[n], np.array(world.present[n]))
    return 100 * curve.miou()


def lost(miou: np.ndarray, score: float) -> float:
    """Percent of mIoU between a score and the best."""
    return float(miou.max() - miou[round(100 * score)])


def border_contrast(world: World, full: Maps) -> float:
    """The rule of `--background-score auto`."""
    contrast = BorderContrast()
    for image, scores in zip(world.images, full, strict=True):
        contrast.update(np.asarray(Image.fromarray(image).convert("L"), np.float32), scores)
    return float(contrast.scores[contrast.best()])


def clip_match(world: World, full: Maps) -> float:
    """The score at which p(label | cut-out) - p(label | rest) is largest, p among classes and background words."""
    engine = world.engine
    texts = encode_labels(engine, (*CLASSES.prompt_names, *WORDS))
    pixels = np.stack(world.images[: len(full)])
    mean = (255 * np.array(engine.preprocess.mean)).round().astype(np.uint8)
    gains = []
    for score in MATCH_SCORES:
        inside, outside, labels = [], [], []
        for image, scores, classes in zip(pixels, full, world.present, strict=False):
            mask = seed_mask(scores, np.array(classes), score)
            for k in classes:
                region = (mask == k)[..., None]
                inside.append(np.where(region, image, mean))
                outside.append(np.where(region, mean, image))
                labels.append(k - 1)
        gains.append(
            float((probability(engine, inside, texts, labels) - probability(engine, outside, texts, labels)).mean())
        )
    return float(MATCH_SCORES[int(np.argmax(gains))])


def probability(
    engine: ClipEngine, images: Sequence[np.ndarray], texts: torch.Tensor, labels: Sequence[int]
) -> torch.Tensor:
    """What CLIP gives to each image's label, (N,)."""
    batches = (engine.encode_images(images[start : start + 128]) for start in range(0, len(images), 128))
    with torch.no_grad():
        shares = (100 * torch.cat(list(batches)) @ texts.T).softmax(-1)
    return shares[torch.arange(len(labels)), torch.tensor(labels)]


def print_table(runs: Sequence[Mapping[str, Any]]) -> None:
    """Mean and largest loss of each rule, by kind of CAMs."""
    print(f"{len(runs)} runs; percent of mIoU lost against the best score by ground truth, mean (largest); its score\n")
    print("| CAMs | best mIoU | " + " | ".join(RULES) + " |")
    print("| --- " * (len(RULES) + 2) + "|")
    for row in runs[0]["rules"]:
        print(f"| {row} | {np.mean([run['rules'][row]['best']['miou'] for run in runs]):.1f} | {_cells(runs, [row])} |")
    print(f"| all | | {_cells(runs, list(runs[0]['rules']))} |")


def _cells(runs: Sequence[Mapping[str, Any]], rows: Sequence[str]) -> str:
    cells = []
    for rule in RULES:
        figures = [run["rules"][row][rule] for run in runs for row in rows]
        losses, scores = ([each[key] for each in figures] for key in ("lost", "score"))
        cells.append(f"{np.mean(losses):.1f} ({max(losses):.1f}), {np.mean(scores):.2f}")
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.set_defaults(worlds=[1, 2, 3, 4, 5, 6], seeds=[0])
    parser.add_argument("--maps", type=Path, metavar="DIR", help="keep the maps here, or take them from here")
    args = parser.parse_args()
    if args.tables:
        print_table(read_tables(args.tables, "rules"))
        return
    tuning = Tuning()
    wanted = [Run(w, seed, args.pairing, args.bias, args.num_images) for w in args.worlds for seed in args.seeds]
    mark = fingerprint([tuning, RULES, MATCH_IMAGES, NUM_CALIBRATED, *map(str, MATCH_SCORES)])
    print_table(do_runs(wanted, mark, functools.partial(make_run, tuning=tuning, kept=args.maps), args))


if __name__ == "__main__":
    main()
