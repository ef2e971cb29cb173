"""Prompt-guided refinement: train the mask generator on the images, then make their CAMs and masks by it."""

from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from semples_cli.artifacts.run_folder import RunFolder, check_same_run, class_record, read_run_record
from semples_cli.artifacts.run_lock import lock_run
from semples_cli.config import CamSettings, GeneratorSettings
from semples_cli.data.images import DEFAULT_MAX_PIXELS
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.data_parallel import join_ranks
from semples_cli.engine.generator_cams import GeneratorCams
from semples_cli.errors import SettingsError
from semples_cli.steps.cam_record import Note
from semples_cli.steps.cam_source import CamSource
from semples_cli.steps.choose_background import BackgroundRule
from semples_cli.steps.generator_weights import load_generator
from semples_cli.steps.make_cams import check_cams, make_cams
from semples_cli.steps.ranks import make_masks
from semples_cli.steps.train_generator import train_generator
from semples_cli.types import ClassSet, Progress, PromptSet, RunSummary, Sample

COMMAND = "refine"
GENERATOR_NAME = "generator.safetensors"
FITTED_NAME = "generator_fitted.safetensors"

DEFAULT_SETTINGS = GeneratorSettings()
DEFAULT_CAM_SETTINGS = CamSettings(affinity_layers="none")


def generator_path(out: Path) -> Path:
    """Where the run folder of a refinement keeps the weights that it trained."""
    return RunFolder(out).hidden / GENERATOR_NAME


def fitted_path(out: Path) -> Path:
    """Where it keeps the weights that were fitted to given CAMs."""
    return RunFolder(out).hidden / FITTED_NAME


def fitted_folder(out: Path) -> Path:
    """The run folder of the masks that the fit alone gives."""
    return out.with_name(f"{out.name}-fitted")


def refine_cams(
    samples: Sequence[Sample],
    class_set: ClassSet,
    engine: ClipEngine,
    prompts: PromptSet,
    initial: Path | None,
    out: Path,
    settings: GeneratorSettings = DEFAULT_SETTINGS,
    cam_settings: CamSettings = DEFAULT_CAM_SETTINGS,
    *,
    cams: CamSource | None = None,
    background: BackgroundRule | None = None,
    inputs: Sequence[Path] = (),
    skipped: Sequence[tuple[str, str]] = (),
    overwrite: bool = False,
    overlays: bool = False,
    mask_mode: str = "palette",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    training_progress: Progress | None = None,
    progress: Progress | None = None,
    note: Note | None = None,
) -> RunSummary:
    """Refine the mask generator with learned prompts and write CAMs and masks of the same images.

    The trained weights are `<out>/.semples/generator.safetensors`; what an interrupted run left is gone on with. Under
    torchrun all its processes call this alike, train together, and make a shard of the masks each.

    Args:
        samples: Images and their classes.
        class_set: The classes, those of prompts and initial weights.
        engine: The CLIP that those belong to.
        prompts: Learned background prompts.
        initial: File of the generator's initial weights; None where `cams` are given.
        out: Run folder to write.
        settings: How to train.
        cam_settings: How CAMs are made of the trained generator: size, scales, flips, background score, batch size.
        cams: Maps of these images, made elsewhere perhaps: a clip_head is fitted to them first, and refined from there.
            What the fit alone gives is the run folder `<out>-fitted`, so that the gain of the refinement can be seen.
        background: Choose the background score by this rule, in place of that of `cam_settings`; None: do not.
        inputs: Image files and folders as they were given.
        skipped: (id, reason) of images that are left out on purpose, for the manifest.
        overwrite: Do everything again.
        overlays: Also write pictures of image and mask.
        mask_mode: 'palette' or 'L'.
        max_pixels: Images with more pixels are refused.
        training_progress: Called with (steps done, steps); None draws a tqdm bar.
        progress: Called with (images done, images); None draws a tqdm bar.
        note: Called with a sentence about what is not as one might expect.

    Returns:
        How it ended; an image that could not be done is among `failed`, and the rest is done.

    Raises:
        SemplesError: Nothing can be done: `out` belongs to another run or holds the images, prompts or initial weights
            belong to another CLIP or other classes, there is nothing to train on, or memory is too small.
    """
    if (initial is None) == (cams is None):
        msg = "refinement starts from initial weights or from a fit to CAMs: give one of the two"
        raise SettingsError(msg)
    ranks = join_ranks(engine.device)
    ranks.from_main(lambda: check_cams(samples, class_set, out, inputs, mask_mode))
    shared: dict[str, Any] = {"overwrite": overwrite, "max_pixels": max_pixels, "note": note}

    def train(stage: str, path: Path, **options: Any) -> None:  # of train_generator
        wanted = {"command": COMMAND, "classes": class_record(class_set)}
        with closing(lock_run(RunFolder(out).lock)) if ranks.is_main else nullcontext():
            if not overwrite:
                ranks.from_main(lambda: check_same_run(read_run_record(out), wanted))
            options |= {"progress": training_progress, **shared}
            train_generator(stage, samples, class_set, engine, path, settings, **options)

    def make(path: Path, folder: Path, command: str) -> RunSummary:
        generator, weights = load_generator(path, engine, class_set)
        maker = GeneratorCams(engine, generator, class_set, cam_settings, weights.record)
        return make_masks(
            ranks,
            lambda shard: make_cams(
                samples,
                class_set,
                engine,
                folder,
                cam_settings,
                generator=maker,
                background=background,
                command=command,
                inputs=inputs,
                skipped=skipped,
                shard=shard,
                overlays=overlays,
                mask_mode=mask_mode,
                progress=progress,
                **shared,
            ),
        )

    if cams is not None:
        initial, fitted = fitted_path(out), fitted_folder(out)
        ranks.from_main(lambda: check_cams(samples, class_set, fitted, inputs, mask_mode))
        train("fitted", initial, cams=cams)
        make(initial, fitted, "cams")
    train("refined", generator_path(out), initial=initial, prompts=prompts)
    return make(generator_path(out), out, COMMAND)
