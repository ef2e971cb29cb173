"""The whole pipeline on the built-in world: renders it, runs every stage, measures each against the ground truth."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.artifacts.contact_sheet import colour_mask, write_contact_sheet
from semples_cli.artifacts.mask_png import read_mask
from semples_cli.artifacts.report_files import write_report
from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.config import CamSettings, CrfSettings, WorldSettings
from semples_cli.data.background_words import read_background_words
from semples_cli.data.dataset import Dataset, load_dataset
from semples_cli.demo.model import DEMO_BACKGROUND_WORDS, DEMO_CAM_SETTINGS, DEMO_CRF_SETTINGS
from semples_cli.engine.clip import ClipEngine
from semples_cli.steps.apply_crf import apply_crf
from semples_cli.steps.demo_leakage import measure_leakage
from semples_cli.steps.evaluate_masks import evaluate_cams, evaluate_masks
from semples_cli.steps.make_cams import make_cams
from semples_cli.steps.progress import silent, tqdm_progress
from semples_cli.steps.render_demo import GROUND_TRUTH, IMAGES, render_demo
from semples_cli.types import Progress, RunSummary

FORMAT_VERSION = 1
NOTE = "figures of the built-in world, not of VOC or of any photograph"
OVERVIEW_ROWS = 6
# Called with a stage's name; returns the progress callback of that stage.
Begin = Callable[[str], Progress]


@dataclass(frozen=True)
class DemoRun:
    """What every stage is given.

    Attributes:
        out: Folder of the demo; each stage writes the run folder `out/<stage>`.
        data: The rendered images and their labels.
        world: Folder of the rendered world.
        engine: The CLIP.
        cam_settings: How CAMs are made.
        crf_settings: The CRF.
        workers: Processes of the CRF; None: one for each core.
        overwrite: Do everything again.
        begin: Announces a stage.
    """

    out: Path
    data: Dataset
    world: Path
    engine: ClipEngine
    cam_settings: CamSettings
    crf_settings: CrfSettings
    workers: int | None
    overwrite: bool
    begin: Begin


@dataclass(frozen=True)
class DemoStage:
    """What one stage reached; shares of 1, NaN where undefined.

    Attributes:
        name: 'seeds', 'crf'.
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
        report: Path of report.json.
        overview: Path of the picture of the first images, their ground truth and the masks of each stage.
    """

    world: WorldSettings
    stages: tuple[DemoStage, ...]
    report: Path
    overview: Path


def demo_cam_settings() -> CamSettings:
    """The settings of the seeds, hand-written background words included."""
    return replace(DEMO_CAM_SETTINGS, background_words=read_background_words(DEMO_BACKGROUND_WORDS))


def run_demo(
    out: Path,
    world: WorldSettings,
    engine: ClipEngine,
    cam_settings: CamSettings,
    crf_settings: CrfSettings = DEMO_CRF_SETTINGS,
    *,
    workers: int | None = None,
    overwrite: bool = False,
    begin: Begin = tqdm_progress,
) -> DemoResult:
    """Render the built-in world and run every stage on it; what an earlier run with the same settings did is kept.

    Writes `out/world`, a run folder for each stage (masks, overlays), a report folder for each in `out/reports`,
    `out/report.json` and `out/overview.png`.

    Args:
        out: Folder to write.
        world: The world.
        engine: A built engine, of the built-in model or any other.
        cam_settings: How CAMs are made.
        crf_settings: The CRF.
        workers: Processes of the CRF; None: one for each core.
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
    run = DemoRun(out, data, folder, engine, cam_settings, crf_settings, workers, overwrite, begin)
    stages = tuple(_measure(run, world, name, make(run)) for name, make in STAGES)
    overview = out / "overview.png"
    _draw_overview(run, overview)
    report = out / "report.json"
    with open_atomic(report) as handle:
        text = json.dumps(result_as_dict(world, stages), ensure_ascii=False, allow_nan=False, indent=1)
        handle.write(text.encode() + b"\n")
    return DemoResult(world, stages, report, overview)


def result_as_dict(world: WorldSettings, stages: tuple[DemoStage, ...]) -> dict[str, Any]:
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
    }


def _make_seeds(run: DemoRun) -> RunSummary:
    return make_cams(
        run.data.samples,
        run.data.class_set,
        run.engine,
        run.out / "seeds",
        run.cam_settings,
        inputs=(run.world / IMAGES,),
        overwrite=run.overwrite,
        overlays=True,
        progress=run.begin("seeds"),
    )


def _apply_crf(run: DemoRun) -> RunSummary:
    return apply_crf(
        run.out / "seeds",
        run.world / IMAGES,
        run.out / "crf",
        run.crf_settings,
        workers=run.workers,
        overwrite=run.overwrite,
        overlay=True,
        progress=run.begin("crf"),
    )


# The stages in order; each writes the run folder `out/<name>`.
STAGES: tuple[tuple[str, Callable[[DemoRun], RunSummary]], ...] = (("seeds", _make_seeds), ("crf", _apply_crf))


def _remove_stages(out: Path) -> None:
    """Masks of images that the new world does not have would otherwise pass for its own."""
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
