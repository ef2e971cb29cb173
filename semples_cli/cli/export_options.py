"""Options of `semples export` about masks, and which of them go with what is exported."""

from pathlib import Path
from typing import Annotated

import typer

from semples_cli.cli.options import given
from semples_cli.errors import SettingsError

CAMS = "irn"
MASKS_PANEL = "Masks"

ToOption = Annotated[
    str,
    typer.Option(
        help="Masks: coco, cvat, hf (Hugging Face), label-studio, labelme, voc (mmsegmentation), yolo. CAMs: irn, with "
        "keys from 0, cam on the patch grid, high_res at the size of the image."
    ),
]
ImagesOption = Annotated[
    Path | None,
    typer.Option(help="The images; without it, where run.json says they are.", rich_help_panel=MASKS_PANEL),
]
MaskClassesOption = Annotated[
    str | None,
    typer.Option(
        help="Class list: a file with one name a line, or voc12, coco14; without it, run.json's.",
        rich_help_panel=MASKS_PANEL,
    ),
]
InstancesOption = Annotated[
    str,
    typer.Option(
        help="class: one shape for each class of an image; components: one for each connected region.",
        rich_help_panel=MASKS_PANEL,
    ),
]
PolygonsOption = Annotated[
    bool,
    typer.Option("--polygons", help="Outlines in place of RLE (coco); holes are filled.", rich_help_panel=MASKS_PANEL),
]
ImageRootUrlOption = Annotated[
    str | None,
    typer.Option(help="Where the tool finds the images (label-studio).", rich_help_panel=MASKS_PANEL),
]
ShardSizeOption = Annotated[
    int, typer.Option(help="Megabytes a JSON file (label-studio).", rich_help_panel=MASKS_PANEL)
]
CopyImagesOption = Annotated[
    bool,
    typer.Option(
        "--copy-images",
        help="Copy images that lie beside their masks; without it, hard links where the disk allows them.",
        rich_help_panel=MASKS_PANEL,
    ),
]
PartOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        help="Export only part i of n, as i/n: an export of its own in OUT/shard-<i>of<n>, since an index cannot be "
        "written by several processes.",
        rich_help_panel=MASKS_PANEL,
    ),
]

_OF_MASKS = ("images", "classes", "instances", "polygons", "image_root_url", "shard_size", "copy_images")
_OF_SHARDS = ("shard", "backend", "num_shards", "ray_cpus")


def refuse_mask_options(context: typer.Context, to: str) -> None:
    """CAMs are exported.

    Raises:
        SettingsError: An option about masks is given; the message names it.
    """
    if unread := [f"--{name.replace('_', '-')}" for name in given(context, *_OF_MASKS, *_OF_SHARDS)]:
        msg = f"{', '.join(unread)}: --to {to} exports CAMs; leave it out, or choose a format of masks"
        raise SettingsError(msg)
