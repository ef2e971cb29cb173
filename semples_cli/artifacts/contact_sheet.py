"""A contact sheet: pictures in rows under headings, enlarged without smoothing, in one PNG."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.artifacts.mask_png import voc_palette
from semples_cli.errors import ArtifactError
from semples_cli.types import MaskArray

Picture = npt.NDArray[np.uint8]

GAP = 4
HEADING = 18
PAPER = (255, 255, 255)
INK = (40, 40, 40)


def write_contact_sheet(
    path: Path, headings: Sequence[str], rows: Sequence[Sequence[Picture]], factor: int = 3
) -> None:
    """Write pictures of one size as a table.

    Args:
        path: The PNG to write; missing folders are made.
        headings: One for each column.
        rows: At least one row of as many pictures as headings, each (H, W, 3) uint8 RGB.
        factor: Pixels drawn for one pixel, a side.

    Raises:
        ArtifactError: No row, a row of another length, or pictures that differ in size.
    """
    height, width = _check(path, headings, rows)
    step_x, step_y = width * factor + GAP, height * factor + GAP
    sheet = Image.new("RGB", (GAP + step_x * len(headings), HEADING + GAP + step_y * len(rows)), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for column, heading in enumerate(headings):
        draw.text((GAP + step_x * column, GAP), heading, INK, font)
        for row, pictures in enumerate(rows):
            enlarged = pictures[column].repeat(factor, 0).repeat(factor, 1)
            sheet.paste(Image.fromarray(enlarged), (GAP + step_x * column, HEADING + GAP + step_y * row))
    with open_atomic(path) as handle:
        sheet.save(handle, "PNG", optimize=True)


def colour_mask(values: MaskArray) -> Picture:
    """A mask in the VOC colours, (H, W) uint8 → (H, W, 3) uint8 RGB."""
    return voc_palette()[values]


def _check(path: Path, headings: Sequence[str], rows: Sequence[Sequence[Picture]]) -> tuple[int, int]:
    if not rows or any(len(row) != len(headings) for row in rows):
        msg = f"{path}: a contact sheet needs rows of {len(headings)} pictures, one for each heading"
        raise ArtifactError(msg)
    shapes = {picture.shape for row in rows for picture in row}
    first = rows[0][0].shape
    if len(shapes) != 1 or len(first) != 3 or first[2] != 3:
        msg = f"{path}: a contact sheet needs RGB pictures of one size, not {sorted(shapes)}"
        raise ArtifactError(msg)
    return first[0], first[1]
