"""The IMAGES argument of every command that has one: files, folders, tars, or `-` for a list of them on stdin."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from semples_cli.cli.console import error_border, say
from semples_cli.data.braces import expand_braces
from semples_cli.errors import DataError, SettingsError

STDIN = Path("-")


@error_border
def read_inputs(given: list[Path] | None) -> list[Path] | None:
    """The inputs as given, brace patterns that no shell expanded as a shell would; for `-` those that stdin lists.

    One path a line, or with NUL between them, as `find -print0` writes them: no path can hold one, so its presence
    tells. Bytes that are no UTF-8 are kept as the file system has them.

    Raises:
        SettingsError: `-` does not stand alone, or a pattern stands for too many names.
        DataError: Stdin lists nothing, or something that is not there.
    """
    if not given or STDIN not in given:
        return given and expand_braces(given)
    if len(given) > 1:
        msg = "- takes the images from stdin, so it stands alone: leave the others out, or list them on stdin too"
        raise SettingsError(msg)
    if sys.stdin.isatty():
        say("image paths from the terminal, one a line; Ctrl-D ends them (find images/ -name '*.jpg' | semples … -)")
    listed = [Path(os.fsdecode(entry)) for entry in _entries(sys.stdin.buffer.read())]
    if not listed:
        msg = "stdin lists no image: write one path a line, such as find images/ -name '*.jpg' | semples … -"
        raise DataError(msg)
    missing = [path for path in listed if not os.path.lexists(path)]
    if missing:
        more = f", and {len(missing) - 1} more of {len(listed)}" if len(missing) > 1 else ""
        msg = f"stdin: {missing[0]}: no such file or folder{more}; paths are relative to the working directory"
        raise DataError(msg)
    return listed


def _entries(content: bytes) -> list[bytes]:
    if b"\0" in content:
        return [entry for entry in content.split(b"\0") if entry]
    return [line for line in content.splitlines() if line.strip()]


ImagesArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Image files, folders of images, WebDataset tars; - reads their paths from stdin, one a line or -print0.",
        callback=read_inputs,
    ),
]
