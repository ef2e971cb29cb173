"""Which code infers the dense CRF: our sparse matrices, or pydensecrf2; both give the same labels.

pydensecrf2 wraps the code of Krähenbühl and Koltun (2011). It needs a C++ compiler, does not build on Python 3.13, and
holds the interpreter lock.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from semples_cli.errors import EngineError
from semples_cli.functional.sparse_crf import infer_sparse

FloatArray = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]
Inference = Callable[[ImageArray, FloatArray, tuple[float, float], tuple[float, float, float], int], FloatArray]

AUTO, SPARSE, PYDENSECRF2 = "auto", "sparse", "pydensecrf2"

# Labels, background among them, up to which 'auto' takes sparse matrices. On 500×375 photographs and the three presets
# they are 1.9 to 2.4 times as fast as pydensecrf2 at 2 labels, 1.7 to 2.4 at 3, 1.2 to 1.5 at 5, 0.9 to 1.2 at 7, and
# 0.6 to 0.8 at 12 (docs/decisions/0012-sparse-crf.md).
MOST_SPARSE_LABELS = 6


def choose_inference(backend: str, labels: int) -> Inference:
    """The code that infers a field; see `infer_sparse` for what it takes and gives.

    Args:
        backend: 'sparse', 'pydensecrf2', or 'auto': sparse up to `MOST_SPARSE_LABELS`, and where there is nothing else.
        labels: Of the field.

    Raises:
        EngineError: pydensecrf2 is asked for and cannot be imported.
    """
    if is_all_sparse(backend) or (backend == AUTO and labels <= MOST_SPARSE_LABELS):
        return infer_sparse
    return infer_pydensecrf2


def is_all_sparse(backend: str) -> bool:
    """Whether pydensecrf2 is not called for any number of labels, be it that there is none."""
    if backend != AUTO:
        return backend == SPARSE
    try:
        load_pydensecrf2()
    except EngineError:
        return True
    return False


def check_backend(backend: str) -> None:
    """Find out before the first image whether a backend can be had.

    Raises:
        EngineError: pydensecrf2 is asked for and cannot be imported.
    """
    if backend == PYDENSECRF2:
        load_pydensecrf2()


def load_pydensecrf2() -> Callable[[int, int, int], Any]:
    """The constructor (width, height, labels) of pydensecrf2's field.

    Raises:
        EngineError: It cannot be imported; the message says what to do.
    """
    try:
        from pydensecrf.densecrf import DenseCRF2D
    except ImportError as error:
        msg = (
            f"pydensecrf2 cannot be imported ({error}): take --crf-backend sparse, or pip install pydensecrf2 "
            "(Python < 3.13, needs a C++ compiler)"
        )
        raise EngineError(msg) from None
    build: Callable[[int, int, int], Any] = DenseCRF2D
    return build


def infer_pydensecrf2(
    image: ImageArray,
    unary: FloatArray,
    gaussian: tuple[float, float],
    bilateral: tuple[float, float, float],
    iterations: int,
) -> FloatArray:
    """Mean-field marginals by pydensecrf2; takes and gives what `infer_sparse` does.

    Raises:
        EngineError: It cannot be imported.
    """
    labels, height, width = unary.shape
    field = load_pydensecrf2()(width, height, labels)
    # It takes raw pointers: contiguous memory of the very type, and writable at that.
    field.setUnaryEnergy(np.require(unary, np.float32, ["C", "W"]).reshape(labels, -1))
    field.addPairwiseGaussian(sxy=gaussian[0], compat=gaussian[1])
    field.addPairwiseBilateral(
        sxy=bilateral[0], srgb=bilateral[1], rgbim=np.require(image, np.uint8, ["C", "W"]), compat=bilateral[2]
    )
    return np.asarray(field.inference(iterations), np.float32).reshape(unary.shape)
