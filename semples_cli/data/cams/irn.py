"""IRN, CLIMS and many that follow them: a dict of `keys`, `cam` on a grid, and `high_res` at the size of the image."""

import pickle
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from semples_cli.data.cams.foreign_maps import HIGH_RES, MAP_NAMES, STRIDED, ForeignMaps, whole_numbers
from semples_cli.errors import DataError
from semples_cli.types import FloatArray, IndexArray

NAME = "irn"


def fits_irn(content: Mapping[Any, Any]) -> bool:
    """Whether a dict is one of IRN's form."""
    return "keys" in content and not content.keys().isdisjoint(MAP_NAMES)


def read_irn(path: Path, content: Mapping[Any, Any], wanted: str | None) -> ForeignMaps:
    """Its maps: `high_res` where there are such, else `cam`.

    Args:
        path: The file, for messages.
        content: Its dict.
        wanted: 'high_res' or 'cam': only these.

    Raises:
        DataError: Those that are wanted are missing, or keys or maps are of another kind.
    """
    name = wanted or (HIGH_RES if HIGH_RES in content else STRIDED)
    if name not in content:
        msg = f"{path}: no {name!r} in it, only {', '.join(map(str, content))}; leave --cams-map out"
        raise DataError(msg)
    return ForeignMaps(path, whole_numbers(path, content["keys"]), np.asarray(content[name]), name == HIGH_RES)


def irn_file(class_indices: IndexArray, strided: FloatArray, high_res: FloatArray) -> bytes:
    """A `.npy` file as IRN's later steps read it, by `np.load(path, allow_pickle=True).item()`, under any numpy.

    Args:
        class_indices: (K,) in 1..F; IRN counts from 0.
        strided: (K, h, w) float32 in [0, 1], on a grid.
        high_res: (K, H, W) float32 in [0, 1], at the size of the image.

    Returns:
        The bytes, the same ones for the same maps.
    """
    content = {"keys": class_indices.astype(np.int64) - 1, STRIDED: strided, HIGH_RES: high_res}
    # Protocol 3 names a function once, in plain text, and later refers to it; numpy 1 knows it by the name of old,
    # by which numpy 2 finds it too.
    pickled = pickle.dumps(np.array(content, object), 3)
    old = pickled.replace(b"\x80\x03cnumpy._core.multiarray\n", b"\x80\x03cnumpy.core.multiarray\n", 1)
    file = BytesIO()
    npy_format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
    file.write(old)
    return file.getvalue()
