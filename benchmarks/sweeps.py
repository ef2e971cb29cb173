"""One setting at a time around the demo's: what SemPLeS gains and loses with it.

    python benchmarks/sweeps.py --worlds 1 --sweep prompt-length lambda-r --json build/sweeps.json --jobs 2
    python benchmarks/sweeps.py --tables build/sweeps.json

Each value: seeds with the learned prompts, matching alone, SemPLeS; and the share of prompts that are nearest to the
class's own background. In a run nothing is made twice: generators, prompts and figures are kept by the settings that
they follow from. A run is one world with one seed and all sweeps that were asked for; another choice of sweeps is
another run. `published` are the presets of VOC 2012 and COCO 2014; epochs, batch sizes and the generator's rates stay.
"""

import argparse
import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from ablation import by_settings, read_tables
from pipeline_world import CLASSES, Maps, Tuning, World, describe
from runs import Run, add_arguments, do_runs, fingerprint
from tables import Runs, markdown, spread

from semples_cli.config import GENERATOR_PRESETS, PROMPT_PRESETS, GeneratorSettings, PromptSettings
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.generator_objectives import BackgroundTexts
from semples_cli.engine.generators.clip_head import ClipGenerator

SEEDS, MATCHED, SEMPLES = "seeds + learned prompts", "+ L_match", "SemPLeS"
SCORES = {SEEDS: 0.4, MATCHED: 0.6, SEMPLES: 0.6}
FIGURES = {"default": "mIoU at 0.4", "best": "best mIoU", "leakage_default": "leakage at 0.4"}
COLUMNS = {(row, key): f"{row}: {name}" for row in SCORES for key, name in FIGURES.items()}


def of_prompts(**changes: object) -> Callable[[Tuning], Tuning]:
    return lambda tuning: replace(tuning, prompts=replace(tuning.prompts, **changes))


def of_generator(**changes: object) -> Callable[[Tuning], Tuning]:
    return lambda tuning: replace(tuning, generator=replace(tuning.generator, **changes))


def published(preset: str) -> Callable[[Tuning], Tuning]:
    """Losses, λ, start, crops and the prompts' rate of a preset; what follows the training's size stays the demo's."""
    prompts, generator = PROMPT_PRESETS[preset], GENERATOR_PRESETS[preset]

    def change(tuning: Tuning) -> Tuning:
        mine, own = tuning.prompts, tuning.generator
        return replace(
            tuning,
            prompts=replace(prompts, epochs=mine.epochs, batch_size=mine.batch_size),
            generator=replace(
                generator,
                epochs=own.epochs,
                batch_size=own.batch_size,
                micro_batch=own.micro_batch,
                refine_batch_size=None,
                initial_learning_rate=own.initial_learning_rate,
                learning_rate=own.learning_rate,
            ),
        )

    return change


SWEEPS: dict[str, dict[str, Callable[[Tuning], Tuning]]] = {
    "prompt-length": {str(n): of_prompts(prompt_length=n) for n in (1, 4, 10, 30)},
    "lambda-t": {str(v): of_prompts(lambda_t=v) for v in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)},
    "repulsion": {
        f"{name}, λ_T {v}": of_prompts(repulsion=name, lambda_t=v)
        for name in ("log-s", "log-one-minus-s")
        for v in (0.02, 0.1)
    },
    "start": {name: of_prompts(start=name) for name in ("uniform", "tokens")},
    "similarity": {
        "prompts clamp": of_prompts(similarity="clamp"),
        "generator clamp": of_generator(similarity="clamp"),
        "both clamp": lambda tuning: of_prompts(similarity="clamp")(of_generator(similarity="clamp")(tuning)),
        "both half": lambda tuning: of_prompts(similarity="half")(of_generator(similarity="half")(tuning)),
    },
    # 0 is a control: it must repeat matching alone.
    "lambda-r": {str(v): of_generator(lambda_r=v) for v in (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)},
    "lambda-b": {str(v): of_generator(lambda_b=v) for v in (0.1, 0.3, 0.75, 1.5, 2.4)},
    "sharpness": {str(v): of_generator(region_sharpness=v) for v in (0.0, 4.0, 8.0, 16.0)},
    "residual": {str(v): of_generator(residual=v) for v in (0.0, 0.5, 1.0, 2.0)},
    "published": {preset: published(preset) for preset in ("voc12", "coco14")},
}


