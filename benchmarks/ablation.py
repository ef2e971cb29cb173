"""What each part of SemPLeS adds, on worlds that nothing was tuned on.

    python benchmarks/ablation.py --worlds 1 2 3 --seeds 0 1 2 --json build/ablation.json --jobs 2
    python benchmarks/ablation.py --pairing 5 --seeds 0
    python benchmarks/ablation.py --bias 0.1 --seeds 0
    python benchmarks/ablation.py --tables build/ablation.json

Rows: training-free seeds with no background words, hand-written ones and learned prompts; the mask generator with its
initial weights, after matching, after refinement with hand-written words in place of the prompts, and with the prompts
(SemPLeS). Each as masks at the default background score, at the score that was best for its row on the tuning world,
and at the best by ground truth; the first two also after the CRF. Ground truth is read to measure and for nothing else.
The best of the seeds, which SemPLeS is compared with, is chosen anew for each run and each figure, by ground truth.
"""

import argparse
import functools
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pipeline_world import CLASSES, WORDS, Tuning, World, crf_pool, describe
from runs import Run, add_arguments, do_runs, fingerprint, read_runs
from tables import COLUMNS, Runs, paired_table, prompts_table, rows_table, spread

from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.generator_objectives import BackgroundTexts
from semples_cli.steps.background_texts import word_texts
from semples_cli.steps.process_pool import available_cores

NO_WORDS = "seeds, no words"
HAND_WRITTEN = "seeds, hand-written words"
PROMPTED = "seeds + learned prompts"
INITIAL = "generator, initial"
MATCHED = "+ L_match"
BY_WORDS = "+ L_match + L_refine, hand-written words"
SEMPLES = "+ L_match + L_refine (SemPLeS)"

TUNED_SCORES = {
    NO_WORDS: 0.37,
    HAND_WRITTEN: 0.36,
    PROMPTED: 0.37,
    INITIAL: 0.58,
    MATCHED: 0.72,
    BY_WORDS: 0.71,
    SEMPLES: 0.6,
}
"""Background score of each row, the best of the mean over three seeds of training on the world of seed 0."""

SEED_ROWS = (NO_WORDS, HAND_WRITTEN, PROMPTED)
BEST_SEEDS = "best of the seeds"
PAIRS = (
    (SEMPLES, INITIAL),
    (SEMPLES, MATCHED),
    (SEMPLES, BY_WORDS),
    (SEMPLES, BEST_SEEDS),
    (SEMPLES, HAND_WRITTEN),
    (SEMPLES, PROMPTED),
    (PROMPTED, HAND_WRITTEN),
    (PROMPTED, NO_WORDS),
)


def make_rows(engine: ClipEngine, run: Run, tuning: Tuning, crf_workers: int) -> dict[str, Any]:
    """The figures of one run: of the rows without training where it has no seed, else of the others."""
    world = World(engine, run.world_settings())
    maps, learned = untrained_maps(world, tuning), None
    if run.seed is not None:
        maps, learned = trained_maps(world, tuning, run.seed)
    with crf_pool(crf_workers) as pool:
        rows = {row: world.measure(each, TUNED_SCORES[row], tuning.crf, pool) for row, each in maps.items()}
    return {"rows": rows} | ({} if learned is None else {"prompts": describe(engine, learned, run.pairing)})


def untrained_maps(world: World, tuning: Tuning) -> dict[str, Any]:
    """The maps of the rows without training."""
    words = {NO_WORDS: (), HAND_WRITTEN: WORDS}
    return {row: world.seeds(replace(tuning.cams, background_words=each)) for row, each in words.items()}


