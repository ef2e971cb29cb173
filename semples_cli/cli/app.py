"""The Typer app: the list of commands, and nothing else."""

from typing import Annotated

import typer

from semples_cli import __version__
from semples_cli.cli.cams import cams_cli
from semples_cli.cli.check import check_cli
from semples_cli.cli.crf import crf_cli
from semples_cli.cli.data import data_app
from semples_cli.cli.demo import demo_cli
from semples_cli.cli.demo_data import demo_data_cli
from semples_cli.cli.evaluate import evaluate_cli
from semples_cli.cli.export import export_cli
from semples_cli.cli.labels import labels_app
from semples_cli.cli.learn_prompts import learn_prompts_cli
from semples_cli.cli.models import models_app
from semples_cli.cli.prompts import prompts_app
from semples_cli.cli.refine import refine_cli
from semples_cli.cli.report import report_cli
from semples_cli.cli.review import review_cli
from semples_cli.cli.run import run_cli
from semples_cli.cli.tag import tag_cli
from semples_cli.cli.train_demo_clip import train_demo_clip_cli
from semples_cli.cli.train_generator import train_generator_cli

app = typer.Typer(
    name="semples",
    help="Images and image-level labels in, segmentation masks out.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"semples {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Images and image-level labels in, segmentation masks out."""
    del version


app.command("demo")(demo_cli)
app.command("demo-data")(demo_data_cli)
app.command("run")(run_cli)
app.command("tag")(tag_cli)
app.command("cams")(cams_cli)
app.command("train-generator")(train_generator_cli)
app.command("learn-prompts")(learn_prompts_cli)
app.command("refine")(refine_cli)
app.command("crf")(crf_cli)
app.command("evaluate")(evaluate_cli)
app.command("report")(report_cli)
app.command("review")(review_cli)
app.command("export")(export_cli)
app.command("check")(check_cli)
app.add_typer(prompts_app, name="prompts")
app.add_typer(data_app, name="data")
app.add_typer(labels_app, name="labels")
app.add_typer(models_app, name="models")
app.command("train-demo-clip", hidden=True)(train_demo_clip_cli)
