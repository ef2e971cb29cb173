"""One setting at a time around the demo's: what SemPLeS gains and loses with it.

    python benchmarks/sweeps.py --worlds 1 --sweep prompt-length lambda-r --json build/sweeps.json --jobs 2
    python benchmarks/sweeps.py --tables build/sweeps.json

Each value: seeds with the learned prompts, matching alone, SemPLeS; and the share of prompts that are nearest to the
class's own background. Nothing is trained twice: initial and matched generators are kept by the settings that they
follow from. `published` are the presets of VOC 2012 and COCO 2014, at the demo's batch sizes, epochs and head.
"""

import argparse
import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from pipeline_world import CLASSES, Maps, Tuning, World, describe
from runs import Run, add_arguments, do_runs, fingerprint, read_runs
from tables import markdown, spread

from semples_cli.config import GENERATOR_PRESETS, PROMPT_PRESETS, GeneratorSettings, PromptSettings
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.generator_objectives import BackgroundTexts
from semples_cli.engine.generators.clip_head import ClipGenerator

SEEDS, MATCHED, SEMPLES = "seeds + learned prompts", "+ L_match", "SemPLeS"
SCORES = {SEEDS: 0.4, MATCHED: 0.6, SEMPLES: 0.6}
COLUMNS = (
    (SEEDS, "best", "seeds + prompts, best mIoU"),
    (MATCHED, "default", "+ L_match at 0.4"),
    (MATCHED, "best", "+ L_match, best"),
    (SEMPLES, "default", "SemPLeS at 0.4"),
    (SEMPLES, "best", "SemPLeS, best"),
    (SEMPLES, "leakage_default", "SemPLeS, leakage at 0.4"),
)


def of_prompts(**changes: object) -> Callable[[Tuning], Tuning]:
    return lambda tuning: replace(tuning, prompts=replace(tuning.prompts, **changes))


def of_generator(**changes: object) -> Callable[[Tuning], Tuning]:
    return lambda tuning: replace(tuning, generator=replace(tuning.generator, **changes))


def published(preset: str) -> Callable[[Tuning], Tuning]:
    """Losses, λ, start, crops and rates of a preset; what belongs to the size of the training stays the demo's."""
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
        "both half": of_prompts(similarity="half"),
    },
    "lambda-r": {str(v): of_generator(lambda_r=v) for v in (0.05, 0.1, 0.2, 0.5, 1.0)},
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
        self.seeds = functools.cache(self._seeds)

    def measure(self, tuning: Tuning) -> dict[str, Any]:
        """The figures of one tuning, which differs from the demo's in prompts and generator alone."""
        generator = replace(tuning.generator, seed=self.seed)
        matching = replace(generator, lambda_r=0.0)
        prompts = replace(tuning.prompts, seed=self.seed)
        learned = self.learned(matching, prompts)
        rows = {
            SEEDS: self.seeds(matching, prompts),
            MATCHED: self.world.measure(self.matched(matching), SCORES[MATCHED]),
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


def table(runs: list[Mapping[str, Any]]) -> str:
    """A line for each value, over all runs that have it."""
    lines = []
    for key in dict.fromkeys(key for run in runs for key in run["sweeps"]):
        made = [run["sweeps"][key] for run in runs if key in run["sweeps"]]
        cells = [spread([each["rows"][row][figure] for each in made]) for row, figure, _ in COLUMNS]
        lines.append([key, str(len(made)), *cells, spread([each["prompts"]["own"] for each in made]) + " %"])
    return markdown(["setting", "runs", *(title for _, _, title in COLUMNS), "own background"], lines)


def main() -> None:
    """Do the runs, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--sweep", nargs="+", choices=tuple(SWEEPS), default=tuple(SWEEPS))
    args = parser.parse_args()
    if args.tables:
        runs = [run for path in args.tables for run in read_runs(path)]
    else:
        wanted = [
            Run(world, seed, args.pairing, args.bias, args.num_images) for world in args.worlds for seed in args.seeds
        ]
        names = tuple(args.sweep)
        work = functools.partial(sweep, names=names)
        runs = do_runs(wanted, fingerprint([Tuning(), SCORES, names]), work, args)
    print(table(runs))


if __name__ == "__main__":
    main()
