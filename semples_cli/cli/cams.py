"""`semples cams`: images and image-level labels in, CAMs and seed masks out."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from semples_cli.cli import options
from semples_cli.cli.background import read_background
from semples_cli.cli.console import (
    EXIT_ITEMS_FAILED,
    error_border,
    print_json,
    print_table,
    progress_bar,
    report_summary,
    say,
)
from semples_cli.cli.image_inputs import ImagesArgument
from semples_cli.cli.learned import GeneratorWeightsOption, LearnedFile, PromptsOption, read_learned
from semples_cli.cli.loading import load_engine, take_stock
from semples_cli.cli.shards import read_shard
from semples_cli.config import CamSettings, EngineSettings
from semples_cli.data.images import DEFAULT_MAX_PIXELS
from semples_cli.errors import SettingsError
from semples_cli.types import PromptSet, RunSummary, Sample, Shard

if TYPE_CHECKING:
    from semples_cli.data.dataset import Dataset
    from semples_cli.engine.cam_maker import CamMaker
    from semples_cli.engine.clip import ClipEngine
    from semples_cli.steps.choose_background import BackgroundRule

CAM_DEFAULTS = CamSettings()
ENGINE_DEFAULTS = EngineSettings()
NO_LABEL = "no label names it"


@error_border
def cams_cli(
    context: typer.Context,
    out: options.OutOption,
    images: ImagesArgument = None,
    labels: options.LabelsOption = None,
    labels_format: options.LabelsFormatOption = "auto",
    label: options.LabelOption = None,
    classes: options.ClassesOption = None,
    data: options.DataOption = None,
    split: options.SplitOption = None,
    limit: options.LimitOption = None,
    strict: options.StrictOption = False,
    model: options.ModelOption = ENGINE_DEFAULTS.model,
    weights: options.WeightsOption = ENGINE_DEFAULTS.weights,
    quick_gelu: options.QuickGeluOption = ENGINE_DEFAULTS.quick_gelu,
    device: options.DeviceOption = ENGINE_DEFAULTS.device,
    precision: options.PrecisionOption = ENGINE_DEFAULTS.precision,
    size: options.SizeOption = CAM_DEFAULTS.size,
    scales: options.ScalesOption = "1.0",
    flips: options.FlipsOption = CAM_DEFAULTS.flips,
    template: options.TemplateOption = CAM_DEFAULTS.template,
    background_words: options.BackgroundWordsOption = "voc",
    prompts: PromptsOption = None,
    generator_weights: GeneratorWeightsOption = None,
    background_score: options.BackgroundScoreOption = None,
    calibrate: options.CalibrateOption = None,
    min_confidence: options.MinConfidenceOption = 0.0,
    affinity_layers: options.AffinityLayersOption = CAM_DEFAULTS.affinity_layers,
    affinity_steps: options.AffinityStepsOption = CAM_DEFAULTS.affinity_steps,
    box_threshold: options.BoxThresholdOption = CAM_DEFAULTS.box_threshold,
    batch_size: options.BatchSizeOption = CAM_DEFAULTS.batch_size,
    mask_mode: options.MaskModeOption = "palette",
    overlay: options.OverlayOption = False,
    shard: options.ShardOption = None,
    overwrite: options.OverwriteOption = False,
    max_pixels: options.MaxPixelsOption = DEFAULT_MAX_PIXELS,
    dry_run: options.DryRunOption = False,
    as_json: options.JsonOption = False,
    config: options.ConfigOption = None,
) -> None:
    """Make masks of what the labels name: CLIP's class activation maps, cut at a background score.

    An image that is labelled with nothing gets an all-background mask; one that no label names is skipped.

    Example: semples cams images/ --labels labels.csv --out masks/

    Example: semples cams photo.jpg --label boat --out masks/ --overlay

    Example: semples cams images/ --prompts prompts.safetensors --out masks/

    Example: semples cams new/ --generator-weights refined/.semples/generator.safetensors --out masks/
    """
    from semples_cli.data.background_words import read_background_words
    from semples_cli.data.dataset import load_dataset

    del config  # its callback has put its values into the others
    score, rule = read_background(background_score, calibrate)
    settings = CamSettings(
        size=size,
        scales=parse_scales(scales),
        flips=flips,
        template=template,
        background_words=read_background_words(background_words),
        background_score=score,
        min_confidence=min_confidence,
        affinity_layers=affinity_layers,
        affinity_steps=affinity_steps,
        box_threshold=box_threshold,
        batch_size=batch_size,
    )
    learned = read_learned(context, prompts, generator_weights)
    wanted = EngineSettings(model, weights, quick_gelu, device, precision)
    if learned is not None:
        named = {name: context.params[name] for name in options.given(context, "model", "weights", "quick_gelu")}
        wanted = learned.engine_settings(device, precision, **named)
    dataset = load_dataset(
        images or (), labels=labels, labels_format=labels_format, classes=classes, data=data, split=split, label=label
    )
    if learned is None:
        take_stock(dataset)
    else:
        dataset = learned.take_dataset(dataset, classes)
    samples, part = dataset.samples[:limit], read_shard(shard)
    job = CamsJob(dataset, samples, part, learned, wanted, settings, rule, overlay, mask_mode, max_pixels)
    code = EXIT_ITEMS_FAILED if dataset.problems or (strict and dataset.unlabelled) else 0
    if dry_run:
        _estimate(job, as_json=as_json)
    else:
        code = max(code, _make(job, out, tuple(images or ()), overwrite=overwrite, as_json=as_json))
    raise typer.Exit(code)


@dataclass(frozen=True)
class CamsJob:
    """What the command line asks for, checked as far as that goes without the model.

    Attributes:
        dataset: What was recognised.
        samples: Its images, as many as --limit leaves.
        shard: The part of them that is to be done; None: all.
        learned: Prompts or a mask generator; None: seeds with background words.
        engine: The CLIP to load.
        settings: How CAMs are made.
        background: The rule that chooses the background score; None: that of the settings.
        overlays: Also write pictures.
        mask_mode: 'palette' or 'L'.
        max_pixels: Larger images are refused.
    """

    dataset: "Dataset"
    samples: tuple[Sample, ...]
    shard: Shard | None
    learned: LearnedFile | None
    engine: EngineSettings
    settings: CamSettings
    background: "BackgroundRule | None"
    overlays: bool
    mask_mode: str
    max_pixels: int


def parse_scales(text: str) -> tuple[float, ...]:
    """The factors of --scales.

    Raises:
        SettingsError: One of them is no number.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        msg = f"--scales {text!r}: give numbers with commas between them, such as 1.0,1.2"
        raise SettingsError(msg) from None


