"""Propose image-level labels for images that have none: look at each, find the threshold, write what is above it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from semples_cli.artifacts.file_lock import lock_file
from semples_cli.artifacts.label_files import check_names, name_is_lost, write_labels
from semples_cli.artifacts.tag_scores import ScoreRow, check_tag_out, scores_path, write_tag_scores
from semples_cli.config.tagging import TagSettings
from semples_cli.data.image_folder import ImageFile
from semples_cli.data.images import DEFAULT_MAX_PIXELS, read_image
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.tagging import ImageTagger
from semples_cli.errors import DataError, SemplesError, SettingsError
from semples_cli.functional.tagging import TwoGroups, fit_two_groups
from semples_cli.steps.plan_batches import describe
from semples_cli.steps.progress import tqdm_progress
from semples_cli.types import ClassSet, FloatArray, Progress

FORM = "list-csv"
READERS = 4
# Fewer scores than this, and a threshold that is found from them differs much from one set of images to the next.
FEW_SCORES = 200
# Two normal distributions overlap below this (Ashman, Bird, Zepf 1994).
MIN_SEPARATION = 2.0
MOST_PRESENT = 0.5
DEFAULT_SETTINGS = TagSettings()

# An image's pixels as CLIP sees them, or why there are none.
Seen = torch.Tensor | str


@dataclass(frozen=True)
class Tagging:
    """What was proposed.

    Attributes:
        labels: The label file.
        scores: The file of all scores, in the same order.
        threshold: What a class's score has to reach.
        separation: How well the scores fall into two groups (see `TwoGroups`); None where the threshold was given.
        proposed: In how many images each class is proposed, in the order of the class set.
        written: Images in the files.
        empty: Of these, images for which no class is proposed.
        failed: (id, reason) of images that could not be read; they are in neither file.
        notes: What is not as one might expect.
        seconds: Wall time.
    """

    labels: Path
    scores: Path
    threshold: float
    separation: float | None
    proposed: Mapping[str, int]
    written: int
    empty: int
    failed: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    seconds: float


def tag_images(
    images: Sequence[ImageFile],
    class_set: ClassSet,
    engine: ClipEngine,
    out: Path,
    settings: TagSettings = DEFAULT_SETTINGS,
    *,
    overwrite: bool = False,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
) -> Tagging:
    """Propose labels and write them, least certain image first, with all scores beside them.

    Args:
        images: The images.
        class_set: The classes that are looked for.
        engine: A built CLIP.
        out: The label file, a list-column CSV that `--labels` reads; the scores go to `<out>.scores.csv` beside it.
        settings: How labels are proposed.
        overwrite: Replace files that are there.
        max_pixels: Images with more pixels are refused.
        progress: Called as (done, total); None draws a tqdm bar.

    Returns:
        What was proposed. An image that cannot be read is among `failed`, and the rest is done.

    Raises:
        ArtifactError: Another process is writing `out`.
        DataError: No image could be read, or a class name cannot stand in the file.
        EngineError: Not even one image fits into memory.
        SettingsError: A file would be overwritten or is called otherwise than .csv; or no threshold can be found.
    """
    started = perf_counter()
    check_tag_out(out, overwrite=overwrite)
    check_names(FORM, class_set)
    with lock_file(out):
        tagger = ImageTagger(engine, class_set, settings)
        look = partial(_look, tagger=tagger, max_pixels=max_pixels)
        seen, failed, scores = _score_all(images, tagger, look, progress or tqdm_progress("tag"))
        if not seen:
            where, reason = failed[0] if failed else ("no image", "none was given")
            msg = f"no image could be read, so nothing is written; {where}: {reason}"
            raise DataError(msg)
        fit = fit_two_groups(scores) if settings.threshold is None else None
        threshold = _threshold(settings.threshold, fit)
        rows = _rows(seen, scores, threshold, class_set)
        write_tag_scores(scores_path(out), rows, class_set)
        write_labels(out, FORM, {image: tuple(names) for image, names, *_ in rows}, class_set)
    counts = Counter(name for _, names, *_ in rows for name in names)
    return Tagging(
        out,
        scores_path(out),
        threshold,
        fit.separation if fit else None,
        {name: counts[name] for name in class_set.names},
        len(rows),
        sum(not names for _, names, *_ in rows),
        tuple(failed),
        _notes(fit, scores),
        perf_counter() - started,
    )


def _score_all(
    images: Sequence[ImageFile], tagger: ImageTagger, look: Callable[[ImageFile], Seen], progress: Progress
) -> tuple[list[ImageFile], list[tuple[str, str]], FloatArray]:
    """The images that could be read, why the others could not, and the (N, F) scores of the former."""
    seen: list[ImageFile] = []
    failed: list[tuple[str, str]] = []
    scores: list[FloatArray] = []
    with ThreadPoolExecutor(READERS) as threads:
        for batch in _read_ahead(images, tagger.batch_size, look, threads):
            readable = [(image, found) for image, found in batch if not isinstance(found, str)]
            failed += [(image.id, found) for image, found in batch if isinstance(found, str)]
            scores.append(tagger.scores([found for _, found in readable]))
            seen += [image for image, _ in readable]
            progress(len(seen) + len(failed), len(images))
    return seen, failed, np.concatenate(scores) if scores else np.zeros((0, 0), np.float32)


def _read_ahead(
    images: Sequence[ImageFile], size: int, look: Callable[[ImageFile], Seen], threads: ThreadPoolExecutor
) -> Iterator[list[tuple[ImageFile, Seen]]]:
    """Batches; while CLIP is at one, the next is read."""
    batches = [images[start : start + size] for start in range(0, len(images), size)]
    ahead: list[tuple[ImageFile, Future[Seen]]] = []
    for batch in [*batches, ()]:
        current, ahead = ahead, [(image, threads.submit(look, image)) for image in batch]
        if current:
            yield [(image, future.result()) for image, future in current]


def _look(image: ImageFile, tagger: ImageTagger, max_pixels: int) -> Seen:
    """What CLIP shall see of an image, or why it cannot be read, or written; the image itself is not held."""
    if name_is_lost(image.path.name) or name_is_lost(image.id):
        return "its name is no valid UTF-8, which no label file can hold; rename the image"
    try:
        return tagger.pixels(read_image(image.path, max_pixels))
    except (SemplesError, OSError, MemoryError) as error:
        return describe(error)


def _threshold(given: float | None, fit: TwoGroups | None) -> float:
    if given is not None:
        return given
    if fit is None:
        msg = "the scores do not differ, so no threshold can be found from them; give one by --threshold"
        raise SettingsError(msg)
    return fit.threshold


def _rows(seen: Sequence[ImageFile], scores: FloatArray, threshold: float, class_set: ClassSet) -> list[ScoreRow]:
    """Least certain first: the smallest distance of any score from the threshold; images of one distance by name."""
    rows = []
    for image, of_image in zip(seen, scores, strict=True):
        distances = np.abs(of_image - threshold)
        nearest = int(distances.argmin())
        names = [name for name, score in zip(class_set.names, of_image, strict=True) if score >= threshold]
        file_name = f"{image.id}{image.path.suffix}"
        rows.append((file_name, names, float(distances[nearest]), class_set.names[nearest], of_image.tolist()))
    return sorted(rows, key=lambda row: (row[2], row[0]))


def _notes(fit: TwoGroups | None, scores: FloatArray) -> tuple[str, ...]:
    """What makes a threshold doubtful that was found from the scores."""
    if fit is None:
        return ()
    notes = []
    if scores.size < FEW_SCORES:
        notes.append(
            f"the threshold is found from {scores.size} scores only ({scores.shape[0]} images × {scores.shape[1]} "
            f"classes), and {FEW_SCORES} or more are needed for a steady one: check it, or give --threshold"
        )
    if fit.separation < MIN_SEPARATION or fit.share > MOST_PRESENT:
        notes.append(
            f"the scores do not fall into classes that are there and classes that are not (separation "
            f"{fit.separation:.1f}, below {MIN_SEPARATION:g} they overlap; {fit.share:.0%} in the upper group): "
            "perhaps the images show none of these classes, or CLIP does not know their names"
        )
    return tuple(notes)
