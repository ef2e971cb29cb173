"""Say what is wrong with a folder of masks; nothing is changed."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from semples_cli.data.labels.recognise import AUTO
from semples_cli.steps.cam_source import Note
from semples_cli.steps.mask_findings import Finding, Findings
from semples_cli.steps.mask_inspection import MaskFacts, MaskJob, inspect_mask
from semples_cli.steps.mask_judgement import judge_mask
from semples_cli.steps.mask_knowledge import LabelChoice, MaskKnowledge, gather_knowledge
from semples_cli.steps.mask_listing import MaskListing, list_masks
from semples_cli.steps.process_pool import process_each
from semples_cli.steps.progress import tqdm_progress
from semples_cli.types import BACKGROUND_INDEX, IGNORE_INDEX, IndexArray, Progress

# Starting a process is worth it for this many masks.
MASKS_A_WORKER = 200


@dataclass(frozen=True)
class MaskCheck:
    """What `check_masks` found.

    Attributes:
        source: The folder.
        masks: Mask PNGs in it.
        images: Images that they were compared with; None where none are known.
        class_names: The classes; None where none are known.
        labelled: Masks whose image has a known label.
        coverage: Share of all pixels that are not 255, over the masks that can be read; None without any.
        findings: What is wrong, errors first.
    """

    source: Path
    masks: int
    images: int | None
    class_names: tuple[str, ...] | None
    labelled: int
    coverage: float | None
    findings: tuple[Finding, ...]

    @property
    def has_errors(self) -> bool:
        """Whether anything is wrong beyond doubt."""
        return any(finding.severity == "error" for finding in self.findings)


def check_masks(
    masks: Path,
    *,
    images: Sequence[Path] = (),
    labels: Path | None = None,
    labels_format: str = AUTO,
    classes: str | Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
    note: Note | None = None,
) -> MaskCheck:
    """Look at every mask of a folder, and compare it with what is known: image, label, classes, manifest.

    Args:
        masks: A run folder, or any folder of mask PNGs.
        images: The images; none: where run.json says that they are.
        labels: Labels of the images; None: those that the manifest knows.
        labels_format: 'auto', or the format of the labels.
        classes: Class list, or the name of a built-in one; None: that of run.json, else of the labels.
        workers: Most processes; a small folder is looked at in this one.
        progress: Called as (done, total); None draws a tqdm bar.
        note: Called with a sentence on what is not known, and so not checked.

    Returns:
        What was found.

    Raises:
        ArtifactError: There is no such folder.
        DataError: Images, labels or the class list cannot be used at all.
        SettingsError: Labels are given, and it is not known which images they are of.
    """
    files, found = list_masks(masks), Findings()
    known = gather_knowledge(
        masks, images, LabelChoice(labels, labels_format, classes), found, note or (lambda _: None)
    )
    _judge_names(masks, files, known, found)
    pictures = known.pictures or {}
    jobs = [MaskJob(key, path, pictures.get(key)) for key, path in files.masks.items()]
    processes = max(1, min(workers, len(jobs) // MASKS_A_WORKER))
    progress = progress or tqdm_progress("check")
    totals = np.zeros(256, np.int64)
    for done, (job, facts) in enumerate(process_each(inspect_mask, jobs, processes), 1):
        judge_mask(job.id, facts, known, found)
        if isinstance(facts, MaskFacts) and facts.counts:
            totals += np.array(facts.counts)
        progress(done, len(jobs))
    return _conclude(masks, files, known, found, totals)


def check_as_dict(check: MaskCheck) -> dict[str, Any]:
    """The check as one JSON document, with every item of every finding."""
    findings = [
        {
            "code": finding.code,
            "severity": finding.severity,
            "what": finding.what,
            "cure": finding.cure,
            "count": len(finding.items),
            "items": [{"id": item, "detail": detail} for item, detail in finding.items],
        }
        for finding in check.findings
    ]
    return {
        "source": str(check.source),
        "masks": check.masks,
        "images": check.images,
        "classes": None if check.class_names is None else list(check.class_names),
        "labelled": check.labelled,
        "coverage": check.coverage,
        "ok": not check.has_errors,
        "findings": findings,
    }


def _judge_names(source: Path, files: MaskListing, known: MaskKnowledge, found: Findings) -> None:
    """What the names of the files tell."""
    if not files.masks:
        found.add("no-masks", str(source))
    found.extend("jpeg", files.jpegs)
    found.extend("same-id", files.doubles)
    found.extend("unreadable", files.unlistable)
    found.extend("unfinished", files.leftovers)
    found.extend("run", files.runs)
    found.extend("case", _alike(files.masks, str.casefold))
    found.extend("same-name", _alike(files.masks, lambda key: key.rpartition("/")[2]))
    if known.pictures is not None:
        found.extend("no-image", ((key, "") for key in files.masks if key not in known.pictures))
        found.extend("no-mask", ((key, _reason(key, known)) for key in known.pictures if key not in files.masks))
    if known.manifest:
        unsaid = ((key, _reason(key, known)) for key in files.masks)
        found.extend("not-ok", (item for item in unsaid if item[1]))
    for key, entry in known.manifest.items():
        is_gone = known.pictures is not None and key not in known.pictures  # image and mask were taken out together
        if entry.status == "ok" and entry.output and not is_gone and not (source / entry.output).is_file():
            found.add("no-file", key, entry.output)


def _reason(key: str, known: MaskKnowledge) -> str:
    """Why the run has no mask of an image; '' where it has one, or there is no manifest."""
    if key not in known.manifest:
        return "not in the manifest" if known.manifest else ""
    entry = known.manifest[key]
    return "" if entry.status == "ok" else f"{entry.status}: {entry.reason}"


def _alike(keys: Collection[str], form: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Keys of one form, each with the first of the others."""
    groups = defaultdict(list)
    for key in keys:
        groups[form(key)].append(key)
    for same in groups.values():
        if len(same) > 1:
            yield from ((key, f"as {same[0] if key != same[0] else same[1]}") for key in same)


def _conclude(source: Path, files: MaskListing, known: MaskKnowledge, found: Findings, totals: IndexArray) -> MaskCheck:
    pixels, void, background = (
        int(number) for number in (totals.sum(), totals[IGNORE_INDEX], totals[BACKGROUND_INDEX])
    )
    if void and background and pixels == void + background:
        found.add("binary", str(source))
    return MaskCheck(
        source=source,
        masks=len(files.masks),
        images=None if known.pictures is None else len(known.pictures),
        class_names=None if known.class_set is None else known.class_set.names,
        labelled=sum(key in known.labels for key in files.masks),
        coverage=1 - void / pixels if pixels else None,
        findings=found.sorted(),
    )