class Trainings:
    """The parts of the pipeline on one world with one seed, each made once for the settings that it follows from."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.seed, self.base = world, seed, Tuning()
        self.initial = functools.cache(self._initial)
        self.matched = functools.cache(self._matched)
        self.learned = functools.cache(self._learned)
        self.matching_figures = functools.cache(self._matching_figures)
        self.seeds = functools.cache(self._seeds)
        self.measure = functools.cache(self._measure)

    def _measure(self, tuning: Tuning) -> dict[str, Any]:
        """The figures of one tuning, which differs from the demo's in prompts and generator alone."""
        generator = replace(tuning.generator, seed=self.seed)
        matching = replace(generator, lambda_r=0.0)
        prompts = replace(tuning.prompts, seed=self.seed)
        learned = self.learned(matching, prompts)
        rows = {
            SEEDS: self.seeds(matching, prompts),
            MATCHED: self.matching_figures(matching),
            SEMPLES: self.world.measure(self._refined(generator, learned), SCORES[SEMPLES]),
        }
        return {"rows": rows, "prompts": describe(self.world.engine, learned, self.world.settings.pairing)}

    def _initial(self, settings: GeneratorSettings) -> ClipGenerator:
        return self.world.train("initial", settings)

    def _start(self, settings: GeneratorSettings) -> ClipGenerator:
        """Initial weights follow from no λ, similarity, ε or sharpness, and have a rate of their own."""
        others = ("lambda_b", "lambda_r", "similarity", "region_epsilon", "region_sharpness", "learning_rate")
        return self.initial(replace(settings, **{name: getattr(self.base.generator, name) for name in others}))

    def _matched(self, settings: GeneratorSettings) -> Maps:
        trained = self.world.train("matched", settings, self._start(settings))
        return self.world.generator_maps(trained, self.base.generator_cams)

    def _matching_figures(self, matching: GeneratorSettings) -> dict[str, Any]:
        return self.world.measure(self.matched(matching), SCORES[MATCHED])

    def _learned(self, matching: GeneratorSettings, settings: PromptSettings) -> torch.Tensor:
        return self.world.learn(self.matched(matching), settings)

    def _seeds(self, matching: GeneratorSettings, settings: PromptSettings) -> dict[str, Any]:
        maps = self.world.seeds(self.base.cams, self.learned(matching, settings))
        return self.world.measure(maps, SCORES[SEEDS])

    def _refined(self, settings: GeneratorSettings, learned: torch.Tensor) -> Maps:
        texts = BackgroundTexts(learned, torch.ones(len(CLASSES), dtype=torch.bool))
        trained = self.world.train("refined", settings, self._start(settings), texts)
        return self.world.generator_maps(trained, self.base.generator_cams)


def sweep(engine: ClipEngine, run: Run, names: tuple[str, ...]) -> dict[str, Any]:
    """The figures of every value of these sweeps, in one world with one seed."""
    trainings = Trainings(World(engine, run.world_settings()), run.seed or 0)
    made: dict[str, Any] = {}
    for name in names:
        for value, change in SWEEPS[name].items():
            made[f"{name}: {value}"] = trainings.measure(change(Tuning()))
    return {"sweeps": made}


def table(runs: Runs) -> str:
    """A line for each value, over all runs that have it."""
    lines = []
    for key in dict.fromkeys(key for run in runs for key in run["sweeps"]):
        made = [run["sweeps"][key] for run in runs if key in run["sweeps"]]
        cells = [spread([each["rows"][row][figure] for each in made]) for row, figure in COLUMNS]
        lines.append([key, str(len(made)), *cells, spread([each["prompts"]["own"] for each in made]) + " %"])
    return markdown(["setting", "runs", *COLUMNS.values(), "own background"], lines)


def print_tables(runs: Runs) -> None:
    """A table for each group of runs."""
    for title, group in by_settings(runs).items():
        print(f"## {title}", table(group), sep="\n\n", end="\n\n")


def mark_of(names: tuple[str, ...]) -> str:
    """The fingerprint of these sweeps: of every setting that they try, presets among them."""
    return fingerprint([SCORES, {name: {v: change(Tuning()) for v, change in SWEEPS[name].items()} for name in names}])


def main() -> None:
    """Do the runs, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--sweep", nargs="+", choices=tuple(SWEEPS), default=tuple(SWEEPS))
    args = parser.parse_args()
    if args.tables:
        print_tables(read_tables(args.tables, "sweeps"))
        return
    wanted = [
        Run(world, seed, args.pairing, args.bias, args.num_images) for world in args.worlds for seed in args.seeds
    ]
    names = tuple(name for name in SWEEPS if name in args.sweep)
    print_tables(do_runs(wanted, mark_of(names), functools.partial(sweep, names=names), args))


if __name__ == "__main__":
    main()
