"""Draws the regions of COCO annotations, and refuses what pycocotools would take on trust."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from semples_cli.errors import DataError

Region = npt.NDArray[np.bool_]

# A polygon has three points, so six numbers.
_LEAST = 6
# Of a number in RLE; one without end would take the time of its square.
_MOST_BITS = 60


def draw_region(segmentation: object, size: tuple[int, int]) -> Region:
    """The pixels of one region.

    Polygons are drawn by pycocotools, whose rule for border pixels is COCO's. What it would trust is checked first: a
    coordinate that is no number, or far away, takes all memory, and RLE that does not cover the image leaves the rest
    of it to chance.

    Args:
        segmentation: Polygons as lists of x, y, … in pixels, or RLE as a dict of size and counts, plain or compressed.
        size: (H, W) of the image.

    Returns:
        (H, W) bool.

    Raises:
        DataError: It cannot be drawn; the message says why, the caller knows where.
    """
    if isinstance(segmentation, dict):
        return _draw_rle(segmentation, size)
    if isinstance(segmentation, list):
        return _draw_polygons(segmentation, size)
    msg = "it has neither polygons nor RLE"
    raise DataError(msg)


def _draw_rle(rle: dict[str, Any], size: tuple[int, int]) -> Region:
    """Runs of outside and inside in turn, down the columns."""
    height, width = size
    if rle.get("size") != [height, width]:
        msg = f"its RLE is of size {rle.get('size')}, the image of {[height, width]}"
        raise DataError(msg)
    counts = rle.get("counts")
    runs = _decompressed(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        msg = "the counts of its RLE are no list of whole numbers from 0"
        raise DataError(msg)
    if sum(runs) != height * width:
        msg = f"the counts of its RLE cover {sum(runs)} of {height * width} pixels"
        raise DataError(msg)
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _decompressed(text: str) -> list[int]:
    """Counts out of COCO's text form.

    A character is six bits and 48: five of the number, low ones first, and one that says whether more follow; the
    highest bit of the last five is the sign. From the fourth count on, it is the difference to the count two before.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            msg = f"the counts of its RLE hold the character {character!r}, which is none of theirs"
            raise DataError(msg)
        if shift > _MOST_BITS:
            msg = "the counts of its RLE hold a number that no image has pixels for"
            raise DataError(msg)
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        signed = value - (1 << shift) if bits & 16 else value
        runs.append(signed + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        msg = "the counts of its RLE end within a number"
        raise DataError(msg)
    return runs


def _draw_polygons(parts: Sequence[object], size: tuple[int, int]) -> Region:
    from pycocotools import mask as coco_mask

    polygons = [_checked(part, size) for part in parts]
    drawable = [polygon for polygon in polygons if len(polygon) >= _LEAST]  # a point or a line has no area
    if not drawable:
        msg = "it has no polygon of three points or more"
        raise DataError(msg)
    region: Region = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(drawable, *size))).astype(bool)
    return region


def _checked(part: object, size: tuple[int, int]) -> list[float]:
    """The numbers x, y, … of a polygon that lies in the image or near it."""
    if not isinstance(part, list) or len(part) % 2 or not all(isinstance(number, int | float) for number in part):
        msg = "a polygon of it is no list of x, y, …"
        raise DataError(msg)
    height, width = size
    margin = max(size)  # annotation tools let people draw past the border, but not by a whole image
    for number, limit in zip(part, chain.from_iterable([(width, height)] * (len(part) // 2)), strict=True):
        if not -margin <= number <= limit + margin:  # so is 'not a number'
            msg = f"a polygon of it reaches {number}, far outside the {height} × {width} pixels"
            raise DataError(msg)
    return part
