"""`semples demo-data`: renders images, labels and ground truth of the built-in world."""

from pathlib import Path
from typing import Annotated

import typer

from semples_cli.cli.console import error_border, print_json, progress_bar, report_summary, say
from semples_cli.config import WorldSettings

DEFAULTS = WorldSettings()


@error_border
def demo_data_cli(
    out: Annotated[Path, typer.Option(help="Folder of the world, in VOC layout; made if missing.")],
    seed: Annotated[int, typer.Option(min=0, help="Seeds everything that is drawn.")] = DEFAULTS.seed,
    num_images: Annotated[int, typer.Option(help="Scenes to render.")] = DEFAULTS.num_images,
    size: Annotated[int, typer.Option(help="Side of the square images in pixels.")] = DEFAULTS.size,
    objects_per_image: Annotated[int, typer.Option(help="Most objects in a scene, 1 to 4.")] = DEFAULTS.max_objects,
    bias: Annotated[
        float, typer.Option(help="Share of the objects that stand on their own background, 0 to 1.")
    ] = DEFAULTS.bias,
    pairing: Annotated[
        int,
        typer.Option(min=0, help="Which background is an object's own: 0 the natural one, else seeds a permutation."),
    ] = DEFAULTS.pairing,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another world in the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
) -> None:
    """Render images of the built-in world, with labels and exact ground truth.

    Ten objects on ten backgrounds, each object usually on its own: boats on the sea, trains on the railway.

    Example: semples demo-data --out world/ --num-images 50 --bias 0.6
    """
    from semples_cli.steps.render_demo import render_demo

    settings = WorldSettings(seed, num_images, size, objects_per_image, bias, pairing)
    with progress_bar("rendering") as progress:
        summary = render_demo(out, settings, overwrite=overwrite, progress=progress)
    report_summary(summary, "images")
    if as_json:
        print_json({"out": str(out), "num_images": num_images, "written": summary.written, "resumed": summary.resumed})
    else:
        say(f"the world lies in {out}; next: semples cams --data {out} --out masks/")
