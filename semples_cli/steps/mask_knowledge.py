"""What is known about the masks of a folder: classes, images, labels, manifest; by options, else by the run's files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semples_cli.artifacts.manifest_entries import ManifestEntry, read_entries
from semples_cli.artifacts.run_folder import RunFolder, read_class_set, read_run_record
from semples_cli.data.class_list import read_class_list
from semples_cli.data.dataset import load_dataset
from semples_cli.data.image_folder import find_images
from semples_cli.errors import ArtifactError, DataError, SettingsError
from semples_cli.steps.cam_source import Note
from semples_cli.steps.mask_findings import Findings
from semples_cli.types import ClassSet

Labels = Mapping[str, frozenset[int]]


@dataclass(frozen=True)
class LabelChoice:
    """How the user names labels and classes.

    Attributes:
        labels: Label file or folder; None: what the manifest says.
        labels_format: 'auto', or the format of the labels.
        classes: Class list, or the name of a built-in one; None: that of run.json, else of the labels.
    """

    labels: Path | None
    labels_format: str
    classes: str | Path | None


@dataclass(frozen=True)
class MaskKnowledge:
    """What masks can be compared with.

    Attributes:
        class_set: The classes; None where they are not known.
        pictures: Image by id; None where no images are known.
        labels: Class indices that the label of an image names, by id.
        manifest: What the run says of each image.
    """

    class_set: ClassSet | None
    pictures: Mapping[str, Path] | None
    labels: Labels
    manifest: Mapping[str, ManifestEntry]


def gather_knowledge(
    masks: Path, images: Sequence[Path], choice: LabelChoice, found: Findings, note: Note
) -> MaskKnowledge:
    """Take up what the options say, and for the rest what the run does.

    Args:
        masks: The folder of the masks.
        images: Files and folders of images; none: where run.json says that they are.
        choice: Labels and classes.
        found: Where damaged files of the run are noted.
        note: Called with a sentence on what is not known.

    Raises:
        DataError: Images, labels or the class list cannot be used at all.
        SettingsError: Labels are given, and it is not known which images they are of.
    """
    record = _read_record(masks, found)
    class_set = _choose_classes(masks, record, choice.classes, found, note)
    manifest = _read_manifest(masks, found)
    inputs = list(images) or _recorded_inputs(record, note)
    pictures = {image.id: image.path for image in find_images(inputs)} if inputs else None
    if pictures is None:
        note("no images known: sizes are not compared; add --images")
    if choice.labels is None:
        told = ((key, entry.class_confidence) for key, entry in manifest.items())
        labels: Labels = {key: frozenset(map(int, classes)) for key, classes in told if classes}
    else:
        class_set, labels = _read_labels(inputs, choice, class_set, note)
    if class_set is None:
        note("no class list known: values are not compared with it; add --classes")
    return MaskKnowledge(class_set, pictures, labels, manifest)


def _read_record(masks: Path, found: Findings) -> dict[str, Any]:
    try:
        return read_run_record(masks) or {}
    except ArtifactError as error:
        found.add("record", "run.json", str(error))
        return {}


def _read_manifest(masks: Path, found: Findings) -> dict[str, ManifestEntry]:
    try:
        return read_entries(RunFolder(masks))
    except ArtifactError as error:
        found.add("record", "manifest.jsonl", str(error))
        return {}


def _choose_classes(
    masks: Path, record: dict[str, Any], classes: str | Path | None, found: Findings, note: Note
) -> ClassSet | None:
    recorded = None
    try:
        recorded = read_class_set(masks) if record else None
    except ArtifactError as error:
        found.add("record", "run.json", str(error))
    if classes is None:
        return recorded
    given = read_class_list(classes)
    if recorded is not None and recorded.names != given.names:
        note("--classes is not the class list of the masks' own run.json, which is left aside")
    return given


def _recorded_inputs(record: dict[str, Any], note: Note) -> list[Path]:
    inputs = [Path(text) for text in record.get("inputs") or ()]
    missing = [str(path) for path in inputs if not path.exists()]
    if missing:
        note(f"run.json says that the images are {', '.join(missing[:3])}, which is not there")
        return []
    return inputs


def _read_labels(
    inputs: Sequence[Path], choice: LabelChoice, class_set: ClassSet | None, note: Note
) -> tuple[ClassSet, Labels]:
    if not inputs:
        msg = f"--labels {choice.labels}: of which images is not known; add --images"
        raise SettingsError(msg)
    dataset = load_dataset(inputs, labels=choice.labels, labels_format=choice.labels_format, classes=choice.classes)
    for sentence in dataset.notes:
        note(sentence)
    if dataset.problems:
        note(f"{len(dataset.problems)} label rows cannot be used: `semples labels inspect` lists them")
    classes = class_set or dataset.class_set
    named = {sample.id: map(dataset.class_set.name_of, sample.class_indices) for sample in dataset.samples}
    try:
        return classes, {key: frozenset(map(classes.index_of, names)) for key, names in named.items()}
    except DataError as error:
        msg = f"{choice.labels} goes with other classes than the masks: {error}"
        raise DataError(msg) from None
