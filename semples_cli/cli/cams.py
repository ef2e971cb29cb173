"""`semples cams`: images and image-level labels in, CAMs and seed masks out."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.cli import options
from semples_cli.cli.backend import BackendOption, Cluster, CpusOption, NumShardsOption, read_backend
from semples_cli.cli.background import read_background
from semples_cli.cli.cams_job import CamsJob
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
from semples_cli.cli.learned import GeneratorWeightsOption, PromptsOption, read_learned
from semples_cli.cli.loading import take_stock
from semples_cli.cli.shards import read_shard
from semples_cli.config import CamSettings, EngineSettings
from semples_cli.data.images import DEFAULT_MAX_PIXELS
from semples_cli.errors import SettingsError
from semples_cli.types import RunSummary

if TYPE_CHECKING:
    from semples_cli.data.dataset import Dataset

CAM_DEFAULTS = CamSettings()
ENGINE_DEFAULTS = EngineSettings()


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
    backend: BackendOption = "local",
    num_shards: NumShardsOption = None,
    ray_cpus: CpusOption = 1,
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
    cluster, part = read_backend(backend, num_shards, ray_cpus, shard), read_shard(shard)
    samples = dataset.samples[:limit]
    where = (out, tuple(images or ()), overwrite, overlay, mask_mode, max_pixels)
    job = CamsJob(dataset, samples, part, learned, wanted, settings, rule, *where)
    code = EXIT_ITEMS_FAILED if dataset.problems or (strict and dataset.unlabelled) else 0
    if dry_run:
        _estimate(job, as_json=as_json)
    else:
        code = max(code, _make(job, cluster, as_json=as_json))
    raise typer.Exit(code)


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


def _make(job: CamsJob, cluster: Cluster | None, *, as_json: bool) -> int:
    loaded = job.load() if cluster is None else None
    with progress_bar("cams") as progress:
        if cluster is None:
            summary = job.make(None, progress, say, loaded)
        else:
            summary, _ = cluster.run(job.make, RunFolder(job.out), len(job.samples), progress, gpus=True)
    code = report_summary(summary, "masks")
    if job.dataset.problems:
        say(f"{len(job.dataset.problems)} problems in the labels, listed at the start")
    if as_json:
        print_json(result_json(job.dataset, summary, job.out))
    return code


def _estimate(job: CamsJob, *, as_json: bool) -> None:
    engine, maker = job.load()
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
