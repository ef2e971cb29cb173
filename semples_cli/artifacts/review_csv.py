"""The review queue as CSV: a line for each class of each image, what is most likely wrong first."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.artifacts.csv_text import csv_text
from semples_cli.errors import SettingsError

HEADER = ("image", "class", "confidence", "area", "coverage", "mask")


@dataclass(frozen=True)
class ReviewRow:
    """One class of one image.

    Attributes:
        id: Image id.
        class_index: 1..F.
        class_name: Its name.
        confidence: In [0, 1]; 0 for a class that the label names and the mask lacks.
        area: Share of the image's pixels in [0, 1].
        coverage: Share of the image's pixels that are not 255.
        mask: The mask.
    """

    id: str
    class_index: int
    class_name: str
    confidence: float
    area: float
    coverage: float
    mask: Path


def check_review_out(out: Path, *, overwrite: bool) -> None:
    """Refuse, before anything expensive, a file that could not be written.

    Raises:
        SettingsError: It is there already, or a folder.
    """
    if out.is_dir():
        msg = f"{out} is a folder: name the file, such as {out / 'review.csv'}"
        raise SettingsError(msg)
    if out.exists() and not overwrite:
        msg = f"{out} is there already; give --overwrite, or choose another --out"
        raise SettingsError(msg)


def write_review(path: Path, rows: Iterable[ReviewRow]) -> None:
    """Write the queue in the order given, whole or not at all."""
    text = csv_text([HEADER, *map(_cells, rows)])
    with open_atomic(path) as handle:
        handle.write(text.encode(errors="surrogateescape"))


def _cells(row: ReviewRow) -> list[object]:
    shares = (f"{share:.4f}" for share in (row.confidence, row.area, row.coverage))
    return [row.id, row.class_name, *shares, row.mask]
