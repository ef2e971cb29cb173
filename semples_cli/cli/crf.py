"""`semples crf`: refine masks or CAMs by a dense CRF."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.cli.backend import BackendOption, CpusOption, NumShardsOption, read_backend
from semples_cli.cli.cam_options import (
    DEFAULT_FORMAT,
    FOREIGN_PANEL,
    CamsFormatOption,
    CamsMapOption,
    CamsNumberingOption,
    cam_form,
    read_classes,
)
from semples_cli.cli.console import error_border, print_json, progress_bar, report_summary, say
from semples_cli.cli.options import ShardOption
from semples_cli.cli.shards import read_shard
from semples_cli.config import CRF_BACKENDS, CRF_PRESETS, CrfSettings
from semples_cli.errors import SettingsError
from semples_cli.types import Progress, RunSummary, Shard

DEFAULT_PRESETS = {"cams": "clip-es", "masks": "semples-voc"}

CrfBackendOption = Annotated[
    str, typer.Option(help=f"{', '.join(CRF_BACKENDS)}: whose code infers the CRF; the masks are the same.")
]
CrfMaxPixelsOption = Annotated[
    int | None,
    typer.Option(
        help="Fast mode: the CRF sees larger images at this many pixels; about 1 % of a mask's pixels differ."
    ),
]


@error_border
def crf_cli(
    source: Annotated[
        Path, typer.Argument(help="Output of `semples cams`, CAMs of another project, or any folder of mask PNGs.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the refined masks.")],
    images: Annotated[
        Path | None, typer.Option(help="The images; without it, where the source's run.json says they are.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(CRF_PRESETS)}; without it, clip-es from CAMs and semples-voc from masks."),
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--from", help="Refine 'cams' or 'masks'; without it, CAMs where there are any.")
    ] = None,
    gaussian: Annotated[
        tuple[float, float] | None, typer.Option(help="Position kernel: width in pixels, weight.")
    ] = None,
    bilateral: Annotated[
        tuple[float, float, float] | None,
        typer.Option(help="Appearance kernel: width in pixels, width in colour levels, weight."),
    ] = None,
    gt_prob: Annotated[float | None, typer.Option(help="Trust in a hard label, between 0 and 1.")] = None,
    iterations: Annotated[int | None, typer.Option(help="Mean-field iterations.")] = None,
    min_confidence: Annotated[
        float, typer.Option(help="Pixels whose winning probability is below this become 255 (ignore).")
    ] = 0.0,
    cams_format: CamsFormatOption = DEFAULT_FORMAT,
    cams_numbering: CamsNumberingOption = None,
    cams_map: CamsMapOption = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Their class list: a file with one name a line, or voc12, coco14; run.json will say it.",
            rich_help_panel=FOREIGN_PANEL,
        ),
    ] = None,
    crf_backend: CrfBackendOption = "auto",
    crf_max_pixels: CrfMaxPixelsOption = None,
    workers: Annotated[int | None, typer.Option(help="Workers; without it, one for each core.")] = None,
    shard: ShardOption = None,
    backend: BackendOption = "local",
    num_shards: NumShardsOption = None,
    ray_cpus: CpusOption = 1,
    overlay: Annotated[bool, typer.Option("--overlay", help="Also write pictures to OUT/overlays.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do everything again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
) -> None:
    """Refine masks or CAMs by a dense CRF, on all cores.

    Example: semples crf masks/ --images images/ --out refined/
    """
    from semples_cli.steps.apply_crf import apply_crf
    from semples_cli.steps.crf_source import find_kind, open_source

    kind = kind or find_kind(source)
    unread = None if kind == "cams" else "masks are refined here; give CAMs"
    cams_form = cam_form(cams_format, cams_numbering, cams_map, unread=unread)
    chosen: dict[str, Any] = {"iterations": iterations, "gt_prob": gt_prob, "min_confidence": min_confidence}
    chosen |= {"backend": crf_backend, "max_pixels": crf_max_pixels}
    chosen |= dict(zip(("gaussian_sxy", "gaussian_compat"), gaussian or (), strict=False))
    chosen |= dict(zip(("bilateral_sxy", "bilateral_srgb", "bilateral_compat"), bilateral or (), strict=False))
    name = preset or DEFAULT_PRESETS.get(kind, "clip-es")
    settings = choose_settings(name, {key: value for key, value in chosen.items() if value is not None})
    cluster, part = read_backend(backend, num_shards, ray_cpus, shard, workers), read_shard(shard)
    refine = partial(
        apply_crf,
        source,
        images,
        out,
        settings,
        kind=kind,
        cams_form=cams_form,
        class_set=read_classes(classes),
        overwrite=overwrite,
        overlay=overlay,
    )
    with progress_bar("crf") as progress:
        if cluster is None:
            summary = refine(workers=workers, shard=part, progress=progress, note=say)
        else:
            work = partial(_refine_shard, partial(refine, workers=cluster.cpus))
            found = open_source(source, kind, settings, cams_form, read_classes(classes)).files
            summary, _ = cluster.run(work, RunFolder(out), len(found), progress)
    code = report_summary(summary, "masks")
    if as_json:
        print_json(summary_json(summary, out, name))
    raise typer.Exit(code)


def _refine_shard(
    refine: Callable[..., RunSummary], shard: Shard, progress: Progress, note: Callable[[str], None]
) -> RunSummary:
    """One shard of it, in another process."""
    return refine(shard=shard, progress=progress, note=note)


def choose_settings(preset: str, chosen: dict[str, Any]) -> CrfSettings:
    """The settings of a preset, with those changed that the user gave.

    Raises:
        SettingsError: No such preset, a value out of range, or trust in labels where scores are the unary.
    """
    if preset not in CRF_PRESETS:
        msg = f"--preset {preset!r}: choose one of {', '.join(CRF_PRESETS)}"
        raise SettingsError(msg)
    settings = replace(CRF_PRESETS[preset], **chosen)
    if "gt_prob" in chosen and settings.unary == "scores":
        msg = f"--gt-prob is for hard labels, but {preset} reads scores: leave it out, or take --preset semples-voc"
        raise SettingsError(msg)
    return settings


def summary_json(summary: RunSummary, out: Path, preset: str) -> dict[str, Any]:
    """The result for machines."""
    return {
        "out": str(out),
        "preset": preset,
        "written": summary.written,
        "resumed": summary.resumed,
        "skipped": [{"id": item, "reason": reason} for item, reason in summary.skipped],
        "failed": [{"id": item, "reason": reason} for item, reason in summary.failed],
        "seconds": round(summary.seconds, 3),
    }
