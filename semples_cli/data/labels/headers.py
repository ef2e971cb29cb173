"""Which columns of a CSV name the image and its labels."""

import re
from pathlib import PurePosixPath

from semples_cli.data.image_folder import SUFFIXES

# Preferred first, where a table has several; compared without case, spaces, `_` and `-`.
IMAGE_COLUMNS = (
    "filename", "imagefilename", "imagefile", "file", "filepath", "imagepath", "path", "image", "images", "img",
    "imagename", "imageindex", "imageid", "id", "name",
)  # fmt: skip
LABEL_COLUMNS = frozenset(
    {
        "label", "labels", "labelname", "class", "classes", "category", "categories", "tag", "tags", "target",
        "findinglabels",
    }
)  # fmt: skip
CONFIDENCE = "confidence"


def find_image_column(header: tuple[str, ...]) -> int | None:
    """Position of the cell that names the image; None if none does."""
    plain = [_plain(cell) for cell in header]
    return next((plain.index(name) for name in IMAGE_COLUMNS if name in plain), None)


def second_image_column(header: tuple[str, ...]) -> int | None:
    """Position of a further cell that is called as the one that names the image; None if there is none."""
    first = find_image_column(header)
    if first is None:
        return None
    called = _plain(header[first])
    return next((k for k, cell in enumerate(header) if k > first and _plain(cell) == called), None)


def find_label_columns(header: tuple[str, ...]) -> list[int]:
    """Positions of the cells that may hold a list of labels."""
    return [k for k, cell in enumerate(header) if _plain(cell) in LABEL_COLUMNS]


def find_confidence_column(header: tuple[str, ...]) -> int | None:
    """Position of the cell that says how sure a label is, as in Open Images; None if none does."""
    return next((k for k, cell in enumerate(header) if _plain(cell) == CONFIDENCE), None)


def is_image_name(cell: str) -> bool:
    """Whether a cell ends like an image file."""
    return PurePosixPath(cell).suffix.lower() in SUFFIXES


def _plain(cell: str) -> str:
    return re.sub(r"[\s_-]", "", cell).casefold()
