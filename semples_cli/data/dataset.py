"""Images and labels together, however they were brought: the one entry point of this room."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from semples_cli.data.class_list import read_class_list
from semples_cli.data.image_folder import ImageFile, find_images
from semples_cli.data.labels.class_folders import fits_class_folders, read_class_folders
from semples_cli.data.labels.recognise import AUTO, CLASS_FOLDERS, check_labels_format, read_labels
from semples_cli.data.labels.table import LabelRow, LabelTable
from semples_cli.data.matching import match_rows
from semples_cli.data.voc import IMAGES, find_devkit, read_split, read_voc_labels
from semples_cli.errors import DataError, SettingsError
from semples_cli.types import BACKGROUND, ClassSet, Sample

BESIDE = ("labels.csv", "metadata.csv")


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
    """

    samples: tuple[Sample, ...]
    class_set: ClassSet
    unlabelled: tuple[str, ...] = ()
    unmatched_rows: tuple[str, ...] = ()
    problems: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Brought:
    """Images, the labels found for them, and notes so far."""

    images: tuple[ImageFile, ...]
    table: LabelTable
    notes: tuple[str, ...] = ()
    problems: tuple[tuple[str, str], ...] = ()


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
        images: Files and folders of images.
        labels: Label file, or the folder of class folders; None: looked for beside the images.
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
    _check_options(images, data, labels, label)
    class_set = read_class_list(classes) if classes is not None else None
    if label is not None:
        brought = _with_one_label(find_images(images), label, class_set)
    else:
        brought = _bring(images, data, split, labels, labels_format, class_set)
    return _assemble(brought, class_set)


def _check_options(images: Sequence[Path], data: Path | None, labels: Path | None, label: str | None) -> None:
    if bool(images) == (data is not None):
        given = "both images and --data" if images else "neither images nor --data"
        msg = f"{given} were given: name the images, or one dataset folder by --data"
        raise SettingsError(msg)
    if label is not None and (labels is not None or data is not None):
        msg = "--label says what every image shows, so it does not go with --labels or --data; leave one out"
        raise SettingsError(msg)


def _with_one_label(images: tuple[ImageFile, ...], label: str, class_set: ClassSet | None) -> _Brought:
    names = tuple(dict.fromkeys(name.strip() for name in label.split(",") if name.strip()))
    if not names:
        msg = "--label is empty: name at least one class, such as --label boat"
        raise SettingsError(msg)
    if class_set is not None:
        for name in names:
            class_set.index_of(name)
    rows = {image.id + image.path.suffix: LabelRow(names, 0) for image in images}
    return _Brought(images, LabelTable(rows, names, f"every image shows: {', '.join(names)}", images[0].path))


def _bring(
    images: Sequence[Path],
    data: Path | None,
    split: str | None,
    labels: Path | None,
    labels_format: str,
    class_set: ClassSet | None,
) -> _Brought:
    inputs = list(images) if data is None else [data]
    devkit = find_devkit(inputs[0]) or _devkit_of(inputs[0]) if len(inputs) == 1 and inputs[0].is_dir() else None
    if devkit is not None and labels is None:
        return _bring_devkit(devkit, split, class_set)
    if split is not None:
        msg = f"--split {split}: only a VOC devkit has splits, and {inputs[0]} is none (no {IMAGES} folder)"
        raise SettingsError(msg)
    found = find_images([devkit / IMAGES] if devkit is not None else inputs)
    return _Brought(found, _find_table(inputs, found, labels, labels_format, class_set))


def _devkit_of(folder: Path) -> Path | None:
    """The devkit that a JPEGImages folder belongs to, if it has image sets."""
    parent = folder.resolve().parent
    return parent if folder.resolve().name == IMAGES and (parent / "ImageSets").is_dir() else None


def _bring_devkit(devkit: Path, split: str | None, class_set: ClassSet | None) -> _Brought:
    table = read_voc_labels(devkit, class_set)
    name, ids = read_split(devkit, split)
    images = find_images([devkit / IMAGES])
    problems: tuple[tuple[str, str], ...] = ()
    if ids is not None:
        wanted = set(ids)
        there = {image.id for image in images}
        problems = tuple(
            (image_id, f"listed in split {name}, but not in {devkit / IMAGES}; bring the image")
            for image_id in ids
            if image_id not in there
        )
        images = tuple(image for image in images if image.id in wanted)
        rows = {key: row for key, row in table.rows.items() if Path(key).stem in wanted or key in wanted}
        table = LabelTable(rows, table.class_names, table.description, table.source, table.problems)
    return _Brought(images, table, (f"{devkit}: split {name}, {len(images)} images",), problems)


def _find_table(
    inputs: Sequence[Path],
    images: tuple[ImageFile, ...],
    labels: Path | None,
    labels_format: str,
    class_set: ClassSet | None,
) -> LabelTable:
    if labels_format == CLASS_FOLDERS or (labels is not None and labels.is_dir()):
        return read_class_folders(labels or inputs[0], images, class_set)
    if labels is not None:
        return read_labels(labels, labels_format, class_set)
    for entry in inputs:
        folder = entry if entry.is_dir() else entry.parent
        for name in BESIDE:
            if (folder / name).is_file():
                return read_labels(folder / name, labels_format, class_set)
    folders = {image.id.split("/")[0] for image in images}
    if class_set is not None and fits_class_folders(images) and folders <= {*class_set.names, BACKGROUND}:
        return read_class_folders(inputs[0], images, class_set)
    msg = (
        f"{inputs[0]}: no labels found; name a file by --labels FILE, say what every image shows by --label NAME, put "
        f"a labels.csv beside the images, or, where each folder is a class, give --labels-format {CLASS_FOLDERS}"
    )
    raise SettingsError(msg)


def _assemble(brought: _Brought, class_set: ClassSet | None) -> Dataset:
    table = brought.table
    classes = class_set or _infer_classes(table)
    matching = match_rows(table, brought.images)
    samples = tuple(
        Sample(image.id, image.path, tuple(classes.index_of(name) for name in matching.labelled[image.id].names))
        for image in brought.images
        if image.id in matching.labelled
    )
    unlabelled = tuple(image.id for image in brought.images if image.id not in matching.labelled)
    bad_rows = tuple((str(table.source), problem) for problem in table.problems)
    problems = (*brought.problems, *bad_rows, *matching.problems)
    notes = (table.description, *brought.notes)
    return Dataset(samples, classes, unlabelled, matching.unmatched_rows, problems, notes)


def _infer_classes(table: LabelTable) -> ClassSet:
    """A one-hot header's order, else VOC's where all names are VOC's, else sorted names."""
    voc = read_class_list("voc12")
    names = {name for row in table.rows.values() for name in row.names} | set(table.class_names or ())
    if names == set(voc.names):
        return voc
    if not names:
        msg = f"{table.source}: no row names any class, so there is nothing to look for; give the classes by --classes"
        raise DataError(msg)
    return ClassSet(table.class_names if table.class_names is not None else tuple(sorted(names)))
