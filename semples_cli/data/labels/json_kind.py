"""Tells COCO, LabelMe and Label Studio apart by how a JSON file begins, for COCO's are too large to read twice."""

import re
from pathlib import Path

from semples_cli.data.labels import coco_json, label_studio, labelme
from semples_cli.data.text_file import read_bytes

_PEEK = 1 << 16
_LABELME = re.compile(r'"(shapes|imagePath)"\s*:')
_COCO = re.compile(r'"(images|annotations|categories)"\s*:')


def json_kind(path: Path) -> str:
    """Name of the format.

    Raises:
        DataError: The file cannot be read.
    """
    text = read_bytes(path, _PEEK).decode("utf-8-sig", errors="replace")
    if text.lstrip().startswith("["):
        return label_studio.NAME
    return labelme.NAME if _LABELME.search(text) and not _COCO.search(text) else coco_json.NAME
