"""`semples evaluate`: masks or CAMs against ground truth; a table, a JSON document, a report folder with a page."""

import math
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from semples_cli.artifacts.report_html import DEFAULT_GALLERY
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
    progress_bar,
    say,
)
from semples_cli.cli.report import GalleryOption, ImagesOption, progress_bars
from semples_cli.errors import SettingsError
from semples_cli.types import Report

if TYPE_CHECKING:
    from semples_cli.steps.cam_reader import CamForm

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
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document, shares of 1, and no table.")] = False,
) -> None:
    """Score masks against ground truth: IoU, precision, recall, FP and FN rates over the dataset.

    Example: semples evaluate masks/ ground_truth/ --classes classes.txt --out report/
    """
    from semples_cli.artifacts.report_files import report_as_dict, write_report
    from semples_cli.steps.evaluate_masks import evaluate_cams, evaluate_masks
    from semples_cli.steps.report_stages import score_images

    if background_score is not None and not cams:
        msg = "--background-score cuts CAMs, but masks are cut already: add --cams, or leave it out"
        raise SettingsError(msg)
    form = cam_form(cams_format, cams_numbering, cams_map, unread=None if cams else "masks are evaluated; add --cams")
    class_set, image_scores = read_classes(classes), dict[str, float]()
    with progress_bar("evaluate") as progress:
        if cams:
            report = evaluate_cams(
                masks,
                ground_truth,
                class_set,
                cams_form=form,
                background_score=background_score,
                split_list=split_list,
                progress=progress,
                note=say,
            )
        else:
            report = evaluate_masks(
                masks,
                ground_truth,
                class_set,
                split_list=split_list,
                progress=progress,
                note=say,
                observe=None if out is None else score_images(image_scores),
            )
    if out is not None:
        say(f"report written to {write_report(out, report)}")
        made_of = (masks, ground_truth, split_list, images)
        _write_page(out, report, made_of, gallery, form if cams else None, image_scores)
    if json:
        print_json(report_as_dict(report))
    else:
        print_table(_table(report))
    _end(report, "CAM" if cams else "mask")


def _write_page(
    out: Path,
    report: Report,
    made_of: tuple[Path, Path, Path | None, Path | None],
    gallery: int,
    cams_form: "CamForm | None",
    image_scores: dict[str, float],
) -> None:
    """Draw report.html, beside the report.json that it agrees with."""
    from semples_cli.steps.make_report import PAGE_NAME, make_evaluation_page

    masks, ground_truth, split_list, images = made_of
    with progress_bars() as begin:
        made = make_evaluation_page(
            masks,
            out / PAGE_NAME,
            report,
            ground_truth,
            image_scores=image_scores,
            cams_form=cams_form,
            split_list=split_list,
            images=images,
            gallery=gallery,
            begin=begin,
            note=say,
        )
    say(f"page written to {made.path}")


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
