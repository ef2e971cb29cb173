"""`semples learn-prompts`: learn one prompt a class that describes the background which comes with it.

The stop on a plateau is called `--patience`, as in Keras, Lightning and Ultralytics. There it may watch a validation
score; here it watches the training loss, as labels are all that there is.
"""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from semples_cli.cli import options
from semples_cli.cli.cam_options import DEFAULT_FORMAT, CamsFormatOption, CamsMapOption, CamsNumberingOption, cam_form
from semples_cli.cli.console import EXIT_ITEMS_FAILED, error_border, print_json, progress_bar, say
from semples_cli.cli.image_inputs import ImagesArgument
from semples_cli.cli.loading import load_engine, take_stock
from semples_cli.cli.refine import RegionEpsilonOption
from semples_cli.config import (
    GENERATOR_PRESETS,
    PROMPT_PRESETS,
    PROMPT_STARTS,
    REPULSIONS,
    SIMILARITIES,
    CamSettings,
    EngineSettings,
    GeneratorSettings,
)
from semples_cli.data.images import DEFAULT_MAX_PIXELS
from semples_cli.errors import SettingsError
from semples_cli.types import Progress, PromptSet

CAM_DEFAULTS = CamSettings()
ENGINE_DEFAULTS = EngineSettings()
PROMPT_PANEL = "Prompts"
InitOption = Annotated[
    Path | None,
    typer.Option(help="Initial weights of `semples train-generator`, in place of training some here."),
]
MinImagesOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Images that a class needs for its prompt to be used; own: 3, the published presets: 1.",
        rich_help_panel=PROMPT_PANEL,
    ),
]


