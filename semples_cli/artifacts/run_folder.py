"""The folder of one run: masks in the open, what else belongs to the run in `.semples/`, described by `run.json`."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.errors import ArtifactError, SemplesError, SettingsError
from semples_cli.tars.regular import read_regular
from semples_cli.types import ClassSet, Shard

FORMAT_VERSION = 1
HIDDEN = ".semples"
OVERLAYS = "overlays"
# What a record holds by name, if it holds it.
_DICTS = ("settings", "engine", "generator", "background_choice")
# Commands that make masks of images, in the order in which they follow each other.
STAGE_COMMANDS = ("cams", "refine", "crf", "review")


@dataclass(frozen=True)
class RunFolder:
    """Where the files of a run lie; nothing is made by asking.

    Attributes:
        root: The folder that the user named with --out.
    """

    root: Path

    @property
    def hidden(self) -> Path:
        """The folder of everything but masks and pictures."""
        return self.root / HIDDEN

    @property
    def cams(self) -> Path:
        """Folder of CAMs, `<id>.npz`."""
        return self.hidden / "cams"

    @property
    def manifest(self) -> Path:
        """One line per finished item; what the shards of a run finish lies beside it."""
        return self.hidden / "manifest.jsonl"

    def manifest_of(self, shard: Shard | None) -> Path:
        """The manifest that a shard writes; that of a run that is not cut into shards."""
        return self.manifest if shard is None else self.hidden / f"manifest-{shard.index}of{shard.count}.jsonl"

    @property
    def shard_manifests(self) -> list[Path]:
        """What shards wrote since a run last took their manifests in."""
        return sorted(self.hidden.glob("manifest-*of*.jsonl"))

    @property
    def record(self) -> Path:
        """What the run was made with."""
        return self.hidden / "run.json"

    @property
    def lock(self) -> Path:
        """Locked by the operating system for as long as a run writes here."""
        return self.hidden / "lock"

    def lock_of(self, shard: Shard | None) -> Path:
        """The same for a shard."""
        return self.lock if shard is None else self.hidden / f"lock-{shard.index}of{shard.count}"

    def mask_path(self, sample_id: str) -> Path:
        """Where the mask of an image lies."""
        return self.root / f"{sample_id}.png"

    def overlay_path(self, sample_id: str) -> Path:
        """Where the picture of image and mask lies."""
        return self.root / OVERLAYS / f"{sample_id}.png"


def write_run_record(folder: RunFolder | Path, record: Mapping[str, object]) -> Path:
    """Write `run.json`; `format_version` and `semples_version` are added.

    Args:
        folder: The run.
        record: JSON values. The keys that other commands read: `command` ('cams', 'crf'), `settings` (a dict),
            `classes` (from `class_record`, or None), `inputs` (absolute image paths, as given), `engine` (name,
            weights, their hash and licence, or None).

    Returns:
        The file.
    """
    run = folder if isinstance(folder, RunFolder) else RunFolder(folder)
    whole = {"format_version": FORMAT_VERSION, "semples_version": version("semples"), **record}
    with open_atomic(run.record) as handle:
        text = json.dumps(whole, ensure_ascii=False, indent=2, allow_nan=False)
        # File names that are no valid UTF-8 reach Python as surrogates; json.loads takes them back from bytes.
        handle.write(text.encode(errors="surrogatepass") + b"\n")
    return run.record


def read_run_record(root: Path) -> dict[str, Any] | None:
    """Read the `run.json` of a run folder; None where there is none.

    Raises:
        ArtifactError: It is damaged, or of a newer semples.
    """
    path = RunFolder(root).record
    try:
        record = json.loads(read_regular(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path}: cannot be read as JSON ({error}); run the command that made {root} again with --overwrite"
        raise ArtifactError(msg) from None
    if not isinstance(record, dict) or not isinstance(record.get("format_version"), int):
        msg = f"{path}: not a run record of semples; run the command that made {root} again with --overwrite"
        raise ArtifactError(msg)
    if damaged := _damaged_part(record):
        msg = f"{path}: {damaged!r} is damaged; run the command that made {root} again with --overwrite"
        raise ArtifactError(msg)
    if record["format_version"] > FORMAT_VERSION:
        msg = f"{path}: format {record['format_version']}, but this semples reads up to {FORMAT_VERSION}; upgrade it"
        raise ArtifactError(msg)
    return record


def _damaged_part(record: Mapping[str, object]) -> str:
    """What in a record is not of the kind that other commands take it for; '' where all is."""
    inputs = record.get("inputs") or []
    if not isinstance(inputs, list) or not all(isinstance(path, str) for path in inputs):
        return "inputs"
    return next((name for name in _DICTS if not isinstance(record.get(name) or {}, dict)), "")


def refuse_stages(folder: Path) -> None:
    """Refuse the folder around several runs of the same images, such as the --out of `semples run`.

    Runs of different images, such as those of `images/train` and `images/val`, may be read as one folder of masks.

    Raises:
        ArtifactError: It is one, and the message names the runs; or the record of one of them is damaged.
    """
    if not folder.is_dir() or RunFolder(folder).record.is_file():
        return
    with os.scandir(folder) as entries:  # knows folders without looking at each of a million masks
        inner = sorted(folder / entry.name for entry in entries if entry.is_dir())
    records = ((child, read_run_record(child) or {}) for child in inner)
    stages = [(child, record) for child, record in records if record.get("command") in STAGE_COMMANDS]
    if len({json.dumps(record.get("inputs")) for _, record in stages}) < len(stages):
        stages.sort(key=lambda stage: STAGE_COMMANDS.index(stage[1]["command"]))
        names = ", ".join(str(child) for child, _ in stages)
        msg = f"{folder} holds no masks itself, but runs of the same images; name one of its stages: {names}"
        raise ArtifactError(msg)


def class_record(classes: ClassSet) -> dict[str, object]:
    """The class list as `run.json` holds it."""
    return {"names": list(classes.names), "prompt_names": list(classes.prompt_names)}


def read_class_set(root: Path) -> ClassSet | None:
    """The class list of a run folder; None where no run, or no class list, is recorded.

    Raises:
        ArtifactError: The record, or its class list, is damaged.
    """
    record = read_run_record(root)
    if record is None or record.get("classes") is None:
        return None
    try:
        classes = record["classes"]
        return ClassSet(tuple(classes["names"]), tuple(classes["prompt_names"]))
    except (TypeError, KeyError, AttributeError, SemplesError) as error:
        msg = f"{RunFolder(root).record}: its class list is damaged ({error}); run that command again with --overwrite"
        raise ArtifactError(msg) from None


def check_same_run(previous: Mapping[str, Any] | None, current: Mapping[str, Any]) -> None:
    """Refuse to go on with a run whose masks would mean something else.

    Args:
        previous: The record found in the output folder; None for a new folder, or when everything is overwritten.
        current: The record about to be written.

    Raises:
        SettingsError: The folder belongs to another command, or its class list is another one.
    """
    if previous is None:
        return
    cure = "choose another --out, or --overwrite to do everything again"
    if previous.get("command") != current.get("command"):
        msg = f"the output folder was made by `semples {previous.get('command')}`; {cure}"
        raise SettingsError(msg)
    before, now = (_class_names(record) for record in (previous, current))
    if before != now:
        msg = f"the class list changed since the output folder was begun ({_difference(before, now)}); {cure}"
        raise SettingsError(msg)


def _class_names(record: Mapping[str, Any]) -> list[str]:
    classes = record.get("classes")
    names = classes.get("names") if isinstance(classes, dict) else None
    return [str(name) for name in names] if isinstance(names, list) else []


def _difference(before: list[str], now: list[str]) -> str:
    for index, (old, new) in enumerate(zip(before, now, strict=False), 1):
        if old != new:
            return f"class {index} was {old!r}, is {new!r}"
    return f"{len(before)} classes before, {len(now)} now"
