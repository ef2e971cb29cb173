"""Options about CAMs that other projects wrote, which several commands take alike."""

from typing import TYPE_CHECKING, Annotated

import typer

from semples_cli.errors import SettingsError

if TYPE_CHECKING:
    from semples_cli.steps.cam_reader import CamForm
    from semples_cli.types import ClassSet

FOREIGN_PANEL = "CAMs of other projects"
DEFAULT_FORMAT = "auto"

CamsFormatOption = Annotated[
    str,
    typer.Option(
        help="auto, semples, clip-es, irn (CLIMS too), weaktr (SemPLeS, MCTformer too), npz, png.",
        rich_help_panel=FOREIGN_PANEL,
    ),
]
CamsNumberingOption = Annotated[
    int | None,
    typer.Option(
        help="Number of their first foreground class, 0 or 1; without it 0, as .npy have it; npz need it.",
        rich_help_panel=FOREIGN_PANEL,
    ),
]
CamsMapOption = Annotated[
    str | None,
    typer.Option(help="high_res or cam, where files hold both; without it high_res.", rich_help_panel=FOREIGN_PANEL),
]


def cam_form(fmt: str, numbering: int | None, maps: str | None, *, unread: str | None = None) -> "CamForm":
    """What these options say.

    Args:
        fmt: --cams-format.
        numbering: --cams-numbering.
        maps: --cams-map.
        unread: Why no CAMs are read, for the message; None: they are.

    Raises:
        SettingsError: An option is given though no CAMs are read.
    """
    from semples_cli.steps.cam_reader import CamForm

    given = {
        "--cams-format": fmt != DEFAULT_FORMAT,
        "--cams-numbering": numbering is not None,
        "--cams-map": maps is not None,
    }
    if unread is not None and (options := [option for option, is_given in given.items() if is_given]):
        msg = f"{', '.join(options)}: {unread}, or leave {options[0]} out"
        raise SettingsError(msg)
    return CamForm(fmt, numbering, maps)


def read_classes(classes: str | None) -> "ClassSet | None":
    """The class list that --classes names; None where nothing is given.

    Raises:
        DataError: It cannot be read.
    """
    if classes is None:
        return None
    from semples_cli.data.class_list import read_class_list

    return read_class_list(classes)
