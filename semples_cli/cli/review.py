"""`semples review`: how sure CLIP is of each region of a folder of masks, as a queue for people."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from semples_cli.cli import options
from semples_cli.cli.cam_options import read_classes
from semples_cli.cli.console import (
    EXIT_ITEMS_FAILED,
    error_border,
    list_items,
    print_json,
    print_table,
    progress_bar,
    say,
)
from semples_cli.cli.loading import load_engine, take_stock
from semples_cli.config import EngineSettings
from semples_cli.config.tagging import TagSettings
from semples_cli.data.images import DEFAULT_MAX_PIXELS
from semples_cli.errors import SettingsError

if TYPE_CHECKING:
    from semples_cli.steps.review_masks import MaskReview
    from semples_cli.types import ClassSet

ENGINE_DEFAULTS = EngineSettings()
TAG_DEFAULTS = TagSettings()
QUEUE_NAME = "review.csv"
MOST_SHOWN = 15


@error_border
def review_cli(
    masks: Annotated[Path, typer.Argument(help="Folder of masks: of any command, or corrected by people.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help=f"CSV file for the queue; without it MASKS/{QUEUE_NAME}.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="The images; without it, where the run.json of the masks says they are.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Class list: a file, or voc12, coco14. By default the run's own.")
    ] = None,
    labels: options.LabelsOption = None,
    labels_format: options.LabelsFormatOption = "auto",
    ignore_below: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Set regions of less confidence to 255, in copies of the masks."),
    ] = None,
    masks_out: Annotated[Path | None, typer.Option(help="Folder for these copies.")] = None,
    template: options.TemplateOption = TAG_DEFAULTS.template,
    background_words: options.BackgroundWordsOption = "voc",
    model: Annotated[
        str | None, typer.Option(help="CLIP; without it, that of the masks' run.", rich_help_panel=options.ENGINE_PANEL)
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Its weights; likewise.", rich_help_panel=options.ENGINE_PANEL)
    ] = None,
    quick_gelu: options.QuickGeluOption = None,
    device: options.DeviceOption = ENGINE_DEFAULTS.device,
    precision: options.PrecisionOption = ENGINE_DEFAULTS.precision,
    batch_size: options.BatchSizeOption = TAG_DEFAULTS.batch_size,
    overwrite: options.OverwriteOption = False,
    max_pixels: options.MaxPixelsOption = DEFAULT_MAX_PIXELS,
    as_json: options.JsonOption = False,
) -> None:
    """Queue masks for people, those first that are most likely wrong.

    CLIP sees each region alone, all else in a plain colour, and is asked which class or background it is; the
    probability of the region's own class is its confidence. In the folder of a run the confidences are entered into its
    manifest, where `semples report` and `semples export` find them.

    Example: semples review run/crf --out review.csv

    Example: semples review masks/ --ignore-below 0.2 --masks-out sure/
    """
    from semples_cli.artifacts.review_csv import check_review_out
    from semples_cli.data.background_words import read_background_words
    from semples_cli.steps.review_masks import find_review, review_masks

    given = read_classes(classes)
    source = find_review(masks, given)
    class_set = given or _recorded_classes(masks)
    queue = out or masks / QUEUE_NAME
    check_review_out(queue, overwrite=overwrite)
    settings = TagSettings(template, read_background_words(background_words), None, batch_size)
    inputs = [images] if images is not None else [Path(text) for text in source.record.get("inputs") or ()]
    named = None if labels is None else _labelled(inputs, labels, labels_format, classes, class_set)
    wanted = _engine(source.record.get("engine") or {}, model, weights, quick_gelu, device, precision)
    engine = load_engine(wanted)
    with progress_bar("review") as progress:
        done = review_masks(
            source,
            class_set,
            engine,
            queue,
            settings,
            images=images,
            labels=named,
            ignore_below=ignore_below,
            masks_out=masks_out,
            overwrite=overwrite,
            max_pixels=max_pixels,
            progress=progress,
        )
    _tell(done, queue, masks_out)
    if as_json:
        print_json(result_json(done, queue, masks_out))
    else:
        print_table(_table(done))
    raise typer.Exit(EXIT_ITEMS_FAILED if done.failed else 0)


def _recorded_classes(masks: Path) -> "ClassSet":
    from semples_cli.artifacts.run_folder import read_class_set

    class_set = read_class_set(masks)
    if class_set is None:
        msg = f"{masks} does not say its classes (it has no .semples/run.json): add --classes classes.txt"
        raise SettingsError(msg)
    return class_set


def _labelled(
    inputs: list[Path], labels: Path, labels_format: str, classes: str | None, class_set: "ClassSet"
) -> dict[str, tuple[int, ...]]:
    """Class indices that the labels name, by image id."""
    from semples_cli.data.dataset import load_dataset

    if not inputs:
        msg = f"--labels {labels}: of which images is not known; add --images"
        raise SettingsError(msg)
    dataset = load_dataset(inputs, labels=labels, labels_format=labels_format, classes=classes)
    take_stock(dataset)
    return {
        sample.id: tuple(class_set.index_of(dataset.class_set.name_of(k)) for k in sample.class_indices)
        for sample in dataset.samples
    }


def _engine(
    record: dict[str, Any],
    model: str | None,
    weights: str | None,
    quick_gelu: bool | None,
    device: str,
    precision: str,
) -> EngineSettings:
    """The CLIP that the masks were made with, unless another is named."""
    from semples_cli.steps.engine_source import engine_source

    made_with = engine_source(record) if record and model is None and weights is None else {}
    if quick_gelu is None and made_with:
        quick_gelu = record.get("quick_gelu")
    return EngineSettings(
        str(made_with.get("model") or model or ENGINE_DEFAULTS.model),
        str(made_with.get("weights") or weights or ENGINE_DEFAULTS.weights),
        quick_gelu,
        device,
        precision,
    )


def _tell(done: "MaskReview", out: Path, masks_out: Path | None) -> None:
    say(f"{done.images} masks, {len(done.rows)} regions in {done.seconds:.1f} s; the queue, worst first: {out}")
    if masks_out is not None:
        say(f"{done.ignored} regions set to 255, {100 * done.coverage:.1f} % of the pixels left: {masks_out}")
    list_items("failed", done.failed)


def _table(done: "MaskReview") -> Table:
    table = Table("image", "class", caption=f"The {MOST_SHOWN} least sure.", caption_justify="left")
    for heading in ("confidence", "area, %"):
        table.add_column(heading, justify="right")
    for row in done.rows[:MOST_SHOWN]:
        table.add_row(escape(row.id), escape(row.class_name), f"{row.confidence:.3f}", f"{100 * row.area:.1f}")
    return table


def result_json(done: "MaskReview", out: Path, masks_out: Path | None) -> dict[str, Any]:
    """The result for machines."""
    return {
        "out": str(out),
        "masks_out": None if masks_out is None else str(masks_out),
        "images": done.images,
        "ignored": done.ignored,
        "coverage": None if math.isnan(done.coverage) else done.coverage,
        "regions": [
            {
                "id": row.id,
                "class": row.class_name,
                "confidence": round(row.confidence, 6),
                "area": round(row.area, 6),
                "coverage": round(row.coverage, 6),
            }
            for row in done.rows
        ],
        "failed": [{"id": item, "reason": reason} for item, reason in done.failed],
        "seconds": round(done.seconds, 3),
    }
