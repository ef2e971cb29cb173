"""`semples tag`: image-level labels proposed by CLIP, for people to correct."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from semples_cli.cli import options
from semples_cli.cli.console import (
    EXIT_ITEMS_FAILED,
    error_border,
    list_items,
    print_json,
    print_table,
    progress_bar,
    say,
    warn,
)
from semples_cli.cli.image_inputs import ImagesArgument
from semples_cli.cli.loading import load_engine
from semples_cli.config import EngineSettings
from semples_cli.config.tagging import TagSettings
from semples_cli.data.images import DEFAULT_MAX_PIXELS

if TYPE_CHECKING:
    from semples_cli.steps.tag_images import Tagging

ENGINE_DEFAULTS = EngineSettings()
TAG_DEFAULTS = TagSettings()
PROPOSAL_PANEL = "Proposals"

LabelFileOption = Annotated[
    Path,
    typer.Option("--out", "-o", help="CSV file for the labels; all scores go beside it, to FILE.scores.csv."),
]
WantedClassesOption = Annotated[
    str,
    typer.Option(
        help="What to look for: voc12, coco14, or a file with one name a line, after a tab the word for CLIP."
    ),
]
ThresholdOption = Annotated[
    float | None,
    typer.Option(
        help="Margin above which a class is proposed, a difference of cosines; without it, found from the scores.",
        rich_help_panel=PROPOSAL_PANEL,
    ),
]
TemplateOption = Annotated[
    str, typer.Option(help="Text given to CLIP; '{}' is the class or word.", rich_help_panel=PROPOSAL_PANEL)
]
WordsOption = Annotated[
    str,
    typer.Option(
        help="What the classes are compared with beside each other: voc, coco, none, or a file with one word a line.",
        rich_help_panel=PROPOSAL_PANEL,
    ),
]
BatchSizeOption = Annotated[
    int,
    typer.Option(help="Images at once; halved when device memory runs out.", rich_help_panel=PROPOSAL_PANEL),
]


@error_border
def tag_cli(
    images: ImagesArgument,
    classes: WantedClassesOption,
    out: LabelFileOption,
    threshold: ThresholdOption = TAG_DEFAULTS.threshold,
    template: TemplateOption = TAG_DEFAULTS.template,
    background_words: WordsOption = "voc",
    batch_size: BatchSizeOption = TAG_DEFAULTS.batch_size,
    model: options.ModelOption = ENGINE_DEFAULTS.model,
    weights: options.WeightsOption = ENGINE_DEFAULTS.weights,
    quick_gelu: options.QuickGeluOption = ENGINE_DEFAULTS.quick_gelu,
    device: options.DeviceOption = ENGINE_DEFAULTS.device,
    precision: options.PrecisionOption = ENGINE_DEFAULTS.precision,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there.", rich_help_panel=options.OUTPUT_PANEL)
    ] = False,
    max_pixels: options.MaxPixelsOption = DEFAULT_MAX_PIXELS,
    as_json: options.JsonOption = False,
    config: options.ConfigOption = None,
) -> None:
    """Propose what images show, where nobody has labelled them; people correct the file before masks are made of it.

    Rule: a class's score is how far the cosine of image and class text lies above the mean over the texts of all
    classes and background words; a class is proposed from a threshold on. Without --threshold it lies where two normal
    distributions meet that are fitted to the scores of all images, of classes that are there and that are not.

    The file begins with the image that is least certain: that has a score nearest to the threshold. An empty cell
    means, as everywhere, that the image shows none of the classes.

    Example: semples tag images/ --classes classes.txt --out labels.csv
    """
    from semples_cli.artifacts.tag_scores import check_tag_out
    from semples_cli.data.background_words import read_background_words
    from semples_cli.data.class_list import read_class_list
    from semples_cli.data.image_folder import find_images
    from semples_cli.data.webdataset import find_tar_problems

    del config  # its callback has put its values into the others
    settings = TagSettings(template, read_background_words(background_words), threshold, batch_size)
    wanted = EngineSettings(model, weights, quick_gelu, device, precision)
    class_set = read_class_list(classes)
    found = find_images(images or ())
    problems = find_tar_problems(image.path for image in found)
    say(f"{len(found)} images, {len(class_set)} classes")
    list_items("problem", problems)
    check_tag_out(out, overwrite=overwrite)
    engine = load_engine(wanted)
    from semples_cli.steps.tag_images import tag_images

    with progress_bar("tag") as progress:
        done = tag_images(
            found, class_set, engine, out, settings, overwrite=overwrite, max_pixels=max_pixels, progress=progress
        )
    _tell(done, given=threshold is not None)
    if as_json:
        print_json(result_json(done))
    else:
        print_table(_table(done))
    raise typer.Exit(EXIT_ITEMS_FAILED if done.failed or problems else 0)


def _tell(done: "Tagging", *, given: bool) -> None:
    """The rule as it was applied, the counts, what is doubtful, and what comes next."""
    source = "as given" if given else "where the scores of present and absent classes meet"
    say(f"proposed: what lies {done.threshold:.3f} or more above the mean cosine of all texts ({source})")
    for note in done.notes:
        warn(note)
    failed = f"; {len(done.failed)} failed" if done.failed else ""
    say(f"{done.labels}: {done.written} images in {done.seconds:.1f} s, least certain first{failed}")
    say(f"scores of all classes, in the same order: {done.scores}")
    list_items("failed", done.failed)
    if done.empty:
        say(f"{done.empty} images have no proposal; their empty cells say that they show none of the classes")
    say(f"correct the file, then make masks with the same --classes, by --labels {done.labels}")


def _table(done: "Tagging") -> Table:
    table = Table()
    table.add_column("class")
    table.add_column("images", justify="right")
    for name, count in done.proposed.items():
        table.add_row(escape(name), str(count))
    return table


def result_json(done: "Tagging") -> dict[str, Any]:
    """The result for machines."""
    return {
        "out": str(done.labels),
        "scores": str(done.scores),
        "threshold": done.threshold,
        "separation": done.separation,
        "proposed": dict(done.proposed),
        "written": done.written,
        "empty": done.empty,
        "failed": [{"id": item, "reason": reason} for item, reason in done.failed],
        "notes": list(done.notes),
        "seconds": round(done.seconds, 3),
    }
