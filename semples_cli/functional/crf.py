"""Dense CRF: pixels that look alike and lie near each other take the same class.

Fully connected conditional random field with Gaussian edge potentials and mean-field inference, Krähenbühl and Koltun,
"Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", NeurIPS 2011; see `crf_backends` for whose
code it is. Two kernels: position only, and position with colour.
"""

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
import numpy.typing as npt
from PIL import Image

from semples_cli.errors import DataError
from semples_cli.functional.crf_backends import AUTO, choose_inference
from semples_cli.functional.masks import check_class_indices, resize_scores, strongest_map

FloatArray = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]
MaskArray = npt.NDArray[np.uint8]

UNKNOWN = 255
SMALLEST_PROBABILITY = 1e-5


@dataclass(frozen=True)
class DenseCrf:
    """The pairwise terms and how long to infer.

    Attributes:
        gaussian_sxy: Standard deviation of the position-only kernel, in pixels.
        gaussian_compat: Weight of that kernel.
        bilateral_sxy: Position standard deviation of the appearance kernel, in pixels.
        bilateral_srgb: Colour standard deviation of the appearance kernel, in 8-bit levels.
        bilateral_compat: Weight of that kernel.
        iterations: Mean-field iterations.
        backend: 'auto', 'sparse' or 'pydensecrf2'; see `choose_inference`.
        max_pixels: Larger images are inferred at this size; None: at their own.
    """

    gaussian_sxy: float
    gaussian_compat: float
    bilateral_sxy: float
    bilateral_srgb: float
    bilateral_compat: float
    iterations: int
    backend: str = AUTO
    max_pixels: int | None = None

    def infer(self, image: ImageArray, unary: FloatArray) -> FloatArray:
        """Mean-field marginals.

        Args:
            image: (H, W, 3) uint8 RGB.
            unary: (n, H, W) float32 energies (negative log-probabilities), n >= 2.

        Returns:
            (n, H, W) float32 probabilities that add up to 1 over n.

        Raises:
            EngineError: pydensecrf2 is asked for and cannot be imported.
            SettingsError: A kernel is too narrow for the image.
        """
        size = unary.shape[1:]
        if self.max_pixels is not None and size[0] * size[1] > self.max_pixels:
            return self._infer_reduced(image, unary, sqrt(self.max_pixels / (size[0] * size[1])))
        gaussian = (self.gaussian_sxy, self.gaussian_compat)
        bilateral = (self.bilateral_sxy, self.bilateral_srgb, self.bilateral_compat)
        return choose_inference(self.backend, len(unary))(image, unary, gaussian, bilateral, self.iterations)

    def _infer_reduced(self, image: ImageArray, unary: FloatArray, factor: float) -> FloatArray:
        """Infer on fewer pixels, with kernels that reach as far in the picture, and enlarge the marginals."""
        height, width = (max(int(side * factor), 1) for side in unary.shape[1:])
        picture = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))
        reduced = replace(
            self, gaussian_sxy=self.gaussian_sxy * factor, bilateral_sxy=self.bilateral_sxy * factor, max_pixels=None
        )
        marginals = reduced.infer(picture, resize_scores(unary, (height, width)))
        return resize_scores(marginals, (unary.shape[1], unary.shape[2]))


def refine_labels(image: ImageArray, labels: MaskArray, gt_prob: float, crf: DenseCrf) -> tuple[MaskArray, FloatArray]:
    """Refine a hard mask; the candidates at each pixel are background and the classes that the mask holds.

    255 means unknown: such a pixel prefers no candidate and takes what its surroundings say. A mask without foreground
    leaves background as the only candidate, so all of it becomes background without a CRF; a mask that knows nothing
    (255 everywhere) comes back as it is, with confidence 0.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8: 0 background, class indices, 255 unknown.
        gt_prob: In (0, 1): trust in a label.
        crf: The pairwise terms.

    Returns:
        Class indices (H, W) uint8, and the winning probability (H, W) float32 in [0, 1].

    Raises:
        DataError: Image and mask differ in size.
        EngineError: pydensecrf2 is asked for and cannot be imported.
        SettingsError: A kernel is too narrow for the image.
    """
    check_same_size(image, labels.shape, "mask")
    values = np.unique(labels)
    if values.tolist() == [UNKNOWN]:
        return labels.copy(), np.zeros(labels.shape, np.float32)
    candidates = np.union1d(values[values != UNKNOWN], [0]).astype(np.uint8)
    if len(candidates) == 1:
        return _all_background(labels.shape)
    return _winners(candidates, crf.infer(image, label_unary(labels, candidates, gt_prob)))


