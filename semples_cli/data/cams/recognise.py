"""Recognises whose CAMs a folder holds, and refuses to guess where two readings fit."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semples_cli.data.cams import clip_es, irn, plain_npz, weaktr
from semples_cli.data.cams.foreign_maps import ForeignMaps
from semples_cli.data.cams.npy_file import read_npy_dict
from semples_cli.errors import DataError


@dataclass(frozen=True)
class DictFormat:
    """A form of the dict in a `.npy` file.

    Attributes:
        name: As --cams-format says it.
        whose: For people.
        fits: Whether a dict has this form.
        read: Its maps; the third argument is the name of those that are wanted, or None.
    """

    name: str
    whose: str
    fits: Callable[[Mapping[Any, Any]], bool]
    read: Callable[[Path, Mapping[Any, Any], str | None], ForeignMaps]


DICT_FORMATS = {
    each.name: each
    for each in (
        DictFormat(clip_es.NAME, "CLIP-ES npy", clip_es.fits_clip_es, clip_es.read_clip_es),
        DictFormat(irn.NAME, "IRN npy (CLIMS and others write it too)", irn.fits_irn, irn.read_irn),
        DictFormat(weaktr.NAME, "WeakTr npy (SemPLeS, MCTformer)", weaktr.fits_weaktr, weaktr.read_weaktr),
    )
}
# All of these count the foreground classes from 0.
DICT_NUMBERING = 0
NPY, NPZ = ".npy", ".npz"


def find_foreign(folder: Path, suffix: str) -> dict[str, Path]:
    """Files below a folder by id: relative POSIX path without suffix, sorted.

    Hidden folders are left out.
    """
    inside = ((path.relative_to(folder), path) for path in folder.rglob(f"*{suffix}"))
    found = {
        relative.with_suffix("").as_posix(): path
        for relative, path in inside
        if not any(part.startswith(".") for part in relative.parts)
    }
    return dict(sorted(found.items()))


def recognise_dicts(paths: Iterable[Path]) -> str:
    """Name of the format of `.npy` files, from the first that can be read and is not of an image without classes.

    Raises:
        DataError: No file can be read, no format fits that one or several do; or no file has a class.
    """
    path, content = _first_with_content(paths)
    fitting = [name for name, form in DICT_FORMATS.items() if form.fits(content)]
    if len(fitting) > 1:
        cure = " or ".join(f"--cams-format {name}" for name in fitting)
        msg = f"{path}: reads both as {' and as '.join(fitting)}; say which: {cure}"
        raise DataError(msg)
    if not fitting:
        held = ", ".join(repr(key) for key in list(content)[:5])
        msg = (
            f"{path}: a dict of {held}, which is no known form of CAMs; save keys (numbers from 0) and high_res "
            f"(classes, height, width), or an npz of scores and class_indices"
        )
        raise DataError(msg)
    return fitting[0]


def _first_with_content(paths: Iterable[Path]) -> tuple[Path, Mapping[Any, Any]]:
    path: Path | None = None
    trouble: DataError | None = None
    for path in paths:
        try:
            if content := read_npy_dict(path):
                return path, content
        except DataError as error:  # told when the image's turn comes
            trouble = trouble or error
    if trouble is not None:
        raise trouble
    msg = f"{path}: no class in it, nor in any other file there; give the folder that holds the maps"
    raise DataError(msg)


def read_foreign(path: Path, name: str, maps: str | None) -> ForeignMaps:
    """Read a file.

    Args:
        path: The file.
        name: A name of `DICT_FORMATS`, or 'npz'.
        maps: Which maps are wanted, where there are several; None: the largest.

    Raises:
        DataError: The file cannot be read, or is of another format.
    """
    if name == plain_npz.NAME:
        return plain_npz.read_plain_npz(path)
    content, form = read_npy_dict(path), DICT_FORMATS[name]
    if not form.fits(content) and (content or name != weaktr.NAME):
        held = ", ".join(repr(key) for key in list(content)[:5]) or "nothing"
        msg = f"{path}: not {form.whose}, it is a dict of {held}; take it out, or say another --cams-format"
        raise DataError(msg)
    return form.read(path, content, maps)
