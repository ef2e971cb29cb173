"""Finds the images that a command is given and names them: id = relative path without suffix.

Of a folder, ids are relative to it. Of files, they are relative to the folder that all given files have in common, so
that a list of files names the images as the folder that holds them does, and one file alone is called by its stem.
A tar of WebDataset's stands for a folder of its name: the image 1 of `train-000.tar` is `train-000/1`.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from semples_cli.data.braces import expand_braces
from semples_cli.data.webdataset import find_tar_images, is_tar
from semples_cli.errors import DataError, SettingsError
from semples_cli.tars.regular import special_kind

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})

# A folder that holds this one is a run of ours: its masks are results, not images.
RUN_MARKER = ".semples"


@dataclass(frozen=True)
class ImageFile:
    """One image.

    Attributes:
        id: POSIX path without suffix, relative to the folder that was given, or that the given files have in common.
        path: Where it lies; inside a tar, a path that leads through it.
    """

    id: str
    path: Path


def find_images(inputs: Sequence[Path]) -> tuple[ImageFile, ...]:
    """All images of the given files, tars and folders, folders with everything below them, sorted by id.

    In a folder that has no image files, its tars are the images: WebDataset's shards. Beside images, they are taken for
    the archives that these came in. Brace patterns such as `train-{000..099}.tar` are expanded.

    Hidden files and folders are left out, and so are folders of results below a given one, so that a second
    `semples cams . --out masks/` does not take the masks of the first for images.

    Raises:
        DataError: An input is missing, is a folder without images, or cannot be listed; a tar cannot be read; or two
            images would share an id.
    """
    found: dict[str, Path] = {}
    inputs = expand_braces(inputs)
    common = common_folder(inputs)
    for entry in inputs:
        images = list(_images_of(entry, common))
        if not images:
            msg = (
                f"{entry}: no images here; files ending in {', '.join(sorted(SUFFIXES))} are taken, alone or in a .tar"
            )
            raise DataError(msg)
        for image in images:
            other = found.setdefault(image.id, image.path)
            if other != image.path and _normal(other) != _normal(image.path):
                msg = (
                    f"{other} and {image.path} would both be written as {image.id!r}: rename one, or run them into "
                    "two output folders"
                )
                raise DataError(msg)
    return tuple(ImageFile(image_id, found[image_id]) for image_id in sorted(found))


def check_output_folder(inputs: Sequence[Path], out: Path) -> None:
    """Refuse to write masks among the images.

    Raises:
        SettingsError: `out` is one of the input folders, or the folder of an input file.
    """
    target = _real(out)
    for folder in dict.fromkeys(entry if _is_folder(entry) else entry.parent for entry in inputs):
        if _real(folder) == target:
            msg = f"--out {out} is where the images lie: masks would mix with them; choose another folder"
            raise SettingsError(msg)


def common_folder(inputs: Sequence[Path]) -> Path | None:
    """The innermost folder that holds all files among the inputs, as an absolute path; None where there is no file."""
    folders = {os.path.dirname(_normal(entry)) for entry in inputs if _is_file(entry)}  # noqa: PTH120
    return Path(os.path.commonpath(folders)) if folders else None


def _normal(path: Path) -> str:
    """Absolute, without `..`, which would hide that two paths are one."""
    return os.path.normpath(path.absolute())


# The methods of Path raise what the system says of names that are too long, or of folders that may not be entered.
def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112


def _real(path: Path) -> str:
    """Where a path leads; `Path.resolve` stumbles over links that go in circles."""
    return os.path.realpath(path)


def _images_of(entry: Path, common: Path | None) -> Iterator[ImageFile]:
    """The images of one input; `common`: what the ids of files are relative to."""
    if common is not None and _is_file(entry):
        yield from _images_at(entry, Path(_normal(entry)).relative_to(common))
        return
    if not _is_folder(entry):
        msg = f"{entry}: {_why_neither(entry)}; give the folder of the images, or an image"
        raise DataError(msg)
    files = list(_files_of(entry))
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    for path in images or filter(is_tar, files):
        yield from _images_at(path, path.relative_to(entry))


def _why_neither(entry: Path) -> str:
    """Why an input is neither file nor folder."""
    try:
        return f"{special_kind(entry.stat().st_mode)} is neither an image nor a folder"
    except FileNotFoundError:
        return "a link to nothing" if entry.is_symlink() else "no such file or folder"
    except (OSError, ValueError) as error:
        return f"cannot be looked at ({getattr(error, 'strerror', error)})"


def _images_at(path: Path, name: Path) -> Iterator[ImageFile]:
    """The image that a file is, or those that lie in it; `name`: relative, with suffix."""
    image_id = name.with_suffix("").as_posix()
    if ".." in image_id.split("/"):
        msg = f"{path}: its name without suffix is '..', which leads out of every folder; rename it"
        raise DataError(msg)
    if is_tar(path):
        yield from (ImageFile(f"{image_id}/{key}", place) for key, place in find_tar_images(path, SUFFIXES))
    else:
        yield ImageFile(image_id, path)


def _files_of(entry: Path) -> Iterator[Path]:
    """Images and tars in a folder and below it, without what is hidden and folders of results.

    What is called an image and is none, such as a link to nothing or a pipe, is among them: it fails when it is read,
    and is listed, where left out it would be missing without a word. Links to folders are not followed.
    """
    for folder, inner, names in os.walk(entry, onerror=_refuse):
        place = Path(folder)
        inner[:] = [name for name in inner if not name.startswith(".") and not _is_folder(place / name / RUN_MARKER)]
        for name in names:
            path = place / name
            if not name.startswith(".") and (path.suffix.lower() in SUFFIXES or is_tar(path)):
                yield path


def _refuse(error: OSError) -> None:
    """Left alone, `os.walk` skips what it cannot list, and the images there would be missing without a word."""
    msg = f"{error.filename}: cannot be listed ({error.strerror}); allow reading it, or take it out of the folder"
    raise DataError(msg)
