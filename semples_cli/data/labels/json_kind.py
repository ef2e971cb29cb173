"""Tells COCO, LabelMe and Label Studio apart by how a JSON file begins, for COCO's are too large to read twice."""

import re
from pathlib import Path

from semples_cli.data.labels import coco_json, label_studio, labelme
from semples_cli.errors import DataError

_PEEK = 1 << 16
_LABELME = re.compile(r'"(shapes|imagePath)"\s*:')
_COCO = re.compile(r'"(images|annotations|categories)"\s*:')


def json_kind(path: Path) -> str:
    """Name of the format.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_PEEK).decode("utf-8-sig", errors="replace")
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); correct the path"
        raise DataError(msg) from None
    if text.lstrip().startswith("["):
        return label_studio.NAME
    return labelme.NAME if _LABELME.search(text) and not _COCO.search(text) else coco_json.NAME
