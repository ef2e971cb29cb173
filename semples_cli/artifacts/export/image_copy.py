"""Puts an image beside its mask where a format wants both: as a hard link where the disk allows it, else as a copy."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from semples_cli.errors import DataError
from semples_cli.tars.members import open_file


def place_image(source: Path, target: Path, *, copy: bool) -> None:
    """Make `target` the same file as `source`, or one of the same bytes; it is there whole or not at all.

    Args:
        source: The image.
        target: Where the format wants it; missing folders are made, an older file is replaced.
        copy: Never link: whoever changes a linked file changes the image itself.

    Raises:
        DataError: The image cannot be read.
        OSError: The target cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        if copy or not _linked(source, partial):
            _copy(source, partial)
        partial.replace(target)
    finally:
        # Renaming a hard link onto another of the same file does nothing, and leaves it.
        partial.unlink(missing_ok=True)


def _linked(source: Path, partial: Path) -> bool:
    with suppress(OSError):  # another disk, or one without links
        os.link(os.path.realpath(source), partial)  # what a symbolic link means, not the link
        return True
    return False


def _copy(source: Path, partial: Path) -> None:
    try:
        reader = open_file(source)
    except OSError as error:
        msg = f"{source}: cannot read this image: {error.strerror}"
        raise DataError(msg) from error
    with reader, partial.open("wb") as writer:
        shutil.copyfileobj(reader, writer)
