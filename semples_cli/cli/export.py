"""`semples export`: CAMs in the form that other projects read."""

from pathlib import Path
from typing import Annotated, Any

import typer

from semples_cli.cli.cam_options import DEFAULT_FORMAT, CamsFormatOption, CamsMapOption, CamsNumberingOption, cam_form
from semples_cli.cli.console import error_border, print_json, progress_bar, report_summary, say
from semples_cli.types import RunSummary


@error_border
def export_cli(
    source: Annotated[Path, typer.Argument(help="Output of `semples cams`, `refine` or a stage of `run`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")],
    to: Annotated[
        str, typer.Option(help="irn: keys from 0, cam on the patch grid, high_res at the size of the image.")
    ] = "irn",
    cams_format: CamsFormatOption = DEFAULT_FORMAT,
    cams_numbering: CamsNumberingOption = None,
    cams_map: CamsMapOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do everything again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
) -> None:
    """Write CAMs as the .npy files of IRN, which many projects take.

    These are pickles, as IRN has them: 4 bytes a pixel and class, 1.5 MB for two classes at 500 × 375.

    Example: semples export masks/ --to irn --out irn_cams/
    """
    from semples_cli.steps.export_cams import export_cams

    form = cam_form(cams_format, cams_numbering, cams_map)
    with progress_bar("export") as progress:
        summary = export_cams(source, out, to, cams_form=form, overwrite=overwrite, progress=progress, note=say)
    code = report_summary(summary, "CAMs")
    if as_json:
        print_json(summary_json(summary, out, to))
    raise typer.Exit(code)


def summary_json(summary: RunSummary, out: Path, to: str) -> dict[str, Any]:
    """The result for machines."""
    return {
        "out": str(out),
        "to": to,
        "written": summary.written,
        "resumed": summary.resumed,
        "failed": [{"id": item, "reason": reason} for item, reason in summary.failed],
        "seconds": round(summary.seconds, 3),
    }
