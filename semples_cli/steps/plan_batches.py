"""Plans which images go through the network together: those that it reads at one size, in an order that is fixed."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from semples_cli.config import CamSettings
from semples_cli.data.images import read_image_size
from semples_cli.engine.preprocess import network_size
from semples_cli.errors import SemplesError
from semples_cli.types import Sample

# (H', W') at each scale.
NetworkSizes = tuple[tuple[int, int], ...]
Batch = tuple[Sample, ...]


def plan_batches(
    samples: Sequence[Sample], settings: CamSettings, patch_size: int
) -> tuple[list[Batch], list[tuple[str, str]]]:
    """Put images of one network size into batches; only their headers are read.

    The plan depends on the list of images and on nothing that an earlier run did: the last bits of a result depend on
    what else is in its batch. Large images come first, so that what does not fit into memory shows at once, and those
    with as many classes lie together, because a batch costs its largest number of classes.

    Args:
        samples: All images of the run, those that are done already among them.
        settings: Size, scales and batch size.
        patch_size: Side of a patch in pixels.

    Returns:
        The batches, and (id, reason) of each image whose header cannot be read.
    """
    sized: list[tuple[NetworkSizes, Sample]] = []
    unreadable: list[tuple[str, str]] = []
    for sample in samples:
        try:
            sized.append((_network_sizes(sample.image_path, settings, patch_size), sample))
        except (SemplesError, OSError) as error:
            unreadable.append((sample.id, describe(error)))
    sized.sort(key=lambda item: (item[0], len(item[1].class_indices), item[1].id), reverse=True)
    buckets = ([sample for _, sample in bucket] for _, bucket in groupby(sized, key=lambda item: item[0]))
    return [batch for bucket in buckets for batch in _cut(bucket, settings.batch_size)], unreadable


def describe(error: SemplesError | OSError | MemoryError) -> str:
    """Why one image could not be done, in a line for the manifest."""
    if isinstance(error, OSError):
        return f"{error.filename or 'file'}: {error.strerror or error}"
    return "not enough memory for this image" if isinstance(error, MemoryError) else str(error)


def _network_sizes(path: Path, settings: CamSettings, patch_size: int) -> NetworkSizes:
    size = read_image_size(path)
    return tuple(network_size(size, settings.size, patch_size, scale) for scale in settings.scales)


def _cut(bucket: list[Sample], batch_size: int) -> Iterator[Batch]:
    for start in range(0, len(bucket), batch_size):
        yield tuple(bucket[start : start + batch_size])
