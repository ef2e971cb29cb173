"""Recognises what a folder holds: class folders, VOC's image sets or annotations, LabelMe's files, tars."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from semples_cli.data.image_folder import find_images
from semples_cli.data.labels import class_folders, labelme, voc_main, voc_xml, webdataset
from semples_cli.data.labels.table import LabelTable
from semples_cli.errors import DataError
from semples_cli.types import ClassSet


def read_folder(folder: Path, form: str | None, class_set: ClassSet | None) -> LabelTable:
    """Read the labels in a folder.

    Args:
        folder: The folder.
        form: One of `FOLDER_FORMATS`; None: the one that fits.
        class_set: Known classes.

    Raises:
        DataError: Several readings fit, or none; or the folder cannot be read by the one that was named.
    """
    chosen = form or _recognise(folder, class_set)
    return replace(FOLDER_FORMATS[chosen](folder, class_set), form=chosen)


def _recognise(folder: Path, class_set: ClassSet | None) -> str:
    fitting = [name for name, fits in _FITS.items() if fits(folder)]
    if not fitting:
        return class_folders.NAME  # its reader says what is missing
    if _may_be_class_folders(folder, class_set):
        fitting.append(class_folders.NAME)
    if len(fitting) > 1:
        cure = " or ".join(f"--labels-format {name}" for name in fitting)
        msg = f"{folder}: reads both as {' and as '.join(fitting)}; say which: {cure}"
        raise DataError(msg)
    return fitting[0]


def _may_be_class_folders(folder: Path, class_set: ClassSet | None) -> bool:
    """Whether its images lie in two folders or more, which are those of the classes where these are known."""
    try:
        images = find_images([folder])
    except DataError:
        return False
    tops = {image.id.split("/")[0] for image in images if "/" in image.id}
    return len(tops) > 1 and (class_set is None or class_folders.fits_class_folders(images, class_set))


def _read_class_folders(folder: Path, class_set: ClassSet | None) -> LabelTable:
    return class_folders.read_class_folders(folder, find_images([folder]), class_set)


def _read_voc_main(folder: Path, class_set: ClassSet | None) -> LabelTable:
    table = voc_main.read_voc_main(folder, class_set)
    if table is None:
        msg = f"{folder}: no <class>_<split>.txt with lines `<id> 1` here; give the folder ImageSets/Main"
        raise DataError(msg)
    return table


def _read_voc_xml(folder: Path, class_set: ClassSet | None) -> LabelTable:
    ids = voc_xml.find_voc_xml(folder)
    if not ids:
        msg = f"{folder}: no .xml files here; give the folder Annotations"
        raise DataError(msg)
    return voc_xml.read_voc_xml(folder, ids, class_set)


_FITS: dict[str, Callable[[Path], bool]] = {
    voc_main.NAME: voc_main.fits_voc_main,
    voc_xml.NAME: lambda folder: bool(voc_xml.find_voc_xml(folder)),
    labelme.NAME: labelme.fits_labelme,
    webdataset.NAME: webdataset.fits_webdataset_folder,
}
FOLDER_FORMATS: dict[str, Callable[[Path, ClassSet | None], LabelTable]] = {
    voc_main.NAME: _read_voc_main,
    voc_xml.NAME: _read_voc_xml,
    labelme.NAME: labelme.read_labelme,
    class_folders.NAME: _read_class_folders,
    **webdataset.SOURCES,
}
