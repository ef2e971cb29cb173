"""`cls_labels.npy` of WSSS code: a pickled dict, image id → vector of 0 and 1. Nothing in the pickle is run."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from semples_cli.data.cams.npy_file import read_header
from semples_cli.data.cams.pickle_scan import ForbiddenGlobal
from semples_cli.data.cams.restricted_pickle import DAMAGE, unpickle_plain
from semples_cli.data.labels.numbering import require_classes
from semples_cli.data.labels.table import LabelTable, TableBuilder, shown
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

NAME = "cls-labels-npy"
SUFFIX = ".npy"

# Of COCO 2014 with float64 vectors: 80 MB.
MAX_FILE_BYTES = 2 * 2**30
# COCO's have twelve digits.
_ABOVE_ALL_IDS = 10**12


def read_cls_labels(path: Path, class_set: ClassSet | None) -> LabelTable:
    """Read the labels; numbers as ids are written out as VOC and COCO do.

    Args:
        path: What `np.save(path, a_dict)` wrote, under any numpy.
        class_set: The classes that the vectors count, background not among them.

    Raises:
        DataError: The file is damaged, would call something, is no such dict, or no class list of its length is given.
    """
    content = _read_dict(path)
    vectors = {key: _flags(value) for key, value in content.items()}
    lengths = {len(vector) for vector in vectors.values() if vector is not None}
    if len(lengths) != 1:
        msg = f"{path}: {len(lengths)} lengths of vectors, where all images have the same classes; write it anew"
        raise DataError(msg)
    classes = require_classes(path, class_set, lengths.pop())
    table = TableBuilder(path, classes)
    for key, vector in vectors.items():
        name = _image_id(key)
        if name is None or vector is None:
            what = f"entry {shown(key)}: an id, and a vector of 0 and 1 are needed"
            table.refuse(0, 0, f"{what}; write it anew, or remove it")
            continue
        table.add(name, [(classes.names[k], 0) for k in np.flatnonzero(vector)], 0)
    return table.finish("cls_labels.npy", classes.names)


def _read_dict(path: Path) -> dict[Any, object]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            msg = f"{path}: {path.stat().st_size / 2**30:.1f} GiB, too large for labels; correct the path"
            raise DataError(msg)
        with path.open("rb") as handle:
            kind, shape = read_header(handle)
            content = unpickle_plain(handle.read()) if kind == np.dtype(object) and shape == () else None
    except ForbiddenGlobal as error:
        msg = f"{path}: refused, its pickle would call {error.name}, and nothing of it was run; ask where it came from"
        raise DataError(msg) from None
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); correct the path"
        raise DataError(msg) from None
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        msg = f"{path}: damaged, or no dict of plain arrays ({reason}); copy it again, or write it anew"
        raise DataError(msg) from None
    if not isinstance(content, dict) or not content:
        msg = f"{path}: no labels; cls_labels.npy is a dict, image id → vector of 0 and 1, saved by np.save"
        raise DataError(msg)
    return content


def _image_id(key: object) -> str | None:
    """IRN keeps VOC's 2007_000032 as the number 2007000032, others COCO's 000000000009 as 9."""
    if isinstance(key, str):
        return key
    if isinstance(key, bool | np.bool_) or not isinstance(key, int | np.integer):
        return None
    if not 0 <= key < _ABOVE_ALL_IDS:
        return None
    digits = str(int(key))
    return f"{digits[:4]}_{digits[4:]}" if len(digits) == 10 else f"{int(key):012d}"


def _flags(value: object) -> npt.NDArray[np.bool_] | None:
    try:
        vector: npt.NDArray[Any] = np.asarray(value)
    except ValueError:
        return None
    if vector.ndim != 1 or vector.dtype.kind not in "biuf" or not np.isin(vector, (0, 1)).all():
        return None
    return vector.astype(bool)
