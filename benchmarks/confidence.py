"""Whether masks that a measure is less sure of are worse, on worlds that nothing was tuned on.

    python benchmarks/confidence.py --worlds 1 2 3 --seeds 0 --json build/confidence.json
    python benchmarks/confidence.py --tables build/confidence.json

Masks of the training-free seeds with hand-written words at 0.4 and of SemPLeS at 0.6, each before and after the CRF.
A region is what a mask gives to one class that the image's labels name; its quality is the IoU of that class in that
image, read from ground truth to judge the measures and for nothing else. Measures: its share of the image (a baseline);
the mean over it of the winning map, of the margin top / (top + second) among the maps and the background score, and of
the probability that wins in the CRF; how well the seed's region agrees with those of single views (each scale, and
mirrored) and with the CRF's, as IoU; CLIP's match with the cut-out, as `semples review` takes it; and the same with
the whole image, which knows of no mask (a baseline). All others are 0 for a region of no pixel. Of pixels: the margin
of the seed, the probability of the CRF; those below a level become 255.
"""

import argparse
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from ablation import SEMPLES, TUNED_SCORES, by_settings, read_tables
from confidence_tables import AREA, CRF, MARGIN, MATCH, MEASURES, POSTERIOR, SCORE, VIEWS, WHOLE, level_for, make_tables
from pipeline_world import CLASSES, DEFAULT_SCORE, WORDS, Maps, Tuning, World
from runs import Run, add_arguments, do_runs, fingerprint

from semples_cli.config import CamSettings, CrfSettings
from semples_cli.config.tagging import TagSettings
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.generator_cams import GeneratorCams
from semples_cli.engine.generator_objectives import BackgroundTexts
from semples_cli.engine.region_match import RegionMatcher
from semples_cli.engine.seeds import SeedGenerator
from semples_cli.functional.crf import DenseCrf, refine_labels
from semples_cli.functional.masks import resize_scores, seed_mask, strongest_map
from semples_cli.functional.metrics import confusion_counts, dataset_scores

SEEDS, REFINED = "seeds", "SemPLeS"
SCORES = {SEEDS: DEFAULT_SCORE, REFINED: TUNED_SCORES[SEMPLES]}
COVERED = (1.0, 0.95, 0.9, 0.8)
BEFORE, AFTER = STAGES = ("", " + CRF")

Maker = Callable[[Sequence[np.ndarray], CamSettings], Maps]


@dataclass(frozen=True)
class Masks:
    """What is known of one image's masks; all arrays are (H, W) but `scores`, (K, H, W), and `views`."""

    scores: np.ndarray
    margin: np.ndarray
    posterior: np.ndarray
    labels: Mapping[str, np.ndarray]  # by stage
    views: Sequence[np.ndarray]


def make_run(engine: ClipEngine, run: Run, tuning: Tuning) -> dict[str, Any]:
    """The regions of both kinds of masks with their measures, and the pixels by level."""
    world = World(engine, run.world_settings())
    settings = {SEEDS: replace(tuning.cams, background_words=WORDS), REFINED: tuning.generator_cams}
    makers = {SEEDS: seed_maker(world), REFINED: refined_maker(world, tuning, run.seed or 0)}
    made: dict[str, Any] = {"regions": {}, "pixels": {}}
    for row, make in makers.items():
        masks = make_masks(world, make, settings[row], SCORES[row], tuning.crf)
        for stage in STAGES:
            made["regions"][row + stage] = judge_regions(world, masks, stage)
            made["pixels"][row + stage] = judge_pixels(world, masks, stage)
    return made


def seed_maker(world: World) -> Maker:
    """The seeds of training-free CAMs."""
    return lambda images, settings: SeedGenerator(world.engine, CLASSES, settings).maps(images, world.present)


def refined_maker(world: World, tuning: Tuning, seed: int) -> Maker:
    """The generator of SemPLeS, trained."""
    settings = replace(tuning.generator, seed=seed)
    initial = world.train("initial", settings)
    matched = world.generator_maps(world.train("matched", settings, initial), tuning.generator_cams)
    learned = world.learn(matched, replace(tuning.prompts, seed=seed))
    texts = BackgroundTexts(learned, torch.ones(len(CLASSES), dtype=torch.bool))
    refined = world.train("refined", settings, initial, texts)
    return lambda images, cams: GeneratorCams(world.engine, refined, CLASSES, cams, {}).maps(images, world.present)


def make_masks(world: World, make: Maker, settings: CamSettings, score: float, crf: CrfSettings) -> list[Masks]:
    """The masks of all images, before and after the CRF, and those of single views."""
    options = {k: v for k, v in asdict(crf).items() if k not in ("unary", "gt_prob", "min_confidence")}
    views = list(zip(*single_views(world.images, make, settings), strict=True))
    made = []
    for n, maps in enumerate(make(world.images, settings)):
        image, classes = world.images[n], np.array(world.present[n])
        full, *single = (resize_scores(each, image.shape[:2]) for each in (maps, *views[n]))
        seed = seed_mask(full, classes, score)
        refined, posterior = refine_labels(image, seed, crf.gt_prob, DenseCrf(**options))
        labels = dict(zip(STAGES, (seed, refined), strict=True))
        regions = [seed_mask(each, classes, score) for each in single]
        made.append(Masks(full, margin(full, score), posterior, labels, regions))
    return made


