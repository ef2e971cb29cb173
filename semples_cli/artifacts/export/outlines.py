"""Outlines of a shape along the edges of its pixels, for formats that know polygons only."""

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]

# Steps along pixel edges with the shape on the right hand; rows go down.
_RIGHT, _DOWN, _LEFT, _UP = (0, 1), (1, 0), (0, -1), (-1, 0)
_CLOCKWISE = (_RIGHT, _DOWN, _LEFT, _UP)

Corner = tuple[int, int]


def trace_outlines(pixels: BoolArray) -> list[npt.NDArray[np.int64]]:
    """Outer outlines of the 4-connected parts of a shape; holes are filled, as a list of polygons cannot say them.

    Args:
        pixels: (h, w) bool.

    Returns:
        For each part, by its first pixel in row order, the (V, 2) corners as (x, y), clockwise, V ≥ 4, no
        three in a row on one line; pixel (r, c) covers x from c to c + 1 and y from r to r + 1.
    """
    leaving = _edges(pixels)
    outlines = []
    for start in list(leaving):
        while start in leaving:
            outline, area = _follow(leaving, start)
            if area > 0:  # around a hole the walk goes the other way round
                outlines.append(np.array([(column, row) for row, column in outline]))
    return outlines


def _edges(pixels: BoolArray) -> dict[Corner, set[int]]:
    """The directions in which edges leave each corner, in row order of the corners."""
    padded = np.pad(pixels, 1)
    inner = padded[1:-1, 1:-1]
    sides = (  # direction, pixels with such a side, where its first corner lies from the pixel
        (0, inner & ~padded[:-2, 1:-1], (0, 0)),
        (1, inner & ~padded[1:-1, 2:], (0, 1)),
        (2, inner & ~padded[2:, 1:-1], (1, 1)),
        (3, inner & ~padded[1:-1, :-2], (1, 0)),
    )
    found = [
        (row + down, column + across, direction)
        for direction, there, (down, across) in sides
        for row, column in np.argwhere(there).tolist()
    ]
    leaving: dict[Corner, set[int]] = {}
    for row, column, direction in sorted(found):
        leaving.setdefault((row, column), set()).add(direction)
    return leaving


def _follow(leaving: dict[Corner, set[int]], start: Corner) -> tuple[list[Corner], int]:
    """Take one closed walk away; its corners, and twice its area, negative around a hole."""
    corner, direction = start, min(leaving[start])
    walk: list[Corner] = []
    area, last = 0, None
    while corner in leaving and direction in leaving[corner]:
        leaving[corner].discard(direction)
        if not leaving[corner]:
            del leaving[corner]
        if direction != last:
            walk.append(corner)
        row, column = corner
        down, across = _CLOCKWISE[direction]
        area += column * down - row * across
        corner, last = (row + down, column + across), direction
        direction = _turn(leaving.get(corner, set()), direction)
    return walk, area


def _turn(choices: set[int], direction: int) -> int:
    """Where two pixels meet at a corner only, keep to the right, so that each gets an outline of its own."""
    return next(
        (turned % 4 for turned in (direction + 1, direction, direction - 1) if turned % 4 in choices), direction
    )
