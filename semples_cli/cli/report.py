"""`semples report`: what a run did, and what it is worth, on one HTML page."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from semples_cli.artifacts.report_html import DEFAULT_GALLERY
from semples_cli.cli import options
from semples_cli.cli.cam_options import read_classes
from semples_cli.cli.console import EXIT_ITEMS_FAILED, error_border, print_json, progress_bar, say
from semples_cli.config import EngineSettings
from semples_cli.errors import SettingsError
from semples_cli.types import Progress

ImagesOption = Annotated[
    Path | None, typer.Option(help="Folder of the images, where they are not where the run found them.")
]
GalleryOption = Annotated[
    int, typer.Option(min=0, help="Images to show, the worst or least confident of all; about 10 MB a thousand.")
]


@error_border
def report_cli(
    run: Annotated[Path, typer.Argument(help="The --out folder of an earlier command, or a folder of mask PNGs.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page; without it, report.html in the folder.")
    ] = None,
    ground_truth: Annotated[
        Path | None, typer.Option(help="Ground-truth PNGs of the same names, or a VOC devkit; read only if given.")
    ] = None,
    split_list: Annotated[Path | None, typer.Option(help="Text file, one id a line: count only these.")] = None,
    images: ImagesOption = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Class list: a file with one name a line, or voc12, coco14. By default the run's own."),
    ] = None,
    gallery: GalleryOption = DEFAULT_GALLERY,
    describe: Annotated[
        bool, typer.Option("--describe-prompts", help="Load the prompts' CLIP and name the words they are near to.")
    ] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Write one self-contained HTML page: figures, plots, and a gallery to look through. No network is needed.

    --json prints what the page says as one document, without the pictures.

    Example: semples report run/ --ground-truth ground_truth/
    """
    from semples_cli.steps.make_report import PROMPTS_NAME, make_report

    described = _describe(run / PROMPTS_NAME) if describe else None
    with progress_bars() as begin:
        made = make_report(
            run,
            out,
            read_classes(classes),
            ground_truth=ground_truth,
            split_list=split_list,
            images=images,
            gallery=gallery,
            described=described,
            begin=begin,
            note=say,
        )
    if as_json:
        print_json(made.document)
    say(f"page written to {made.path} ({made.path.stat().st_size / 1e6:.2g} MB)")
    if made.num_missing:
        say(f"{made.num_missing} ground truths have no mask, and are not counted")
        raise typer.Exit(EXIT_ITEMS_FAILED)


@contextmanager
def progress_bars() -> Iterator[Callable[[str], Progress]]:
    """One bar after the other: each that is begun ends the one before."""
    with ExitStack() as bar:

        def begin(part: str) -> Progress:
            bar.close()
            return bar.enter_context(progress_bar(part))

        yield begin


def _describe(file: Path) -> list[dict[str, Any]]:
    """What prompts are near to, among the built-in nouns.

    Raises:
        SemplesError: There are none, or their CLIP cannot be loaded.
    """
    if not file.is_file():
        msg = f"--describe-prompts: there is no {file}; leave it out, or give a folder in which prompts were learned"
        raise SettingsError(msg)
    from semples_cli.artifacts.prompts_file import read_prompts
    from semples_cli.cli.learned import LearnedFile
    from semples_cli.data.nouns import read_nouns

    prompts = read_prompts(file)
    learned, defaults = LearnedFile(file, prompts), EngineSettings()
    engine = learned.load_engine(learned.engine_settings(defaults.device, defaults.precision))
    from semples_cli.steps.describe_prompts import describe_prompts, descriptions_as_dict

    return descriptions_as_dict(describe_prompts(prompts, engine, read_nouns("builtin")))["prompts"]
