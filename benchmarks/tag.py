"""What proposed labels are worth: rules, views and shapes beside each other, and the masks that come of the labels.

    python benchmarks/tag.py --worlds 1 2 3 4 5 6

Every fixed threshold is the one that is best on the world of seed 0 by micro F1; no other world is looked at before.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from pipeline_world import CLASSES, WORDS, Tuning, World
from sklearn.metrics import average_precision_score, f1_score
from tables import markdown, spread

from semples_cli.config import EngineSettings, WorldSettings
from semples_cli.config.tagging import TagSettings
from semples_cli.demo.model import model_dir
from semples_cli.demo.world import render_background
from semples_cli.engine.build import build_engine
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.preprocess import to_pixels
from semples_cli.engine.tagging import ImageTagger
from semples_cli.functional.tagging import fit_two_groups, text_margins

F = len(CLASSES)
NUM_BARE = 60
# Spread of the offsets that images and texts are given in the second measurement.
OFFSET = 0.1
# Left, top, right, bottom as shares of the sides.
Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
VIEWS: dict[str, tuple[Box, ...]] = {
    "whole image": (WHOLE,),
    "and 2 × 2 tiles": (WHOLE, *((x, y, x + 0.5, y + 0.5) for x in (0, 0.5) for y in (0, 0.5))),
    "and 3 × 3 tiles": (WHOLE, *((x / 3, y / 3, (x + 1) / 3, (y + 1) / 3) for x in range(3) for y in range(3))),
    "and four crops of 0.7": (WHOLE, *((x, y, x + 0.7, y + 0.7) for x in (0, 0.3) for y in (0, 0.3))),
}

# (N, T) cosines → (N, F) scores, higher where a class is there.
Score = Callable[[np.ndarray], np.ndarray]
SCORES: dict[str, Score] = {
    "softmax over classes and words": lambda c: softmax(c)[:, :F],
    "against the words": lambda c: c[:, :F] - soft_maximum(c[:, F:]),
    "cosine": lambda c: c[:, :F],
    "z of the class over the images": lambda c: (c[:, :F] - c[:, :F].mean(0)) / c[:, :F].std(0),
    "margin over all texts": lambda c: text_margins(c, F),
}
SCALE = 23.0
OURS = "margin over all texts"
FIXED, FOUND = "fixed", "found"
ROWS = (*tuple((name, FIXED) for name in SCORES), ("cosine", FOUND), (OURS, FOUND), (OURS, "found, best class always"))


@dataclass(frozen=True)
class Tagged:
    """A world's cosines and truth.

    Attributes:
        cosines: (N, T) of the whole images, by view (N, T), the largest of its crops.
        bare: (M, T) of images that show no class.
        truth: (N, F) 0 or 1.
    """

    cosines: Mapping[str, np.ndarray]
    bare: np.ndarray
    truth: np.ndarray


def softmax(cosines: np.ndarray) -> np.ndarray:
    """CLIP's probability of each text."""
    powers = np.exp(SCALE * (cosines - cosines.max(axis=1, keepdims=True)))
    return powers / powers.sum(axis=1, keepdims=True)


def soft_maximum(cosines: np.ndarray) -> np.ndarray:
    """Soft maximum, in cosines."""
    most = cosines.max(axis=1, keepdims=True)
    return most + np.log(np.exp(SCALE * (cosines - most)).sum(axis=1, keepdims=True)) / SCALE


@torch.no_grad()
def encode(engine: ClipEngine, pixels: Sequence[torch.Tensor]) -> torch.Tensor:
    """(N, D) features."""
    batches = [torch.stack(list(pixels[i : i + 50])) for i in range(0, len(pixels), 50)]
    features = torch.cat([engine.model.encode_image(batch) for batch in batches])
    return torch.nn.functional.normalize(features, dim=-1)


def cut(image: np.ndarray, box: Box) -> np.ndarray:
    """A part of an image."""
    height, width = image.shape[:2]
    left, top, right, bottom = (round(share * side) for share, side in zip(box, (width, height) * 2, strict=True))
    return image[top:bottom, left:right]


