"""Class scores to masks: resizing, and the seed against the background score."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from semples_cli.errors import DataError

MaskArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]


def resize_scores(scores: FloatArray, image_size: tuple[int, int]) -> FloatArray:
    """Resize each map bilinearly with half-pixel centres (Pillow, mode F).

    Enlarging is plain bilinear interpolation with replicated borders; shrinking averages over the area, as Pillow does.
    Values stay inside the range of the map, and a constant map stays exactly constant.

    Args:
        scores: (K, h, w) float32.
        image_size: (H, W) of the result.

    Returns:
        (K, H, W) float32.

    Raises:
        DataError: `scores` is not three-dimensional.

    >>> resize_scores(np.array([[[0.0, 1.0]]], np.float32), (1, 4))
    array([[[0.  , 0.25, 0.75, 1.  ]]], dtype=float32)
    """
    _check_maps(scores)
    height, width = image_size
    resized = np.empty((len(scores), height, width), np.float32)
    for target, source in zip(resized, scores, strict=True):
        image = Image.fromarray(np.ascontiguousarray(source, np.float32))
        target[:] = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return resized


def strongest_map(scores: FloatArray) -> tuple[MaskArray, FloatArray]:
    """Which map is the largest at each pixel, and how large; the first of equal maps wins, as in argmax.

    A loop over the few maps is three times faster than numpy's argmax along the first axis.

    Args:
        scores: (K, H, W) float32 with 1 <= K <= 255.

    Returns:
        Position of the winning map in 0..K-1, (H, W) uint8, and its score, (H, W) float32.

    Raises:
        DataError: `scores` is not three-dimensional or holds no map.
    """
    _check_maps(scores)
    if not len(scores):
        msg = "no map to take the largest of: an image without classes is all background"
        raise DataError(msg)
    best = np.array(scores[0], np.float32)
    position = np.zeros(best.shape, np.uint8)
    for k in range(1, len(scores)):
        larger = scores[k] > best
        np.copyto(best, scores[k], where=larger)
        position[larger] = k
    return position, best


def seed_mask(scores: FloatArray, class_indices: npt.NDArray[np.int64], background_score: float) -> MaskArray:
    """The seed: argmax over [background score, maps]; background wins ties, then the first map.

    The background score is rounded to float32 once, and a pixel is foreground where its score is strictly larger than
    that. `metrics.BackgroundCurve` makes the same comparison, so both agree bit for bit.

    Args:
        scores: (K, H, W) float32 in [0, 1]; K = 0 gives an all-background mask.
        class_indices: (K,) in 1..254; map k belongs to class_indices[k].
        background_score: What the argmax gives to background, in [0, 1].

    Returns:
        (H, W) uint8: 0 background, else a class index.

    Raises:
        DataError: Shapes do not go together, or a class index lies outside 1..254.

    >>> seed_mask(np.array([[[0.4, 0.5]], [[0.1, 0.9]]], np.float32), np.array([7, 3]), 0.4)
    array([[0, 3]], dtype=uint8)
    """
    check_class_indices(scores, class_indices)
    if not len(scores):
        return np.zeros(scores.shape[1:], np.uint8)
    position, best = strongest_map(scores)
    labels = class_indices.astype(np.uint8)[position]
    labels[~(best > np.float32(background_score))] = 0
    return labels


def check_class_indices(scores: FloatArray, class_indices: npt.NDArray[np.int64], largest: int = 254) -> None:
    """Refuse class indices that do not go with the maps.

    Args:
        scores: (K, H, W).
        class_indices: (K,) in 1..largest, each once.
        largest: The last class index there is.

    Raises:
        DataError: Another number of indices than maps, an index outside 1..largest, or one that comes twice.
    """
    _check_maps(scores)
    if class_indices.shape != (len(scores),):
        msg = f"{len(scores)} maps but class indices of shape {class_indices.shape}: give one class index for each map"
        raise DataError(msg)
    outside = class_indices[(class_indices < 1) | (class_indices > largest)]
    if outside.size:
        msg = f"map of class index {outside[0]}, but the classes are 1..{largest}: use the class list of the maps' run"
        raise DataError(msg)
    if len(np.unique(class_indices)) != len(class_indices):
        msg = f"class indices {class_indices.tolist()}: each class has one map, so give each index once"
        raise DataError(msg)


def _check_maps(scores: FloatArray) -> None:
    if scores.ndim != 3:
        msg = f"scores of shape {scores.shape}: expected one map for each class, (K, height, width)"
        raise DataError(msg)
