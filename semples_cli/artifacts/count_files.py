"""What the shards of an evaluation counted: one small `counts-<i>of<n>.npz` each, no pickle; added up by the last one.

Everything in the folder is read and written behind one lock of the operating system, so that two shards that end at
once see one another. On a cluster the folder must lie on a file system whose locks reach all machines.
"""

import json
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.artifacts.run_folder import HIDDEN
from semples_cli.artifacts.run_lock import try_lock
from semples_cli.artifacts.run_locks import PAUSE
from semples_cli.errors import ArtifactError, SemplesError
from semples_cli.tars.regular import open_regular
from semples_cli.types import IndexArray, Shard

FORMAT_VERSION = 1

# A curve of 254 classes takes 53 MB; names and scores of a million images less than that.
_MAX_BYTES = 2**29

_FACTS = ("fingerprint", "class_names", "num_images", "missing", "background_score", "image_ids")
_CURE = "run that shard again with --overwrite"


@dataclass(frozen=True)
class PixelCounts:
    """What a report is made from, of all images or of a part of them; C = 1 + F classes, S background scores.

    Attributes:
        class_names: C names, 'background' first.
        confusion: (C, C + 1) int64 as `metrics.confusion_counts` gives them, of masks, or of CAMs cut at
            `background_score`; zeros where CAMs are cut nowhere.
        num_images: Images counted.
        missing: Sorted ids with ground truth, but nothing predicted.
        background_score: What CAMs are cut at; None: at the best, or masks are counted.
        thresholds: (S,) float64, the background scores of the curve; S = 0 where masks are counted.
        curve: (C, C, S + 1) int64 as `BackgroundCurve.counts`; zeros where masks are counted.
        image_scores: `image_score` of each image, where a page is drawn from them.
    """

    class_names: tuple[str, ...]
    confusion: IndexArray
    num_images: int
    missing: tuple[str, ...]
    background_score: float | None
    thresholds: npt.NDArray[np.float64]
    curve: IndexArray
    image_scores: Mapping[str, float] = field(default_factory=dict)


def counts_path(folder: Path, shard: Shard) -> Path:
    """Where a shard's counts lie in the folder of the report."""
    return folder / HIDDEN / f"counts-{shard.index}of{shard.count}.npz"


def find_counts(folder: Path, num_shards: int) -> list[Path]:
    """The counts that are there of the shards of an evaluation cut into this many."""
    return sorted((folder / HIDDEN).glob(f"counts-*of{num_shards}.npz"))


@contextmanager
def counts_locked(folder: Path) -> Iterator[None]:
    """Be alone with the counts, and with the report, of a folder; wait for others.

    Raises:
        ArtifactError: Nothing can be written here.
    """
    while (handle := try_lock(folder / HIDDEN / "counts.lock")) is None:
        time.sleep(PAUSE)
    with handle:
        yield


def write_counts(path: Path, counts: PixelCounts, fingerprint: str) -> None:
    """Write the counts of a shard, whole or not at all.

    Args:
        path: From `counts_path`.
        counts: What it counted.
        fingerprint: Of what all shards compare together; counts of another one are never added to these.
    """
    facts = {
        "fingerprint": fingerprint,
        "class_names": counts.class_names,
        "num_images": counts.num_images,
        "missing": counts.missing,
        "background_score": counts.background_score,
        "image_ids": list(counts.image_scores),
    }
    with open_atomic(path) as handle:
        np.savez_compressed(
            handle,
            format_version=np.int64(FORMAT_VERSION),
            facts=np.frombuffer(json.dumps(facts).encode(), np.uint8),
            confusion=counts.confusion,
            thresholds=counts.thresholds,
            curve=counts.curve,
            image_scores=np.array(list(counts.image_scores.values()), np.float64),
        )


def read_fingerprint(path: Path) -> str:
    """The fingerprint of a file of counts.

    Raises:
        ArtifactError: As `read_counts`.
    """
    return str(_read(path, ("facts",))[0]["fingerprint"])