def tag_world(engine: ClipEngine, world: World) -> Tagged:
    """The cosines of a world in all views."""
    tagger = ImageTagger(engine, CLASSES, TagSettings(background_words=WORDS))
    texts = engine.encode_texts([f"a photo of a {word}." for word in (*CLASSES.prompt_names, *tagger.background_words)])

    def cosines(images: Iterable[np.ndarray], box: Box = WHOLE) -> np.ndarray:
        return (encode(engine, [tagger.pixels(cut(image, box)) for image in images]) @ texts.T).numpy()

    boxes = {box: cosines(world.images, box) for box in dict.fromkeys(box for each in VIEWS.values() for box in each)}
    views = {name: np.max([boxes[box] for box in each], axis=0) for name, each in VIEWS.items()}
    bare = cosines(render_background(world.settings, n).image for n in range(NUM_BARE))
    return Tagged(views, bare, truth_of(world.present))


def truth_of(present: Sequence[Sequence[int]]) -> np.ndarray:
    """(N, F) 0 or 1 of class indices."""
    truth = np.zeros((len(present), F), int)
    for row, indices in zip(truth, present, strict=True):
        row[[k - 1 for k in indices]] = 1
    return truth


def best_threshold(scores: np.ndarray, truth: np.ndarray) -> float:
    """The threshold of the highest micro F1."""
    candidates = np.quantile(scores, np.linspace(0.5, 0.995, 200))
    return float(max(candidates, key=lambda at: f1_score(truth, scores >= at, average="micro", zero_division=0)))


