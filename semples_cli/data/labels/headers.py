"""Which columns of a CSV name the image and its labels."""

from pathlib import PurePosixPath

IMAGE_COLUMNS = frozenset(
    {"image", "images", "filename", "file_name", "file", "path", "filepath", "image_path", "image_id", "imageid",
     "image_name", "img", "id", "name"}
)  # fmt: skip
LABEL_COLUMNS = frozenset(
    {"label", "labels", "class", "classes", "category", "categories", "tag", "tags", "target", "finding labels"}
)
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})


def find_column(header: tuple[str, ...], names: frozenset[str]) -> int | None:
    """Position of the first header cell that is one of the names, in any case; None if there is none."""
    return next((k for k, cell in enumerate(header) if cell.casefold() in names), None)


def is_image_name(cell: str) -> bool:
    """Whether a cell ends like an image file."""
    return PurePosixPath(cell).suffix.lower() in IMAGE_SUFFIXES
