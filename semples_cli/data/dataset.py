"""Images and labels together, however they were brought: the one entry point of this room."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from semples_cli.class_names import appearance
from semples_cli.data.class_list import read_class_list
from semples_cli.data.label_sources import Labelled, find_labelled, label_all, own_order, read_given_labels
from semples_cli.data.labels.recognise import AUTO, check_labels_format
from semples_cli.data.labels.table import LabelTable
from semples_cli.data.matching import match_rows
from semples_cli.data.webdataset import find_tar_problems
from semples_cli.errors import DataError, SettingsError
from semples_cli.types import ClassSet, Sample


@dataclass(frozen=True)
class Dataset:
    """Samples and what is to be said about them.

    Attributes:
        samples: Labelled images, sorted by id.
        class_set: The classes, in the order of the mask values.
        unlabelled: Ids of images that no row names.
        unmatched_rows: Rows that name no image here.
        problems: (where, message) of rows that cannot be used; the others are.
        notes: What was recognised, to be said on stderr.
        table: The labels as they were read.
    """

    samples: tuple[Sample, ...]
    class_set: ClassSet
    unlabelled: tuple[str, ...] = ()
    unmatched_rows: tuple[str, ...] = ()
    problems: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    table: LabelTable = field(default_factory=lambda: LabelTable({}, None, "", Path()))


@dataclass(frozen=True)
class Labels:
    """Labels without images.

    Attributes:
        table: The rows as they were read.
        class_set: The classes, in the order of the mask values.
        notes: What was recognised.
    """

    table: LabelTable
    class_set: ClassSet
    notes: tuple[str, ...]


def load_labels(labels: Path, *, labels_format: str = AUTO, classes: str | Path | None = None) -> Labels:
    """Read labels alone, and settle the class order.

    Args:
        labels: Label file or folder.
        labels_format: 'auto', or the format of the labels.
        classes: Class list, or the name of a built-in one; fixes the order.

    Raises:
        DataError: The labels cannot be used as a whole.
        SettingsError: The format is unknown, or does not go with the labels.
    """
    check_labels_format(labels_format)
    class_set = read_class_list(classes) if classes is not None else None
    table = read_given_labels(labels, labels_format, class_set)
    classes_found, order = _settle_classes(class_set or own_order(table), table)
    return Labels(table, classes_found, (table.description, order))


def load_dataset(
    images: Sequence[Path] = (),
    *,
    labels: Path | None = None,
    labels_format: str = AUTO,
    classes: str | Path | None = None,
    data: Path | None = None,
    split: str | None = None,
    label: str | None = None,
) -> Dataset:
    """Find images, read their labels, settle the class order, match.

    Args:
        images: Files and folders of images, and tars of them.
        labels: Label file, or folder of labels; None: looked for beside the images.
        labels_format: 'auto', or the format of the label file.
        classes: Class list, or the name of a built-in one; fixes the order.
        data: A VOC devkit, or a folder of images with labels beside them; in place of `images`.
        split: Split of a VOC devkit.
        label: Comma-separated classes that every given image has; in place of a label file.

    Raises:
        DataError: Something that was brought cannot be used as a whole.
        SettingsError: Options contradict each other, or there are no labels at all.
    """
    check_labels_format(labels_format)
    _check_inputs(images, data)
    class_set = read_class_list(classes) if classes is not None else None
    if label is None:
        inputs = list(images) if data is None else [data]
        return _assemble(find_labelled(inputs, labels, labels_format, split, class_set))
    if labels is not None or data is not None or split is not None:
        msg = "--label says what every image shows, so it does not go with --labels, --data or --split; leave one out"
        raise SettingsError(msg)
    return _assemble(label_all(images, label, class_set))


def _check_inputs(images: Sequence[Path], data: Path | None) -> None:
    if bool(images) == (data is not None):
        given = "both images and --data" if images else "neither images nor --data"
        msg = f"{given} were given: name the images, or one dataset folder by --data"
        raise SettingsError(msg)


def _assemble(brought: Labelled) -> Dataset:
    table = brought.table
    classes, order = _settle_classes(brought.class_set, table)
    matching = match_rows(table, brought.images)
    asked = [image for image in brought.images if brought.ids is None or image.id in brought.ids]
    samples = tuple(
        Sample(image.id, image.path, tuple(classes.index_of(name) for name in matching.labelled[image.id].names))
        for image in asked
        if image.id in matching.labelled
    )
    unlabelled = tuple(image.id for image in asked if image.id not in matching.labelled)
    broken = find_tar_problems(image.path for image in brought.images)
    problems = (*brought.problems, *broken, *table.problems, *matching.problems)
    notes = (*brought.notes, table.description, order)
    return Dataset(samples, classes, unlabelled, matching.unmatched_rows, problems, notes, table)


def _settle_classes(class_set: ClassSet | None, table: LabelTable) -> tuple[ClassSet, str]:
    """The class order: a list's or a devkit's, else that of the source itself, else sorted names; and a note on it."""
    if class_set is not None:
        return class_set, f"{len(class_set)} classes, in the order of the class list"
    if table.class_names:
        names, order = table.class_names, "of the label source"
    else:
        names, order = tuple(sorted({name for row in table.rows.values() for name in row.names})), "of sorted names"
    if not names:
        first = f" ({': '.join(table.problems[0])})" if table.problems else ""
        msg = f"{table.source}: no row that can be used names a class{first}; give the classes by --classes"
        raise DataError(msg)
    try:
        _check_twins(names)
        return ClassSet(names), f"{len(names)} classes, in the order {order}; --classes fixes another"
    except DataError as error:
        msg = f"{table.source}: {error}"
        raise DataError(msg) from None


def _check_twins(names: Sequence[str]) -> None:
    """Without a class list nobody has said that 'Cat' and 'cat' are two, and mostly it is a slip.

    Raises:
        DataError: Two names differ in nothing but case, width, spaces or invisible marks.
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(appearance(name), name)
        if other != name:
            show = repr if other.casefold() == name.casefold() else ascii  # the difference may be invisible
            msg = f"{show(other)} and {show(name)} look like one class; write one of them, or list both by --classes"
            raise DataError(msg)
