"""`semples models`: which CLIPs there are, bringing their weights here, and opening OpenAI's own archives."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from semples_cli.artifacts.file_lock import lock_file
from semples_cli.cli.console import error_border, print_json, print_table, say
from semples_cli.config import DEFAULT_MODEL, DEFAULT_WEIGHTS

# Stands for a tag: the weights that timm has for a ViT of `semples train-generator`.
TIMM = "timm"

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]

models_app = typer.Typer(help="Find, download and convert CLIP weights.", no_args_is_help=True)


@models_app.command("list")
@error_border
def list_cli(
    as_json: JsonOption = False,
) -> None:
    """List the supported architectures and the tags of their pretrained weights.

    Example: semples models list
    """
    from semples_cli.engine.build import model_names, model_tags

    tags = {name: model_tags(name) for name in model_names()}
    if as_json:
        print_json({"models": [{"model": name, "weights": list(of_name)} for name, of_name in tags.items()]})
        return
    table = Table("--model", "--weights")
    for name, of_name in tags.items():
        table.add_row(name, ", ".join(of_name) or "none: bring a file")
    print_table(table)


@models_app.command("pull")
@error_border
def pull_cli(
    model: Annotated[str, typer.Option(help="Architecture; see `semples models list`.")] = DEFAULT_MODEL,
    weights: Annotated[
        str, typer.Option(help="Tag of the pretrained weights; timm: of a ViT for WeakTr.")
    ] = DEFAULT_WEIGHTS,
    as_json: JsonOption = False,
) -> None:
    """Download pretrained weights into the Hugging Face cache; later commands need no network.

    Example: semples models pull --model ViT-B-16 --weights openai

    Example: semples models pull --model deit_small_patch16_224 --weights timm
    """
    if weights == TIMM:
        from semples_cli.engine.vit_weights import pull_vit

        path = pull_vit(model)
    else:
        from semples_cli.engine.build import pull_model

        path = pull_model(model, weights)
    if as_json:
        print_json({"model": model, "weights": weights, "path": str(path)})
    else:
        typer.echo(path)


@models_app.command("convert")
@error_border
def convert_cli(
    archive: Annotated[Path, typer.Argument(help="TorchScript archive, such as OpenAI's ViT-B-16.pt.")],
    out: Annotated[Path, typer.Option(help="Model directory to write; made if missing.")],
    model: Annotated[str, typer.Option(help="Architecture of the archive.")] = DEFAULT_MODEL,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run the code inside the archive: opening one cannot do without.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a model directory of OpenAI's own archive; give it to other commands as --weights.

    Example: semples models convert ViT-B-16.pt --out clip-b16/ --trust
    """
    from semples_cli.engine.convert import convert_archive

    with lock_file(out):
        written = convert_archive(archive, model, out, trust=trust)
    if as_json:
        print_json({"out": str(out), "model": model, "licence": written.licence})
    else:
        typer.echo(out)
    say(f"licence: {written.licence}; next: semples cams images/ --out masks/ --weights {out}")