def single_views(images: Sequence[np.ndarray], make: Maker, settings: CamSettings) -> Iterator[Maps]:
    """The maps of each scale alone, and of the mirrored images, mirrored back."""
    for scale in settings.scales:
        yield make(images, replace(settings, scales=(scale,), flips=False))
    mirrored = [np.ascontiguousarray(image[:, ::-1]) for image in images]
    yield [each[..., ::-1] for each in make(mirrored, replace(settings, scales=(1.0,), flips=False))]


def margin(scores: np.ndarray, background_score: float) -> np.ndarray:
    """(H, W): top / (top + second) among the (K, H, W) maps and the background score; 0.5 is a tie."""
    background = np.full((1, *scores.shape[1:]), background_score, np.float32)
    second, top = np.sort(np.concatenate([scores, background]), axis=0)[-2:]
    return top / (top + second)


def judge_regions(world: World, masks: Sequence[Masks], stage: str) -> dict[str, list[float]]:
    """IoU and measures of every class that the labels of an image name."""
    columns: dict[str, list[float]] = {key: [] for key in ("class", "iou", *MEASURES)}
    matches, whole = clip_matches(world, [each.labels[stage] for each in masks]), whole_matches(world)
    for n, (scene, each) in enumerate(zip(world.scenes, masks, strict=True)):
        for k in world.present[n]:
            region = each.labels[stage] == k
            found = measure_region(each, region, k) | {MATCH: matches.get((n, k), 0.0), WHOLE: whole[n, k]}
            for key, value in (found | {"class": k, "iou": iou(region, scene.target == k)}).items():
                columns[key].append(round(float(value), 7))
    return columns


def measure_region(masks: Masks, region: np.ndarray, k: int) -> dict[str, float]:
    """All measures but CLIP's."""
    if not region.any():
        return dict.fromkeys(MEASURES, 0.0)
    seed, refined = (masks.labels[stage] == k for stage in STAGES)
    return {
        AREA: region.mean(),
        SCORE: strongest_map(masks.scores)[1][region].mean(),
        MARGIN: masks.margin[region].mean(),
        POSTERIOR: masks.posterior[region].mean(),
        VIEWS: np.mean([iou(view == k, seed) for view in masks.views]),
        CRF: iou(seed, refined),
    }


def clip_matches(world: World, masks: Sequence[np.ndarray]) -> dict[tuple[int, int], float]:
    """CLIP's match of every region that has a pixel, by image and class."""
    matcher = region_matcher(world)
    cuts = {}
    for n, mask in enumerate(masks):
        shown = [k for k in world.present[n] if (mask == k).any()]
        cuts |= zip([(n, k) for k in shown], matcher.regions(world.images[n], mask, shown), strict=True)
    return matched(matcher, cuts)


def whole_matches(world: World) -> dict[tuple[int, int], float]:
    """The same of the image with nothing cut away, which knows of no mask."""
    matcher = region_matcher(world)
    cuts = {}
    for n, (image, classes) in enumerate(zip(world.images, world.present, strict=True)):
        everything = np.ones(image.shape[:2], np.uint8)
        cuts |= {(n, k): matcher.regions(image, everything, [1])[0] for k in classes}
    return matched(matcher, cuts)


def region_matcher(world: World) -> RegionMatcher:
    """That of `semples review --background-words voc`."""
    return RegionMatcher(world.engine, CLASSES, TagSettings(background_words=WORDS))


def matched(matcher: RegionMatcher, cuts: Mapping[tuple[int, int], torch.Tensor]) -> dict[tuple[int, int], float]:
    """The confidence of each cut-out, by image and class."""
    found = matcher.confidences(list(cuts.values()), [k for _, k in cuts])
    return dict(zip(cuts, found.tolist(), strict=True))


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """IoU of two regions, bool; 1 where both are empty."""
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0


def judge_pixels(world: World, masks: Sequence[Masks], stage: str) -> list[dict[str, float]]:
    """What the pixels at or above a level are worth, in percent, at the levels that keep a share of all."""
    sure = np.stack([each.posterior if stage == AFTER else each.margin for each in masks])
    labels = np.stack([each.labels[stage] for each in masks])
    targets = np.stack([scene.target for scene in world.scenes])
    return [judge_level(sure, labels, targets, level_for(sure, share)) for share in COVERED]


def judge_level(sure: np.ndarray, labels: np.ndarray, targets: np.ndarray, level: float) -> dict[str, float]:
    """Coverage, and pixel accuracy and dataset mIoU of the covered pixels alone, in percent; arrays are (N, H, W)."""
    covered = sure >= level
    known = np.where(covered, targets, 255).astype(np.uint8)
    flat = (values.reshape(len(values), -1) for values in (known, labels))
    scores = dataset_scores(confusion_counts(*flat, len(CLASSES) + 1))
    shares = {"coverage": covered.mean(), "accuracy": scores.pixel_accuracy, "miou": scores.miou}
    return {"level": level} | {key: 100 * float(value) for key, value in shares.items()}


def print_tables(runs: Sequence[Mapping[str, Any]]) -> None:
    """All tables, of each group of runs."""
    for title, group in by_settings(runs).items():
        print(f"## {title}", *make_tables(group), sep="\n\n", end="\n\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.set_defaults(seeds=[0])
    args = parser.parse_args()
    if args.tables:
        print_tables(read_tables(args.tables, "regions"))
        return
    tuning = Tuning()
    wanted = [Run(w, seed, args.pairing, args.bias, args.num_images) for w in args.worlds for seed in args.seeds]
    mark = fingerprint([tuning, SCORES, MEASURES, COVERED, WORDS])
    print_tables(do_runs(wanted, mark, functools.partial(make_run, tuning=tuning), args))


if __name__ == "__main__":
    main()
