"""`semples data`: ground truth that datasets do not ship in the form that `evaluate` needs."""

from pathlib import Path
from typing import Annotated

import typer

from semples_cli.cli import options
from semples_cli.cli.console import error_border, print_json, progress_bar, report_summary, say

data_app = typer.Typer(help="Prepare datasets.", no_args_is_help=True)


@data_app.command("coco-masks")
@error_border
def coco_masks_cli(
    annotations: Annotated[Path, typer.Argument(help="Instances JSON, such as instances_val2014.json.")],
    out: options.OutOption,
    images: Annotated[
        Path | None,
        typer.Option(help="Only the images in this folder, which must be of the size that was annotated."),
    ] = None,
    classes: options.ClassesOption = None,
    crowd: Annotated[
        str,
        typer.Option(
            help="Crowd regions become their class, or ignore (255).", callback=options.one_of(("class", "ignore"))
        ),
    ] = "class",
    limit: options.LimitOption = None,
    mask_mode: options.MaskModeOption = "palette",
    overwrite: options.OverwriteOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Draw ground-truth masks from COCO instances JSON: for `evaluate`, and for nothing else.

    Where regions overlap, the smaller one is on top. An image without annotations is all background.

    Example: semples data coco-masks annotations/instances_val2014.json --out ground_truth/val2014/
    """
    from semples_cli.data.class_list import read_class_list
    from semples_cli.steps.make_coco_masks import make_coco_masks

    class_set = None if classes is None else read_class_list(classes)
    with progress_bar("coco masks") as progress:
        summary = make_coco_masks(
            annotations,
            out,
            class_set,
            images=images,
            crowd=crowd,
            limit=limit,
            mask_mode=mask_mode,
            overwrite=overwrite,
            progress=progress,
        )
    code = report_summary(summary, "masks")
    say(f"ground truth: {out}; compare with it by `semples evaluate MASKS {out}`")
    if as_json:
        failed = [{"id": item, "reason": reason} for item, reason in summary.failed]
        print_json({"out": str(out), "written": summary.written, "resumed": summary.resumed, "failed": failed})
    raise typer.Exit(code)
