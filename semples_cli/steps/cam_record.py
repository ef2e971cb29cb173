"""The run.json of `make_cams`: what a run of CAMs was made with, and what of it changed since the last time."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from semples_cli.artifacts.run_folder import (
    RunFolder,
    check_same_run,
    class_record,
    read_run_record,
    write_run_record,
)
from semples_cli.config import CamSettings
from semples_cli.engine.clip import ClipEngine
from semples_cli.steps.choose_background import ScoreChooser
from semples_cli.steps.shards import check_same_shards
from semples_cli.types import ClassSet, Progress

# Raise it whenever the same input and settings would give another CAM or mask: older items are then redone.
STEP_VERSION = 2

LONGEST_SHOWN = 24

# Called with a sentence about what is not as one might expect; the command says it on stderr.
Note = Callable[[str], None]


def cam_record(
    class_set: ClassSet,
    engine: ClipEngine,
    settings: CamSettings,
    mask_mode: str,
    inputs: Sequence[Path],
    generator: Mapping[str, object],
) -> dict[str, Any]:
    """What a run was made with, as `run.json` holds it; `generator` is the record of a `CamMaker`, {} for seeds."""
    record = {
        "command": "cams",
        "step_version": STEP_VERSION,
        "settings": asdict(settings),
        "mask_mode": mask_mode,
        "classes": class_record(class_set),
        "engine": engine.record,
        "preprocess": {"mean": engine.preprocess.mean, "std": engine.preprocess.std},
        "inputs": [str(path.absolute()) for path in inputs],
    }
    return record | ({"generator": dict(generator)} if generator else {})


def shaping_facts(record: Mapping[str, Any]) -> dict[str, Any]:
    """All in a record that shapes every mask: part of each item's key.

    Device and batch size are no part of it. They move the last bits only, and a run may go on with others.
    """
    settings, engine = record.get("settings") or {}, record.get("engine") or {}
    # At 0 a minimum confidence shapes nothing, and runs from before there was one go on.
    neutral = {"batch_size"} | ({"min_confidence"} if not settings.get("min_confidence") else set())
    facts = {name: value for name, value in settings.items() if name not in neutral}
    facts |= {name: engine.get(name) for name in ("weights_sha256", "quick_gelu", "precision")}
    facts |= {name: record.get(name) for name in ("step_version", "mask_mode", "preprocess")}
    return facts | ({"generator": record["generator"]} if record.get("generator") else {})


def with_choice(
    record: Mapping[str, Any], chooser: ScoreChooser, previous: Mapping[str, Any] | None, progress: Progress, note: Note
) -> dict[str, Any]:
    """The record of a run whose background score is chosen: as an earlier run chose it, if it would be the same.

    Args:
        record: From `cam_record`.
        chooser: Chooses the score.
        previous: The record of the earlier run in the folder, if any.
        progress: Called as (done, total) while the deciding images are looked at.
        note: Called with a sentence on what was chosen.

    Raises:
        SemplesError: As in `ScoreChooser.choose`.
    """
    fingerprint = chooser.fingerprint(shaping_facts(record))
    made = (previous or {}).get("background_choice") or {}
    if made.get("fingerprint") != fingerprint:
        choice = chooser.choose(progress)
        note(choice.sentence)
        made = {**choice.as_record(), "fingerprint": fingerprint}
    settings = {**record["settings"], "background_score": made["score"]}
    return {**record, "settings": settings, "background_choice": made}


def begin_run(run: RunFolder, record: Mapping[str, Any], *, overwrite: bool, note: Note, is_alone: bool = True) -> None:
    """Write run.json, and say what changed since an earlier run.

    Args:
        run: The run folder, locked.
        record: From `cam_record`.
        overwrite: Whatever was there before does not matter.
        note: Called with a sentence if masks of an earlier run are made again.
        is_alone: No other shard of this run is at work; with others, their run.json stays as it is.

    Raises:
        SettingsError: The folder belongs to another command, its class list is another one, or other shards are at work
            and do something else.
        ArtifactError: Its run.json is damaged.
    """
    previous = None if overwrite and is_alone else read_run_record(run.root)
    check_same_run(previous, record)
    if not is_alone:
        check_same_shards(previous, record, _changes(previous or {}, record))
        return
    if previous is not None and (changes := _changes(previous, record)):
        note(f"{run.root}: made again what an earlier run did, because of {', '.join(changes)}")
    write_run_record(run, record)


def _changes(previous: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    before, now = ({**shaping_facts(each), **(each.get("classes") or {})} for each in (previous, record))
    names = dict.fromkeys((*now, *before))  # a generator may come or go
    texts = [(name, json.dumps(before.get(name)), json.dumps(now.get(name))) for name in names]
    return [
        f"{name} {old} → {new}" if max(len(old), len(new)) <= LONGEST_SHOWN else f"other {name}"
        for name, old, new in texts
        if old != new
    ]
