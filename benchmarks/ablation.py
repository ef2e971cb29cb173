"""What each part of SemPLeS adds, on worlds that nothing was tuned on.

    python benchmarks/ablation.py --worlds 1 2 3 --seeds 0 1 2 --json build/ablation.json --jobs 2
    python benchmarks/ablation.py --pairing 5 --seeds 0
    python benchmarks/ablation.py --bias 0.1 --seeds 0
    python benchmarks/ablation.py --tables build/ablation.json

Rows: training-free seeds with no background words, hand-written ones and learned prompts; the mask generator with its
initial weights, after matching, after refinement with hand-written words in place of the prompts, and with the prompts
(SemPLeS). Each as masks at the default background score, at the score that was best for its row on the tuning world,
and at the best by ground truth; the first two also after the CRF. Ground truth is read to measure and for nothing else.
"""

import argparse
import functools
from dataclasses import replace
from typing import Any

import torch
from pipeline_world import CLASSES, WORDS, Tuning, World, describe
from runs import Run, add_arguments, do_runs, fingerprint, read_runs
from tables import paired_table, prompts_table, rows_table

from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.generator_objectives import BackgroundTexts
from semples_cli.steps.background_texts import word_texts

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

PAIRS = (
    (SEMPLES, INITIAL),
    (SEMPLES, MATCHED),
    (SEMPLES, BY_WORDS),
    (SEMPLES, HAND_WRITTEN),
    (SEMPLES, PROMPTED),
    (PROMPTED, HAND_WRITTEN),
    (PROMPTED, NO_WORDS),
)


def make_rows(engine: ClipEngine, run: Run, tuning: Tuning) -> dict[str, Any]:
    """The figures of one run: of the rows without training where it has no seed, else of the others."""
    world = World(engine, run.world_settings())
    maps, learned = untrained_maps(world, tuning), None
    if run.seed is not None:
        maps, learned = trained_maps(world, tuning, run.seed)
    rows = {row: world.measure(each, TUNED_SCORES[row], tuning.crf) for row, each in maps.items()}
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


def main() -> None:
    """Do the runs, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    args = parser.parse_args()
    if args.tables:
        runs = [run for path in args.tables for run in read_runs(path)]
    else:
        tuning = Tuning()
        wanted = [
            Run(world, seed, args.pairing, args.bias, args.num_images)
            for world in args.worlds
            for seed in (None, *args.seeds)
        ]
        work = functools.partial(make_rows, tuning=tuning)
        runs = do_runs(wanted, fingerprint([tuning, TUNED_SCORES, WORDS]), work, args)
    print(rows_table(runs, TUNED_SCORES), paired_table(runs, PAIRS), prompts_table(runs), sep="\n\n")


if __name__ == "__main__":
    main()
