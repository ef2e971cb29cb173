"""Label files and class lists that we write; the readers of the same forms are in `data/labels`."""

import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.artifacts.csv_text import csv_text
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

# Classes by the name of the image.
Rows = Mapping[str, tuple[str, ...]]

# A path of Linux has 4096 bytes at most.
_LONGEST = 4096

_Encode = Callable[[Rows, ClassSet], bytes]


def write_labels(path: Path, form: str, rows: Rows, class_set: ClassSet) -> None:
    """Write a label file, whole or not at all.

    Args:
        path: The file; one that is there is replaced.
        form: One of `WRITTEN_FORMS`.
        rows: Class names by image; for `cls-labels-npy` and `wsss-list` the image without its suffix.
        class_set: The classes, in their order.

    Raises:
        DataError: A name cannot be written in this form so that it is read back.
    """
    _check_images(rows)
    try:
        content = _ENCODERS[form](rows, class_set)
    except UnicodeEncodeError:
        wrong = next((image for image in rows if name_is_lost(image)), "")
        msg = f"{wrong!r} cannot stand in {form}, for its name is no valid UTF-8; rename the image"
        raise DataError(msg) from None
    with open_atomic(path) as handle:
        handle.write(content)


def name_is_lost(image: str) -> bool:
    """Whether a file's name cannot stand in a label file: its bytes are no valid UTF-8, and came as surrogates."""
    return any("\ud800" <= sign <= "\udfff" for sign in image)


def _check_images(rows: Rows) -> None:
    """Refuse names of images that would come back as others, or not at all."""
    for image in rows:
        kept = image and image == image.strip() and "\\" not in image and not image.startswith("./")
        if not kept or "\0" in image or len(image) > _LONGEST:
            msg = f"image {image[:80]!r} would be read otherwise out of a label file; rename it"
            raise DataError(msg)


def check_names(form: str, class_set: ClassSet) -> None:
    """Refuse class names that cannot stand in a form, before there is anything to write.

    Raises:
        DataError: One of them would not be read back.
    """
    _ENCODERS[form]({}, class_set)


def write_class_list(path: Path, class_set: ClassSet) -> None:
    """Write a class list: one name a line, after a tab the word for CLIP where that is another.

    Raises:
        DataError: A name cannot stand in such a file.
    """
    lines = []
    for name, prompt_name in zip(class_set.names, class_set.prompt_names, strict=True):
        if re.search(r"[\t\r\n]", name + prompt_name) or name.startswith("#"):
            msg = f"class {name!r} cannot stand in a class list: it begins with # or holds a tab or line end; rename it"
            raise DataError(msg)
        lines.append(name if name == prompt_name else f"{name}\t{prompt_name}")
    with open_atomic(path) as handle:
        handle.write(("\n".join(lines) + "\n").encode())


def _list_csv(rows: Rows, class_set: ClassSet) -> bytes:
    _refuse_names(class_set, r"[|;]", "list-csv", "onehot-csv")
    if rows.get("image") == ("labels",):
        msg = "image 'image' of class 'labels' would be taken for the header of list-csv; take --to jsonl"
        raise DataError(msg)
    return csv_text([["image", "labels"], *([image, _list_cell(names)] for image, names in rows.items())]).encode()


def _list_cell(names: Iterable[str]) -> str:
    """`cat|dog`; a last | says that commas and brackets are part of a name."""
    cell = "|".join(names)
    return f"{cell}|" if "," in cell or cell.startswith("[") else cell


def _onehot_csv(rows: Rows, class_set: ClassSet) -> bytes:
    _refuse_names(class_set, r"(?i)^file[\s_-]*name$", "onehot-csv", "jsonl")
    body = ([image, *(str(int(name in names)) for name in class_set.names)] for image, names in rows.items())
    return csv_text([["filename", *class_set.names], *body]).encode()


def _jsonl(rows: Rows, class_set: ClassSet) -> bytes:
    del class_set
    lines = [json.dumps({"file_name": image, "labels": names}, ensure_ascii=False) for image, names in rows.items()]
    return ("\n".join(lines) + "\n").encode()


def _wsss_list(rows: Rows, class_set: ClassSet) -> bytes:
    """Class numbers from 0, as the lists of WSSS code have them."""
    lines = []
    for image, names in rows.items():
        if re.search(r"[\s,;\"\ufeff]", image):
            msg = f"{image!r} cannot stand in a wsss-list, whose parts are divided by spaces; rename it, or take jsonl"
            raise DataError(msg)
        lines.append(" ".join([image, *(str(class_set.index_of(name) - 1) for name in names)]))
    if rows and not any(rows.values()):
        msg = "no image of a wsss-list has a class, and without a number it is not recognised as one; take jsonl"
        raise DataError(msg)
    return ("\n".join(lines) + "\n").encode()


def _cls_labels(rows: Rows, class_set: ClassSet) -> bytes:
    """A 0-d object array, as `np.load(path, allow_pickle=True).item()` of WSSS code wants it."""
    vectors = {}
    for image, names in rows.items():
        vectors[image] = np.zeros(len(class_set), np.float32)
        vectors[image][[class_set.index_of(name) - 1 for name in names]] = 1
    text = io.BytesIO()
    np.save(text, np.array(vectors, object), allow_pickle=True)
    return text.getvalue()


def _refuse_names(class_set: ClassSet, pattern: str, form: str, other: str) -> None:
    wrong = next((name for name in class_set.names if re.search(pattern, name)), None)
    if wrong is not None:
        msg = (
            f"class {wrong!r} cannot stand in {form}, where that means something else; rename it, or take --to {other}"
        )
        raise DataError(msg)


_ENCODERS: Mapping[str, _Encode] = {
    "list-csv": _list_csv,
    "onehot-csv": _onehot_csv,
    "jsonl": _jsonl,
    "cls-labels-npy": _cls_labels,
    "wsss-list": _wsss_list,
}
WRITTEN_FORMS = tuple(_ENCODERS)
