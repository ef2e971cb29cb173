"""VOC annotation files: `Annotations/<id>.xml`, the class of each object in a picture."""

from collections.abc import Iterable
from pathlib import Path

from semples_cli.data.labels.table import LabelTable, TableBuilder
from semples_cli.types import ClassSet


def read_voc_xml(folder: Path, ids: Iterable[str], class_set: ClassSet | None) -> LabelTable:
    """Read the object names of the images that have a file here; boxes are not looked at.

    A class of which every object is marked difficult does not count, as in VOC's own image sets. Files are parsed by
    defusedxml, so that entities do nothing.

    Args:
        folder: The devkit's Annotations folder.
        ids: Images to look for; those without a file are left out.
        class_set: Known classes; a file with another one becomes a problem.
    """
    table = TableBuilder(folder, class_set)
    for image_id in sorted(ids):
        path = folder / f"{image_id}.xml"
        if path.is_file():
            table.source = path  # so that a problem names the file
            _read_file(path, image_id, table)
    table.source = folder
    return table.finish("VOC annotations")


def _read_file(path: Path, image_id: str, table: TableBuilder) -> None:
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import ParseError, parse

    try:
        objects = parse(path).getroot().findall("object")
    except (OSError, ParseError, ValueError, DefusedXmlException) as error:
        table.refuse(0, 0, f"cannot be read as XML ({error}); get the file again")
        return
    plain = [item for item in objects if (item.findtext("difficult") or "0").strip() != "1"]
    names = dict.fromkeys((item.findtext("name") or "").strip() for item in plain)
    table.add(image_id, [(name, 0) for name in names if name], 0, 0)
