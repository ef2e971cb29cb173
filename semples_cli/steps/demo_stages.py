"""The stages of the demo, in order: each writes the run folder `out/<name>` from what those before it left."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from semples_cli.artifacts.prompts_file import read_prompts
from semples_cli.config import CamSettings, CrfSettings, GeneratorSettings, PromptSettings
from semples_cli.data.dataset import Dataset
from semples_cli.demo.model import (
    DEMO_CRF_SETTINGS,
    DEMO_GENERATOR_CAM_SETTINGS,
    DEMO_GENERATOR_SETTINGS,
    DEMO_PROMPT_SETTINGS,
)
from semples_cli.engine.cam_maker import CamMaker
from semples_cli.engine.clip import ClipEngine
from semples_cli.steps.apply_crf import apply_crf
from semples_cli.steps.choose_maker import choose_maker
from semples_cli.steps.learn_prompts import learn_prompts
from semples_cli.steps.make_cams import make_cams
from semples_cli.steps.progress import Begin, begin_late
from semples_cli.steps.refine_cams import refine_cams
from semples_cli.steps.render_demo import IMAGES
from semples_cli.steps.train_generator import train_generator
from semples_cli.types import RunSummary

INITIAL = "generator_initial.safetensors"
MATCHED = "generator_matched.safetensors"
PROMPTS = "prompts.safetensors"


@dataclass(frozen=True)
class DemoSettings:
    """How the stages run.

    Attributes:
        cams: The seeds.
        generator: Training of the mask generator.
        generator_cams: The maps of the mask generator.
        prompts: Learning of the prompts.
        crf: The CRF.
    """

    cams: CamSettings
    generator: GeneratorSettings = DEMO_GENERATOR_SETTINGS
    generator_cams: CamSettings = DEMO_GENERATOR_CAM_SETTINGS
    prompts: PromptSettings = DEMO_PROMPT_SETTINGS
    crf: CrfSettings = DEMO_CRF_SETTINGS


@dataclass(frozen=True)
class DemoRun:
    """What every stage is given.

    Attributes:
        out: Folder of the demo.
        data: The rendered images and their labels.
        world: Folder of the rendered world.
        engine: The CLIP.
        settings: How the stages run.
        workers: Workers of the CRF; None: one for each core.
        overwrite: Do everything again.
        begin: Announces a stage.
    """

    out: Path
    data: Dataset
    world: Path
    engine: ClipEngine
    settings: DemoSettings
    workers: int | None
    overwrite: bool
    begin: Begin


def make_seeds(run: DemoRun) -> RunSummary:
    """Training-free seeds with hand-written background words."""
    return _make_cams(run, "seeds", choose_maker(run.engine, run.data.class_set, run.settings.cams))


def make_initial(run: DemoRun) -> RunSummary:
    """The mask generator as classification alone trains it."""
    _train(run, "initial", INITIAL)
    return _make_generator_cams(run, "generator", INITIAL)


def make_matched(run: DemoRun) -> RunSummary:
    """The mask generator after segment-label matching."""
    _train(run, "matched", MATCHED)
    return _make_generator_cams(run, "matched", MATCHED)


def make_prompted_seeds(run: DemoRun) -> RunSummary:
    """Learns the prompts; then training-free seeds in which they take the place of the words."""
    learn_prompts(
        run.data.samples,
        run.data.class_set,
        run.engine,
        run.out / PROMPTS,
        run.settings.prompts,
        cams=run.out / "matched",
        overwrite=run.overwrite,
        begin=run.begin,
    )
    prompts = read_prompts(run.out / PROMPTS)
    maker = choose_maker(run.engine, run.data.class_set, run.settings.cams, prompts=prompts)
    return _make_cams(run, "seeds+prompts", maker)


def make_refined(run: DemoRun) -> RunSummary:
    """The mask generator trained from its initial weights with matching and prompt-guided refinement: SemPLeS."""
    return refine_cams(
        run.data.samples,
        run.data.class_set,
        run.engine,
        read_prompts(run.out / PROMPTS),
        run.out / INITIAL,
        run.out / "refined",
        run.settings.generator,
        run.settings.generator_cams,
        inputs=(run.world / IMAGES,),
        overwrite=run.overwrite,
        overlays=True,
        training_progress=begin_late(run.begin, "refining"),
        progress=begin_late(run.begin, "refined"),
    )


def make_crf(run: DemoRun) -> RunSummary:
    """Dense CRF on the refined masks."""
    return apply_crf(
        run.out / "refined",
        run.world / IMAGES,
        run.out / "crf",
        run.settings.crf,
        workers=run.workers,
        overwrite=run.overwrite,
        overlay=True,
        progress=run.begin("crf"),
    )


STAGES: tuple[tuple[str, Callable[[DemoRun], RunSummary]], ...] = (
    ("seeds", make_seeds),
    ("generator", make_initial),
    ("matched", make_matched),
    ("seeds+prompts", make_prompted_seeds),
    ("refined", make_refined),
    ("crf", make_crf),
)


def remove_weights(out: Path) -> None:
    """Take away what an earlier run trained, so that it is trained again."""
    for name in (INITIAL, MATCHED, PROMPTS):
        with suppress(FileNotFoundError):
            (out / name).unlink()


def _train(run: DemoRun, stage: str, name: str) -> None:
    train_generator(
        stage,
        run.data.samples,
        run.data.class_set,
        run.engine,
        run.out / name,
        run.settings.generator,
        initial=None if stage == "initial" else run.out / INITIAL,
        overwrite=run.overwrite,
        progress=run.begin(f"training, {stage}"),
    )


def _make_generator_cams(run: DemoRun, folder: str, weights_name: str) -> RunSummary:
    settings, weights = run.settings.generator_cams, run.out / weights_name
    return _make_cams(run, folder, choose_maker(run.engine, run.data.class_set, settings, generator_weights=weights))


def _make_cams(run: DemoRun, folder: str, maker: CamMaker) -> RunSummary:
    return make_cams(
        run.data.samples,
        run.data.class_set,
        run.engine,
        run.out / folder,
        maker.settings,
        generator=maker,
        inputs=(run.world / IMAGES,),
        overwrite=run.overwrite,
        overlays=True,
        progress=run.begin(folder),
    )
