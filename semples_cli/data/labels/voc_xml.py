"""VOC annotation files: `Annotations/<id>.xml`, the class of each object in a picture."""

from collections.abc import Iterable
from pathlib import Path

from semples_cli.data.labels.table import LabelTable, TableBuilder
from semples_cli.data.text_file import is_file
from semples_cli.types import ClassSet

NAME = "voc-xml"
ROOT = "annotation"
# Of 100,000 objects. In memory it becomes several times as much.
MAX_FILE_BYTES = 32 * 2**20


def find_voc_xml(folder: Path) -> list[str]:
    """Ids of the images that have a file in this folder or below it."""
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.xml"))


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
        if is_file(path):  # the id may be of any length
            table.source = path  # so that a problem names the file
            _read_file(path, image_id, table)
    table.source = folder
    difficult = table.uncertain.total()
    extra = f"; {difficult} marked difficult taken as absent" if difficult else ""
    return table.finish("VOC annotations", None, extra)


def _read_file(path: Path, image_id: str, table: TableBuilder) -> None:
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import ParseError, parse

    if (size := path.stat().st_size) > MAX_FILE_BYTES:
        table.refuse(0, 0, f"{size / 2**20:.0f} MiB, where the boxes of a picture are a few kB; get the file again")
        return
    try:
        root = parse(path).getroot()
    except (OSError, ParseError, ValueError, LookupError, DefusedXmlException) as error:  # LookupError: an encoding
        reason = " ".join(str(error).split())  # a name in it may hold line ends
        table.refuse(0, 0, f"cannot be read as XML ({reason}); get the file again")
        return
    if root.tag != ROOT:  # of a namespace, or of another kind: it would seem to show nothing
        table.refuse(0, 0, f"its outermost element is {root.tag[:60]!r}, not {ROOT!r}; bring a file of VOC's form")
        return
    objects = root.findall("object")
    plain, difficult = dict[str, None](), dict[str, None]()
    for item in objects:
        name = (item.findtext("name") or "").strip()
        if not name:
            table.refuse(0, 0, "an object in it has no name; write its class, or remove it")
            return
        marked = (item.findtext("difficult") or "0").strip() == "1"
        (difficult if marked else plain).setdefault(name)
    table.uncertain.update(name for name in difficult if name not in plain)
    table.add(image_id, [(name, 0) for name in plain], 0, 0)
