"""Brings label rows and images together: by relative path, by key in a tar, then by file name, then by stem."""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from semples_cli.class_names import composed
from semples_cli.data.image_folder import SUFFIXES, ImageFile
from semples_cli.data.labels.table import LabelRow, LabelTable, Problem
from semples_cli.data.webdataset import key_in_tar

# Image ids by what a row may call them.
_Index = dict[str, list[str]]

# COCO 2014 puts the split before the number, by which alone cls_labels.npy and COCO 2017 call the image.
_COCO = re.compile(r"COCO_\w+_(\d{12})")


@dataclass(frozen=True)
class Matching:
    """Which row belongs to which image.

    Attributes:
        labelled: Row by image id.
        unmatched_rows: Rows that name no image here.
        problems: Rows that name several images, and images that several rows label differently.
    """

    labelled: dict[str, LabelRow]
    unmatched_rows: tuple[str, ...]
    problems: tuple[Problem, ...]


@dataclass
class _Matcher:
    table: LabelTable
    named_by: dict[str, list[str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def take(self, keys: Sequence[str], index: _Index, name_of: Callable[[str], str]) -> list[str]:
        """Match what can be matched by one kind of name; the rest is returned.

        An image that a better kind of name has already brought to a row is not given to another: `b/1.jpg` is not
        `a/1.jpg`, though the file names agree.
        """
        taken = frozenset(self.named_by)
        rest = []
        for key in keys:
            candidates = index.get(name_of(key), [])
            if len(candidates) > 1:
                both = " or ".join(sorted(candidates))
                self.problems.append((self.table.where(key), f"{key} may be {both}; write the path, not only the name"))
            elif not candidates or candidates[0] in taken:
                rest.append(key)
            else:
                self.named_by.setdefault(candidates[0], []).append(key)
        return rest


def match_rows(table: LabelTable, images: Sequence[ImageFile]) -> Matching:
    """Match each row with the one image that it names.

    A path may be relative to the image folder, or to the folder of the label file or the folder that holds the labels;
    its suffix may be missing, or that of another image format. An image in a tar may go by its key alone. Accents may
    be composed in one and not in the other, as macOS leaves them.
    """
    matcher = _Matcher(table)
    rest = _take_paths(matcher, list(table.rows), images, lambda image: image.id, str)
    if any("/" in key for key in rest):
        folder = table.source.absolute() if table.source.is_dir() else table.source.absolute().parent
        rest = _take_paths(matcher, rest, images, _absolute_id, lambda key: _normal(folder / key))
    in_tars = _index(images, lambda image: key_in_tar(image.id, image.path))
    in_tars.pop("", None)
    rest = matcher.take(rest, in_tars, without_suffix)
    rest = matcher.take(rest, _index(images, lambda image: image.path.name), _name)
    rest = matcher.take(rest, _index(images, lambda image: image.path.stem), _stem)
    rest = matcher.take(rest, _index(images, _coco_number), _stem)
    rest = _take_paths(matcher, rest, images, lambda image: composed(image.id), composed)
    return Matching(_agreed(matcher), tuple(sorted(rest)), tuple(matcher.problems))


def _take_paths(
    matcher: _Matcher,
    keys: Sequence[str],
    images: Sequence[ImageFile],
    id_of: Callable[[ImageFile], str],
    path_of: Callable[[str], str],
) -> list[str]:
    """Match by path: as it is written first, then without its suffix."""
    index = _index(images, id_of)
    for image in images:
        index.setdefault(id_of(image) + image.path.suffix, []).append(image.id)
    rest = matcher.take(keys, index, path_of)
    return matcher.take(rest, index, lambda key: without_suffix(path_of(key)))


def _agreed(matcher: _Matcher) -> dict[str, LabelRow]:
    """The row of each image; rows of one image that contradict each other are all left out."""
    labelled: dict[str, LabelRow] = {}
    for image_id, keys in matcher.named_by.items():
        rows = [matcher.table.rows[key] for key in keys]
        if all(set(row.names) == set(rows[0].names) for row in rows):
            labelled[image_id] = rows[0]
            continue
        others = ", ".join(f"{key} ({'|'.join(row.names) or 'none'})" for key, row in zip(keys, rows, strict=True))
        message = f"the image {image_id} is labelled in several ways: {others}; none is used, keep one row"
        matcher.problems.append((matcher.table.where(keys[-1]), message))
    return labelled


def _index(images: Sequence[ImageFile], name_of: Callable[[ImageFile], str]) -> _Index:
    index: defaultdict[str, list[str]] = defaultdict(list)
    for image in images:
        index[name_of(image)].append(image.id)
    return index


def _stem(key: str) -> str:
    return _name(without_suffix(key))


def _name(key: str) -> str:
    return PurePosixPath(key).name if key.endswith(("/", "/.")) else key.rpartition("/")[2]


def _coco_number(image: ImageFile) -> str:
    found = _COCO.fullmatch(image.path.stem)
    return found[1] if found else image.path.stem


def _absolute_id(image: ImageFile) -> str:
    return _normal(image.path.absolute().with_suffix(""))


def _normal(path: Path) -> str:
    """Without `..`, which would hide that two paths are one."""
    return Path(os.path.normpath(path)).as_posix()


def without_suffix(key: str) -> str:
    """A path without the suffix of an image; `img.01` keeps its dot, and so does the hidden file `.jpg`.

    By hand, because a million rows are asked five times, and because pathlib stumbles over `..jpg` from 3.13 on.
    """
    if "//" in key or "/./" in key or key.endswith("/"):
        key = PurePosixPath(key).as_posix()
    bare, dot, suffix = key.rpartition(".")
    is_image = bool(dot) and f".{suffix}".lower() in SUFFIXES
    return bare if is_image and bare and not bare.endswith("/") else key
