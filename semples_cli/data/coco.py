"""Reads COCO instances JSON, and the folder layout that COCO comes in."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from semples_cli.data.class_list import read_class_list
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

ANNOTATIONS = "annotations"
PREFIX = "instances_"
DEFAULT_SPLIT = "train"
_NESTED = ("", "coco", "COCO", "coco2014", "coco2017")
_IMAGE_FOLDERS = ("", "images")
_CURE = "bring a file such as instances_train2014.json unchanged"


@dataclass(frozen=True)
class Shape:
    """One annotated region.

    Attributes:
        category: Its category id.
        segmentation: Polygons as lists of x, y, …, or RLE as a dict of size and counts; None: a box alone.
        is_crowd: Whether it stands for a crowd that nobody told apart.
        area: In pixels.
    """

    category: int
    segmentation: Any
    is_crowd: bool
    area: float


@dataclass(frozen=True)
class CocoImage:
    """One image of the file.

    Attributes:
        file_name: Its name, relative to the image folder.
        size: (H, W) in pixels.
        shapes: What is annotated in it.
    """

    file_name: str
    size: tuple[int, int]
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class Instances:
    """What an instances JSON says.

    Attributes:
        source: The file.
        categories: Category name by id, in the order of the ids, which are not contiguous.
        images: In the order of the file.
    """

    source: Path
    categories: Mapping[int, str]
    images: tuple[CocoImage, ...]


@dataclass(frozen=True)
class CocoSplit:
    """A split of a COCO folder.

    Attributes:
        name: Such as 'train2014'.
        annotations: Its instances JSON.
        images: Its image folder.
    """

    name: str
    annotations: Path
    images: Path


def read_instances(path: Path) -> Instances:
    """Read an instances JSON, of COCO itself or of an annotation tool that exports this form.

    Args:
        path: The file. Reading takes about three times its size in memory, of all of COCO 2014 train 1 GB.

    Raises:
        DataError: The file is missing, damaged, of another kind, or names images or categories that it does not list.
    """
    document = _load(path)
    try:
        listed = {int(each["id"]): str(each["name"]).strip() for each in document["categories"]}
        images = {int(each["id"]): each for each in document["images"]}
        shapes: dict[int, list[Shape]] = {number: [] for number in images}
        for number, each in enumerate(document["annotations"]):
            category, image = int(each["category_id"]), int(each["image_id"])
            if category not in listed or image not in images:
                missing = f"category {category}" if category not in listed else f"image {image}"
                msg = f"{path}: annotation {number} is of {missing}, which the file does not list; {_CURE}"
                raise DataError(msg)
            crowd, area = bool(each.get("iscrowd", 0)), float(each.get("area") or 0)
            shapes[image].append(Shape(category, each.get("segmentation"), crowd, area))
        found = tuple(
            CocoImage(
                _safe_name(path, str(each["file_name"])),
                (int(each["height"]), int(each["width"])),
                tuple(shapes[number]),
            )
            for number, each in images.items()
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{error} is missing somewhere" if isinstance(error, KeyError) else str(error)
        msg = f"{path}: no COCO instances ({reason}); {_CURE}"
        raise DataError(msg) from None
    return Instances(path, dict(sorted(listed.items())), found)


def category_order(instances: Instances) -> ClassSet:
    """The classes of a file: the order of the built-in list where it has all names, else that of the category ids.

    Raises:
        DataError: Two categories share a name, or there are none, or too many for a mask.
    """
    names = tuple(instances.categories.values())
    built_in = read_class_list("coco14")
    if names and set(names) <= set(built_in.names) and len(set(names)) == len(names):
        return built_in
    try:
        return ClassSet(names)
    except DataError as error:
        msg = f"{instances.source}: {error}"
        raise DataError(msg) from None


def find_coco(folder: Path) -> Path | None:
    """The folder that holds `annotations/instances_….json`: the one given, or one in it; None if there is none."""
    inside = (folder / inner for inner in _NESTED)
    return next((place for place in inside if any((place / ANNOTATIONS).glob(f"{PREFIX}*.json"))), None)


def find_coco_split(folder: Path, split: str | None) -> CocoSplit:
    """Annotations and images of a split.

    Args:
        folder: What `find_coco` found.
        split: Such as 'train2014', or 'train' where only one begins so; None: 'train'.

    Raises:
        DataError: There is no such split, or several, or its images are not there.
    """
    there = {path.stem.removeprefix(PREFIX): path for path in sorted((folder / ANNOTATIONS).glob(f"{PREFIX}*.json"))}
    wanted = split or DEFAULT_SPLIT
    fitting = [name for name in there if name == wanted] or [name for name in there if name.startswith(wanted)]
    if len(fitting) != 1:
        what = "several splits fit" if fitting else "no annotations of split"
        msg = f"{folder / ANNOTATIONS}: {what} {wanted!r}; choose by --split: {', '.join(fitting or there)}"
        raise DataError(msg)
    (name,) = fitting
    for inner in _IMAGE_FOLDERS:
        if (images := folder / inner / name).is_dir():
            return CocoSplit(name, there[name], images)
    msg = f"{folder}: no images of split {name}; put them into {folder / name} or {folder / 'images' / name}"
    raise DataError(msg)


def _safe_name(path: Path, name: str) -> str:
    """Masks are written under this name, so it must not lead out of their folder."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts:
        msg = f"{path}: an image is called {name!r}, which leads out of its folder; correct the file"
        raise DataError(msg)
    return "/".join(parts)


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            document = json.load(file)
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); correct the path"
        raise DataError(msg) from None
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        msg = f"{path}: not JSON ({error}); copy it again, or {_CURE}"
        raise DataError(msg) from None
    if not isinstance(document, dict):
        msg = f"{path}: no COCO instances (a {type(document).__name__} at the top); {_CURE}"
        raise DataError(msg)
    return document