def read_counts(path: Path) -> PixelCounts:
    """Read the counts of a shard.

    Args:
        path: A file that `write_counts` wrote.

    Raises:
        ArtifactError: It is missing, damaged, or of a newer semples.
    """
    facts, arrays = _read(path, ("facts", "confusion", "thresholds", "curve", "image_scores"))
    scores = arrays["image_scores"].ravel().tolist()
    if not _go_together(facts, arrays):
        msg = f"{path}: its arrays do not go together; {_CURE}"
        raise ArtifactError(msg)
    return PixelCounts(
        class_names=tuple(facts["class_names"]),
        confusion=arrays["confusion"],
        num_images=facts["num_images"],
        missing=tuple(facts["missing"]),
        background_score=facts["background_score"],
        thresholds=arrays["thresholds"],
        curve=arrays["curve"],
        image_scores=dict(zip(facts["image_ids"], scores, strict=True)),
    )


def merge_counts(parts: Iterable[PixelCounts]) -> PixelCounts:
    """Add up the counts of all shards, one after the other: those of one process over all images.

    Args:
        parts: At least one, all of one fingerprint; no two are held at once besides the sum, for a curve of 254 classes
            takes 53 MB.
    """
    rest = iter(parts)
    first = next(rest)
    confusion, curve = first.confusion.copy(), first.curve.copy()
    num_images, missing, scores = first.num_images, [*first.missing], {**first.image_scores}
    for part in rest:
        confusion += part.confusion
        curve += part.curve
        num_images += part.num_images
        missing += part.missing
        scores |= part.image_scores
    return replace(
        first,
        confusion=confusion,
        curve=curve,
        num_images=num_images,
        missing=tuple(sorted(missing)),
        image_scores=dict(sorted(scores.items())),
    )


def _loaded(path: Path, handle: BinaryIO) -> NpzFile:
    """The archive, if it does not announce more than any counts take."""
    with zipfile.ZipFile(handle) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > _MAX_BYTES:
        msg = f"{path}: {size} bytes unpacked, more than the {_MAX_BYTES} that counts may have; {_CURE}"
        raise ArtifactError(msg)
    handle.seek(0)
    loaded: NpzFile = np.load(handle, allow_pickle=False)
    return loaded


def _check_facts(facts: Mapping[str, object]) -> None:
    """Refuse facts of other kinds than are written.

    Raises:
        ValueError: One is.
    """
    for name in ("class_names", "missing", "image_ids"):
        listed = facts[name]
        if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
            msg = f"{name} is no list of texts"
            raise ValueError(msg)
    score = facts["background_score"]
    if type(facts["num_images"]) is not int or not (score is None or isinstance(score, float)):
        msg = "num_images or background_score is no number"
        raise ValueError(msg)


def _go_together(facts: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> bool:
    num_classes, thresholds = len(facts["class_names"]), arrays["thresholds"]
    kinds = {"confusion": np.int64, "curve": np.int64, "thresholds": np.float64, "image_scores": np.float64}
    return (
        all(arrays[name].dtype == kind for name, kind in kinds.items())
        and thresholds.ndim == 1
        and arrays["confusion"].shape == (num_classes, num_classes + 1)
        and arrays["curve"].shape == (num_classes, num_classes, len(thresholds) + 1)
        and arrays["image_scores"].shape == (len(facts["image_ids"]),)
    )


def _read(path: Path, names: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """The facts, and the arrays of these names."""
    try:
        return _take(path, names)
    except SemplesError:
        raise
    except Exception as error:  # the bytes may be anybody's; neither zipfile nor numpy has a list of what they raise
        reason = " ".join(str(error).split()) or type(error).__name__
        msg = f"{path}: not readable counts ({reason}); {_CURE}"
        raise ArtifactError(msg) from None


def _take(path: Path, names: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    # Opened here, because np.load leaves its own handle open when the archive is damaged.
    with open_regular(path) as handle, _loaded(path, handle) as archive, np.errstate(all="ignore"):
        version = int(archive["format_version"])
        if version > FORMAT_VERSION:
            msg = f"{path}: counts of format {version}, but this semples reads up to {FORMAT_VERSION}; upgrade it"
            raise ArtifactError(msg)
        # What is no array in there comes as bytes.
        arrays = {name: np.asarray(archive[name]) for name in names}
    facts = json.loads(arrays["facts"].tobytes())
    _check_facts(facts)
    return {name: facts[name] for name in _FACTS}, arrays
