"""Brings label rows and images together: by relative path, then by file name, then by stem."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from semples_cli.data.image_folder import ImageFile
from semples_cli.data.labels.table import LabelRow, LabelTable


@dataclass(frozen=True)
class Matching:
    """Which row belongs to which image.

    Attributes:
        labelled: Row by image id.
        unmatched_rows: Rows that name no image here.
        problems: (row, message) of rows that name several images, and of images that several rows name.
    """

    labelled: Mapping[str, LabelRow]
    unmatched_rows: tuple[str, ...]
    problems: tuple[tuple[str, str], ...]


def match_rows(table: LabelTable, images: Sequence[ImageFile]) -> Matching:
    """Match each row with the one image that it names."""
    indices = _indices(images)
    labelled: dict[str, LabelRow] = {}
    named_by: dict[str, str] = {}
    unmatched, problems = [], []
    for key, row in table.rows.items():
        candidates = _candidates(key, indices)
        if not candidates:
            unmatched.append(key)
        elif len(candidates) > 1:
            problems.append((key, f"could be {' or '.join(sorted(candidates))}; write the path below the image folder"))
        elif (image := candidates[0]) in named_by and labelled[image].names != row.names:
            other = named_by[image]
            problems.append((key, f"names the same image as {other!r}, with other labels; the first is used, keep one"))
        else:
            labelled.setdefault(image, row)
            named_by.setdefault(image, key)
    return Matching(labelled, tuple(unmatched), tuple(problems))


def _indices(images: Sequence[ImageFile]) -> tuple[dict[str, list[str]], ...]:
    """Image ids by relative path, by id, by file name, by stem."""
    paths, ids, names, stems = (defaultdict[str, list[str]](list) for _ in range(4))
    for image in images:
        paths[image.id + image.path.suffix].append(image.id)
        ids[image.id].append(image.id)
        names[image.path.name].append(image.id)
        stems[image.path.stem].append(image.id)
    return paths, ids, names, stems


def _candidates(key: str, indices: tuple[dict[str, list[str]], ...]) -> list[str]:
    paths, ids, names, stems = indices
    file_name = PurePosixPath(key)
    for index, wanted in ((paths, key), (ids, key), (names, file_name.name), (stems, file_name.stem)):
        if found := index.get(wanted):
            return found
    return stems.get(file_name.name, [])