def figures(scores: np.ndarray, proposed: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """mAP over the classes and F1, in percent; the share of images with no proposal."""
    shown = [k for k in range(truth.shape[1]) if truth[:, k].any()]
    return {
        "mAP": 100 * float(np.mean([average_precision_score(truth[:, k], scores[:, k]) for k in shown])),
        "micro F1": 100 * f1_score(truth, proposed, average="micro", zero_division=0),
        "macro F1": 100 * f1_score(truth[:, shown], proposed[:, shown], average="macro", zero_division=0),
        "no proposal": 100 * float((~proposed.any(axis=1)).mean()),
    }


def propose(scores: np.ndarray, rule: str, threshold: float) -> np.ndarray:
    """(N, F) bool."""
    if rule == FIXED:
        return scores >= threshold
    proposed = scores >= fit_two_groups(scores).threshold
    return proposed if rule == FOUND else proposed | (scores == scores.max(axis=1, keepdims=True))


def rule_rows(tagged: Tagged, tuned: Tagged, seed: int) -> dict[tuple[str, str], dict[str, float]]:
    """Figures of each rule on one world; `tuned` is the one that fixed thresholds come from."""
    rows = {}
    plain, there = tagged.cosines["whole image"], tuned.cosines["whole image"]
    shifted, there_shifted = with_offsets(plain, seed), with_offsets(there, 0)
    for name, rule in ROWS:
        score = SCORES[name]
        threshold = best_threshold(score(there), tuned.truth)
        proposed = propose(score(plain), rule, threshold)
        row = figures(score(plain), proposed, tagged.truth)
        if "over the images" not in name:
            at = threshold if rule == FIXED else fit_two_groups(score(plain)).threshold
            row["bare images"] = 100 * float((score(tagged.bare) >= at).any(axis=1).mean())
        at = best_threshold(score(there_shifted), tuned.truth)
        moved = score(shifted)
        offset = figures(moved, propose(moved, rule, at), tagged.truth)
        rows[name, rule] = row | {"mAP, offsets": offset["mAP"], "micro F1, offsets": offset["micro F1"]}
    return rows


def with_offsets(cosines: np.ndarray, seed: int) -> np.ndarray:
    """Cosines to which each image and each text adds a number of its own; that of a text is the same in all worlds."""
    of_texts = np.random.default_rng(1).normal(0, OFFSET, (1, cosines.shape[1]))
    of_images = np.random.default_rng((2, seed)).normal(0, OFFSET, (len(cosines), 1))
    return cosines + of_texts + of_images


def shape_rows(engine: ClipEngine, world: World) -> dict[str, dict[str, float]]:
    """Figures of images that are no squares: the middle three quarters of each scene, seen in three ways."""
    images = [image[8:56] for image in world.images]
    targets = [scene.target[8:56] for scene in world.scenes]
    present = [[k for k in range(1, F + 1) if (target == k).sum() >= 20] for target in targets]
    tagger = ImageTagger(engine, CLASSES, TagSettings(background_words=WORDS))
    preprocess, side = engine.preprocess, engine.image_size
    seen = {
        "padded to a square": [tagger.pixels(image) for image in images],
        "squeezed into a square": [to_pixels(image, (side, side), preprocess.mean, preprocess.std) for image in images],
        "square from the middle": [preprocess.whole_image(Image.fromarray(image)) for image in images],
    }
    rows = {}
    for name, pixels in seen.items():
        scores = tagger.scores(pixels)
        rows[name] = figures(scores, propose(scores, FOUND, 0), truth_of(present))
    return rows


def corrected(tagged: Tagged, share: float, seed: int | None = None) -> np.ndarray:
    """(N, F) proposals of which people have corrected a share of the images: least certain first, or by lot."""
    scores = text_margins(tagged.cosines["whole image"], F)
    threshold = fit_two_groups(scores).threshold
    proposed = scores >= threshold
    order = np.argsort(np.abs(scores - threshold).min(axis=1), kind="stable")
    if seed is not None:
        order = np.random.default_rng(seed).permutation(len(order))
    first = order[: round(share * len(order))]
    proposed[first] = tagged.truth[first] > 0
    return proposed


def mask_rows(world: World, tagged: Tagged) -> dict[str, dict[str, float]]:
    """mIoU of seeds from true labels, from proposed ones, and from proposed ones of which some were corrected."""
    settings = replace(Tuning().cams, background_words=WORDS)
    true = world.present
    rows = {}
    for name, labels in (
        ("true labels", tagged.truth > 0),
        ("proposed", corrected(tagged, 0)),
        ("proposed, the first quarter corrected", corrected(tagged, 0.25)),
        ("proposed, a quarter by lot corrected", corrected(tagged, 0.25, seed=0)),
    ):
        world.present = [tuple(int(k) + 1 for k in np.flatnonzero(row)) for row in labels]
        measured = world.measure(world.seeds(settings), settings.background_score)
        rows[name] = {
            "micro F1": 100 * f1_score(tagged.truth, labels, average="micro"),
            "mIoU at 0.4": measured["default"],
            "best mIoU": measured["best"],
        }
    world.present = true
    return rows


def table(title: str, worlds: Sequence[Mapping[object, Mapping[str, float]]]) -> str:
    """A line for each row, mean ± standard deviation over worlds."""
    columns = list(dict.fromkeys(column for row in worlds[0].values() for column in row))
    lines = []
    for row in worlds[0]:
        cells = [[world[row][column] for world in worlds if column in world[row]] for column in columns]
        name = ", ".join(row) if isinstance(row, tuple) else str(row)
        lines.append([name, *(spread(cell) if cell else "–" for cell in cells)])
    return markdown([title, *columns], lines)


def view_rows(tagged: Tagged) -> dict[str, dict[str, float]]:
    """Figures of the shipped rule by view."""
    rows = {}
    for name, cosines in tagged.cosines.items():
        scores = text_margins(cosines, F)
        rows[name] = figures(scores, propose(scores, FOUND, 0), tagged.truth)
    return rows


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6], help="seeds; 0 is for tuning")
    parser.add_argument("--num-images", type=int, default=200)
    args = parser.parse_args()
    engine = build_engine(EngineSettings(weights=str(model_dir()), device="cpu", precision="fp32"))
    tuned = tag_world(engine, World(engine, WorldSettings(seed=0, num_images=args.num_images)))
    rules, views, shapes, masks = [], [], [], []
    for seed in args.worlds:
        world = World(engine, WorldSettings(seed=seed, num_images=args.num_images))
        tagged = tag_world(engine, world)
        rules.append(rule_rows(tagged, tuned, seed))
        views.append(view_rows(tagged))
        shapes.append(shape_rows(engine, world))
        masks.append(mask_rows(world, tagged))
    print(
        f"{len(args.worlds)} worlds of {args.num_images} images: {args.worlds}; mean ± standard deviation, in percent\n"
    )
    print(f"World 0, where thresholds were fixed:\n\n{table('score, threshold', [rule_rows(tuned, tuned, 0)])}\n")
    for title, rows in (("score, threshold", rules), ("view", views), ("64 × 48", shapes), ("seeds from", masks)):
        print(f"{table(title, rows)}\n")


if __name__ == "__main__":
    main()
