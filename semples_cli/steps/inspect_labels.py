"""Says what labels are: the format they were read as, classes and counts, what is missing on either side."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from semples_cli.data.dataset import load_dataset, load_labels
from semples_cli.data.labels.recognise import AUTO
from semples_cli.data.labels.table import LabelTable
from semples_cli.errors import SettingsError
from semples_cli.types import ClassSet, Sample


@dataclass(frozen=True)
class ClassCount:
    """What is said of one class.

    Attributes:
        name: The class.
        prompt_name: The word given to CLIP.
        index: Its mask value, 1..F.
        rows: Label rows that name it.
        images: Images that are there and show it; None without images.
        absent: How often the labels say that it is not there.
        uncertain: How often they say that nobody is sure, or that it is hard to see; taken as absent.
    """

    name: str
    prompt_name: str
    index: int
    rows: int
    images: int | None
    absent: int
    uncertain: int


@dataclass(frozen=True)
class LabelInspection:
    """What labels are, and how they go with images.

    Attributes:
        source: The label file or folder.
        form: The format that it was read as, as `--labels-format` calls it.
        notes: That, and where the class order is from, for people.
        classes: In the order of the mask values.
        rows: Images that the labels name.
        empty_rows: Those of which they say that nothing is present.
        repeated: Rows that say again what another row of the image says.
        contradicted: Images whose rows contradict each other.
        images: Images that are there and asked for; None without images.
        unlabelled: Ids of those that no row names.
        unmatched_rows: Rows that name no image here.
        problems: (where, message) of what cannot be used.
    """

    source: str
    form: str
    notes: tuple[str, ...]
    classes: tuple[ClassCount, ...]
    rows: int
    empty_rows: int
    repeated: int
    contradicted: tuple[str, ...]
    images: int | None
    unlabelled: tuple[str, ...]
    unmatched_rows: tuple[str, ...]
    problems: tuple[tuple[str, str], ...]


def inspect_labels(
    images: Sequence[Path] = (),
    *,
    labels: Path | None = None,
    labels_format: str = AUTO,
    classes: str | Path | None = None,
    data: Path | None = None,
    split: str | None = None,
) -> LabelInspection:
    """Read labels, with the images or alone, and count.

    Args:
        images: Files and folders of images; none: the labels alone are looked at.
        labels: Label file or folder; None: looked for beside the images.
        labels_format: 'auto', or the format of the labels.
        classes: Class list, or the name of a built-in one.
        data: A VOC devkit, COCO, or a folder of images and labels, in place of `images`.
        split: Split of devkit or COCO.

    Raises:
        DataError: The labels cannot be used as a whole.
        SettingsError: Neither labels nor images are given, or options contradict each other.
    """
    if images or data is not None:
        dataset = load_dataset(
            images, labels=labels, labels_format=labels_format, classes=classes, data=data, split=split
        )
        num_images = len(dataset.samples) + len(dataset.unlabelled)
        shown = _count(dataset.table, dataset.class_set, dataset.samples)
        return _describe(
            dataset.table,
            shown,
            notes=dataset.notes,
            images=num_images,
            unlabelled=dataset.unlabelled,
            unmatched_rows=dataset.unmatched_rows,
            problems=dataset.problems,
        )
    if labels is None or split is not None:
        what = "--split needs the dataset" if labels is not None else "nothing to inspect"
        msg = f"{what}: name the labels by --labels FILE, the folder of the images, or a dataset by --data"
        raise SettingsError(msg)
    alone = load_labels(labels, labels_format=labels_format, classes=classes)
    return _describe(alone.table, _count(alone.table, alone.class_set), alone.notes, problems=alone.table.problems)


def inspection_as_dict(inspection: LabelInspection) -> dict[str, Any]:
    """The inspection as one JSON document, problems as objects of `where` and `message`."""
    problems = [{"where": where, "message": message} for where, message in inspection.problems]
    return {**asdict(inspection), "problems": problems}


def _count(table: LabelTable, class_set: ClassSet, samples: Sequence[Sample] | None = None) -> tuple[ClassCount, ...]:
    rows = Counter(name for row in table.rows.values() for name in row.names)
    images = Counter(index for sample in samples or () for index in sample.class_indices)
    return tuple(
        ClassCount(
            name=name,
            prompt_name=prompt_name,
            index=index,
            rows=rows[name],
            images=None if samples is None else images[index],
            absent=table.absent.get(name, 0),
            uncertain=table.uncertain.get(name, 0),
        )
        for index, (name, prompt_name) in enumerate(zip(class_set.names, class_set.prompt_names, strict=True), 1)
    )


def _describe(
    table: LabelTable,
    classes: tuple[ClassCount, ...],
    notes: tuple[str, ...],
    *,
    images: int | None = None,
    unlabelled: tuple[str, ...] = (),
    unmatched_rows: tuple[str, ...] = (),
    problems: tuple[tuple[str, str], ...] = (),
) -> LabelInspection:
    return LabelInspection(
        source=str(table.source),
        form=table.form,
        notes=notes,
        classes=classes,
        rows=len(table.rows),
        empty_rows=sum(not row.names for row in table.rows.values()),
        repeated=table.repeated,
        contradicted=table.contradicted,
        images=images,
        unlabelled=unlabelled,
        unmatched_rows=unmatched_rows,
        problems=problems,
    )
