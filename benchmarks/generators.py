"""WeakTr beside clip_head, and refinement from a fit to CAMs made elsewhere, on worlds that nothing was tuned on.

    python benchmarks/generators.py weaktr --worlds 1 --seeds 0 1 2 --json build/weaktr.json --jobs 2
    python benchmarks/generators.py fitted --worlds 1 2 3 --seeds 0 --json build/fitted.json --jobs 2
    python benchmarks/generators.py weaktr --tables build/weaktr.json

`weaktr`: a ViT of 4 layers and width 192 at 64 pixels. What DeiT's weights are for photographs is here a
classification of other rendered images (world 900), once for all runs; then initial weights on the world itself,
matching, SemPLeS. Rows of clip_head are those of `ablation.py`.

`fitted`: the training-free seeds with hand-written words stand for CAMs of another project. A clip_head is fitted to
them, and trained from there by matching and by SemPLeS, with prompts that were learned from the same CAMs.
"""

import argparse
import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ablation import by_settings, read_tables
from pipeline_world import CLASSES, WORDS, Tuning, World, crf_pool, describe
from runs import Run, add_arguments, do_runs, fingerprint
from tables import Runs, paired_table, prompts_table, rows_table

from semples_cli.config import GeneratorSettings, WorldSettings
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.generator_objectives import BackgroundTexts
from semples_cli.engine.generators.protocol import MaskGenerator
from semples_cli.engine.generators.weaktr import WeakTr, WeakTrGenerator

# Background score of each row: the best on the world of seed 0, with one seed of training.
SCORES = {
    "weaktr": {"WeakTr, initial": 0.11, "WeakTr + L_match": 0.13, "WeakTr + SemPLeS": 0.13},
    "fitted": {"CAMs made elsewhere": 0.36, "fitted": 0.19, "fitted + L_match": 0.7, "fitted + SemPLeS": 0.53},
}
PAIRS = {
    "weaktr": (("WeakTr + L_match", "WeakTr, initial"), ("WeakTr + SemPLeS", "WeakTr + L_match")),
    "fitted": (
        ("fitted", "CAMs made elsewhere"),
        ("fitted + SemPLeS", "CAMs made elsewhere"),
        ("fitted + SemPLeS", "fitted"),
        ("fitted + SemPLeS", "fitted + L_match"),
    ),
}
PRETRAINING_WORLD = WorldSettings(seed=900, num_images=2000)
PRETRAINING = GeneratorSettings(
    kind="weaktr",
    vit="small_patch4_64",
    residual=0.0,
    epochs=12,
    batch_size=16,
    micro_batch=16,
    initial_learning_rate=0.02,
    seed=1,
)
WEAKTR = replace(Tuning().generator, kind="weaktr", vit="small_patch4_64", epochs=4, initial_learning_rate=0.005)
FITTED = replace(Tuning().generator, initial_learning_rate=0.1)


def pretrained(engine: ClipEngine, path: Path) -> dict[str, torch.Tensor]:
    """Weights after the classification of other images; trained once (40 minutes), then read."""
    if not path.exists():
        generator = World(engine, PRETRAINING_WORLD).train("initial", PRETRAINING)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(generator.network.state_dict(), path)
    return torch.load(path, weights_only=True)


def weaktr_rows(engine: ClipEngine, run: Run, start: Path, crf_workers: int) -> dict[str, Any]:
    """WeakTr on one world, with one seed of training."""
    world, tuning = World(engine, run.world_settings()), Tuning()
    settings = replace(WEAKTR, seed=run.seed)
    network = WeakTr(4, 192, 4, 3, 64, len(CLASSES), settings.reduction, settings.pooling, settings.residual)
    network.load_state_dict(pretrained(engine, start))
    initial = world.train_on(WeakTrGenerator(engine, network), settings)
    later = replace(settings, epochs=tuning.generator.epochs)
    return _rows(world, "weaktr", [initial], *_from(world, initial, later, run.seed), crf_workers)


def fitted_rows(engine: ClipEngine, run: Run, crf_workers: int) -> dict[str, Any]:
    """A fit to given CAMs on one world, with one seed of training."""
    world, tuning = World(engine, run.world_settings()), Tuning()
    given = world.seeds(replace(tuning.cams, background_words=WORDS))
    settings = replace(FITTED, seed=run.seed)
    fitted = world.fit(given, settings)
    later = replace(tuning.generator, seed=run.seed)
    return _rows(world, "fitted", [given, fitted], *_from(world, fitted, later, run.seed, given), crf_workers)


def _from(
    world: World, start: MaskGenerator, settings: GeneratorSettings, seed: int | None, given: Any = None
) -> tuple[list[MaskGenerator], torch.Tensor]:
    """Matching and SemPLeS from a start, with prompts learned from given CAMs, or else from the matched maps."""
    tuning = Tuning()
    matched = world.train("matched", settings, start)
    maps = given or world.generator_maps(matched, tuning.generator_cams)
    learned = world.learn(maps, replace(tuning.prompts, seed=seed))
    texts = BackgroundTexts(learned, torch.ones(len(CLASSES), dtype=torch.bool))
    return [matched, world.train("refined", settings, start, texts)], learned


def _rows(
    world: World, what: str, first: list[Any], later: list[MaskGenerator], learned: torch.Tensor, crf_workers: int
) -> dict[str, Any]:
    tuning = Tuning()
    maps = [
        each if isinstance(each, list) else world.generator_maps(each, tuning.generator_cams)
        for each in (*first, *later)
    ]
    with crf_pool(crf_workers) as pool:
        rows = {
            row: world.measure(each, score, tuning.crf, pool)
            for (row, score), each in zip(SCORES[what].items(), maps, strict=True)
        }
    return {"rows": rows, "prompts": describe(world.engine, learned, world.settings.pairing)}


def print_tables(what: str, runs: Runs) -> None:
    """All tables, of each group of runs."""
    for title, group in by_settings(runs).items():
        tables = (rows_table(group, SCORES[what]), paired_table(group, PAIRS[what]), prompts_table(group))
        print(f"## {title}", *tables, sep="\n\n", end="\n\n")


def main() -> None:
    """Do the runs, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=tuple(SCORES))
    add_arguments(parser)
    parser.add_argument("--start", type=Path, default=Path("build/weaktr_start.pt"), help="WeakTr's weights of before")
    args = parser.parse_args()
    if args.tables:
        print_tables(args.what, read_tables(args.tables, "rows"))
        return
    wanted = [
        Run(world, seed, args.pairing, args.bias, args.num_images) for world in args.worlds for seed in args.seeds
    ]
    if args.what == "weaktr":
        work = functools.partial(weaktr_rows, start=args.start, crf_workers=1)
        settings = [PRETRAINING_WORLD, PRETRAINING, WEAKTR, Tuning(), SCORES["weaktr"]]
    else:
        work = functools.partial(fitted_rows, crf_workers=1)
        settings = [FITTED, Tuning(), SCORES["fitted"], WORDS]
    print_tables(args.what, do_runs(wanted, fingerprint(settings), work, args))


if __name__ == "__main__":
    main()
