"""`semples evaluate`: masks or CAMs against ground truth; a table, a JSON document, a report folder with a page."""

import math
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from semples_cli.artifacts.report_html import DEFAULT_GALLERY
from semples_cli.cli.backend import BackendOption, Cluster, CpusOption, NumShardsOption, read_backend
from semples_cli.cli.cam_options import (
    DEFAULT_FORMAT,
    CamsFormatOption,
    CamsMapOption,
    CamsNumberingOption,
    cam_form,
    read_classes,
)
from semples_cli.cli.console import (
    EXIT_ITEMS_FAILED,
    MOST_LISTED,
    error_border,
    list_items,
    print_json,
    print_table,
    say,
)
from semples_cli.cli.evaluation import Page, evaluate_here, evaluate_on, evaluate_shard
from semples_cli.cli.report import GalleryOption, ImagesOption
from semples_cli.cli.shards import read_shard
from semples_cli.errors import SettingsError
from semples_cli.types import Report, Shard

if TYPE_CHECKING:
    pass

COLUMNS = {"iou": "IoU", "precision": "precision", "recall": "recall", "fp_rate": "FP", "fn_rate": "FN"}


@error_border
def evaluate_cli(
    masks: Annotated[
        Path, typer.Argument(help="Folder of mask PNGs or CAMs, or the --out folder of an earlier command.")
    ],
    ground_truth: Annotated[
        Path, typer.Argument(help="Folder of ground-truth PNGs of the same names, or a VOC devkit; 255 is not counted.")
    ],
    classes: Annotated[
        str | None,
        typer.Option(help="Class list: a file with one name a line, or voc12, coco14. By default the run's own."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for report.json, report.html and CSV files.")] = None,
    gallery: GalleryOption = DEFAULT_GALLERY,
    images: ImagesOption = None,
    cams: Annotated[
        bool, typer.Option("--cams", help="Evaluate the folder's CAMs, at every background score in one pass.")
    ] = False,
    cams_format: CamsFormatOption = DEFAULT_FORMAT,
    cams_numbering: CamsNumberingOption = None,
    cams_map: CamsMapOption = None,
    background_score: Annotated[
        float | None,
        typer.Option(help="With --cams: report at this score. By default at the best by the ground truth."),
    ] = None,
    split_list: Annotated[Path | None, typer.Option(help="Text file, one id a line: count only these.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Threads; without it, one for each core, at most 4. More processes: --shard.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Count only part i of n, as i/n; other processes count the others for the same --out. The one that "
            "ends last writes the report."
        ),
    ] = None,
    backend: BackendOption = "local",
    num_shards: NumShardsOption = None,
    ray_cpus: CpusOption = 1,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Shards: count again, and remove counts of something else.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document, shares of 1, and no table.")] = False,
) -> None:
    """Score masks against ground truth: IoU, precision, recall, FP and FN rates over the dataset.

    Example: semples evaluate masks/ ground_truth/ --classes classes.txt --out report/
    """
    from semples_cli.steps.evaluate_masks import compare_cams, compare_masks

    if background_score is not None and not cams:
        msg = "--background-score cuts CAMs, but masks are cut already: add --cams, or leave it out"
        raise SettingsError(msg)
    cluster = read_backend(backend, num_shards, ray_cpus, shard, workers)
    part = _read_where(shard, cluster, out, overwrite=overwrite)
    form = cam_form(cams_format, cams_numbering, cams_map, unread=None if cams else "masks are evaluated; add --cams")
    class_set = read_classes(classes)
    if cams:
        comparison = compare_cams(
            masks,
            ground_truth,
            class_set,
            cams_form=form,
            background_score=background_score,
            split_list=split_list,
            note=say,
        )
    else:
        comparison = compare_masks(masks, ground_truth, class_set, split_list=split_list, note=say)
    page = Page(masks, ground_truth, split_list, images, gallery, form if cams else None)
    report: Report | None
    if out is not None and cluster is not None:
        report, document = evaluate_on(cluster, comparison, out, page, overwrite=overwrite)
    elif out is not None and part is not None:
        report, document = evaluate_shard(comparison, part, out, page, workers, overwrite=overwrite)
    else:
        report, document = evaluate_here(comparison, out, page, workers)
    if json:
        print_json(document)
    elif report is not None:
        print_table(_table(report))
    if report is not None:
        _end(report, "CAM" if cams else "mask")


def _read_where(shard: str | None, cluster: Cluster | None, out: Path | None, *, overwrite: bool) -> Shard | None:
    part = read_shard(shard)
    cut = f"--shard {shard}" if part is not None else "--backend ray" if cluster is not None else None
    if cut is not None and out is None:
        msg = f"{cut}: the counts of all shards meet in the folder of the report; add --out FOLDER"
        raise SettingsError(msg)
    if cut is None and overwrite:
        msg = "--overwrite is about counts of shards, a report is always written anew: add --shard, or leave it out"
        raise SettingsError(msg)
    return part


def _table(report: Report) -> Table:
    """Per-class shares in percent, those of the dataset below; '-' where a share is undefined."""
    table = Table("class, %")
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right")
    for index, name in enumerate(report.class_names):
        table.add_row(escape(name), *(_percent(getattr(report, key)[index]) for key in COLUMNS))
    page = Table.grid()
    page.add_row(table)
    page.add_row(f"mIoU {_percent(report.miou)} over {report.num_classes_averaged} classes")
    if report.curve:
        best, miou = max(report.curve, key=itemgetter(1))
        page.add_row(f"at background score {report.background_score:g}; best {_percent(miou)} at {best:g}")
    page.add_row(f"pixel accuracy {_percent(report.pixel_accuracy)}, coverage {_percent(report.coverage)}")
    page.add_row(f"images counted: {report.num_images}")
    return page


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f}"


def _end(report: Report, noun: str) -> None:
    """List what has no prediction, and end with the exit code that tells the truth about it."""
    if not report.missing:
        return
    reason = f"ground truth without a {noun}, not counted"
    list_items("missing", tuple((sample_id, reason) for sample_id in report.missing[:MOST_LISTED]))
    say(f"{len(report.missing)} ground truths have no {noun}; the figures are over the other {report.num_images}")
    raise typer.Exit(EXIT_ITEMS_FAILED)
