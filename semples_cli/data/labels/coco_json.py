"""Image-level labels from COCO instances JSON: the categories that are annotated in each image."""

from pathlib import Path

from semples_cli.data.coco import Instances, category_order, read_instances
from semples_cli.data.labels.table import LabelTable, TableBuilder
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

NAME = "coco-json"
SUFFIX = ".json"


def read_coco_json(path: Path, class_set: ClassSet | None) -> LabelTable:
    """Read the labels; an image without annotations shows none of the classes.

    Args:
        path: The instances JSON.
        class_set: Known classes.

    Raises:
        DataError: It cannot be read, or has categories that are no classes.
    """
    instances = read_instances(path)
    classes = category_order(instances) if class_set is None else class_set
    _check_categories(instances, classes)
    table = TableBuilder(path, classes)
    for image in instances.images:
        names = dict.fromkeys(instances.categories[shape.category] for shape in image.shapes)
        table.add(image.file_name, [(name, 0) for name in names], 0)
    shown = sum(bool(image.shapes) for image in instances.images)
    return table.finish("COCO instances", classes.names, f", {shown} of them with annotations")


def _check_categories(instances: Instances, class_set: ClassSet) -> None:
    for name in instances.categories.values():
        try:
            class_set.index_of(name)
        except DataError as error:
            msg = f"{instances.source}: category {name!r} is no class of the list ({error})"
            raise DataError(msg) from None
