"""What may stand in a list of images, one id a line, as VOC has them in ImageSets."""

from semples_cli.errors import DataError


def list_entry(image_id: str) -> str:
    """The line of an image.

    Raises:
        DataError: Readers would strip it, or pass over it as a comment.
    """
    if image_id != image_id.strip() or image_id.startswith("#"):
        msg = f"{image_id!r}: a line of a list cannot begin with '#', nor begin or end with a space; rename the image"
        raise DataError(msg)
    return f"{image_id}\n"