@error_border
def learn_prompts_cli(
    images: ImagesArgument = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="File for the prompts; the generator's weights lie beside it.")
    ] = Path("prompts.safetensors"),
    cams: Annotated[
        Path | None,
        typer.Option(
            help="CAMs to learn from, of `semples cams` or of another project, or masks; without it, a mask generator "
            "is trained first."
        ),
    ] = None,
    cams_format: CamsFormatOption = DEFAULT_FORMAT,
    cams_numbering: CamsNumberingOption = None,
    cams_map: CamsMapOption = None,
    init: InitOption = None,
    labels: options.LabelsOption = None,
    labels_format: options.LabelsFormatOption = "auto",
    classes: options.ClassesOption = None,
    data: options.DataOption = None,
    split: options.SplitOption = None,
    limit: options.LimitOption = None,
    model: options.ModelOption = ENGINE_DEFAULTS.model,
    weights: options.WeightsOption = ENGINE_DEFAULTS.weights,
    quick_gelu: options.QuickGeluOption = ENGINE_DEFAULTS.quick_gelu,
    device: options.DeviceOption = ENGINE_DEFAULTS.device,
    precision: options.PrecisionOption = ENGINE_DEFAULTS.precision,
    preset: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(PROMPT_PRESETS)}: settings for own data, or the published ones.",
            rich_help_panel=PROMPT_PANEL,
        ),
    ] = "own",
    prompt_length: Annotated[
        int | None, typer.Option(help="Learnable tokens of a prompt.", rich_help_panel=PROMPT_PANEL)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the images, of every stage.", rich_help_panel=PROMPT_PANEL)
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Pairs of image and class in a step of the prompts.", rich_help_panel=PROMPT_PANEL),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Base rate of the prompts, for a batch of 512.", rich_help_panel=PROMPT_PANEL)
    ] = None,
    lambda_t: Annotated[
        float | None,
        typer.Option(help="Weight of the push off the class itself.", rich_help_panel=PROMPT_PANEL),
    ] = None,
    repulsion: Annotated[
        str | None, typer.Option(help=f"Form of that push: {', '.join(REPULSIONS)}.", rich_help_panel=PROMPT_PANEL)
    ] = None,
    similarity: Annotated[
        str | None,
        typer.Option(help=f"Cosines in the logarithms: {', '.join(SIMILARITIES)}.", rich_help_panel=PROMPT_PANEL),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help=f"First vectors: {', '.join(PROMPT_STARTS)}.", rich_help_panel=PROMPT_PANEL)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seeds everything drawn.", rich_help_panel=PROMPT_PANEL)] = None,
    patience: Annotated[
        int,
        typer.Option(
            min=0,
            help="Stop once the prompts' loss has not fallen by a thousandth for this many epochs; 0: never.",
            rich_help_panel=PROMPT_PANEL,
        ),
    ] = 0,
    min_images: MinImagesOption = None,
    region_epsilon: RegionEpsilonOption = None,
    size: options.SizeOption = CAM_DEFAULTS.size,
    overwrite: options.OverwriteOption = False,
    max_pixels: options.MaxPixelsOption = DEFAULT_MAX_PIXELS,
    as_json: options.JsonOption = False,
    config: options.ConfigOption = None,
) -> None:
    """Learn one prompt a class that describes the background which comes with it (SemPLeS).

    What an interrupted run did is kept; the same command goes on.

    Example: semples learn-prompts --data ./voc --preset voc12

    Example: semples learn-prompts images/ --labels labels.csv --cams masks/ --out prompts.safetensors
    """
    from semples_cli.data.dataset import load_dataset

    del config  # its callback has put its values into the others
    chosen: dict[str, Any] = {
        "prompt_length": prompt_length,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "lambda_t": lambda_t,
        "repulsion": repulsion,
        "similarity": similarity,
        "start": start,
        "seed": seed,
        "plateau_epochs": patience,
        "min_images": min_images,
    }
    chosen = {name: value for name, value in chosen.items() if value is not None}
    settings = replace(_preset(PROMPT_PRESETS, preset), **chosen)
    shared = {name: chosen[name] for name in ("epochs", "seed", "similarity") if name in chosen}
    generator_settings = replace(_preset(GENERATOR_PRESETS, preset), **shared)
    unread = None if cams is not None else "a mask generator is trained here; give CAMs by --cams"
    cams_form = cam_form(cams_format, cams_numbering, cams_map, unread=unread)
    if region_epsilon is not None:
        generator_settings = _with_region_epsilon(generator_settings, region_epsilon, cams)
    dataset = load_dataset(
        images or (), labels=labels, labels_format=labels_format, classes=classes, data=data, split=split
    )
    take_stock(dataset)
    engine = load_engine(EngineSettings(model, weights, quick_gelu, device, precision))
    from semples_cli.steps.learn_prompts import learn_prompts

    with ExitStack() as bar:

        def begin(part: str) -> Progress:
            bar.close()
            return bar.enter_context(progress_bar(part))

        prompts = learn_prompts(
            dataset.samples[:limit],
            dataset.class_set,
            engine,
            out,
            settings,
            cams=cams,
            cams_form=cams_form,
            init=init,
            generator_settings=generator_settings,
            cam_settings=CamSettings(size=size, affinity_layers="none"),
            overwrite=overwrite,
            max_pixels=max_pixels,
            begin=begin,
            note=say,
        )
    say(f"prompts of {len(prompts.class_names)} classes: {out}; look at them with `semples prompts show {out}`")
    if as_json:
        problems = [{"where": where, "message": message} for where, message in dataset.problems]
        print_json({**result_json(prompts, out), "problems": problems})
    raise typer.Exit(EXIT_ITEMS_FAILED if dataset.problems else 0)


def _preset(presets: dict[str, Any], name: str) -> Any:  # noqa: ANN401  # settings of either kind
    if name not in presets:
        msg = f"--preset {name!r}: choose one of {', '.join(presets)}"
        raise SettingsError(msg)
    return presets[name]


def _with_region_epsilon(settings: GeneratorSettings, epsilon: float, cams: Path | None) -> GeneratorSettings:
    if cams is not None:
        msg = "--region-epsilon is of the mask generator, which --cams does without: leave --region-epsilon out"
        raise SettingsError(msg)
    return replace(settings, region_epsilon=epsilon)


def result_json(prompts: PromptSet, out: Path) -> dict[str, Any]:
    """The result for machines."""
    return {
        "out": str(out),
        "classes": list(prompts.class_names),
        "prompt_length": prompts.vectors.shape[1],
        "unlearned_classes": prompts.settings.get("unlearned_classes", []),
        "stopped_epoch": prompts.settings.get("stopped_epoch"),
    }
