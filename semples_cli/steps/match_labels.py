"""What prompts are learned from where no CAMs are given: a mask generator whose maps match the labels, stage (a)."""

from collections.abc import Sequence
from pathlib import Path

from semples_cli.config import CamSettings, GeneratorSettings
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.data_parallel import Ranks
from semples_cli.engine.generator_cams import GeneratorCams
from semples_cli.steps.cam_record import Note
from semples_cli.steps.generator_weights import load_generator
from semples_cli.steps.make_cams import make_cams
from semples_cli.steps.progress import Begin
from semples_cli.steps.ranks import make_masks
from semples_cli.steps.start_generator import take_initial
from semples_cli.steps.train_generator import train_generator
from semples_cli.types import ClassSet, Sample

INITIAL_NAME = "generator_initial.safetensors"
MATCHED_NAME = "generator_matched.safetensors"
MATCHED_CAMS = "matched"


def match_labels(
    samples: Sequence[Sample],
    class_set: ClassSet,
    engine: ClipEngine,
    out: Path,
    init: Path | None,
    settings: GeneratorSettings,
    cam_settings: CamSettings,
    overwrite: bool,
    max_pixels: int,
    begin: Begin,
    note: Note,
    ranks: Ranks,
) -> Path:
    """Train a generator, its initial weights and then stage (a), and make its maps; see `learn_prompts`.

    Args:
        samples: Images and their classes.
        class_set: The classes.
        engine: A built CLIP.
        out: File of the prompts; everything is written beside it.
        init: File of initial weights; None: they are trained.
        settings: How the generator is trained.
        cam_settings: How maps are made of it.
        overwrite: Do everything again.
        max_pixels: Images with more pixels are passed over.
        begin: Called with the name of each part; returns its progress callback.
        note: Called with a sentence about what is not as one might expect.
        ranks: The processes that train together.

    Returns:
        The run folder of the maps.

    Raises:
        SemplesError: There is nothing to train on, or another process is writing here.
    """
    initial, matched, folder = out.with_name(INITIAL_NAME), out.with_name(MATCHED_NAME), out.with_name(MATCHED_CAMS)
    if init is None:
        train_generator(
            "initial", samples, class_set, engine, initial, settings,
            overwrite=overwrite, max_pixels=max_pixels, progress=begin("generator"), note=note,
        )  # fmt: skip
    else:
        ranks.from_main(lambda: take_initial(init, initial, engine, class_set))
    train_generator(
        "matched", samples, class_set, engine, matched, settings,
        initial=initial, overwrite=overwrite, max_pixels=max_pixels, progress=begin("matching"), note=note,
    )  # fmt: skip
    generator, weights = load_generator(matched, engine, class_set)
    maker, progress = GeneratorCams(engine, generator, class_set, cam_settings, weights.record), begin(MATCHED_CAMS)
    make_masks(
        ranks,
        lambda shard: make_cams(
            samples, class_set, engine, folder, cam_settings, shard=shard,
            generator=maker, overwrite=overwrite, max_pixels=max_pixels, progress=progress, note=note,
        ),
    )  # fmt: skip
    return folder
