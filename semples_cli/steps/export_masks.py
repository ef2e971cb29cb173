"""Write masks in the form that annotation tools and training code read."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

from semples_cli.artifacts.atomic import write_error
from semples_cli.artifacts.export.protocol import ExportSettings, MaskExporter
from semples_cli.artifacts.manifest_entries import read_entries
from semples_cli.artifacts.mask_png import find_masks
from semples_cli.artifacts.run_folder import RunFolder, class_record, read_class_set, read_run_record
from semples_cli.data.image_folder import ImageFile
from semples_cli.errors import ArtifactError, SemplesError, SettingsError, UnwritableError
from semples_cli.steps.cam_source import Note
from semples_cli.steps.crf_source import CrfSource, check_out, find_pictures
from semples_cli.steps.export_folder import ExportFolder, fingerprint, part_of_masks, shard_folder
from semples_cli.steps.mask_items import MaskItems
from semples_cli.steps.progress import tqdm_progress
from semples_cli.types import ClassSet, Progress, RunSummary, Shard

# Module and class by the name that --to says; imported when it is needed, because some of them bring libraries along.
FORMATS: Mapping[str, tuple[str, str]] = {
    "coco": ("coco", "CocoExporter"),
    "cvat": ("cvat", "CvatExporter"),
    "hf": ("hf", "HfExporter"),
    "label-studio": ("label_studio", "LabelStudioExporter"),
    "labelme": ("labelme", "LabelmeExporter"),
    "voc": ("voc", "VocExporter"),
    "yolo": ("yolo", "YoloExporter"),
}

# Raise it whenever the same masks would give another export: complete ones are then written again by --overwrite.
STEP_VERSION = 1


@dataclass(frozen=True)
class MaskExport:
    """What `export_masks` did.

    Attributes:
        summary: How it ended, over images.
        files: The index files, what is opened first first; of formats with a file an image alone, ().
    """

    summary: RunSummary
    files: tuple[Path, ...]


def export_masks(
    source: Path,
    out: Path,
    to: str,
    settings: ExportSettings | None = None,
    *,
    images: Sequence[ImageFile] | Path | None = None,
    class_set: ClassSet | None = None,
    shard: Shard | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    note: Note | None = None,
) -> MaskExport:
    """Write the masks of a folder in one of `FORMATS`.

    Args:
        source: Run folder, or any folder of mask PNGs.
        out: Folder for the export; one of the very same masks that is complete is kept, one that is not is made again.
        to: A name of `FORMATS`.
        settings: What the format lets choose.
        images: The images, as a folder or as found by `find_images`; None: where the run says that they are.
        class_set: The classes; None: those of the run. Others than the run's rename its classes.
        shard: Write this part of the masks alone, as an export of its own in `<out>/shard-<i>of<n>/`.
        overwrite: Write again, whatever is in `out`.
        progress: Called as (done, total); None draws a tqdm bar.
        note: Called with a sentence on what the format cannot hold.

    Returns:
        How it ended. An image or mask that cannot be exported is among `failed`, and the rest is written; images
        without a mask are `skipped`.

    Raises:
        SemplesError: Nothing could be exported at all: no masks, no images, no classes, an option that the format does
            not have, something else in `out`; or the disk failed, and then there is no index file.
    """
    started, settings = perf_counter(), settings or ExportSettings()
    exporter_type = load_exporter(to)
    check_options(to, exporter_type, _changed(settings))
    origin, pictures, inputs = _find(source, images)
    _check_out(out, origin, inputs)
    classes = _classes(source, class_set)
    root, (masks, pictures) = shard_folder(out, shard), part_of_masks(origin.files, pictures, shard)
    items = MaskItems(source, masks, pictures, len(classes), read_entries(RunFolder(source)))
    exporter = exporter_type(root, classes, settings)
    with ExportFolder(root, _record(items, to, settings, classes, inputs), overwrite=overwrite) as folder:
        if folder.is_complete:
            return MaskExport(items.summary(started, resumed=len(items.pairs)), folder.files)
        files = _write(folder, exporter, items, progress or tqdm_progress("export"))
        if not items.failed:
            folder.complete(files)
    for sentence in (*_void_note(items, exporter), *exporter.notes):
        if note is not None:
            note(sentence)
    return MaskExport(items.summary(started), files)


def load_exporter(to: str) -> type[MaskExporter]:
    """The exporter of a format.

    Raises:
        SettingsError: There is no such format, or what it needs is not installed.
    """
    if to not in FORMATS:
        msg = f"--to {to}: choose one of {', '.join(FORMATS)}; or irn, for CAMs"
        raise SettingsError(msg)
    module, name = FORMATS[to]
    exporter: type[MaskExporter] = getattr(import_module(f"semples_cli.artifacts.export.{module}"), name)
    return exporter


def check_options(to: str, exporter: type[MaskExporter], given: Iterable[str]) -> None:
    """Refuse options that a format does not have.

    Args:
        to: The format.
        exporter: Its exporter.
        given: Fields of `ExportSettings` that were given.

    Raises:
        SettingsError: One of them does not apply; the message names all of them, as options.
    """
    unread = [f"--{name.replace('_', '-')}" for name in given if name not in exporter.options]
    if unread:
        there = [f"--{name.replace('_', '-')}" for name in sorted(exporter.options)]
        has = f"it has {', '.join(there)}" if there else "it has no options of its own"
        msg = f"{', '.join(unread)}: --to {to} does not have this; leave it out ({has})"
        raise SettingsError(msg)


def _changed(settings: ExportSettings) -> list[str]:
    return [each.name for each in fields(settings) if getattr(settings, each.name) != each.default]


def _find(source: Path, images: Sequence[ImageFile] | Path | None) -> tuple[CrfSource, dict[str, Path], list[Path]]:
    masks = find_masks(source)
    if not masks:
        msg = f"{source}: no mask PNGs here; give the folder that holds <id>.png"
        raise ArtifactError(msg)
    return find_pictures(images, CrfSource(source, "masks", masks, None, read_run_record(source) or {}, None))


def _check_out(out: Path, origin: CrfSource, inputs: Sequence[Path]) -> None:
    check_out(out, origin, inputs)
    for entry in inputs:
        if Path(os.path.realpath(entry)).is_relative_to(os.path.realpath(out)):
            msg = f"--out {out} holds the images {entry}: choose a folder apart from them"
            raise SettingsError(msg)


def _classes(source: Path, class_set: ClassSet | None) -> ClassSet:
    recorded = read_class_set(source)
    classes = class_set or recorded
    if classes is None:
        msg = f"{source} does not say its classes (it has no .semples/run.json): add --classes classes.txt"
        raise SettingsError(msg)
    if recorded is not None and len(recorded) != len(classes):
        msg = (
            f"{source}: its run.json lists {len(recorded)} classes, --classes {len(classes)}; leave --classes out, or "
            "rename all classes in the same order"
        )
        raise SettingsError(msg)
    return classes


def _record(
    items: MaskItems, to: str, settings: ExportSettings, classes: ClassSet, inputs: Sequence[Path]
) -> dict[str, Any]:
    return {
        "command": "export",
        "to": to,
        "step": STEP_VERSION,
        "source": str(items.source.absolute()),
        "inputs": [str(path) for path in inputs],
        "settings": asdict(settings),
        "classes": class_record(classes),
        "masks": fingerprint(items.pairs),
    }


def _write(folder: ExportFolder, exporter: MaskExporter, items: MaskItems, progress: Progress) -> tuple[Path, ...]:
    with _whole_or_nothing(exporter, folder.root):
        folder.begin()
        for done, sample_id in enumerate(items.masks, 1):
            try:
                image = items.read(sample_id)
                folder.note(exporter.add(image))
                items.count(image)
            except UnwritableError:
                raise
            except SemplesError as error:
                items.failed.append((sample_id, str(error)))
            progress(done, len(items.masks))
        files = exporter.finish()
        folder.note(files)
    return files


@contextmanager
def _whole_or_nothing(exporter: MaskExporter, root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        exporter.abandon()
        raise write_error(Path(error.filename or root), error) from error
    except BaseException:
        exporter.abandon()
        raise


def _void_note(items: MaskItems, exporter: MaskExporter) -> Iterator[str]:
    if items.void_pixels and exporter.void_rule:
        yield f"{items.void_pixels} pixels of 255 (ignore) in {items.void_masks} masks are {exporter.void_rule}"
