"""`semples prompts`: look at what prompts have learned."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from semples_cli.cli import options
from semples_cli.cli.console import error_border, print_json, print_table, warn
from semples_cli.cli.learned import LearnedFile, ModelOption, WeightsOption
from semples_cli.config import EngineSettings

if TYPE_CHECKING:
    from semples_cli.steps.describe_prompts import PromptDescription

ENGINE_DEFAULTS = EngineSettings()

prompts_app = typer.Typer(help="Look at learned prompts.", no_args_is_help=True)


@prompts_app.callback()
def prompts_main() -> None:
    """Look at learned prompts."""


@prompts_app.command("show")
@error_border
def show_cli(
    file: Annotated[Path, typer.Argument(help="What `semples learn-prompts` wrote.")],
    nouns: Annotated[
        str, typer.Option(help="Words to describe prompts by: builtin, or a file with one word a line.")
    ] = "builtin",
    top: Annotated[int, typer.Option(min=1, help="Nouns to name for each prompt.")] = 5,
    model: ModelOption = None,
    weights: WeightsOption = None,
    device: options.DeviceOption = ENGINE_DEFAULTS.device,
    precision: options.PrecisionOption = ENGINE_DEFAULTS.precision,
    as_json: options.JsonOption = False,
) -> None:
    """Name the nouns and the class that are nearest to each prompt, as cosine similarity of text features.

    Warns of a prompt that describes its own class in place of the background that comes with it. --json also tells how
    the prompts were learned: the settings, and the mean loss of each epoch.

    Example: semples prompts show prompts.safetensors
    """
    from semples_cli.artifacts.prompts_file import read_prompt_training, read_prompts
    from semples_cli.data.nouns import read_nouns

    prompts, words = read_prompts(file), read_nouns(nouns)
    learned = LearnedFile(file, prompts)
    engine = learned.load_engine(learned.engine_settings(device, precision, model=model, weights=weights))
    from semples_cli.steps.describe_prompts import describe_prompts, descriptions_as_dict, training_as_dict

    described = describe_prompts(prompts, engine, words, top=top)
    if as_json:
        facts = {"file": str(file), "clip": prompts.clip_name, "prompt_length": prompts.vectors.shape[1]}
        print_json(facts | training_as_dict(prompts, read_prompt_training(file)) | descriptions_as_dict(described))
    else:
        print_table(_table(described))
    for each in described:
        if each.describes_own_class:
            warn(
                f"the prompt of {each.class_name!r} describes the class itself and not its background; "
                "learn again with a larger --lambda-t"
            )


def _table(described: Sequence["PromptDescription"]) -> Table:
    table = Table("prompt of", "nearest nouns", "nearest class", "own class")
    for each in described:
        nearest, similarity = each.nearest_class
        nouns = ", ".join(f"{noun} {value:.3f}" for noun, value in each.nouns)
        name = each.class_name if each.learned else f"{each.class_name} (not used: too few images)"
        own = f"{each.own_similarity:.3f}{' !' if each.describes_own_class else ''}"
        table.add_row(*(escape(text) for text in (name, nouns, f"{nearest} {similarity:.3f}", own)))
    return table
