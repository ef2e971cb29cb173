"""`semples train-generator`: initial weights of a mask generator, by classification on image-level labels."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from semples_cli.cli import options
from semples_cli.cli.console import EXIT_ITEMS_FAILED, error_border, print_json, progress_bar, say
from semples_cli.cli.image_inputs import ImagesArgument
from semples_cli.cli.loading import load_engine, take_stock
from semples_cli.config import GENERATOR_PRESETS, GENERATORS, POOLINGS, VITS, EngineSettings, GeneratorSettings
from semples_cli.data.images import DEFAULT_MAX_PIXELS

ENGINE_DEFAULTS = EngineSettings()
DEFAULTS = GeneratorSettings()
PANEL = "Training"
WEAKTR_LEARNING_RATE = 5e-4

GeneratorOption = Annotated[
    str,
    typer.Option(
        help="weaktr (a ViT of its own, all of it trained) or clip_head (a head on the frozen CLIP).",
        callback=options.one_of(GENERATORS),
    ),
]
StartOption = Annotated[
    str | None,
    typer.Option(
        help="What weaktr starts from: timm (pretrained weights of --vit, from the cache; the default), scratch, or a "
        "file: a DeiT, or a whole WeakTr or SemPLeS checkpoint, which is taken over as it is.",
    ),
]
VitOption = Annotated[
    str, typer.Option(help=f"ViT of weaktr: {', '.join(VITS)}.", callback=options.one_of(tuple(VITS)))
]
PoolingOption = Annotated[
    str | None,
    typer.Option(
        help=f"Pooling of the attention fusion, {' or '.join(POOLINGS)}; without it, the preset's.",
        rich_help_panel=PANEL,
    ),
]


@error_border
def train_generator_cli(
    images: ImagesArgument = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="File for the weights.")] = Path(
        "generator_initial.safetensors"
    ),
    generator: GeneratorOption = "weaktr",
    start: StartOption = None,
    vit: VitOption = DEFAULTS.vit,
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
            help=f"{', '.join(GENERATOR_PRESETS)}: settings for own data, or the published ones.",
            callback=options.one_of(tuple(GENERATOR_PRESETS)),
            rich_help_panel=PANEL,
        ),
    ] = "own",
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the images.", rich_help_panel=PANEL)] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images a step.", rich_help_panel=PANEL)] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Base rate, for a batch of 512.", rich_help_panel=PANEL)
    ] = None,
    pooling: PoolingOption = None,
    seed: Annotated[
        int | None, typer.Option(help="Seeds first weights, order and views.", rich_help_panel=PANEL)
    ] = None,
    micro_batch: Annotated[
        int | None,
        typer.Option(min=1, help="Images at once; halved when memory runs out.", rich_help_panel=PANEL),
    ] = None,
    overwrite: options.OverwriteOption = False,
    max_pixels: options.MaxPixelsOption = DEFAULT_MAX_PIXELS,
    as_json: options.JsonOption = False,
    config: options.ConfigOption = None,
) -> None:
    """Train initial weights of a mask generator, for `learn-prompts --init` and `refine --init`.

    CLIP is that of the later stages. What an interrupted run did is kept; the same command goes on.

    Example: semples train-generator --data ./voc --preset voc12 --model ViT-B-32 --out weaktr.safetensors

    Example: semples train-generator --data ./voc --start WeakTr_official.pth --out weaktr.safetensors
    """
    from semples_cli.data.dataset import load_dataset

    del config  # its callback has put its values into the others
    changes: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "initial_learning_rate": learning_rate,
        "pooling": pooling,
        "seed": seed,
        "micro_batch": micro_batch,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    settings = replace(initial_settings(preset, generator), vit=vit, **given)
    dataset = load_dataset(
        images or (), labels=labels, labels_format=labels_format, classes=classes, data=data, split=split
    )
    take_stock(dataset)
    engine = load_engine(EngineSettings(model, weights, quick_gelu, device, precision))
    from semples_cli.steps.train_generator import train_generator

    with progress_bar("generator") as progress:
        trained = train_generator(
            "initial",
            dataset.samples[:limit],
            dataset.class_set,
            engine,
            out,
            settings,
            start=start,
            overwrite=overwrite,
            max_pixels=max_pixels,
            progress=progress,
            note=say,
        )
    say(f"initial weights: {out}; go on with `semples learn-prompts --init {out}`")
    if as_json:
        problems = [{"where": where, "message": message} for where, message in dataset.problems]
        print_json({"out": str(out), "classes": list(trained.class_names), **trained.record, "problems": problems})
    raise typer.Exit(EXIT_ITEMS_FAILED if dataset.problems else 0)


def initial_settings(preset: str, generator: str) -> GeneratorSettings:
    """A preset, with what the kind of generator changes in it.

    A whole ViT is trained at DeiT's base rate. WeakTr as published keeps no evidence of its own (residual 0); for own
    data it does, which made its maps far better on the built-in world (docs/results.md).
    """
    settings = GENERATOR_PRESETS[preset]
    if generator == "clip_head":
        return settings
    settings = replace(settings, kind=generator, initial_learning_rate=WEAKTR_LEARNING_RATE)
    return settings if preset == "own" else replace(settings, residual=0.0)
