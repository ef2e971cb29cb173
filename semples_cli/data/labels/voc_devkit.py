"""Image-level labels of a VOC devkit, from its image sets and its annotations together."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from semples_cli.data.labels import voc_main, voc_xml
from semples_cli.data.labels.table import LabelTable
from semples_cli.data.voc import ANNOTATIONS, MAIN
from semples_cli.types import ClassSet


def read_devkit_labels(devkit: Path, ids: frozenset[str] | None, class_set: ClassSet | None) -> LabelTable | None:
    """Labels of ImageSets/Main, and of Annotations for the images that Main does not list (VOC 2012's of 2007).

    Args:
        devkit: The folder that holds both.
        ids: Images to keep; None for all.
        class_set: Known classes.

    Returns:
        The labels; None where there are none of either kind.

    Raises:
        DataError: The image sets cannot be used as a whole.
    """
    main, folder = voc_main.read_voc_main(devkit / MAIN, class_set, ids), devkit / ANNOTATIONS
    if not folder.is_dir():
        return main
    listed = {*main.rows, *main.contradicted} if main is not None else set()
    wanted = ids if ids is not None else set(voc_xml.find_voc_xml(folder))
    table = replace(voc_xml.read_voc_xml(folder, wanted - listed, class_set), form=voc_xml.NAME)
    if not table.rows and not table.problems:
        return main
    return table if main is None else _merge(main, table)


def _merge(main: LabelTable, table: LabelTable) -> LabelTable:
    names = {name for row in table.rows.values() for name in row.names}
    return replace(
        main,
        rows={**main.rows, **table.rows},
        class_names=tuple(sorted(names.union(main.class_names or ()))),
        description=f"{main.description}; {table.description}",
        problems=(*main.problems, *table.problems),
        uncertain=Counter(main.uncertain) + Counter(table.uncertain),
    )
