"""`semples export`: masks in the form that tools and training code read, CAMs in that of other projects."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semples_cli.cli.backend import BackendOption, Cluster, CpusOption, NumShardsOption, read_backend
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
from semples_cli.errors import SettingsError
from semples_cli.types import Progress, RunSummary, Shard

if TYPE_CHECKING:
    from semples_cli.steps.cam_record import Note
    from semples_cli.steps.export_masks import MaskExport


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
    backend: BackendOption = "local",
    num_shards: NumShardsOption = None,
    ray_cpus: CpusOption = 1,
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
        cluster, part = read_backend(backend, num_shards, ray_cpus, shard), read_shard(shard)
        export = _mask_export(source, out, to, chosen, images, classes, overwrite)
        code, document = (
            _export_on(cluster, export, source, out, to) if cluster else _export_masks(export, out, to, part)
        )
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


def _mask_export(
    source: Path,
    out: Path,
    to: str,
    chosen: Mapping[str, Any],
    images: Path | None,
    classes: str | None,
    overwrite: bool,
) -> "Callable[..., MaskExport]":
    from semples_cli.artifacts.export.protocol import ExportSettings
    from semples_cli.steps.export_masks import check_options, export_masks, load_exporter

    check_options(to, load_exporter(to), chosen)
    settings, class_set = ExportSettings(**chosen), read_classes(classes)
    return partial(export_masks, source, out, to, settings, images=images, class_set=class_set, overwrite=overwrite)


def _export_masks(
    export: "Callable[..., MaskExport]", out: Path, to: str, shard: Shard | None
) -> tuple[int, dict[str, Any]]:
    with progress_bar("export") as progress:
        made = export(shard=shard, progress=progress, note=say)
    code = report_summary(made.summary, "masks")
    if made.files:
        say(f"{to}: {made.files[0]}")
    part = {} if shard is None else {"shard": str(shard)}
    return code, {**_masks_json(made.summary, out, to), **part, "files": [str(path) for path in made.files]}


def _export_on(
    cluster: Cluster, export: "Callable[..., MaskExport]", source: Path, out: Path, to: str
) -> tuple[int, dict[str, Any]]:
    """All shards on a cluster."""
    from semples_cli.artifacts.mask_png import find_masks
    from semples_cli.steps.export_folder import shard_folder

    if cluster.num_shards is None:
        msg = "--backend ray: each shard is an export of its own; say by --num-shards how many there are to be"
        raise SettingsError(msg)
    with progress_bar("export") as progress:
        summary, count = cluster.run(partial(_export_shard, export), None, len(find_masks(source)), progress)
    code = report_summary(summary, "masks")
    folders = [str(shard_folder(out, Shard(i, count))) for i in range(1, count + 1)]
    say(f"{to}: {folders[0]} to {count}")
    return code, {**_masks_json(summary, out, to), "folders": folders}


def _export_shard(export: "Callable[..., MaskExport]", shard: Shard, progress: Progress, note: "Note") -> RunSummary:
    """One shard of it, in another process."""
    return export(shard=shard, progress=progress, note=note).summary


def _masks_json(summary: RunSummary, out: Path, to: str) -> dict[str, Any]:
    skipped = [{"id": item, "reason": reason} for item, reason in summary.skipped]
    return {**summary_json(summary, out, to), "skipped": skipped}


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
