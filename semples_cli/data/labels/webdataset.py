"""Labels inside WebDataset's tars: `000123.cls`, `000123.json` or `000123.txt` beside `000123.jpg`."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from semples_cli.data.image_folder import ImageFile, find_images
from semples_cli.data.labels.list_csv import split_labels
from semples_cli.data.labels.numbering import require_classes, settle_numbering
from semples_cli.data.labels.table import LabelTable, TableBuilder, means_no_class, shown
from semples_cli.data.strict_json import NOT_JSON, json_trouble, read_json
from semples_cli.data.webdataset import key_in_tar, sample_key
from semples_cli.errors import DataError
from semples_cli.tars.members import is_file, open_file
from semples_cli.types import ClassSet

NAME = "webdataset"
# Formats that say where the numbers begin. By itself .cls counts from 0, and of .json the numbers decide, if they do.
NUMBERED = {f"{NAME}-from-0": 0, f"{NAME}-from-1": 1}

JSON_KEYS = ("label", "labels", "class", "classes", "cls")
MAX_BYTES = 2**20
_LONGEST_SHOWN = 40

# Class numbers have three digits; Python refuses to read one of thousands.
_NUMBERS = re.compile(r"-?\d{1,18}([\s,]+-?\d{1,18})*")

# Class names, and class numbers as they stand there.
_Value = str | int


@dataclass
class _Sample:
    """What the files of one image say: values by the place where they stand, '.cls' or the key of a .json."""

    image: ImageFile
    said: dict[str, list[_Value]] = field(default_factory=dict)


def fits_webdataset(images: Sequence[ImageFile]) -> bool:
    """Whether any image lies in a tar with a file that may be its label."""
    in_tars = (image for image in images if key_in_tar(image.id, image.path))
    return any(is_file(_beside(image, kind)) for image in in_tars for kind in (".cls", ".json", ".txt"))


def fits_webdataset_folder(folder: Path) -> bool:
    """Whether the images of a folder lie in tars with their labels."""
    try:
        return fits_webdataset(find_images([folder]))
    except DataError:
        return False


def read_webdataset_source(source: Path, class_set: ClassSet | None, first: int | None = None) -> LabelTable:
    """Read the labels in a tar or a folder of tars; see `read_webdataset`."""
    return read_webdataset(source, find_images([source]), class_set, first)


# Readers of a tar or a folder of tars, by the name of the format.
SOURCES: dict[str, Callable[[Path, ClassSet | None], LabelTable]] = {
    NAME: read_webdataset_source,
    **{name: partial(read_webdataset_source, first=first) for name, first in NUMBERED.items()},
}


def read_webdataset(
    source: Path, images: Sequence[ImageFile], class_set: ClassSet | None, first: int | None = None
) -> LabelTable:
    """Read the labels that lie beside images in tars.

    Texts are read only where nothing else is: they are mostly captions.

    Args:
        source: What to call the labels: a tar or a folder of tars.
        images: The images; those in no tar have no label.
        class_set: The classes; numbers and texts need them.
        first: Number of the first class, as a person says; None: see `NUMBERED`.

    Raises:
        DataError: No tar has labels, or only captions; or numbers do not go with the classes, or may be counted in
            two ways.
    """
    table = TableBuilder(source, class_set)
    samples = [_Sample(image) for image in images if key_in_tar(image.id, image.path)]
    for sample in samples:
        _read_cls(sample, table)
        _read_json(sample, table)
    if not any(sample.said for sample in samples) and not table.problems:
        _read_texts(source, samples, table)
    numbers = [(k, key) for sample in samples for key, said in sample.said.items() for k in said if isinstance(k, int)]
    start = _first_number(source, numbers, class_set, first)
    for sample in samples:
        _enter(sample, class_set, start, table)
    places = sorted({place for sample in samples for place in sample.said})
    counted = f", class numbers from {start}" if numbers else ""
    unlabelled = sum(not sample.said for sample in samples)
    extra = f"; {unlabelled} image{'s' * (unlabelled != 1)} without label" if unlabelled else ""
    names = class_set.names if numbers and class_set is not None else None
    return table.finish(f"WebDataset, {' and '.join(places)}{counted}", names, extra)


def _read_cls(sample: _Sample, table: TableBuilder) -> None:
    text = _text(sample, ".cls", table)
    if text is not None:
        _take(sample, ".cls", _values(text.strip(), table.class_set), table)


def _read_json(sample: _Sample, table: TableBuilder) -> None:
    text = _text(sample, ".json", table)
    if text is None:
        return
    try:
        value = read_json(text)
    except NOT_JSON as error:
        _refuse(sample, ".json", f"not JSON ({json_trouble(error)}); write it again", table)
        return
    for key in JSON_KEYS if isinstance(value, dict) else ():
        if key in value:
            _take_json(sample, key, value[key], table)


def _take_json(sample: _Sample, key: str, value: object, table: TableBuilder) -> None:
    listed: list[Any] = [] if value is None else value if isinstance(value, list) else [value]
    wrong = [each for each in listed if isinstance(each, bool) or not isinstance(each, str | int)]
    if wrong:
        _refuse(sample, ".json", f"{shown(wrong[0])} in {key!r} is no class; write names or numbers", table)
        return
    values = _values(value.strip(), table.class_set) if isinstance(value, str) else listed
    _take(sample, f".json {key!r}", values, table)


def _values(text: str, class_set: ClassSet | None) -> list[_Value]:
    """Numbers, unless the class list has one of them as a name; else the one name, or the list of them."""
    if _NUMBERS.fullmatch(text) and (class_set is None or text not in class_set.names):
        return [int(number) for number in re.split(r"[\s,]+", text)]
    return list(split_labels(text, class_set))


def _take(sample: _Sample, place: str, values: list[_Value], table: TableBuilder) -> None:
    negative = next((value for value in values if isinstance(value, int) and value < 0), None)
    if negative is None:
        sample.said[place] = values
    else:
        _refuse(sample, place, f"{negative} is no class number; take the file out where there is no label", table)


def _read_texts(source: Path, samples: Sequence[_Sample], table: TableBuilder) -> None:
    """Take texts that hold class names and nothing else, if that is what most of them are.

    Raises:
        DataError: There are no texts either, no classes are given, or the texts are captions.
    """
    texts = [(sample, text) for sample in samples if (text := _text(sample, ".txt", table)) is not None]
    if not texts:
        keys = ", ".join(JSON_KEYS)
        msg = (
            f"{source}: no labels in the tars: a sample needs a .cls, or a .json with one of {keys}; or bring a label "
            "file by --labels FILE, with rows such as `train-000/000123,cat|dog`"
        )
        raise DataError(msg)
    if table.class_set is None:
        msg = f"{source}: only .txt beside the images; if they hold class names, give the classes by --classes"
        raise DataError(msg)
    captions = [(sample, text) for sample, text in texts if not _read_names(sample, text, table)]
    if 2 * len(captions) > len(texts):
        msg = (
            f"{source}: the .txt beside the images are captions, not class names (such as {_shorten(captions[0][1])!r})"
            "; bring labels by --labels FILE, or let them be proposed by semples tag"
        )
        raise DataError(msg)
    for sample, text in captions:
        _refuse(sample, ".txt", f"{_shorten(text)!r} is no list of class names; correct it, or take it out", table)


def _read_names(sample: _Sample, text: str, table: TableBuilder) -> bool:
    """Take a text whose parts are all class names."""
    names = split_labels("|".join(text.split("\n")) if "\n" in text.strip() else text, table.class_set)
    known = all(means_no_class(name, table.class_set) or not table.unknown(name) for name in names)
    if known:
        sample.said[".txt"] = list(names)
    return known


def _first_number(
    source: Path, numbers: Sequence[tuple[int, str]], class_set: ClassSet | None, first: int | None
) -> int:
    if not numbers:
        return 0
    classes = require_classes(source, class_set)
    if first is None and any(place == ".cls" for _, place in numbers):
        first = 0
    return settle_numbering(source, ((number, 0) for number, _ in numbers), classes, first, NAME)


def _enter(sample: _Sample, class_set: ClassSet | None, start: int, table: TableBuilder) -> None:
    """Give the image its row; where two places in its files say different classes, neither counts."""
    readings: dict[str, list[str]] = {}
    for place, values in sample.said.items():
        names = [_name(value, class_set, start) for value in values]
        readings[place] = [name for name in names if not means_no_class(name, class_set)]
        if message := next(filter(None, map(table.unknown, readings[place])), ""):
            _refuse(sample, place, message, table)
            return
    if len({frozenset(names) for names in readings.values()}) > 1:
        both = " and ".join(f"{place} says {'|'.join(names) or 'none'}" for place, names in readings.items())
        _refuse(sample, "", f"{both}; neither is used, keep one of them", table)
    elif readings:
        table.add(sample.image.id, [(name, 0) for name in next(iter(readings.values()))], 0)


def _name(value: _Value, class_set: ClassSet | None, start: int) -> str:
    if isinstance(value, int) and class_set is not None:  # with numbers it is required
        return class_set.name_of(value - start + 1)
    return str(value)


def _text(sample: _Sample, kind: str, table: TableBuilder) -> str | None:
    """The text of a file of the sample; None if there is none, or if it cannot be read."""
    try:
        with open_file(_beside(sample.image, kind)) as handle:
            content = handle.read(MAX_BYTES + 1)
        if len(content) <= MAX_BYTES:
            return content.decode("utf-8-sig")
        reason = f"more than {MAX_BYTES} bytes, which is no label"
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = str(error.strerror)
    except UnicodeDecodeError:
        reason = "no UTF-8 text"
    _refuse(sample, kind, f"{reason}; write it again, or take it out of the tar", table)
    return None


def _beside(image: ImageFile, kind: str) -> Path:
    return image.path.with_name(sample_key(image.path.name) + kind)


def _refuse(sample: _Sample, place: str, message: str, table: TableBuilder) -> None:
    table.problems.append((str(_beside(sample.image, place)), message))


def _shorten(text: str) -> str:
    bare = " ".join(text.split())
    return bare if len(bare) <= _LONGEST_SHOWN else bare[:_LONGEST_SHOWN] + " …"
