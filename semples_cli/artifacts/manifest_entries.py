"""The lines of a manifest: what is known of each item of a run."""

import hashlib
import json
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.errors import ArtifactError
from semples_cli.tars.regular import open_regular

Status = Literal["ok", "skipped", "failed"]


@dataclass(frozen=True, slots=True)  # a million of them are held at once
class FileIdentity:
    """What a file held when an item was made from it.

    Attributes:
        path: Absolute path.
        size: Bytes.
        mtime_ns: Time of last change, in nanoseconds.
        sha256: Hash of the contents; the only part that a key is made of.
    """

    path: str
    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True, slots=True)  # a million of them are held at once
class ManifestEntry:
    """How one item ended.

    Attributes:
        id: Image id.
        status: 'ok', 'skipped' (on purpose) or 'failed'.
        reason: Why it was skipped or failed; '' for 'ok'.
        key: From `item_key`; '' where the item never got that far.
        seconds: Time spent on it.
        output: Path of the output relative to the run folder; '' for none.
        confidence: In [0, 1]: how sure the step is of the mask, where it knows; that of its least sure class.
        class_confidence: The same of each class that the image's label names, by class index as text, as JSON has it.
        coverage: In [0, 1]: share of the mask's pixels that are not 255, where the step knows.
        files: The files it was made from, in the order given to `Manifest.identify`.
    """

    id: str
    status: Status
    reason: str = ""
    key: str = ""
    seconds: float = 0.0
    output: str = ""
    confidence: float | None = None
    files: tuple[FileIdentity, ...] = ()
    class_confidence: Mapping[str, float] = field(default_factory=dict)
    coverage: float | None = None


def item_key(files: Sequence[FileIdentity], facts: Mapping[str, object]) -> str:
    """Hash of all that an item's output depends on.

    Args:
        files: What `Manifest.identify` returned; only the contents count, not where they lie.
        facts: The rest as JSON values: labels, settings, weights hash, and the format version of the step, which is
            raised whenever the step would write something else for the same input.

    Returns:
        64 hexadecimal digits.
    """
    text = json.dumps([[file.sha256 for file in files], facts], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_entries(folder: RunFolder, only: Container[str] | None = None) -> dict[str, ManifestEntry]:
    """What is known of a run's items, whether it was cut into shards or not.

    Args:
        folder: The run; where it has no manifest, nothing is known.
        only: Ids of the items that are wanted; None: all. An entry takes about a kilobyte.

    Returns:
        The last entry of each item, by id.

    Raises:
        ArtifactError: A line is damaged.
    """
    entries = read_manifest(folder.manifest, only)
    for path in folder.shard_manifests:
        entries |= read_manifest(path, only)
    return entries


def read_manifest(path: Path, only: Container[str] | None = None) -> dict[str, ManifestEntry]:
    """Read a manifest; the later of two lines on an item wins, a torn last line is left out.

    Args:
        path: `manifest.jsonl`; a missing one is empty.
        only: Ids of the items that are wanted; None: all.

    Returns:
        The last entry of each item, by id.

    Raises:
        ArtifactError: A line is damaged.
    """
    return {entry.id: entry for entry in each_entry(path) if only is None or entry.id in only}


def each_entry(path: Path) -> Iterator[ManifestEntry]:
    """Every line of a manifest, also those that a later one replaces.

    Args:
        path: `manifest.jsonl`; a missing one is empty.

    Yields:
        The entries, in the order of the lines.

    Raises:
        ArtifactError: A line is damaged.
    """
    for number, line in enumerate(whole_lines(path), 1):
        try:
            yield _parse(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            msg = f"{path}:{number}: damaged line ({error}); delete the line to redo its item, or use --overwrite"
            raise ArtifactError(msg) from None


def whole_lines(path: Path) -> Iterator[bytes]:
    """Its lines, without a torn last one; none where there is no file.

    Raises:
        ArtifactError: It cannot be read.
    """
    try:
        with open_regular(path) as handle:
            yield from (line for line in handle if line.endswith(b"\n"))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); mend that, or remove it to do all items again"
        raise ArtifactError(msg) from None


def _parse(values: dict[str, Any]) -> ManifestEntry:
    files = tuple(FileIdentity(**file) for file in values.pop("files"))
    entry = ManifestEntry(**values, files=files)
    if entry.status not in get_args(Status):
        msg = f"status {entry.status!r}"
        raise ValueError(msg)
    _check_kinds(entry)
    return entry


def _check_kinds(entry: ManifestEntry) -> None:
    """Refuse what is not of the kind that others take it for, and an output that lies elsewhere.

    Raises:
        ValueError: One part is.
    """
    texts = (entry.id, entry.reason, entry.key, entry.output, *entry.class_confidence)
    numbers = [entry.seconds, *entry.class_confidence.values()]
    numbers += [each for each in (entry.confidence, entry.coverage) if each is not None]
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(each, int | float) for each in numbers):
        msg = "a text is a number, or a number a text"
        raise ValueError(msg)
    if entry.output.startswith("/") or ".." in entry.output.split("/"):
        msg = f"its output {entry.output!r} lies outside of the run"
        raise ValueError(msg)
