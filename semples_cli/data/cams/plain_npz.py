"""Plain `.npz`: `scores` (K, h, w) with `class_indices` or `keys` (K), or one array (h, w) for each class name."""

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from semples_cli.data.cams.foreign_maps import ForeignMaps, stack_maps, whole_numbers
from semples_cli.data.cams.npy_file import check_size
from semples_cli.errors import DataError, SemplesError, one_line
from semples_cli.tars.regular import open_regular

NAME = "npz"
_MAPS = "scores"
_KEYS = ("class_indices", "keys")
_OURS = "format_version"


def first_names(paths: Iterable[Path]) -> tuple[str, ...]:
    """Names of the arrays in the first file that can be read; the others are told when their turn comes."""
    return next(filter(None, map(npz_names, paths)), ())


def npz_names(path: Path) -> tuple[str, ...]:
    """Names of the arrays in the file; none where it cannot be read, which is told when it is read."""
    try:
        with open_regular(path) as handle, zipfile.ZipFile(handle) as archive:
            return tuple(name.removesuffix(".npy") for name in archive.namelist())
    except Exception:  # as in `read_plain_npz`, which says it
        return ()


def is_ours(names: tuple[str, ...]) -> bool:
    """Whether the arrays are those of a CAM of semples, or cannot be read at all."""
    return not names or _OURS in names


def has_numbers(names: tuple[str, ...]) -> bool:
    """Whether the file counts its classes, or else names them."""
    return _MAPS in names and any(name in names for name in _KEYS)


def read_plain_npz(path: Path) -> ForeignMaps:
    """Its maps, which may be at the size of the image or on a grid.

    Raises:
        DataError: The file is missing, damaged, too large, or its arrays do not go together.
    """
    try:
        arrays = _read_arrays(path)
    except SemplesError:
        raise
    except Exception as error:  # whatever zipfile and numpy raise at bytes of a stranger
        reason = one_line(error)
        msg = f"{path}: cannot be read as npz without pickles ({reason}); copy it again, or save it anew by np.savez"
        raise DataError(msg) from None
    if not has_numbers(tuple(arrays)):
        return ForeignMaps(path, tuple(arrays), stack_maps(path, list(arrays.values())), at_image_size=False)
    keys = next(arrays[name] for name in _KEYS if name in arrays)
    return ForeignMaps(path, whole_numbers(path, keys), arrays[_MAPS], at_image_size=False)


def _read_arrays(path: Path) -> Mapping[str, npt.NDArray[Any]]:
    # Opened here, because np.load leaves its own handle open when the archive is damaged.
    with open_regular(path) as handle:
        with zipfile.ZipFile(handle) as archive:
            check_size(path, sum(entry.file_size for entry in archive.infolist()))
        handle.seek(0)
        with np.load(handle, allow_pickle=False) as arrays, np.errstate(all="ignore"):  # shapes that overflow
            return {name: np.asarray(arrays[name]) for name in arrays.files}  # what is no array comes as bytes
