"""An evaluation that is cut into shards: each counts its part, and the one that finds all counts has the report."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from semples_cli.artifacts.count_files import (
    counts_locked,
    counts_path,
    find_counts,
    merge_counts,
    read_counts,
    read_fingerprint,
    write_counts,
)
from semples_cli.errors import ArtifactError, SettingsError
from semples_cli.steps.count_pixels import Comparison
from semples_cli.steps.evaluate_masks import report_of
from semples_cli.steps.report_stages import score_images
from semples_cli.types import Progress, Report, Shard


@dataclass(frozen=True)
class ShardsReport:
    """What there is when a shard has ended.

    Attributes:
        missing_shards: Those that have not ended yet.
        report: That of all images, the same as from one process; None while shards are missing.
        image_scores: `image_score` of each image, where masks are compared.
    """

    missing_shards: tuple[Shard, ...]
    report: Report | None = None
    image_scores: Mapping[str, float] = field(default_factory=dict)


def count_shard(
    comparison: Comparison,
    shard: Shard,
    out: Path,
    *,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> int:
    """Count the part of a shard and keep the counts in `<out>/.semples/`; counts of the very same files stay.

    Args:
        comparison: All images, from `compare_masks` or `compare_cams`.
        shard: Which part.
        out: The folder of the report, the same for all shards.
        workers: As in `evaluate_masks`.
        overwrite: Count again, and remove what shards counted of something else.
        progress: Called as (done, total) over the part; a tqdm bar by default.

    Returns:
        How many images the part has; zero where there are more shards than images.

    Raises:
        SettingsError: Counts of something else are there; the message names the file.
        SemplesError: As `evaluate_masks` and `evaluate_cams`.
    """
    part, path = comparison.part(shard), counts_path(out, shard)
    with counts_locked(out):
        _check_alike(comparison, shard.count, out, overwrite=overwrite)
        if path.exists() and not overwrite:
            return len(part.matched.pairs)
    scores: dict[str, float] = {}
    observe = score_images(scores) if comparison.cams is None else None  # of CAMs, the page cuts and counts them anew
    counts = part.count(progress=progress, workers=workers, observe=observe)
    with counts_locked(out):
        write_counts(path, replace(counts, image_scores=scores), comparison.fingerprint)
    return counts.num_images


@contextmanager
def shards_report(comparison: Comparison, num_shards: int, out: Path) -> Iterator[ShardsReport]:
    """The report, if this shard finds the counts of all; no other shard writes to `out` inside the block.

    Two shards that end at once may both find all, one after the other: they write the same.

    Args:
        comparison: All images, as given to `count_shard`.
        num_shards: How many there are.
        out: The folder of the report.

    Yields:
        The report, or which shards are missing.

    Raises:
        SettingsError: Some of the counts are of something else.
        ArtifactError: Some of the counts are damaged.
    """
    with counts_locked(out):
        found = find_counts(out, num_shards)
        shards = (Shard(index, num_shards) for index in range(1, num_shards + 1))
        if missing := tuple(shard for shard in shards if counts_path(out, shard) not in found):
            yield ShardsReport(missing)
            return
        _check_alike(comparison, num_shards, out, overwrite=False)
        counts = merge_counts(read_counts(path) for path in found)
        yield ShardsReport((), report_of(counts), counts.image_scores)


def _check_alike(comparison: Comparison, num_shards: int, out: Path, *, overwrite: bool) -> None:
    """Refuse, or remove, what shards of this number counted of something else."""
    for path in find_counts(out, num_shards):
        if _is_alike(path, comparison, overwrite=overwrite):
            continue
        if not overwrite:
            msg = (
                f"{path} counts other masks or CAMs, ground truth, classes or background score than this shard, or the "
                "files changed since: start all shards alike, with --overwrite, or choose another --out"
            )
            raise SettingsError(msg)
        path.unlink()


def _is_alike(path: Path, comparison: Comparison, *, overwrite: bool) -> bool:
    try:
        return read_fingerprint(path) == comparison.fingerprint
    except ArtifactError:
        if overwrite:
            return False
        raise