def trained_maps(world: World, tuning: Tuning, seed: int) -> tuple[dict[str, Any], torch.Tensor]:
    """The maps of the other rows, with one seed of training, and the features of the prompts."""
    generator = replace(tuning.generator, seed=seed)
    initial = world.train("initial", generator)
    matched_maps = world.generator_maps(world.train("matched", generator, initial), tuning.generator_cams)
    learned = world.learn(matched_maps, replace(tuning.prompts, seed=seed))
    by_prompts = BackgroundTexts(learned, torch.ones(len(CLASSES), dtype=torch.bool))
    refined = (
        world.train("refined", generator, initial, texts)
        for texts in (word_texts(world.engine, WORDS, CLASSES), by_prompts)
    )
    words_maps, prompts_maps = (world.generator_maps(each, tuning.generator_cams) for each in refined)
    maps = {
        PROMPTED: world.seeds(tuning.cams, learned),
        INITIAL: world.generator_maps(initial, tuning.generator_cams),
        MATCHED: matched_maps,
        BY_WORDS: words_maps,
        SEMPLES: prompts_maps,
    }
    return maps, learned


def read_tables(paths: Iterable[Path], part: str) -> list[dict[str, Any]]:
    """The runs in these files, all of which hold `part`; ends the program where a file has none, or others."""
    runs = []
    for path in paths:
        made = read_runs(path)
        if not made or not all(isinstance(run, dict) and {part, "run", "fingerprint"} <= run.keys() for run in made):
            sys.exit(f"{path}: no file of runs with {part}; give one that --json of this script has written")
        runs.extend(made)
    return runs


def by_settings(runs: Runs) -> dict[str, list[Mapping[str, Any]]]:
    """Runs that may share a table, each once, by what they have in common: all but the seeds of world and training."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        common = {key: value for key, value in run["run"].items() if key not in ("world", "seed")}
        said = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in common.items())
        group = groups.setdefault(f"{said} (settings {run['fingerprint']})", [])
        if all(run["run"] != each["run"] for each in group):
            group.append(run)
    return groups


def with_best_seeds(runs: Runs) -> list[Mapping[str, Any]]:
    """The runs of one group; those with a seed of training have a row more, the best of the seeds in each figure."""
    free = {run["run"]["world"]: run["rows"] for run in runs if run["run"]["seed"] is None}
    made: list[Mapping[str, Any]] = []
    for run in runs:
        rows = free.get(run["run"]["world"], {}) | run["rows"]
        if run["run"]["seed"] is not None and all(row in rows for row in SEED_ROWS):
            best = best_figures([rows[row] for row in SEED_ROWS])
            run = {**run, "rows": {**run["rows"], BEST_SEEDS: best}}
        made.append(run)
    return made


def best_figures(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The best of each figure: of leakage and of classes lost the least, else the most."""
    least = {key for key in COLUMNS if key.startswith(("leakage", "lost"))}
    return {key: (min if key in least else max)(row[key] for row in rows) for key in COLUMNS}


def own_share(runs: Runs) -> str:
    """The share of prompts that are nearest to their class's own background, over all runs."""
    shares = [run["prompts"]["own"] for run in runs if "prompts" in run]
    return f"own background: {spread(shares)} % of the prompts, over {len(shares)} runs" if shares else ""


def print_tables(runs: Runs) -> None:
    """All tables, of each group of runs."""
    for title, group in by_settings(runs).items():
        tables = (rows_table(group, TUNED_SCORES), paired_table(with_best_seeds(group), PAIRS), prompts_table(group))
        print(f"## {title}", *tables, own_share(group), sep="\n\n", end="\n\n")


def main() -> None:
    """Do the runs, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--crf-workers", type=int, help="processes of the CRF in each run; all cores, or 1 with --jobs")
    args = parser.parse_args()
    if args.tables:
        print_tables(read_tables(args.tables, "rows"))
        return
    tuning = Tuning()
    wanted = [
        Run(world, seed, args.pairing, args.bias, args.num_images)
        for world in args.worlds
        for seed in (None, *args.seeds)
    ]
    crf_workers = args.crf_workers or (available_cores() if args.jobs == 1 else 1)
    work = functools.partial(make_rows, tuning=tuning, crf_workers=crf_workers)
    print_tables(do_runs(wanted, fingerprint([tuning, TUNED_SCORES, WORDS]), work, args))


if __name__ == "__main__":
    main()
