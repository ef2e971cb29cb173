"""`semples run`: every stage of SemPLeS, from images and image-level labels to refined masks."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from semples_cli.cli import options
from semples_cli.cli.background import read_background
from semples_cli.cli.cams_job import NO_LABEL
from semples_cli.cli.console import (
    EXIT_ITEMS_FAILED,
    error_border,
    print_json,
    print_table,
    progress_bar,
    report_summary,
    say,
)
from semples_cli.cli.crf import CrfBackendOption, CrfMaxPixelsOption
from semples_cli.cli.image_inputs import ImagesArgument
from semples_cli.cli.learn_prompts import InitOption, MinImagesOption
from semples_cli.cli.loading import load_engine, take_stock
from semples_cli.cli.refine import RegionEpsilonOption
from semples_cli.config import CamSettings, EngineSettings
from semples_cli.data.images import DEFAULT_MAX_PIXELS
from semples_cli.steps.pipeline_settings import DEFAULT_PRESET, DEFAULT_SIZE, PRESET_VIEWS, pipeline_settings
from semples_cli.types import Progress

if TYPE_CHECKING:
    from semples_cli.data.dataset import Dataset
    from semples_cli.steps.run_pipeline import PipelineStage

ENGINE_DEFAULTS = EngineSettings()
PRESETS = tuple(PRESET_VIEWS)
STAGE_PANEL = "Stages"


@error_border
def run_cli(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for prompts, weights and masks.", rich_help_panel="Output")
    ],
    images: ImagesArgument = None,
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
            help=f"{', '.join(PRESETS)}: settings for own data, or the published ones.",
            callback=options.one_of(PRESETS),
            rich_help_panel=STAGE_PANEL,
        ),
    ] = DEFAULT_PRESET,
    size: options.SizeOption = DEFAULT_SIZE,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Passes over the images, of every training.", rich_help_panel=STAGE_PANEL),
    ] = None,
    background_score: options.BackgroundScoreOption = None,
    calibrate: options.CalibrateOption = None,
    min_images: MinImagesOption = None,
    init: InitOption = None,
    region_epsilon: RegionEpsilonOption = None,
    crf_backend: CrfBackendOption = "auto",
    crf_max_pixels: CrfMaxPixelsOption = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Workers of the CRF; without it, one for each core.", rich_help_panel=STAGE_PANEL),
    ] = None,
    overlay: Annotated[
        bool,
        typer.Option("--overlay", help="Also write pictures to the overlays of each folder.", rich_help_panel="Output"),
    ] = False,
    overwrite: options.OverwriteOption = False,
    max_pixels: options.MaxPixelsOption = DEFAULT_MAX_PIXELS,
    as_json: options.JsonOption = False,
    config: options.ConfigOption = None,
) -> None:
    """Run all stages of SemPLeS: learn prompts, make seeds with them, refine, and a dense CRF at the end.

    What an interrupted run did is kept; the same command goes on. The masks to use are those of OUT/crf.

    Example: semples run --data ./voc --out run/

    Example: semples run images/ --labels labels.csv --out run/ --overlay

    Example: semples run --config run.toml
    """
    from semples_cli.data.dataset import load_dataset

    del config  # its callback has put its values into the others
    score, rule = read_background(background_score, calibrate)
    settings = pipeline_settings(
        preset,
        size=size,
        epochs=epochs,
        background_score=score,
        region_epsilon=region_epsilon,
        min_images=min_images,
    )
    settings = replace(settings, crf=replace(settings.crf, backend=crf_backend, max_pixels=crf_max_pixels))
    wanted = EngineSettings(model, weights, quick_gelu, device, precision)
    dataset = load_dataset(
        images or (), labels=labels, labels_format=labels_format, classes=classes, data=data, split=split
    )
    take_stock(dataset)
    engine = load_engine(wanted)
    from semples_cli.steps.run_pipeline import run_pipeline

    with ExitStack() as bar:

        def begin(part: str) -> Progress:
            bar.close()
            return bar.enter_context(progress_bar(part))

        stages = run_pipeline(
            dataset.samples[:limit],
            dataset.class_set,
            engine,
            out,
            settings,
            init=init,
            background=rule,
            inputs=tuple(images or ()),
            skipped=[(sample_id, NO_LABEL) for sample_id in dataset.unlabelled],
            workers=workers,
            overwrite=overwrite,
            max_pixels=max_pixels,
            overlays=overlay,
            begin=begin,
            note=say,
        )
    codes = [report_summary(stage.summary, _noun(stage.name)) for stage in stages]
    if as_json:
        print_json(result_json(dataset, stages, out))
    else:
        print_table(_table(stages))
    _say_next(stages, settings.generator_cams)
    raise typer.Exit(max(*codes, EXIT_ITEMS_FAILED if dataset.problems else 0))


def _noun(stage: str) -> str:
    return stage if stage == "prompts" else f"masks of {stage}"


def _table(stages: "tuple[PipelineStage, ...]") -> Table:
    table = Table(caption="Prompts count by class, masks by image.", caption_justify="left", min_width=50)
    table.add_column("stage")
    for heading in ("written", "kept", "failed", "seconds"):
        table.add_column(heading, justify="right")
    for stage in stages:
        summary = stage.summary
        counts = (summary.written, summary.resumed, len(summary.failed))
        table.add_row(stage.name, *map(str, counts), f"{summary.seconds:.1f}")
    return table


def _say_next(stages: "tuple[PipelineStage, ...]", cams: CamSettings) -> None:
    from semples_cli.artifacts.run_folder import read_run_record
    from semples_cli.steps.refine_cams import generator_path

    prompts, _, refined, crf = (stage.output for stage in stages)
    say(f"masks: {crf}; with ground truth, measure them: semples evaluate {crf} GROUND_TRUTH")
    say(f"what the prompts learned: semples prompts show {prompts}")
    made_with = (read_run_record(refined) or {}).get("settings") or {}
    cams = replace(cams, background_score=made_with.get("background_score", cams.background_score))  # may be chosen
    flags = "".join(f" {flag}" for flag in cam_flags(cams))
    say(f"masks of other images: semples cams NEW/ --generator-weights {generator_path(refined)}{flags} --out OUT")


def cam_flags(settings: CamSettings) -> list[str]:
    """Options by which `semples cams` makes CAMs of a mask generator like these; none for its defaults."""
    usual = CamSettings()
    flags = [
        ("--size", settings.size, usual.size),
        ("--scales", ",".join(map(str, settings.scales)), ",".join(map(str, usual.scales))),
        ("--background-score", settings.background_score, usual.background_score),
    ]
    return [f"{flag} {value}" for flag, value, default in flags if value != default] + ["--flips"] * settings.flips


def result_json(dataset: "Dataset", stages: "tuple[PipelineStage, ...]", out: Path) -> dict[str, Any]:
    """The result for machines."""
    return {
        "out": str(out),
        "classes": list(dataset.class_set.names),
        "stages": [
            {
                "name": stage.name,
                "output": str(stage.output),
                "written": stage.summary.written,
                "resumed": stage.summary.resumed,
                "skipped": [{"id": item, "reason": reason} for item, reason in stage.summary.skipped],
                "failed": [{"id": item, "reason": reason} for item, reason in stage.summary.failed],
                "seconds": round(stage.summary.seconds, 3),
            }
            for stage in stages
        ],
        "problems": [{"where": where, "message": message} for where, message in dataset.problems],
        "unmatched_rows": list(dataset.unmatched_rows),
    }
