"""Reports on disk: report.json for machines, report.csv, confusion.csv and curve.csv for spreadsheets."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.artifacts.csv_text import csv_text
from semples_cli.errors import ArtifactError
from semples_cli.types import Report

FORMAT_VERSION = 1
PER_CLASS = ("iou", "precision", "recall", "fp_rate", "fn_rate")


def write_report(folder: Path, report: Report) -> Path:
    """Write report.json, report.csv (a line per class), confusion.csv and, where there is a curve, curve.csv.

    Args:
        folder: Made if missing; files of an earlier report are replaced, a curve.csv that no longer applies is removed.
        report: What `evaluate_masks` or `evaluate_cams` returned.

    Returns:
        Path of report.json.
    """
    names = report.class_names
    per_class = [[_cell(getattr(report, key)[i]) for key in PER_CLASS] for i in range(len(names))]
    _write_csv(folder / "report.csv", ["class", *PER_CLASS], zip(names, per_class, strict=True))
    _write_csv(
        folder / "confusion.csv",
        ["ground truth", *names, "ignore (255)"],
        zip(names, report.confusion.tolist(), strict=True),
    )
    if report.curve:
        rows = [(str(score), [_cell(miou)]) for score, miou in report.curve]
        _write_csv(folder / "curve.csv", ["background_score", "miou"], rows)
    else:
        (folder / "curve.csv").unlink(missing_ok=True)
    path = folder / "report.json"
    with open_atomic(path) as handle:
        text = json.dumps(report_as_dict(report), ensure_ascii=False, allow_nan=False, indent=1)
        # File names that are no valid UTF-8 reach Python as surrogates; json.loads takes them back from bytes.
        handle.write(text.encode(errors="surrogatepass") + b"\n")
    return path


def report_as_dict(report: Report) -> dict[str, Any]:
    """The report as one JSON document: shares of 1, null where undefined, classes in the order of their index."""
    names = report.class_names
    return {
        "format_version": FORMAT_VERSION,
        "miou": _share(report.miou),
        "num_classes_averaged": report.num_classes_averaged,
        "pixel_accuracy": _share(report.pixel_accuracy),
        "coverage": _share(report.coverage),
        "num_images": report.num_images,
        "background_score": report.background_score,
        **{key: dict(zip(names, map(_share, getattr(report, key)), strict=True)) for key in PER_CLASS},
        "missing": list(report.missing),
        "curve": [{"background_score": score, "miou": _share(miou)} for score, miou in report.curve],
        "confusion": report.confusion.tolist(),
    }


def read_report(path: Path) -> Report:
    """Read a report.json back; every number is what it was.

    Args:
        path: The report.json.

    Raises:
        ArtifactError: Missing, damaged, or of another format version.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        msg = f"{path}: cannot read this report: {error.strerror}"
        raise ArtifactError(msg) from error
    except ValueError as error:
        msg = f"{path}: this report is damaged ({error}): run semples evaluate again"
        raise ArtifactError(msg) from error
    version = document.get("format_version") if isinstance(document, dict) else None
    if version != FORMAT_VERSION:
        msg = f"{path}: report of format {version}, but this semples reads {FORMAT_VERSION}: run semples evaluate again"
        raise ArtifactError(msg)
    try:
        return _from_dict(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        msg = f"{path}: this report is damaged ({error!r}): run semples evaluate again"
        raise ArtifactError(msg) from error


def _from_dict(document: dict[str, Any]) -> Report:
    shares: dict[str, npt.NDArray[np.float64]] = {
        key: np.array([_number(value) for value in document[key].values()], np.float64) for key in PER_CLASS
    }
    return Report(
        class_names=tuple(document["iou"]),
        **shares,
        miou=_number(document["miou"]),
        num_classes_averaged=document["num_classes_averaged"],
        pixel_accuracy=_number(document["pixel_accuracy"]),
        confusion=np.array(document["confusion"], np.int64),
        coverage=_number(document["coverage"]),
        num_images=document["num_images"],
        missing=tuple(document["missing"]),
        background_score=document["background_score"],
        curve=tuple((point["background_score"], _number(point["miou"])) for point in document["curve"]),
    )


def _share(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _cell(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))


def _write_csv(path: Path, header: list[str], rows: Iterable[tuple[str, Iterable[object]]]) -> None:
    text = csv_text([header, *([name, *values] for name, values in rows)])
    with open_atomic(path) as handle:
        handle.write(text.encode())
