"""`semples demo`: the whole pipeline on the built-in world, with the built-in model, and one table."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from semples_cli.cli.console import error_border, print_json, print_table, progress_bar, report_summary, say
from semples_cli.config import EngineSettings, WorldSettings
from semples_cli.types import Progress

if TYPE_CHECKING:
    from semples_cli.steps.run_demo import DemoResult

DEFAULTS = WorldSettings()
WIDTH = 66  # so that the lines below the table are not broken


@error_border
def demo_cli(
    out: Annotated[Path, typer.Option(help="Folder for the world, masks, overlays and reports.")] = Path("demo-out"),
    seed: Annotated[int, typer.Option(min=0, help="Seeds everything that is drawn.")] = DEFAULTS.seed,
    pairing: Annotated[
        int,
        typer.Option(min=0, help="Which background is an object's own: 0 the natural one, else seeds a permutation."),
    ] = DEFAULTS.pairing,
    bias: Annotated[
        float, typer.Option(help="Share of the objects that stand on their own background, 0 to 1.")
    ] = DEFAULTS.bias,
    num_images: Annotated[int, typer.Option(help="Scenes to render.")] = DEFAULTS.num_images,
    workers: Annotated[int | None, typer.Option(help="Workers of the CRF; without it, one for each core.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do everything again, on another world too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
) -> None:
    """Run the whole pipeline on images that are rendered for it, with a model that comes along.

    Nothing is downloaded. The figures are those of the built-in world, not of VOC.

    Example: semples demo --out demo-out/ --num-images 50
    """
    from semples_cli.demo.model import model_dir
    from semples_cli.engine.build import build_engine
    from semples_cli.steps.run_demo import demo_settings, result_as_dict, run_demo

    world = WorldSettings(seed=seed, num_images=num_images, bias=bias, pairing=pairing)
    # One device and precision for everybody: the figures are meant to be compared.
    engine = build_engine(EngineSettings(weights=str(model_dir()), device="cpu", precision="fp32"))
    with ExitStack() as bar:

        def begin(stage: str) -> Progress:
            bar.close()
            return bar.enter_context(progress_bar(stage))

        result = run_demo(out, world, engine, demo_settings(), workers=workers, overwrite=overwrite, begin=begin)
    code = max(report_summary(stage.summary, f"masks of {stage.name}") for stage in result.stages)
    if as_json:
        print_json(result_as_dict(result.world, result.stages, result.prompts))
    else:
        print_table(_table(result))
        print_table(_prompt_table(result))
    say(f"masks and overlays: {out}; picture: {result.overview}; report: {result.report}")
    say(f"open in a browser: {result.page}")
    raise typer.Exit(code)


def _table(result: "DemoResult") -> Table:
    world = result.world
    table = Table(
        title=f"seed {world.seed}, pairing {world.pairing}, bias {world.bias:g}, {world.num_images} images",
        caption="Figures of the built-in world, not of VOC.\n"
        "best: at the background score that is best by the ground truth\n"
        "leakage: share of an object's own background called by its name",
        title_justify="left",
        caption_justify="left",
        min_width=WIDTH,
    )
    table.add_column("stage, %")
    for heading in ("mIoU", "best mIoU", "at score", "leakage"):
        table.add_column(heading, justify="right")
    for stage in result.stages:
        score = "-" if stage.best_background_score is None else f"{stage.best_background_score:g}"
        table.add_row(stage.name, _percent(stage.miou), _percent(stage.miou_best), score, _percent(stage.leakage))
    return table


def _prompt_table(result: "DemoResult") -> Table:
    table = Table(title="what the learned prompts are near to", title_justify="left", min_width=WIDTH)
    for heading in ("class", "nearest words, with cosine"):
        table.add_column(heading)
    for prompt in result.prompts:
        table.add_row(prompt.class_name, ", ".join(f"{noun} {cosine:.2f}" for noun, cosine in prompt.nouns))
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None or share != share else f"{100 * share:.1f}"  # NaN differs from itself
