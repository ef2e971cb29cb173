"""The whole pipeline on the built-in world: renders it, runs every stage, measures each against the ground truth."""

import json
import math
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.artifacts.contact_sheet import colour_mask, write_contact_sheet
from semples_cli.artifacts.mask_png import read_mask
from semples_cli.artifacts.prompts_file import read_prompts
from semples_cli.artifacts.report_files import write_report
from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.config import WorldSettings
from semples_cli.data.background_words import read_background_words
from semples_cli.data.dataset import load_dataset
from semples_cli.demo.captions import known_words
from semples_cli.demo.model import DEMO_BACKGROUND_WORDS, DEMO_CAM_SETTINGS
from semples_cli.engine.clip import ClipEngine
from semples_cli.steps.demo_leakage import measure_leakage
from semples_cli.steps.demo_stages import PROMPTS, STAGES, DemoRun, DemoSettings, remove_weights
from semples_cli.steps.describe_prompts import PromptDescription, describe_prompts, descriptions_as_dict
from semples_cli.steps.evaluate_masks import evaluate_cams, evaluate_masks
from semples_cli.steps.make_report import make_report
from semples_cli.steps.progress import Begin, silent, tqdm_progress
from semples_cli.steps.render_demo import GROUND_TRUTH, render_demo
from semples_cli.types import Progress, RunSummary

FORMAT_VERSION = 1
NOTE = "figures of the built-in world, not of VOC or of any photograph"
OVERVIEW_ROWS = 6


@dataclass(frozen=True)
class DemoStage:
    """What one stage reached; shares of 1, NaN where undefined.

    Attributes:
        name: One of STAGES.
        miou: Of the masks as written.
        miou_best: At the background score that is best by the ground truth; None for a stage that writes no CAMs,
            since only CAMs are cut at a background score.
        best_background_score: That score.
        leakage: See `measure_leakage`.
        summary: How many masks were written, kept, failed.
    """

    name: str
    miou: float
    miou_best: float | None
    best_background_score: float | None
    leakage: float
    summary: RunSummary


@dataclass(frozen=True)
class DemoResult:
    """What the demo found.

    Attributes:
        world: The world that was rendered.
        stages: In the order in which they ran.
        prompts: What the learned prompts are near to, among the words that the built-in model knows.
        report: Path of report.json.
        overview: Path of the picture of the first images, their ground truth and the masks of each stage.
        page: Path of report.html, all of it to look through.
    """

    world: WorldSettings
    stages: tuple[DemoStage, ...]
    prompts: tuple[PromptDescription, ...]
    report: Path
    overview: Path
    page: Path


def demo_settings() -> DemoSettings:
    """The settings of every stage, hand-written background words of the seeds included."""
    return DemoSettings(replace(DEMO_CAM_SETTINGS, background_words=read_background_words(DEMO_BACKGROUND_WORDS)))


def run_demo(
    out: Path,
    world: WorldSettings,
    engine: ClipEngine,
    settings: DemoSettings,
    *,
    workers: int | None = None,
    overwrite: bool = False,
    begin: Begin = tqdm_progress,
) -> DemoResult:
    """Render the built-in world and run every stage on it; what an earlier run with the same settings did is kept.

    Writes `out/world`, a run folder for each stage (masks, overlays), a report folder for each in `out/reports`,
    `out/report.json`, `out/report.html` and `out/overview.png`.

    Args:
        out: Folder to write.
        world: The world.
        engine: A built engine, of the built-in model or any other.
        settings: How the stages run.
        workers: Workers of the CRF; None: one for each core.
        overwrite: Do everything again, and replace another world in `out`.
        begin: Called with the name of each stage; returns its progress callback.

    Returns:
        The figures of each stage.

    Raises:
        SettingsError: `out` holds another world and `overwrite` is off.
    """
    folder = out / "world"
    render_demo(folder, world, overwrite=overwrite, progress=begin("world"))
    if overwrite:
        _remove_stages(out)
    data = load_dataset(data=folder)
    run = DemoRun(out, data, folder, engine, settings, workers, overwrite, begin)
    stages = tuple(_measure(run, world, name, make(run)) for name, make in STAGES)
    prompts = describe_prompts(read_prompts(out / PROMPTS), engine, known_words(), top=3)
    overview = out / "overview.png"
    _draw_overview(run, overview)
    report = out / "report.json"
    with open_atomic(report) as handle:
        text = json.dumps(result_as_dict(world, stages, prompts), ensure_ascii=False, allow_nan=False, indent=1)
        handle.write(text.encode() + b"\n")
    page = make_report(
        out,
        ground_truth=folder / GROUND_TRUTH,
        described=descriptions_as_dict(prompts)["prompts"],
        begin=_silently,
    ).path
    return DemoResult(world, stages, prompts, report, overview, page)


def result_as_dict(
    world: WorldSettings, stages: tuple[DemoStage, ...], prompts: tuple[PromptDescription, ...]
) -> dict[str, Any]:
    """The figures as one JSON document: shares of 1, null where there is none."""
    return {
        "format_version": FORMAT_VERSION,
        "note": NOTE,
        "world": asdict(world),
        "stages": [
            {
                "name": stage.name,
                "miou": _share(stage.miou),
                "miou_best": _share(stage.miou_best),
                "best_background_score": stage.best_background_score,
                "leakage": _share(stage.leakage),
            }
            for stage in stages
        ],
        **descriptions_as_dict(prompts),
    }


def _remove_stages(out: Path) -> None:
    """Masks of images that the new world does not have would otherwise pass for its own."""
    remove_weights(out)
    for name, _ in STAGES:
        if RunFolder(out / name).record.is_file():
            shutil.rmtree(out / name)


def _measure(run: DemoRun, world: WorldSettings, name: str, summary: RunSummary) -> DemoStage:
    masks, ground_truth, classes = run.out / name, run.world / GROUND_TRUTH, run.data.class_set
    report = evaluate_masks(masks, ground_truth, classes, progress=silent)
    write_report(run.out / "reports" / name, report)
    best = evaluate_cams(masks, ground_truth, classes, progress=silent) if RunFolder(masks).cams.is_dir() else None
    return DemoStage(
        name=name,
        miou=report.miou,
        miou_best=None if best is None else best.miou,
        best_background_score=None if best is None else best.background_score,
        leakage=measure_leakage(masks, run.world, run.data.samples, world.pairing),
        summary=summary,
    )


def _silently(part: str) -> Progress:
    del part
    return silent


def _draw_overview(run: DemoRun, path: Path) -> None:
    """The first images of the world, not the best ones."""
    names = [name for name, _ in STAGES]
    folders = [run.world / GROUND_TRUTH, *(run.out / name for name in names)]
    rows = []
    for sample in run.data.samples[:OVERVIEW_ROWS]:
        masks = [folder / f"{sample.id}.png" for folder in folders]
        image = np.asarray(Image.open(sample.image_path).convert("RGB"))
        blank = np.zeros(image.shape, np.uint8)
        rows.append([image, *(colour_mask(read_mask(mask)) if mask.is_file() else blank for mask in masks)])
    write_contact_sheet(path, ["image", "ground truth", *names], rows)


def _share(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
