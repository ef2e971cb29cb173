"""Looks at one mask file, and at the size of its image; runs in worker processes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL.PngImagePlugin import PngImageFile

from semples_cli.artifacts.mask_png import read_mask, voc_palette
from semples_cli.data.images import read_image_size
from semples_cli.errors import ArtifactError, DataError
from semples_cli.tars.regular import open_regular
from semples_cli.types import MaskArray

Problem = Literal["", "unreadable", "wrong-kind", "jpeg"]
Palette = Literal["", "voc", "other", "none"]

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


@dataclass(frozen=True, slots=True)
class MaskJob:
    """What is looked at.

    Attributes:
        id: Of the mask.
        path: The PNG.
        image: Its image, where one is known.
    """

    id: str
    path: Path
    image: Path | None


@dataclass(frozen=True, slots=True)
class MaskFacts:
    """What one file is.

    Attributes:
        problem: Why it is no mask; '' where it is one, and only then the rest but `detail` is known.
        detail: More about the problem.
        size: (H, W).
        counts: Pixels by value, 256 of them.
        palette: Colours of the values in it: VOC's, others, or none, as grey PNGs have it.
        image_size: (H, W) of the upright image; None without one, or where it cannot be read.
        image_problem: Why the image cannot be read.
    """

    problem: Problem = ""
    detail: str = ""
    size: tuple[int, int] = (0, 0)
    counts: tuple[int, ...] = ()
    palette: Palette = ""
    image_size: tuple[int, int] | None = None
    image_problem: str = ""


def inspect_mask(job: MaskJob) -> MaskFacts:
    """Read a mask and the header of its image; whatever is wrong with either is among the facts."""
    try:
        values = read_mask(job.path)
    except ArtifactError as error:
        return MaskFacts(_problem(job.path), str(error).removeprefix(f"{job.path}: "))
    image_size, image_problem = None, ""
    if job.image is not None:
        try:
            image_size = read_image_size(job.image)
        except DataError as error:
            image_problem = str(error)
    counts = np.bincount(values.ravel(), minlength=256)
    height, width = values.shape
    return MaskFacts(
        size=(height, width),
        counts=tuple(counts.tolist()),
        palette=_palette(job.path, np.flatnonzero(counts).astype(np.uint8)),
        image_size=image_size,
        image_problem=image_problem,
    )


def _problem(path: Path) -> Problem:
    """Of a file that `read_mask` refuses."""
    try:
        with open_regular(path) as handle:
            head = handle.read(26)
    except OSError:
        return "unreadable"
    if head.startswith(_JPEG):
        return "jpeg"
    if not head.startswith(_PNG) or len(head) < 26:
        return "unreadable"
    depth, kind = head[24], head[25]
    return "unreadable" if kind == 3 or (kind == 0 and depth == 8) else "wrong-kind"


def _palette(path: Path, used: MaskArray) -> Palette:
    """Whether the values in use have VOC's colours."""
    with PngImageFile(path) as image:  # `read_mask` has taken it; Image.open has a limit of its own
        colours = image.getpalette("RGB")
    if colours is None:
        return "none"
    theirs = np.array(colours, np.uint8).reshape(-1, 3)
    inside = used[used < len(theirs)]
    return "voc" if np.array_equal(theirs[inside], voc_palette()[inside]) else "other"
