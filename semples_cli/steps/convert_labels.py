"""Writes labels of any form that is read in another one, with the class list beside them if asked."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from semples_cli.artifacts.file_lock import lock_file
from semples_cli.artifacts.label_files import WRITTEN_FORMS, write_class_list, write_labels
from semples_cli.data.dataset import load_dataset, load_labels
from semples_cli.data.image_folder import SUFFIXES
from semples_cli.data.labels.recognise import AUTO
from semples_cli.data.labels.table import LabelTable
from semples_cli.data.matching import without_suffix
from semples_cli.errors import DataError, SettingsError
from semples_cli.types import ClassSet

# By these suffixes the forms are recognised when they are read.
FORM_SUFFIXES = {
    "list-csv": ".csv",
    "onehot-csv": ".csv",
    "jsonl": ".jsonl",
    "cls-labels-npy": ".npy",
    "wsss-list": ".txt",
}
_KEEPS_ORDER = ("onehot-csv",)
_BY_ID = ("cls-labels-npy", "wsss-list")


@dataclass(frozen=True)
class Conversion:
    """What was converted.

    Attributes:
        out: The file.
        class_set: The classes, in their order.
        written: Images that were written.
        notes: What was read, and what the new form does not hold.
        unlabelled: Ids of images that no row names.
        unmatched_rows: Rows that name no image here, and were left out.
        problems: (where, message) of rows that were left out.
    """

    out: Path
    class_set: ClassSet
    written: int
    notes: tuple[str, ...]
    unlabelled: tuple[str, ...] = ()
    unmatched_rows: tuple[str, ...] = ()
    problems: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class _Source:
    """Class names by image, as the form will call the image, and what is to be said."""

    rows: dict[str, tuple[str, ...]]
    class_set: ClassSet
    table: LabelTable
    notes: tuple[str, ...]
    problems: tuple[tuple[str, str], ...]
    unlabelled: tuple[str, ...] = ()
    unmatched_rows: tuple[str, ...] = ()


def convert_labels(
    labels: Path,
    out: Path,
    to: str,
    *,
    images: Path | None = None,
    labels_format: str = AUTO,
    classes: str | Path | None = None,
    classes_out: Path | None = None,
    overwrite: bool = False,
) -> Conversion:
    """Read labels and write them in another form.

    Args:
        labels: Label file or folder.
        out: The file to write, whole or not at all.
        to: One of `WRITTEN_FORMS`.
        images: Folder of the images: only theirs are written, by their paths in it. None: all, as the labels call them.
        labels_format: 'auto', or the format of the labels.
        classes: Class list, or the name of a built-in one; fixes the order.
        classes_out: Class list to write.
        overwrite: Replace what is there.

    Raises:
        ArtifactError: Another process is writing `out`.
        DataError: The labels cannot be read as a whole, or a name cannot be written in this form.
        SettingsError: The form is unknown, or a file would be overwritten or have a suffix of another form.
    """
    _check_targets(labels, out, to, classes_out, overwrite=overwrite)
    if images is None:
        source = _read_alone(labels, labels_format, classes)
    else:
        source = _read_with(labels, images, labels_format, classes)
    rows = _named_for(to, source.rows, labels)
    if not rows:
        msg = f"{labels}: no row can be used, so nothing is written; `semples labels inspect` says why"
        raise DataError(msg)
    with lock_file(out):
        write_labels(out, to, rows, source.class_set)
        if classes_out is not None:
            write_class_list(classes_out, source.class_set)
    lost = _lost(source.table, out, to, order_is_kept=classes is not None or classes_out is not None)
    return Conversion(
        out,
        source.class_set,
        len(rows),
        (*source.notes, *lost),
        source.unlabelled,
        source.unmatched_rows,
        source.problems,
    )


def _check_targets(labels: Path, out: Path, to: str, classes_out: Path | None, *, overwrite: bool) -> None:
    if to not in WRITTEN_FORMS:
        msg = f"--to {to}: choose one of {', '.join(WRITTEN_FORMS)}"
        raise SettingsError(msg)
    if out.suffix.lower() != FORM_SUFFIXES[to]:
        msg = f"--out {out}: a file of the form {to} ends in {FORM_SUFFIXES[to]}, by which it is read again; call it so"
        raise SettingsError(msg)
    targets = [out] if classes_out is None else [out, classes_out]
    if len({path.resolve() for path in [labels, *targets]}) < len(targets) + 1:
        msg = f"--out {out}: labels, --out and --classes-out must be different files; choose another name"
        raise SettingsError(msg)
    there = [path for path in targets if path.exists()]
    if there and not overwrite:
        msg = f"{there[0]} is there already; give --overwrite, or choose another name"
        raise SettingsError(msg)


def _read_alone(labels: Path, labels_format: str, classes: str | Path | None) -> _Source:
    read = load_labels(labels, labels_format=labels_format, classes=classes)
    rows = {key: row.names for key, row in read.table.rows.items()}
    return _Source(rows, read.class_set, read.table, read.notes, read.table.problems)


def _read_with(labels: Path, images: Path, labels_format: str, classes: str | Path | None) -> _Source:
    data = load_dataset([images], labels=labels, labels_format=labels_format, classes=classes)
    rows = {
        f"{sample.id}{sample.image_path.suffix}": tuple(data.class_set.name_of(k) for k in sample.class_indices)
        for sample in data.samples
    }
    return _Source(rows, data.class_set, data.table, data.notes, data.problems, data.unlabelled, data.unmatched_rows)


def _named_for(to: str, rows: dict[str, tuple[str, ...]], labels: Path) -> dict[str, tuple[str, ...]]:
    """The rows by what the form calls an image: its id, or its file."""
    if to not in _BY_ID:
        bare = next((key for key in rows if PurePosixPath(key).suffix.lower() not in SUFFIXES), None)
        if to == "jsonl" and bare is not None:
            msg = f"{labels}: {bare!r} is no file name, which jsonl needs; give the folder of the images by --images"
            raise DataError(msg)
        return rows
    named: dict[str, tuple[str, ...]] = {}
    for key, names in rows.items():
        image_id = without_suffix(key)
        if image_id in named:
            msg = f"{labels}: two images would both be called {image_id!r}, for {to} has no suffixes; rename one"
            raise DataError(msg)
        named[image_id] = names
    return named


def _lost(table: LabelTable, out: Path, to: str, *, order_is_kept: bool) -> list[str]:
    """What the new file does not say."""
    lost = []
    if unsure := sum(table.uncertain.values()):
        lost.append(f"{unsure} uncertain marks are written as absent")
    if to == "wsss-list":
        lost.append(f"{out}: numbers count the classes from 0; read it again by --labels-format wsss-list-from-0")
    if to not in _KEEPS_ORDER and not order_is_kept:
        lost.append(f"{out} does not hold the order of the classes; --classes-out classes.txt writes it")
    return lost
