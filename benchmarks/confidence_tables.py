"""What a measure of confidence is worth: rank correlation, risk and coverage; and the tables of confidence.py."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from tables import markdown

AREA, SCORE, MARGIN, POSTERIOR = "area", "map score", "margin", "CRF posterior"
VIEWS, CRF, MATCH = "agreement of views", "agreement with the CRF", "CLIP's match"
WHOLE = "CLIP's match, whole image"
MEASURES = (MATCH, MARGIN, POSTERIOR, VIEWS, CRF, SCORE, WHOLE, AREA)
CURVES = (MATCH, POSTERIOR, MARGIN)
KEPT = (0.25, 0.5, 0.75, 1.0)
FEWEST = 5  # regions of a class, for a correlation within it

Runs = Sequence[Mapping[str, Any]]


def level_for(sure: np.ndarray, share: float) -> float:
    """The quantile at which this share of the pixels stays covered, or more where pixels are equally sure."""
    return float(np.quantile(sure, 1 - share, method="lower"))


def aurc(sure: np.ndarray, risk: np.ndarray) -> float:
    """Area under the risk-coverage curve: the mean risk of the n surest, over all n; the first of equals goes first."""
    order = np.argsort(-sure, kind="stable")
    return float((np.cumsum(risk[order]) / np.arange(1, len(risk) + 1)).mean())


def aurc_gain(sure: np.ndarray, quality: np.ndarray) -> float:
    """How much of the way a measure goes from a random order (0) to the best one (1); below 0 it is worse."""
    risk = 1 - quality
    return float((risk.mean() - aurc(sure, risk)) / (risk.mean() - aurc(quality, risk)))


def kept_quality(sure: np.ndarray, quality: np.ndarray) -> list[float]:
    """Mean quality, in percent, of the surest shares of KEPT."""
    order = np.argsort(-sure, kind="stable")
    return [100 * float(quality[order[: max(1, round(share * len(order)))]].mean()) for share in KEPT]


def rho_within(sure: np.ndarray, quality: np.ndarray, classes: np.ndarray) -> float:
    """Mean over classes of Spearman's rho among the regions of one class: what is left when all are of equal class."""
    chosen = [classes == k for k in np.unique(classes)]
    rhos = [
        float(spearmanr(sure[own], quality[own])[0])
        for own in chosen
        if own.sum() >= FEWEST and np.ptp(sure[own]) > 0 and np.ptp(quality[own]) > 0
    ]
    return float(np.mean(rhos)) if rhos else float("nan")


def make_tables(runs: Runs) -> list[str]:
    """What the runs are, and all tables of them."""
    counts = [len(next(iter(run["regions"].values()))["iou"]) for run in runs]
    said = f"{len(runs)} runs; regions in each: {', '.join(map(str, counts))}"
    return [said, measures_table(runs), within_table(runs), curves_table(runs), pixels_table(runs)]


def measures_table(runs: Runs) -> str:
    """Spearman's rho of each measure with the IoU, in brackets the gain in AURC; a column for each kind of masks."""
    kinds = list(runs[0]["regions"])
    lines = [[measure, *(_measure_cell(runs, kind, measure) for kind in kinds)] for measure in MEASURES]
    return markdown(["measure", *kinds], lines)


def within_table(runs: Runs) -> str:
    """Spearman's rho within a class."""
    lines = []
    for measure in MEASURES:
        rhos = (
            [rho_within(*_columns(run, kind, measure), np.array(run["regions"][kind]["class"])) for run in runs]
            for kind in runs[0]["regions"]
        )
        lines.append([measure, *(_spread(each, 2) for each in rhos)])
    return markdown(["within a class", *runs[0]["regions"]], lines)


def curves_table(runs: Runs) -> str:
    """Mean IoU of the surest regions."""
    lines = []
    for kind in runs[0]["regions"]:
        for measure in CURVES:
            curves = [kept_quality(*_columns(run, kind, measure)) for run in runs]
            lines.append([kind, measure, *(_spread(points, 1) for points in zip(*curves, strict=True))])
    return markdown(["masks", "measure", *(f"surest {100 * share:.0f} %" for share in KEPT)], lines)


def pixels_table(runs: Runs) -> str:
    """What remains when the least sure pixels become 255."""
    lines = []
    for kind, levels in runs[0]["pixels"].items():
        for i in range(len(levels)):
            found = [run["pixels"][kind][i] for run in runs]
            cells = (
                _spread([each[key] for each in found], digits)
                for key, digits in (("coverage", 1), ("level", 5), ("accuracy", 1), ("miou", 1))
            )
            lines.append([kind, *cells])
    return markdown(["masks", "coverage, %", "level", "pixel accuracy, %", "mIoU, %"], lines)


def _measure_cell(runs: Runs, kind: str, measure: str) -> str:
    pairs = [_columns(run, kind, measure) for run in runs]
    rho = _spread([float(spearmanr(sure, quality)[0]) for sure, quality in pairs], 2)
    return f"{rho} ({_mean([aurc_gain(sure, quality) for sure, quality in pairs], 2)})"


def _columns(run: Mapping[str, Any], kind: str, measure: str) -> tuple[np.ndarray, np.ndarray]:
    return np.array(run["regions"][kind][measure]), np.array(run["regions"][kind]["iou"])


def _spread(values: Sequence[float], digits: int) -> str:
    """Mean ± sample standard deviation; the value alone where there is one."""
    mean = _mean(values, digits)
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def _mean(values: Sequence[float], digits: int) -> str:
    return f"{round(float(np.mean(values)), digits) + 0:.{digits}f}"  # + 0: no -0.00
