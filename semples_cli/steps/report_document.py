"""A report as one JSON document, which the page is drawn from: stages, classes, prompts, facts of each image."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from semples_cli import __version__
from semples_cli.artifacts.mask_png import voc_palette
from semples_cli.artifacts.report_files import report_as_dict
from semples_cli.steps.report_stages import ReportStage
from semples_cli.types import BACKGROUND

FORMAT_VERSION = 1
MOST_REASONS = 100
MOST_IDS = 10

Facts = dict[str, Any]


def report_document(
    title: str, stages: Sequence[ReportStage], prompts: Mapping[str, Any] | None, images: Sequence[Facts]
) -> dict[str, Any]:
    """All that a report says, as JSON values: shares of 1, null where undefined.

    Args:
        title: What the report is of.
        stages: The last one is the result.
        prompts: From `prompts_as_dict`; None where none were learned.
        images: Facts of the images that are shown, from `make_gallery`.
    """
    last = stages[-1]
    return {
        "format_version": FORMAT_VERSION,
        "semples_version": __version__,
        "title": title,
        "stages": [_stage(stage) for stage in stages],
        "classes": _classes(last, images),
        "prompts": prompts,
        "num_masks": len(last.masks),
        "images": list(images),
    }


def _stage(stage: ReportStage) -> Facts:
    settings = stage.record.get("settings") or {}
    confidence = [each.confidence for each in stage.entries.values() if each.confidence is not None]
    best = max((point for point in stage.curve if not math.isnan(point[1])), key=itemgetter(1), default=None)
    return {
        "name": stage.name,
        "folder": str(stage.folder),
        "command": stage.record.get("command"),
        "semples_version": stage.record.get("semples_version"),
        "settings": settings,
        "engine": stage.record.get("engine") or {},
        "generator": stage.record.get("generator") or {},
        "inputs": stage.record.get("inputs") or [],
        "num_masks": len(stage.masks),
        "counts": _counts(stage),
        "reasons": _reasons(stage),
        "confidence": float(np.mean(confidence)) if confidence else None,
        "background_score": _score(stage),
        "background_choice": stage.record.get("background_choice"),
        "best_background_score": None if best is None else best[0],
        "best_miou": None if best is None else best[1],
        "curve": [[score, _share(miou)] for score, miou in stage.curve],
        "evaluation": None if stage.report is None else report_as_dict(stage.report),
    }


def _score(stage: ReportStage) -> float | None:
    """What the masks were cut at: by this report, by the run, or by the run that a CRF refined."""
    if stage.background_score is not None:
        return stage.background_score
    settings = stage.record.get("settings") or {}
    found = settings.get("background_score", stage.record.get("background_score"))
    return float(found) if isinstance(found, int | float) else None


def _counts(stage: ReportStage) -> dict[str, int]:
    """Items by how they ended; without a manifest, the masks that are there."""
    if not stage.entries:
        return {"ok": len(stage.masks), "skipped": 0, "failed": 0}
    counts = Counter(entry.status for entry in stage.entries.values())
    return {"ok": counts["ok"], "skipped": counts["skipped"], "failed": counts["failed"]}


def _reasons(stage: ReportStage) -> list[Facts]:
    """Why items were skipped or failed, the most frequent reason first."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for entry in stage.entries.values():
        if entry.status != "ok":
            by_reason.setdefault((entry.status, entry.reason), []).append(entry.id)
    frequent = sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        {"status": status, "reason": reason, "count": len(ids), "ids": sorted(ids)[:MOST_IDS]}
        for (status, reason), ids in frequent[:MOST_REASONS]
    ]


def _classes(stage: ReportStage, images: Sequence[Facts]) -> list[Facts]:
    """One entry for each class, background first; its colour is that of the masks, and none for background."""
    palette = voc_palette()
    found = Counter(k for image in images for k in image["classes"])
    names = (BACKGROUND, *stage.class_set.names)
    return [
        {
            "index": index,
            "name": name,
            "colour": "#{:02x}{:02x}{:02x}".format(*palette[index].tolist()) if index else None,
            "iou": None if stage.report is None else _share(float(stage.report.iou[index])),
            "coverage": _coverage(stage, index),
            "num_found": found[index],
            **_labels(stage, index),
        }
        for index, name in enumerate(names)
    ]


def _labels(stage: ReportStage, index: int) -> Facts:
    """In how many images the label names the class, and how sure the step was of it there, where the manifest knows."""
    key = str(index)
    shares = [each.class_confidence[key] for each in stage.entries.values() if key in each.class_confidence]
    return {"num_labelled": len(shares) or None, "confidence": float(np.mean(shares)) if shares else None}


def _coverage(stage: ReportStage, index: int) -> float | None:
    """Share of the class's own pixels, by the ground truth, that are not left undecided (255)."""
    if stage.report is None:
        return None
    row = stage.report.confusion[index]
    return float(1 - row[-1] / row.sum()) if row.sum() else None


def _share(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
