"""CAM files as other projects write them: `np.save` of a dict, and what goes with it."""

import pickle

import numpy as np
from numpy.lib import format as npy_format


def save(path, content):
    """What `np.save(path, content)` of those projects writes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, content, allow_pickle=True)
    return path


def save_pickled(path, pickled):
    """A .npy file of one object whose pickle is given byte by byte."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as handle:
        npy_format.write_array_header_1_0(handle, {"descr": "|O", "fortran_order": False, "shape": ()})
        handle.write(pickled)
    return path


def as_object(content):
    """The 0-d array of objects that np.save makes of a dict."""
    return np.array(content, object)


def of_numpy_1(pickled):
    """The pickle as numpy 1 wrote it: protocol 3 and below name modules in plain text."""
    old = pickled.replace(b"cnumpy._core.", b"cnumpy.core.")
    assert old != pickled
    return old


def clip_es(keys, maps):
    """CLIP-ES: float16, in the order of the label."""
    return {"keys": np.array(keys, np.int64), "attn_highres": np.asarray(maps, np.float16)}


def irn(keys, strided, high_res):
    """IRN, where its torch tensors have become arrays."""
    return {
        "keys": np.array(keys, np.int64),
        "cam": np.asarray(strided, np.float32),
        "high_res": np.asarray(high_res, np.float32),
    }


def weaktr(keys, maps):
    """WeakTr, SemPLeS, MCTformer: a plain dict of numbers."""
    return {key: np.asarray(each, np.float32) for key, each in zip(keys, maps, strict=True)}


def call(function, *arguments):
    """A pickle that calls a function when it is unpickled."""

    class Hostile:
        def __reduce__(self):
            return function, arguments

    return pickle.dumps(as_object({"keys": Hostile()}), 3)
