"""The images of a training: read when they are needed, kept in memory where they are few, passed over where broken."""

import hashlib
import json
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from semples_cli.data.images import DEFAULT_MAX_PIXELS, read_image
from semples_cli.engine.clip import ClipEngine
from semples_cli.engine.training_batches import LabelledImages
from semples_cli.errors import SemplesError
from semples_cli.steps.cam_record import Note
from semples_cli.steps.plan_batches import describe
from semples_cli.tars.members import stat_file
from semples_cli.types import ClassSet, Sample

CACHE_BYTES = 256 * 2**20

# (id, classes, bytes, time of change) of each image; None for the last two where there is no such file.
Facts = list[tuple[str, tuple[int, ...], int | None, int | None]]


def training_images(
    samples: Sequence[Sample], note: Note, *, max_pixels: int = DEFAULT_MAX_PIXELS, cache_bytes: int = CACHE_BYTES
) -> LabelledImages:
    """Samples as the training reads them.

    Args:
        samples: Images and their classes.
        note: Called once with the reason for each image that cannot be read; training goes on without it.
        max_pixels: Images with more pixels are passed over.
        cache_bytes: Decoded images are kept until they take this much memory.
    """
    return LabelledImages([sample.class_indices for sample in samples], _Reader(samples, note, max_pixels, cache_bytes))


def image_facts(samples: Sequence[Sample]) -> Facts:
    """What tells the images of two trainings apart without reading them."""
    facts: Facts = []
    for sample in samples:
        try:
            file = stat_file(sample.image_path)
        except OSError:
            facts.append((sample.id, sample.class_indices, None, None))
            continue
        facts.append((sample.id, sample.class_indices, file.size, file.mtime_ns))
    return facts


def training_fingerprint(
    samples: Sequence[Sample], class_set: ClassSet, engine: ClipEngine, facts: Mapping[str, object]
) -> str:
    """Tells a training from all others whose result would be another.

    Args:
        samples: Images and their classes.
        class_set: The classes.
        engine: The CLIP.
        facts: Settings, format version of the step, and what else the result follows from; JSON values.

    Returns:
        A SHA-256 in hexadecimal.
    """
    record = engine.record
    whole = {
        **facts,
        "classes": [class_set.names, class_set.prompt_names],
        "images": image_facts(samples),
        "engine": [record.get(name) for name in ("weights_sha256", "quick_gelu", "precision")],
        "preprocess": [engine.preprocess.mean, engine.preprocess.std],
    }
    # File names that are no valid UTF-8 are surrogates, which JSON writes as escapes.
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


class _Reader:
    def __init__(self, samples: Sequence[Sample], note: Note, max_pixels: int, cache_bytes: int) -> None:
        self._samples = samples
        self._note = note
        self._max_pixels = max_pixels
        self._left = cache_bytes
        self._kept: dict[int, npt.NDArray[np.uint8] | None] = {}

    def __call__(self, i: int) -> npt.NDArray[np.uint8] | None:
        if i in self._kept:
            return self._kept[i]
        try:
            image = read_image(self._samples[i].image_path, self._max_pixels)
        except (SemplesError, OSError, MemoryError) as error:
            self._note(f"{self._samples[i].id} is left out of the training: {describe(error)}")
            self._kept[i] = None
            return None
        if image.nbytes <= self._left:
            self._left -= image.nbytes
            self._kept[i] = image
        return image
