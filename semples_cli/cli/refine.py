"""`semples refine`: train the mask generator with learned prompts, and make the masks of the same images by it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semples_cli.cli import options
from semples_cli.cli.background import read_background
from semples_cli.cli.cam_options import DEFAULT_FORMAT, CamsFormatOption, CamsMapOption, CamsNumberingOption, cam_form
from semples_cli.cli.cams import parse_scales, result_json
from semples_cli.cli.cams_job import NO_LABEL
from semples_cli.cli.console import EXIT_ITEMS_FAILED, error_border, print_json, progress_bar, report_summary, say
from semples_cli.cli.image_inputs import ImagesArgument
from semples_cli.cli.learned import LearnedFile, ModelOption, WeightsOption
from semples_cli.config import GENERATOR_PRESETS, CamSettings, EngineSettings, GeneratorSettings
from semples_cli.data.images import DEFAULT_MAX_PIXELS
from semples_cli.steps.pipeline_settings import PRESET_VIEWS
from semples_cli.types import PromptSet

if TYPE_CHECKING:
    from semples_cli.data.dataset import Dataset
    from semples_cli.steps.cam_reader import CamForm
    from semples_cli.steps.choose_background import BackgroundRule

# What `semples learn-prompts` writes beside the prompts.
INITIAL_NAME = "generator_initial.safetensors"
CAM_DEFAULTS = CamSettings(affinity_layers="none")
ENGINE_DEFAULTS = EngineSettings()
TRAINING_PANEL = "Training"

PromptsOption = Annotated[
    Path, typer.Option(help="Background prompts of `semples learn-prompts`; they name CLIP and classes.")
]
InitialOption = Annotated[
    Path | None,
    typer.Option(
        "--init",
        "--initial",
        help=f"Initial weights of the generator; without it, {INITIAL_NAME} beside the prompts.",
    ),
]
PresetOption = Annotated[
    str,
    typer.Option(
        help=f"{', '.join(GENERATOR_PRESETS)}.",
        callback=options.one_of(tuple(GENERATOR_PRESETS)),
        rich_help_panel=TRAINING_PANEL,
    ),
]
EpochsOption = Annotated[
    int | None, typer.Option(min=1, help="Passes over the images.", rich_help_panel=TRAINING_PANEL)
]
LambdaBOption = Annotated[
    float | None, typer.Option(help="Weight of the background regions.", rich_help_panel=TRAINING_PANEL)
]
LambdaROption = Annotated[
    float | None,
    typer.Option(help="Weight of the prompts in the foreground regions.", rich_help_panel=TRAINING_PANEL),
]
RegionEpsilonOption = Annotated[
    float | None,
    typer.Option(
        help="ε of the generator's region maps: those of a smaller range cut faint regions.",
        rich_help_panel=TRAINING_PANEL,
    ),
]
SeedOption = Annotated[int | None, typer.Option(help="Seeds order and views.", rich_help_panel=TRAINING_PANEL)]
MicroBatchOption = Annotated[
    int | None,
    typer.Option(
        min=1, help="Images through CLIP at once; halved when memory runs out.", rich_help_panel=TRAINING_PANEL
    ),
]
ScalesOption = Annotated[
    str | None,
    typer.Option(
        help="Factors on --size, such as 1.0,1.2; without it, the preset's.", rich_help_panel=options.CAM_PANEL
    ),
]
FlipsOption = Annotated[
    bool | None,
    typer.Option("--flips/--no-flips", help="Average with the mirrored image too.", rich_help_panel=options.CAM_PANEL),
]


@error_border
def refine_cli(
    out: options.OutOption,
    prompts: PromptsOption,
    images: ImagesArgument = None,
    initial: InitialOption = None,
    cams: Annotated[
        Path | None,
        typer.Option(
            help="CAMs of these images, of another project perhaps, that the generator is fitted to first, in place of "
            "initial weights; masks of the fit alone go to OUT-fitted."
        ),
    ] = None,
    cams_format: CamsFormatOption = DEFAULT_FORMAT,
    cams_numbering: CamsNumberingOption = None,
    cams_map: CamsMapOption = None,
    labels: options.LabelsOption = None,
    labels_format: options.LabelsFormatOption = "auto",
    data: options.DataOption = None,
    split: options.SplitOption = None,
    preset: PresetOption = "own",
    epochs: EpochsOption = None,
    lambda_b: LambdaBOption = None,
    lambda_r: LambdaROption = None,
    region_epsilon: RegionEpsilonOption = None,
    seed: SeedOption = None,
    micro_batch: MicroBatchOption = None,
    model: ModelOption = None,
    weights: WeightsOption = None,
    device: options.DeviceOption = ENGINE_DEFAULTS.device,
    precision: options.PrecisionOption = ENGINE_DEFAULTS.precision,
    size: options.SizeOption = CAM_DEFAULTS.size,
    scales: ScalesOption = None,
    flips: FlipsOption = None,
    background_score: options.BackgroundScoreOption = None,
    calibrate: options.CalibrateOption = None,
    min_confidence: options.MinConfidenceOption = 0.0,
    mask_mode: options.MaskModeOption = "palette",
    overlay: options.OverlayOption = False,
    overwrite: options.OverwriteOption = False,
    max_pixels: options.MaxPixelsOption = DEFAULT_MAX_PIXELS,
    as_json: options.JsonOption = False,
    config: options.ConfigOption = None,
) -> None:
    """Refine: train the mask generator on images, labels and learned prompts, then make CAMs and masks by it.

    Classes and CLIP are those of the prompts. The trained weights are OUT/.semples/generator.safetensors.

    Example: semples refine images/ --prompts prompts.safetensors --out refined/

    Example: semples refine images/ --prompts prompts.safetensors --cams cams/ --out refined/
    """
    from semples_cli.artifacts.prompts_file import read_prompts
    from semples_cli.data.dataset import load_dataset

    del config  # its callback has put its values into the others
    score, rule = read_background(background_score, calibrate)
    changes: dict[str, Any] = {
        "epochs": epochs,
        "lambda_b": lambda_b,
        "lambda_r": lambda_r,
        "region_epsilon": region_epsilon,
        "seed": seed,
        "micro_batch": micro_batch,
    }
    training = replace(
        GENERATOR_PRESETS[preset], **{name: value for name, value in changes.items() if value is not None}
    )
    own_scales, own_flips = PRESET_VIEWS[preset]
    settings = replace(
        CAM_DEFAULTS,
        size=size,
        scales=own_scales if scales is None else parse_scales(scales),
        flips=own_flips if flips is None else flips,
        background_score=score,
        min_confidence=min_confidence,
    )
    unread = None if cams is not None else "the generator starts from initial weights; give CAMs by --cams"
    form = cam_form(cams_format, cams_numbering, cams_map, unread=unread)
    content = read_prompts(prompts)
    learned = LearnedFile(prompts, content)
    wanted = learned.engine_settings(device, precision, model=model, weights=weights)
    dataset = load_dataset(images or (), labels=labels, labels_format=labels_format, data=data, split=split)
    dataset = learned.take_dataset(dataset)
    if cams is None:
        initial = initial or prompts.with_name(INITIAL_NAME)
    given = GivenCams(cams, form)
    job = RefineJob(
        dataset, learned, content, initial, given, wanted, training, settings, rule, overlay, mask_mode, max_pixels
    )
    code = EXIT_ITEMS_FAILED if dataset.problems else 0
    raise typer.Exit(max(code, _refine(job, out, tuple(images or ()), overwrite=overwrite, as_json=as_json)))


@dataclass(frozen=True)
class GivenCams:
    """CAMs to fit the generator to.

    Attributes:
        folder: Where they are; None: there are none.
        form: What the command line says about them.
    """

    folder: Path | None
    form: "CamForm"


@dataclass(frozen=True)
class RefineJob:
    """What the command line asks for, checked as far as that goes without the model.

    Attributes:
        dataset: What was recognised, with the classes of the prompts.
        learned: The file of the prompts.
        prompts: What it holds.
        initial: File of the initial weights; None where CAMs are given.
        cams: CAMs in their place.
        engine: The CLIP to load.
        training: How to train.
        settings: How CAMs are made.
        background: The rule that chooses the background score; None: that of the settings.
        overlays: Also write pictures.
        mask_mode: 'palette' or 'L'.
        max_pixels: Larger images are refused.
    """

    dataset: "Dataset"
    learned: LearnedFile
    prompts: PromptSet
    initial: Path | None
    cams: GivenCams
    engine: EngineSettings
    training: GeneratorSettings
    settings: CamSettings
    background: "BackgroundRule | None"
    overlays: bool
    mask_mode: str
    max_pixels: int


def _refine(job: RefineJob, out: Path, images: tuple[Path, ...], *, overwrite: bool, as_json: bool) -> int:
    dataset = job.dataset
    engine = job.learned.load_engine(job.engine)
    from semples_cli.steps.mapped_images import given_cams
    from semples_cli.steps.refine_cams import fitted_folder, generator_path, refine_cams

    given = job.cams
    source = None
    if given.folder is not None:
        source = given_cams(given.folder, dataset.samples, dataset.class_set, given.form, say)
    with progress_bar("refine") as progress:  # steps of the training first, then images
        summary = refine_cams(
            dataset.samples,
            dataset.class_set,
            engine,
            job.prompts,
            job.initial,
            out,
            job.training,
            job.settings,
            cams=source,
            background=job.background,
            inputs=images,
            skipped=[(sample_id, NO_LABEL) for sample_id in dataset.unlabelled],
            overwrite=overwrite,
            overlays=job.overlays,
            mask_mode=job.mask_mode,
            max_pixels=job.max_pixels,
            training_progress=progress,
            progress=progress,
            note=say,
        )
    code = report_summary(summary, "masks")
    if source is not None:
        say(f"masks of the fit alone, to compare with: {fitted_folder(out)}")
    if as_json:
        fitted = {} if source is None else {"fitted": str(fitted_folder(out))}
        print_json({**result_json(dataset, summary, out), "generator": str(generator_path(out)), **fitted})
    return code
