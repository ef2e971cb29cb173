"""Finds images and the labels that go with them: named by an option, beside the images, in a VOC devkit or COCO."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from semples_cli.class_names import name_trouble
from semples_cli.data.class_list import read_class_list
from semples_cli.data.coco import coco_classes, find_coco, find_coco_split
from semples_cli.data.image_folder import ImageFile, common_folder, find_images
from semples_cli.data.labels import class_folders, coco_json, voc_main, voc_xml, webdataset
from semples_cli.data.labels.recognise import AUTO, read_labels
from semples_cli.data.labels.recognise_folder import FOLDER_FORMATS, read_folder
from semples_cli.data.labels.table import LabelRow, LabelTable, Problem
from semples_cli.data.labels.voc_devkit import read_devkit_labels
from semples_cli.data.text_file import is_folder
from semples_cli.data.voc import ANNOTATIONS, CLASSES, IMAGES, MAIN, devkit_around, find_devkit, read_split, voc_order
from semples_cli.errors import DataError, SettingsError
from semples_cli.types import BACKGROUND, ClassSet

BESIDE = ("labels.csv", "metadata.csv", "metadata.jsonl")


@dataclass(frozen=True)
class Labelled:
    """Images and labels that have not met yet.

    Attributes:
        images: All images.
        table: Their labels.
        class_set: The class order where a list or a devkit fixes it.
        ids: The images that are asked for; None for all.
        notes: What was recognised.
        problems: What is listed but not there.
    """

    images: tuple[ImageFile, ...]
    table: LabelTable
    class_set: ClassSet | None
    ids: frozenset[str] | None = None
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def label_all(images: Sequence[Path], label: str, class_set: ClassSet | None) -> Labelled:
    """Give every image the same classes, such as 'boat,person'.

    Raises:
        SettingsError: No class is named, or an unknown one.
    """
    given = dict.fromkeys(part.strip() for part in label.split(","))
    names = tuple(name for name in given if name and name.casefold() != BACKGROUND)
    if not names:
        msg = f"--label {label!r} names no class: say what the images show, such as --label boat (background always is)"
        raise SettingsError(msg)
    for name in names:
        _check_name(name, class_set)
    found = find_images(images)
    rows = {image.id: LabelRow(names, 0) for image in found}
    table = LabelTable(rows, None, f"every image shows: {', '.join(names)}", Path(images[0]))
    return Labelled(found, table, class_set)


def find_labelled(
    inputs: Sequence[Path], labels: Path | None, labels_format: str, split: str | None, class_set: ClassSet | None
) -> Labelled:
    """Find the images and their labels.

    Args:
        inputs: Images and folders; one folder may be a VOC devkit, hold one, or be its JPEGImages, or be COCO's.
        labels: Label file or folder; None: looked for.
        labels_format: 'auto', or the format of the labels.
        split: Split of devkit or COCO.
        class_set: Known classes.

    Raises:
        DataError: What was found cannot be used as a whole.
        SettingsError: There are no labels, or several, or the options do not fit what is there.
    """
    devkit = _devkit(inputs, whole=labels is not None and split is None)
    if devkit is not None:
        return _find_in_devkit(devkit, labels, labels_format, split, class_set)
    coco = find_coco(inputs[0]) if len(inputs) == 1 and inputs[0].is_dir() else None
    if coco is not None and labels is None:
        return _find_in_coco(coco, split, class_set)
    if split is not None:
        msg = (
            f"--split {split}: only a VOC devkit or a COCO folder has splits, and {inputs[0]} is none (no {IMAGES} and "
            "no annotations/instances_….json); leave it out"
        )
        raise SettingsError(msg)
    images = find_images(inputs)
    table = _find_table(inputs, images, labels, labels_format, class_set)
    return Labelled(images, table, class_set or own_order(table))


def read_given_labels(labels: Path, labels_format: str, class_set: ClassSet | None) -> LabelTable:
    """Read the labels that were named; of a whole VOC devkit those of its image sets and annotations.

    Raises:
        DataError: They cannot be read, or several readings fit.
        SettingsError: The format does not go with them.
    """
    devkit = find_devkit(labels) if is_folder(labels) and labels_format == AUTO else None
    table = read_devkit_labels(devkit, None, class_set) if devkit is not None else None
    return table or read_labels(labels, labels_format, class_set)


def own_order(table: LabelTable) -> ClassSet | None:
    """The order that a dataset is known by, with its words for CLIP.

    COCO's where the categories are just its 80, VOC's where its image sets or annotations name no others.
    """
    if table.form == coco_json.NAME:
        return coco_classes(table.class_names or ())
    return voc_order(table) if table.form in (voc_main.NAME, voc_xml.NAME) else None


def _find_in_coco(coco: Path, split: str | None, class_set: ClassSet | None) -> Labelled:
    found = find_coco_split(coco, split)
    images = find_images([found.images])
    table = read_labels(found.annotations, coco_json.NAME, class_set)
    note = f"{coco}: COCO layout, split {found.name}, {len(images)} images"
    return Labelled(images, table, class_set or own_order(table), notes=(note,))


def _check_name(name: str, class_set: ClassSet | None) -> None:
    trouble = name_trouble(name)
    try:
        if class_set is not None and not trouble:
            class_set.index_of(name)
    except DataError as error:
        trouble = str(error)
    if trouble:
        msg = f"--label: {trouble}"
        raise SettingsError(msg)


def _devkit(inputs: Sequence[Path], *, whole: bool) -> Path | None:
    """The devkit that is meant; JPEGImages with a label file of its own is a plain folder, taken whole."""
    if len(inputs) != 1 or not inputs[0].is_dir():
        return None
    folder = inputs[0]
    own_labels = whole or any((folder / name).is_file() for name in BESIDE)
    return find_devkit(folder) or (None if own_labels else devkit_around(folder))


def _find_in_devkit(
    devkit: Path, labels: Path | None, labels_format: str, split: str | None, class_set: ClassSet | None
) -> Labelled:
    name, listed = read_split(devkit, split)
    ids = None if listed is None else frozenset(listed)
    if class_set is None and (devkit / CLASSES).is_file():
        class_set = read_class_list(devkit / CLASSES)
    table = _devkit_table(devkit, labels, labels_format, ids, class_set)
    images = find_images([devkit / IMAGES])
    there = {image.id for image in images}
    missing = [image_id for image_id in listed or () if image_id not in there]
    problems = [(image_id, f"in split {name}, but not in {devkit / IMAGES}; bring the image") for image_id in missing]
    count = len(images if ids is None else ids & there)
    note = f"{devkit}: VOC layout, split {name}, {count} images"
    return Labelled(images, table, class_set or voc_order(table), ids, (note,), tuple(problems))


def _devkit_table(
    devkit: Path, labels: Path | None, labels_format: str, ids: frozenset[str] | None, class_set: ClassSet | None
) -> LabelTable:
    """The labels that were named, else those of ImageSets/Main and Annotations, else labels.csv in the devkit."""
    if labels is not None:
        return read_given_labels(labels, labels_format, class_set)
    table = read_devkit_labels(devkit, ids, class_set) if labels_format == AUTO else None
    if table is not None:
        return table
    beside = next((devkit / name for name in BESIDE if (devkit / name).is_file()), None)
    if beside is None:
        msg = (
            f"{devkit}: no image-level labels; bring {MAIN}/<class>_<split>.txt or {ANNOTATIONS}/<id>.xml, put a "
            "labels.csv into this folder, or name a label file by --labels FILE"
        )
        raise DataError(msg)
    return read_labels(beside, labels_format, class_set)


def _find_table(
    inputs: Sequence[Path],
    images: tuple[ImageFile, ...],
    labels: Path | None,
    labels_format: str,
    class_set: ClassSet | None,
) -> LabelTable:
    if labels is not None:
        return read_given_labels(labels, labels_format, class_set)
    if labels_format in webdataset.SOURCES:
        return _read_tars(inputs, images, labels_format, class_set)
    if labels_format == class_folders.NAME:
        return class_folders.read_class_folders(inputs[0], images, class_set)
    if labels_format in FOLDER_FORMATS and inputs[0].is_dir():
        return read_folder(inputs[0], labels_format, class_set)
    if (beside := _labels_beside(inputs)) is not None:
        return read_labels(beside, labels_format, class_set)
    if labels_format == AUTO and webdataset.fits_webdataset(images):
        return _read_tars(inputs, images, webdataset.NAME, class_set)
    if labels_format == AUTO and class_folders.fits_class_folders(images, class_set):
        return class_folders.read_class_folders(inputs[0], images, class_set)
    folders = f"; if each folder is a class, give --labels-format {class_folders.NAME}" * any(
        "/" in i.id for i in images
    )
    msg = (
        f"{inputs[0]}: no labels found; name a label file by --labels FILE, say what all images show by --label NAME, "
        f"or put a labels.csv beside the images (image,labels and a.jpg,cat|dog){folders}"
    )
    raise SettingsError(msg)


def _read_tars(
    inputs: Sequence[Path], images: tuple[ImageFile, ...], form: str, class_set: ClassSet | None
) -> LabelTable:
    source = common_folder(inputs) if len(inputs) > 1 else None
    first = webdataset.NUMBERED.get(form)
    return replace(webdataset.read_webdataset(source or inputs[0], images, class_set, first), form=form)


def _labels_beside(inputs: Sequence[Path]) -> Path | None:
    """The one label file in the folders of the images, or beside such a folder, else where all given files meet."""
    of_files = dict.fromkeys(entry.parent for entry in inputs if not entry.is_dir())
    beside = [*map(_beside, (entry for entry in inputs if entry.is_dir())), *map(_label_files, of_files)]
    found = dict.fromkeys(path for paths in beside for path in paths)
    if not found and (common := common_folder(inputs)) is not None:
        found = dict.fromkeys(_label_files(common))
    if len(found) > 1:
        msg = (
            f"{' and '.join(map(str, found))} both lie beside the images; say which by --labels, or run them one by one"
        )
        raise SettingsError(msg)
    return next(iter(found), None)


def _beside(folder: Path) -> list[Path]:
    """What lies in the folder, else what lies beside it."""
    folders = (folder, folder.parent) if folder.name not in ("", "..") else (folder,)
    return next((found for place in folders if (found := _label_files(place))), [])


def _label_files(folder: Path) -> list[Path]:
    """A labels.csv of ours comes before the metadata of Hugging Face, which may hold anything."""
    found = [folder / name for name in BESIDE if (folder / name).is_file()]
    return found[:1] if found and found[0].name == BESIDE[0] else found