def refine_scores(
    image: ImageArray, scores: FloatArray, class_indices: npt.NDArray[np.int64], crf: DenseCrf
) -> tuple[MaskArray, FloatArray]:
    """Refine class score maps; the candidates at each pixel are background and the classes that have a map.

    Args:
        image: (H, W, 3) uint8 RGB.
        scores: (K, H, W) float32 in [0, 1]; K = 0 gives an all-background mask without a CRF.
        class_indices: (K,) in 1..254; map k belongs to class_indices[k].
        crf: The pairwise terms.

    Returns:
        Class indices (H, W) uint8, and the winning probability (H, W) float32 in [0, 1].

    Raises:
        DataError: Image and maps differ in size, or maps and class indices in number.
        EngineError: pydensecrf2 is asked for and cannot be imported.
        SettingsError: A kernel is too narrow for the image.
    """
    check_class_indices(scores, class_indices)
    check_same_size(image, scores.shape[1:], "CAM")
    if not len(scores):
        return _all_background(scores.shape[1:])
    candidates = np.concatenate([[0], class_indices]).astype(np.uint8)
    return _winners(candidates, crf.infer(image, score_unary(scores)))


def label_unary(labels: MaskArray, candidates: MaskArray, gt_prob: float) -> FloatArray:
    """Energy of a hard label: -log gt_prob for it, the rest shared by the others; -log 1/n for all where unknown.

    Args:
        labels: (H, W) uint8, values among the candidates, or 255 for unknown.
        candidates: (n,) uint8, ascending, n >= 2.
        gt_prob: In (0, 1).

    Returns:
        (n, H, W) float32.

    >>> label_unary(np.array([[0, 7, 255]], np.uint8), np.array([0, 7], np.uint8), 0.8).round(2)
    array([[[0.22, 1.61, 0.69]],
    <BLANKLINE>
           [[1.61, 0.22, 0.69]]], dtype=float32)
    """
    count = len(candidates)
    unary = np.full((count, *labels.shape), -np.log((1 - gt_prob) / (count - 1)), np.float32)
    for energy, value in zip(unary, candidates, strict=True):
        energy[labels == value] = -np.log(gt_prob)
    unary[:, labels == UNKNOWN] = -np.log(1 / count)
    return unary


def score_unary(scores: FloatArray) -> FloatArray:
    """Energy of score maps: -log of [1 - largest map, maps], clipped at 1e-5, not normalised.

    The unary of CLIP-ES (Lin et al., CVPR 2023).

    Args:
        scores: (K, H, W) float32 in [0, 1], K >= 1.

    Returns:
        (1 + K, H, W) float32, background first.

    >>> score_unary(np.array([[[0.0, 0.5]]], np.float32)).round(2)
    array([[[-0.  ,  0.69]],
    <BLANKLINE>
           [[11.51,  0.69]]], dtype=float32)
    """
    background = 1 - scores.max(axis=0, keepdims=True)
    probabilities = np.concatenate([background, scores]).astype(np.float32)
    energies: FloatArray = -np.log(np.clip(probabilities, SMALLEST_PROBABILITY, 1, dtype=np.float32))
    return energies


def check_same_size(image: ImageArray, size: tuple[int, ...], noun: str) -> None:
    """Refuse an image that the mask or CAM was not made from.

    Args:
        image: (H, W, 3) uint8.
        size: (H, W) of the mask or CAM.
        noun: Which of the two.

    Raises:
        DataError: The sizes differ; the message names both.
    """
    if image.shape[:2] != size:
        msg = (
            f"the image is {image.shape[0]}×{image.shape[1]} pixels (height × width), its {noun} is for "
            f"{size[0]}×{size[1]}: give the images that the {noun}s were made from"
        )
        raise DataError(msg)


def _all_background(size: tuple[int, ...]) -> tuple[MaskArray, FloatArray]:
    return np.zeros(size, np.uint8), np.ones(size, np.float32)


def _winners(candidates: MaskArray, probabilities: FloatArray) -> tuple[MaskArray, FloatArray]:
    position, confidence = strongest_map(probabilities)
    return candidates[position], np.minimum(confidence, 1)  # rounding can leave a sum of float32 just above 1
