"""`semples labels`: what labels were read as, and labels in another form."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from semples_cli.cli import options
from semples_cli.cli.console import EXIT_ITEMS_FAILED, error_border, list_items, print_json, print_table, say, warn
from semples_cli.cli.image_inputs import read_inputs

if TYPE_CHECKING:
    from semples_cli.steps.inspect_labels import LabelInspection

labels_app = typer.Typer(help="Look at labels, and convert them.", no_args_is_help=True)


@labels_app.command("inspect")
@error_border
def inspect_cli(
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Image files, or folders of images; - reads their paths from stdin; none: the labels alone.",
            callback=read_inputs,
        ),
    ] = None,
    labels: options.LabelsOption = None,
    labels_format: options.LabelsFormatOption = "auto",
    classes: options.ClassesOption = None,
    data: options.DataOption = None,
    split: options.SplitOption = None,
    strict: options.StrictOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Say what labels were read as, count them, and list what is wrong with them.

    Exit 3 if something in them cannot be used.

    Example: semples labels inspect images/ --labels labels.csv
    """
    from semples_cli.steps.inspect_labels import inspect_labels, inspection_as_dict

    found = inspect_labels(
        images or (), labels=labels, labels_format=labels_format, classes=classes, data=data, split=split
    )
    for note in found.notes:
        say(note)
    _list_differences(found.unlabelled, found.unmatched_rows, found.problems)
    unseen = [each.name for each in found.classes if not (each.rows if each.images is None else each.images)]
    if unseen and classes is not None:
        warn(f"nothing shows {', '.join(unseen)}; check the names, or leave them out of the class list")
    if as_json:
        print_json(inspection_as_dict(found))
    else:
        print_table(_class_table(found))
        print_table(_count_table(found))
    failed = found.problems or (strict and found.unlabelled)
    raise typer.Exit(EXIT_ITEMS_FAILED if failed else 0)


@labels_app.command("convert")
@error_border
def convert_cli(
    labels: Annotated[Path, typer.Argument(help="Label file or folder, of any form that is read.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.")],
    to: Annotated[str, typer.Option(help="list-csv, onehot-csv, jsonl, cls-labels-npy or wsss-list.")] = "list-csv",
    images: Annotated[
        Path | None, typer.Option(help="Only the images in this folder, called by their paths in it.")
    ] = None,
    labels_format: options.LabelsFormatOption = "auto",
    classes: options.ClassesOption = None,
    classes_out: Annotated[Path | None, typer.Option(help="Also write the class list, in its order.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Write labels in another form.

    Exit 3 if rows had to be left out; the others are written.

    Example: semples labels convert labels.csv --to onehot-csv --out onehot.csv --classes-out classes.txt
    """
    from semples_cli.steps.convert_labels import convert_labels

    done = convert_labels(
        labels,
        out,
        to,
        images=images,
        labels_format=labels_format,
        classes=classes,
        classes_out=classes_out,
        overwrite=overwrite,
    )
    for note in done.notes:
        say(note)
    _list_differences(done.unlabelled, done.unmatched_rows, done.problems)
    say(f"{done.out}: {done.written} images, {len(done.class_set)} classes")
    if as_json:
        print_json(
            {
                "out": str(done.out),
                "to": to,
                "written": done.written,
                "classes": list(done.class_set.names),
                "unlabelled": list(done.unlabelled),
                "unmatched_rows": list(done.unmatched_rows),
                "problems": [{"where": where, "message": message} for where, message in done.problems],
            }
        )
    raise typer.Exit(EXIT_ITEMS_FAILED if done.problems else 0)


def _list_differences(
    unlabelled: tuple[str, ...], unmatched_rows: tuple[str, ...], problems: tuple[tuple[str, str], ...]
) -> None:
    list_items("problem", problems)
    list_items("without label", tuple((image, "no row names it") for image in unlabelled))
    list_items("without image", tuple((row, "no image here goes with this row") for row in unmatched_rows))


def _class_table(found: "LabelInspection") -> Table:
    table = Table("index", "class", "word for CLIP")
    for heading in ("rows", *(("images",) if found.images is not None else ()), "absent", "uncertain"):
        table.add_column(heading, justify="right")
    for each in found.classes:
        counts = [each.rows, *([each.images] if each.images is not None else []), each.absent, each.uncertain]
        table.add_row(str(each.index), escape(each.name), escape(each.prompt_name), *map(str, counts))
    return table


def _count_table(found: "LabelInspection") -> Table:
    counts = {
        "rows": found.rows,
        "rows that say: nothing present": found.empty_rows,
        "rows that repeat another": found.repeated,
        "images whose rows contradict each other": len(found.contradicted),
    }
    if found.images is not None:
        counts["images"] = found.images
        counts["images without label"] = len(found.unlabelled)
        counts["rows without image"] = len(found.unmatched_rows)
    counts["problems"] = len(found.problems)
    table = Table(escape(f"read as {found.form}" if found.form else "labels"))
    table.add_column("", justify="right")
    for what, number in counts.items():
        table.add_row(what, str(number))
    return table
