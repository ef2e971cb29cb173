"""Reads a `.npy` file that holds a pickled dict, the form in which most projects of this field keep CAMs."""

import warnings
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format

from semples_cli.data.cams.pickle_scan import ForbiddenGlobal
from semples_cli.data.cams.restricted_pickle import DAMAGE, unpickle_plain
from semples_cli.errors import DataError
from semples_cli.tars.regular import open_regular

# A CAM of 20 classes at 25 megapixels in float32.
MAX_FILE_BYTES = 2 * 2**30


def read_npy_dict(path: Path) -> dict[Any, Any]:
    """Read the dict of a `.npy` file without running anything in it.

    Args:
        path: What `np.save(path, a_dict)` wrote, under any numpy.

    Returns:
        The dict: its arrays hold numbers, and may be read-only.

    Raises:
        DataError: The file is missing, damaged, too large, holds anything but a dict of plain arrays, or names
            functions that it would have called.
    """
    try:
        check_size(path)
        with open_regular(path) as handle:
            kind, shape = read_header(handle)
            if kind != np.dtype(object) or shape != ():
                msg = (
                    f"{path}: an array {shape} of {kind}, which says no classes; CAMs are a dict with the maps and "
                    f"their classes, such as keys and high_res"
                )
                raise DataError(msg)
            content = unpickle_plain(handle.read())
    except ForbiddenGlobal as error:
        raise DataError(_forbidden(path, error.name)) from None
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); correct the path, or copy the file again"
        raise DataError(msg) from None
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        msg = f"{path}: damaged, or no dict of plain arrays ({reason}); copy it again, or write it anew"
        raise DataError(msg) from None
    if not isinstance(content, dict):
        msg = f"{path}: holds a {type(content).__name__}; CAMs are a dict with the maps and their classes"
        raise DataError(msg)
    return content


def check_size(path: Path, size: int | None = None) -> None:
    """Refuse a file before it fills the memory.

    Args:
        path: The file.
        size: Bytes that its content takes; None: those of the file.

    Raises:
        DataError: It is larger than any CAM is.
        OSError: It is not there.
    """
    size = path.stat().st_size if size is None else size
    if size > MAX_FILE_BYTES:
        msg = f"{path}: {size / 2**30:.1f} GiB, too large for CAMs of one image; take it out of the folder"
        raise DataError(msg)


def read_header(handle: BinaryIO) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Type and shape of the array in an open `.npy` file; what follows is its content.

    Raises:
        ValueError: The header is damaged.
        OSError: It cannot be read.
    """
    version = npy_format.read_magic(handle)
    readers = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
    if version not in readers:
        msg = f"npy format {version[0]}.{version[1]}"
        raise ValueError(msg)
    try:
        with warnings.catch_warnings(action="ignore"):  # that Python 2 wrote it is not its user's business
            shape, _, kind = readers[version](handle)
    except (SyntaxError, TokenError, TypeError, RecursionError, MemoryError) as error:
        # numpy takes headers of Python 2 apart token by token, and lets through what goes wrong there
        msg = f"its header is damaged ({type(error).__name__})"
        raise ValueError(msg) from None
    return kind, shape


def _forbidden(path: Path, name: str) -> str:
    return (
        f"{path}: refused, its pickle would call {name}, and nothing of it was run; ask where the file came from, "
        f"or have it saved as a dict of numpy arrays"
    )
