"""`semples export`: masks in the form that tools and training code read, CAMs in that of other projects."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from semples_cli.cli.cam_options import (
    DEFAULT_FORMAT,
    CamsFormatOption,
    CamsMapOption,
    CamsNumberingOption,
    cam_form,
    read_classes,
)
from semples_cli.cli.console import error_border, print_json, progress_bar, report_summary, say
from semples_cli.cli.export_options import (
    CAMS,
    CopyImagesOption,
    ImageRootUrlOption,
    ImagesOption,
    InstancesOption,
    MaskClassesOption,
    PartOption,
    PolygonsOption,
    ShardSizeOption,
    ToOption,
    refuse_mask_options,
)
from semples_cli.cli.options import given
from semples_cli.cli.shards import read_shard
from semples_cli.types import RunSummary, Shard


@error_border
def export_cli(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(help="Output of `semples cams`, `refine`, `crf`, a stage of `run`, or any mask PNGs.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")],
    to: ToOption = CAMS,
    images: ImagesOption = None,
    classes: MaskClassesOption = None,
    instances: InstancesOption = "class",
    polygons: PolygonsOption = False,
    image_root_url: ImageRootUrlOption = None,
    shard_size: ShardSizeOption = 200,
    copy_images: CopyImagesOption = False,
    shard: PartOption = None,
    cams_format: CamsFormatOption = DEFAULT_FORMAT,
    cams_numbering: CamsNumberingOption = None,
    cams_map: CamsMapOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do everything again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
) -> None:
    """Write masks for annotation tools and training code, or CAMs for other projects.

    Each tool has a page in docs/handoff: from here to masks visible there. The files of irn are pickles, as IRN has
    them: 4 bytes a pixel and class, 1.5 MB for two classes at 500 × 375.

    Example: semples export masks/ --to coco --out coco/

    Example: semples export masks/ --to irn --out irn_cams/
    """
    if to == CAMS:
        refuse_mask_options(context, to)
        form = (cams_format, cams_numbering, cams_map)
        code, document = _export_cams(source, out, form, overwrite)
    else:
        cam_form(cams_format, cams_numbering, cams_map, unread=f"--to {to} exports masks; choose --to {CAMS}")
        values = {
            "instances": instances,
            "polygons": polygons,
            "image_root_url": image_root_url,
            "shard_size": shard_size,
            "copy_images": copy_images,
        }
        chosen = {name: values[name] for name in given(context, *values)}
        code, document = _export_masks(source, out, to, chosen, images, classes, read_shard(shard), overwrite)
    if as_json:
        print_json(document)
    raise typer.Exit(code)


def _export_cams(
    source: Path, out: Path, form: tuple[str, int | None, str | None], overwrite: bool
) -> tuple[int, dict[str, Any]]:
    from semples_cli.steps.export_cams import export_cams

    cams = cam_form(*form)
    with progress_bar("export") as progress:
        summary = export_cams(source, out, CAMS, cams_form=cams, overwrite=overwrite, progress=progress, note=say)
    return report_summary(summary, "CAMs"), summary_json(summary, out, CAMS)


def _export_masks(
    source: Path,
    out: Path,
    to: str,
    chosen: Mapping[str, Any],
    images: Path | None,
    classes: str | None,
    shard: Shard | None,
    overwrite: bool,
) -> tuple[int, dict[str, Any]]:
    from semples_cli.artifacts.export.protocol import ExportSettings
    from semples_cli.steps.export_masks import check_options, export_masks, load_exporter

    check_options(to, load_exporter(to), chosen)
    settings, class_set = ExportSettings(**chosen), read_classes(classes)
    with progress_bar("export") as progress:
        export = export_masks(
            source,
            out,
            to,
            settings,
            images=images,
            class_set=class_set,
            shard=shard,
            overwrite=overwrite,
            progress=progress,
            note=say,
        )
    code = report_summary(export.summary, "masks")
    if export.files:
        say(f"{to}: {export.files[0]}")
    skipped = [{"id": item, "reason": reason} for item, reason in export.summary.skipped]
    files = [str(path) for path in export.files]
    part = {} if shard is None else {"shard": str(shard)}
    return code, {**summary_json(export.summary, out, to), **part, "skipped": skipped, "files": files}


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
