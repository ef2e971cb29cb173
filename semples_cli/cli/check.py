"""`semples check`: what is wrong with a folder of masks."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from semples_cli.cli import options
from semples_cli.cli.console import (
    EXIT_ITEMS_FAILED,
    error_border,
    list_items,
    print_json,
    print_table,
    progress_bar,
    say,
)

if TYPE_CHECKING:
    from semples_cli.steps.check_masks import MaskCheck

_COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}


@error_border
def check_cli(
    masks: Annotated[Path, typer.Argument(help="Folder of mask PNGs, of semples or of anybody else.")],
    images: Annotated[
        list[Path] | None, typer.Option(help="The images; without it, where run.json says they are.")
    ] = None,
    classes: options.ClassesOption = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Labels of the images, to compare the classes in each mask.", rich_help_panel=options.LABEL_PANEL
        ),
    ] = None,
    labels_format: options.LabelsFormatOption = "auto",
    workers: Annotated[int | None, typer.Option(help="Processes; without it, one for each core.", min=1)] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Say what is wrong with a folder of masks, and what to do about it. Nothing is changed.

    Files that are no masks, values that are no class, sizes unlike the images', masks and images that lack each other,
    classes that the labels do not name, masks without any class, leftovers. What is not known is not compared. Exit 3
    if there are errors; warnings and notes end with 0.

    Example: semples check masks/ --images images/ --classes classes.txt
    """
    from semples_cli.steps.check_masks import check_as_dict, check_masks
    from semples_cli.steps.process_pool import available_cores

    with progress_bar("check") as progress:
        check = check_masks(
            masks,
            images=images or (),
            labels=labels,
            labels_format=labels_format,
            classes=classes,
            workers=workers or available_cores(),
            progress=progress,
            note=say,
        )
    for finding in check.findings:
        list_items(finding.code, tuple((item, detail or finding.what) for item, detail in finding.items))
    if as_json:
        print_json(check_as_dict(check))
    else:
        print_table(_table(check))
    raise typer.Exit(EXIT_ITEMS_FAILED if check.has_errors else 0)


def _table(check: "MaskCheck") -> Table:
    page = Table.grid()
    if check.findings:
        table = Table("", "code")
        table.add_column("found", justify="right")
        table.add_column("what is wrong")
        table.add_column("what to do")
        for finding in check.findings:
            severity = f"[{_COLOURS[finding.severity]}]{finding.severity}[/]"
            table.add_row(severity, finding.code, str(len(finding.items)), escape(finding.what), escape(finding.cure))
        page.add_row(table)
    else:
        page.add_row("nothing is wrong")
    counts = [f"{check.masks} masks"]
    if check.images is not None:
        counts.append(f"{check.images} images")
    if check.class_names is not None:
        counts.append(f"{len(check.class_names)} classes")
    if check.labelled:
        counts.append(f"{check.labelled} compared with labels")
    if check.coverage is not None:
        counts.append(f"coverage {check.coverage:.1%}")
    page.add_row(", ".join(counts))
    return page
