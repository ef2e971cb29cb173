"""Reads COCO instances JSON, and the folder layout that COCO comes in."""

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path, PurePosixPath
from typing import Any

from semples_cli.data.class_list import read_class_list
from semples_cli.data.strict_json import NOT_JSON, json_trouble, read_json
from semples_cli.data.text_file import read_text
from semples_cli.errors import DataError
from semples_cli.types import BACKGROUND, ClassSet

ANNOTATIONS = "annotations"
PREFIX = "instances_"
DEFAULT_SPLIT = "train"
_NESTED = ("", "coco", "COCO", "coco2014", "coco2017")
_IMAGE_FOLDERS = ("", "images")
_CURE = "bring a file such as instances_train2014.json unchanged"


@dataclass(frozen=True, slots=True)
class Shape:
    """One annotated region.

    Attributes:
        category: Its category id.
        segmentation: Polygons as lists of x, y, …, or RLE as a dict of size and counts; None: a box alone.
        is_crowd: Whether it stands for a crowd that nobody told apart.
    """

    category: int
    segmentation: Any
    is_crowd: bool


@dataclass(frozen=True, slots=True)
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
        DataError: The file is missing, damaged, of another kind, lists something twice, or names images or categories
            that it does not list.
    """
    document = _load(path)
    try:
        categories = [(_id(each["id"]), _name(each["name"])) for each in document["categories"]]
        _check_unique(path, "categories", "id", (number for number, _ in categories))
        images = [(_id(each["id"]), _safe_name(path, each["file_name"]), _size(each)) for each in document["images"]]
        _check_unique(path, "images", "id", (number for number, _, _ in images))
        _check_unique(path, "images", "file_name", (name for _, name, _ in images))
        shapes = _shapes_by_image(path, document["annotations"], dict(categories), [number for number, _, _ in images])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = f"{error} is missing somewhere" if isinstance(error, KeyError) else str(error)
        msg = f"{path}: no COCO instances ({reason}); {_CURE}"
        raise DataError(msg) from None
    if not images:
        msg = f"{path}: it lists no images; {_CURE}"
        raise DataError(msg)
    found = tuple(CocoImage(name, size, tuple(shapes[number])) for number, name, size in images)
    return Instances(path, dict(sorted(categories)), found)


def _id(value: object) -> int:
    """A whole number, be it written as a text or with a point; 1.5 would become the 1 of something else.

    Raises:
        ValueError: It is none.
    """
    if type(value) is int:
        return value
    if isinstance(value, str | float) and float(value) == int(value):
        return int(value)
    msg = f"the id {value!r}" if isinstance(value, str | float | bool | None) else f"a {type(value).__name__} as id"
    raise ValueError(msg)


def _name(value: object) -> str:
    if type(value) not in (str, int):  # digits are classes too
        msg = f"a {type(value).__name__} as name of a category"
        raise TypeError(msg)
    return str(value).strip()


def _size(image: Mapping[str, Any]) -> tuple[int, int]:
    return int(image["height"]), int(image["width"])


def _shapes_by_image(
    path: Path, annotations: Iterable[Mapping[str, Any]], categories: Mapping[int, str], images: Iterable[int]
) -> dict[int, list[Shape]]:
    shapes: dict[int, list[Shape]] = {number: [] for number in images}
    for number, each in enumerate(annotations):
        category, image = _id(each["category_id"]), _id(each["image_id"])
        if category not in categories or image not in shapes:
            missing = f"category {category}" if category not in categories else f"image {image}"
            msg = f"{path}: annotation {number} is of {missing}, which the file does not list; {_CURE}"
            raise DataError(msg)
        shapes[image].append(Shape(category, each.get("segmentation"), bool(each.get("iscrowd", 0))))
    return shapes


def _check_unique(path: Path, what: str, key: str, values: Iterable[Hashable]) -> None:
    """Files that were merged by hand use an id twice, and then nobody can tell whose the annotations are."""
    seen: set[Hashable] = set()
    for value in values:
        if value in seen:
            msg = f"{path}: two {what} have the {key} {value!r}; give them different ones, or remove one"
            raise DataError(msg)
        seen.add(value)


def category_order(instances: Instances) -> ClassSet:
    """The classes of a file: the built-in list where the names are just COCO's 80, else by category id.

    Raises:
        DataError: Two categories share a name, one is called background, or there are none, or too many for a mask.
    """
    names = tuple(instances.categories.values())
    if (classes := coco_classes(names)) is not None:
        return classes
    if BACKGROUND in names:
        msg = f"{instances.source}: background is always class 0; remove the category {BACKGROUND!r} from the file"
        raise DataError(msg)
    try:
        return ClassSet(names)
    except DataError as error:
        msg = f"{instances.source}: {error}"
        raise DataError(msg) from None


def coco_classes(names: Collection[str]) -> ClassSet | None:
    """The built-in list, which has words for CLIP, where these names are COCO's 80; None where they are not."""
    built_in = read_class_list("coco14")
    return built_in if sorted(names) == sorted(built_in.names) else None


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


def _safe_name(path: Path, name: object) -> str:
    """Masks are written under this name, so it must not lead out of their folder."""
    parts = PurePosixPath(name.replace("\\", "/")).parts if isinstance(name, str) else ()
    if not parts or parts[0] == "/" or ".." in parts:
        msg = f"{path}: an image is called {name!r}, which leads out of its folder or is no name; correct the file"
        raise DataError(msg)
    return "/".join(parts)


def _load(path: Path) -> dict[str, Any]:
    try:
        document = read_json(read_text(path, _CURE))
    except NOT_JSON as error:
        at = f":{error.lineno}:{error.colno}" if isinstance(error, JSONDecodeError) else ""
        msg = f"{path}{at}: not JSON ({json_trouble(error)}); copy it again, or {_CURE}"
        raise DataError(msg) from None
    if not isinstance(document, dict):
        msg = f"{path}: no COCO instances (a {type(document).__name__} at the top); {_CURE}"
        raise DataError(msg)
    return document
