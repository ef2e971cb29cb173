"""Options that commands share, so that they are called and explained alike, and `--config`, which sets any of them."""

import tomllib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

from semples_cli.config import DEVICES, MASK_MODES, PRECISIONS

LABEL_PANEL = "Labels"
ENGINE_PANEL = "Model"
CAM_PANEL = "CAMs"
OUTPUT_PANEL = "Output"

# Parameters that a TOML file cannot set: itself, and help.
_NOT_IN_FILES = frozenset({"config", "help"})


def one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    """An option callback that refuses values other than these."""

    def check(value: str) -> str:
        if value not in choices:
            msg = f"{value!r}: choose one of {', '.join(choices)}"
            raise typer.BadParameter(msg)
        return value

    return check


def read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Option callback: take the defaults of all other options from a TOML file; the command line wins.

    Keys are option names, with `-` or `_`, and a value means what it means on the command line; a list is joined by
    commas where the option takes one text.

    Raises:
        typer.BadParameter: The file cannot be read, names no option of the command, or a switch is not true or false.
    """
    if path is None:
        return None
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path}: {error.strerror}"
        raise typer.BadParameter(msg) from None
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError
        msg = f"{path}: not TOML ({error})"
        raise typer.BadParameter(msg) from None
    context.default_map = {**(context.default_map or {}), **_defaults(path, values, _parameters(context))}
    return path


def _parameters(context: typer.Context) -> dict[str, Any]:
    """The command's parameters by each name that a file may call them: `background_score`, `json`."""
    named: dict[str, Any] = {}
    for parameter in context.command.params:
        if parameter.name in _NOT_IN_FILES:
            continue
        longs = [option[2:] for option in parameter.opts if option.startswith("--")]
        for name in longs or [str(parameter.name)]:
            named[name.replace("-", "_")] = parameter
    return named


def _defaults(path: Path, values: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    defaults: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in named:
            near = get_close_matches(name, named, n=1)
            cure = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(named))}"
            msg = f"{path}: unknown key {key!r}; {cure}"
            raise typer.BadParameter(msg)
        defaults[named[name].name] = _as_typed(f"{path}: {key}", value, named[name])
    return defaults


def _as_typed(where: str, value: object, parameter: Any) -> object:  # noqa: ANN401  # click's, or typer's own copy of it
    """The value as the command line would give it: text, a list of texts, or a switch."""
    is_switch = bool(getattr(parameter, "is_flag", False))
    if isinstance(value, bool) != is_switch or isinstance(value, dict):
        wanted = "true or false" if is_switch else "a text, a number or a list"
        msg = f"{where}: {value!r} came, {wanted} is needed"
        raise typer.BadParameter(msg)
    if is_switch:
        return value
    texts = [str(each) for each in value] if isinstance(value, list) else [str(value)]
    return texts if parameter.nargs != 1 or parameter.multiple else ",".join(texts)


def given(context: typer.Context, *names: str) -> list[str]:
    """Those of these parameters, by their Python names, that the command line or a TOML file gives."""
    sources = {name: context.get_parameter_source(name) for name in names}
    return [name for name, source in sources.items() if source is not None and source.name != "DEFAULT"]


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        help="TOML file with any of these options, such as background-score = 0.3; what is given here wins.",
        callback=read_config,
        is_eager=True,
    ),
]

# Labels

LabelsOption = Annotated[
    Path | None,
    typer.Option(help="Label file; without it, what lies beside the images.", rich_help_panel=LABEL_PANEL),
]
LabelsFormatOption = Annotated[
    str,
    typer.Option(
        help="auto, list-csv, onehot-csv, long-csv, headerless-csv, wsss-list (-from-0, -from-1), cls-labels-npy, "
        "coco-json, label-studio, labelme, jsonl, webdataset (-from-0, -from-1), voc-main, voc-xml, class-folders.",
        rich_help_panel=LABEL_PANEL,
    ),
]
LabelOption = Annotated[
    str | None, typer.Option(help="What is in every image: boat, or boat,person.", rich_help_panel=LABEL_PANEL)
]
ClassesOption = Annotated[
    str | None,
    typer.Option(
        help="Class list, which fixes the order: voc12, coco14, or a file with one name a line, after a tab the word "
        "for CLIP.",
        rich_help_panel=LABEL_PANEL,
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        help="VOC devkit, COCO, or a folder of images and labels, in place of IMAGES.", rich_help_panel=LABEL_PANEL
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option(help="Split of devkit or COCO; without it train_aug, else train.", rich_help_panel=LABEL_PANEL),
]
LimitOption = Annotated[int | None, typer.Option(min=1, help="Only the first N images.", rich_help_panel=LABEL_PANEL)]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Exit 3 if an image has no label.", rich_help_panel=LABEL_PANEL)
]