def _make(job: CamsJob, out: Path, images: tuple[Path, ...], *, overwrite: bool, as_json: bool) -> int:
    engine, maker = _load(job)
    from semples_cli.steps.make_cams import make_cams

    with progress_bar("cams") as progress:
        summary = make_cams(
            job.samples,
            job.dataset.class_set,
            engine,
            out,
            maker.settings,
            generator=maker,
            background=job.background,
            inputs=images,
            skipped=[(sample_id, NO_LABEL) for sample_id in job.dataset.unlabelled],
            shard=job.shard,
            overwrite=overwrite,
            overlays=job.overlays,
            mask_mode=job.mask_mode,
            max_pixels=job.max_pixels,
            progress=progress,
            note=say,
        )
    code = report_summary(summary, "masks")
    if job.dataset.problems:
        say(f"{len(job.dataset.problems)} problems in the labels, listed at the start")
    if as_json:
        print_json(result_json(job.dataset, summary, out))
    return code


def _load(job: CamsJob) -> "tuple[ClipEngine, CamMaker]":
    learned = job.learned
    engine = load_engine(job.engine) if learned is None else learned.load_engine(job.engine)
    from semples_cli.steps.choose_maker import choose_maker

    prompts = learned.content if learned is not None and isinstance(learned.content, PromptSet) else None
    weights = learned.path if learned is not None and prompts is None else None
    maker = choose_maker(
        engine, job.dataset.class_set, job.settings, prompts=prompts, generator_weights=weights, note=say
    )
    return engine, maker


def _estimate(job: CamsJob, *, as_json: bool) -> None:
    engine, maker = _load(job)
    from semples_cli.steps.estimate_cams import estimate_cams

    estimate = estimate_cams(
        job.samples,
        job.dataset.class_set,
        engine,
        maker.settings,
        generator=maker,
        overlays=job.overlays,
        mask_mode=job.mask_mode,
        max_pixels=job.max_pixels,
    )
    figures = {**asdict(estimate), "hours": estimate.hours, "gigabytes": estimate.gigabytes}
    if as_json:
        print_json(figures)
        return
    table = Table(caption="Nothing is written. From three images, one at a time.", caption_justify="left")
    for name in figures:
        table.add_column(name.replace("_", " "), justify="right")
    table.add_row(*(f"{value:.4g}" for value in figures.values()))
    print_table(table)


def result_json(dataset: "Dataset", summary: RunSummary, out: Path) -> dict[str, Any]:
    """The result for machines."""
    return {
        "out": str(out),
        "classes": list(dataset.class_set.names),
        "written": summary.written,
        "resumed": summary.resumed,
        "skipped": [{"id": item, "reason": reason} for item, reason in summary.skipped],
        "failed": [{"id": item, "reason": reason} for item, reason in summary.failed],
        "problems": [{"where": where, "message": message} for where, message in dataset.problems],
        "unmatched_rows": list(dataset.unmatched_rows),
        "seconds": round(summary.seconds, 3),
    }
