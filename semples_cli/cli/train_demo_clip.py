"""`semples train-demo-clip`: makes the tiny CLIP of the package anew; hidden, for those who doubt its weights."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from semples_cli.cli.console import error_border, print_json, progress_bar, say


@error_border
def train_demo_clip_cli(
    out: Annotated[Path, typer.Option(help="Model directory to write; an interrupted training goes on from it.")],
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps; by default the recipe's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
) -> None:
    """Train the tiny CLIP of the built-in world by the recipe in semples_cli/demo/recipe.py (about an hour on 2 cores).

    Example: semples train-demo-clip --out tiny-clip/
    """
    from semples_cli.demo.recipe import DemoClipRecipe
    from semples_cli.steps.train_demo_clip import train_demo_clip

    recipe = DemoClipRecipe() if steps is None else replace(DemoClipRecipe(), steps=steps)
    with progress_bar("train tiny CLIP") as progress:
        losses = train_demo_clip(out, recipe, progress=progress)
    say(f"{out}: trained for {recipe.steps} steps, last loss {losses[-1]:.3f}; use it as --weights {out}")
    if as_json:
        print_json({"out": str(out), "steps": recipe.steps, "last_loss": losses[-1]})