# Model

ModelOption = Annotated[str, typer.Option(help="CLIP, as open_clip calls it.", rich_help_panel=ENGINE_PANEL)]
WeightsOption = Annotated[
    str,
    typer.Option(
        help="Pretrained tag, a .pt or .safetensors file, or an open_clip model directory.",
        rich_help_panel=ENGINE_PANEL,
    ),
]
QuickGeluOption = Annotated[
    bool | None,
    typer.Option(
        "--quick-gelu/--no-quick-gelu",
        help="Activation of a plain weights file, which does not say it; OpenAI's have QuickGELU.",
        rich_help_panel=ENGINE_PANEL,
    ),
]
DeviceOption = Annotated[str, typer.Option(help=f"{', '.join(DEVICES)}, cuda:N.", rich_help_panel=ENGINE_PANEL)]
PrecisionOption = Annotated[
    str, typer.Option(help=f"{', '.join(PRECISIONS)}.", callback=one_of(PRECISIONS), rich_help_panel=ENGINE_PANEL)
]

# CAMs

SizeOption = Annotated[
    int, typer.Option(help="Longest side that CLIP sees; nothing is enlarged to it.", rich_help_panel=CAM_PANEL)
]
ScalesOption = Annotated[
    str, typer.Option(help="Factors on that, such as 1.0,1.2; the maps are averaged.", rich_help_panel=CAM_PANEL)
]
FlipsOption = Annotated[
    bool, typer.Option("--flips", help="Average with the mirrored image too.", rich_help_panel=CAM_PANEL)
]
TemplateOption = Annotated[
    str, typer.Option(help="Text given to CLIP; '{}' is the class or word.", rich_help_panel=CAM_PANEL)
]
BackgroundWordsOption = Annotated[
    str,
    typer.Option(
        help="What competes with the classes: voc, coco, none, or a file with one word a line.",
        rich_help_panel=CAM_PANEL,
    ),
]
BackgroundScoreOption = Annotated[
    str | None,
    typer.Option(
        help="What the argmax gives to background, 0 to 1 (without it 0.4), or auto: chosen from images and CAMs so "
        "that the masks' borders lie on edges.",
        rich_help_panel=CAM_PANEL,
    ),
]
CalibrateOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder of correct masks of a few of the images (ten do): choose the background score by them.",
        rich_help_panel=CAM_PANEL,
    ),
]
MinConfidenceOption = Annotated[
    float,
    typer.Option(
        help="Pixels become 255 (ignore) whose winner has less than this share of the two largest scores, background "
        "among them: 0.5 to 1; 0 keeps all.",
        rich_help_panel=CAM_PANEL,
    ),
]
AffinityLayersOption = Annotated[
    str,
    typer.Option(
        help="Layers whose attention spreads the maps: last:8, first:1, all, none, or 1,2,5.",
        rich_help_panel=CAM_PANEL,
    ),
]
AffinityStepsOption = Annotated[
    int, typer.Option(help="Squarings of the affinity matrix, 0 to 4.", rich_help_panel=CAM_PANEL)
]
BoxThresholdOption = Annotated[
    float,
    typer.Option(help="Affinity reaches into boxes around what is above this, 0 to 1.", rich_help_panel=CAM_PANEL),
]
BatchSizeOption = Annotated[
    int, typer.Option(help="Images at once; halved when device memory runs out.", rich_help_panel=CAM_PANEL)
]

# Output

OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder for the masks.", rich_help_panel=OUTPUT_PANEL)]
MaskModeOption = Annotated[
    str,
    typer.Option(
        help="palette (VOC colours) or L (grey levels that are the class indices).",
        callback=one_of(MASK_MODES),
        rich_help_panel=OUTPUT_PANEL,
    ),
]
OverlayOption = Annotated[
    bool, typer.Option("--overlay", help="Also write pictures to OUT/overlays.", rich_help_panel=OUTPUT_PANEL)
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Do everything again.", rich_help_panel=OUTPUT_PANEL)
]
MaxPixelsOption = Annotated[int, typer.Option(min=1, help="Refuse larger images.", rich_help_panel=OUTPUT_PANEL)]
ShardOption = Annotated[
    str | None,
    typer.Option(
        help="Do only part i of n, as i/n (1/64, 2/64, …); other processes do the others in the same OUT.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Estimate hours and disk from three images; write nothing.", rich_help_panel=OUTPUT_PANEL
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on stdout.", rich_help_panel=OUTPUT_PANEL)
]
