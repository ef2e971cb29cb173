"""Markdown tables of runs: mean ± standard deviation of each row, and paired differences between rows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

COLUMNS = {
    "default": "mIoU at 0.4",
    "tuned": "mIoU at the tuned score",
    "best": "best mIoU",
    "leakage_default": "leakage at 0.4",
    "leakage_tuned": "leakage at the tuned score",
    "crf_default": "at 0.4, CRF",
    "crf_tuned": "at the tuned score, CRF",
    "lost": "classes lost",
}

Runs = Sequence[Mapping[str, Any]]


def rows_table(runs: Runs, scores: Mapping[str, float]) -> str:
    """A line for each row, over all runs that have it; `scores`: its tuned background score."""
    lines = []
    for row, score in scores.items():
        figures = [run["rows"][row] for run in runs if row in run["rows"]]
        if figures:
            cells = (spread([each[key] for each in figures]) for key in COLUMNS)
            lines.append([f"{row} (at {score})", str(len(figures)), *cells])
    return markdown(["row", "runs", *COLUMNS.values()], lines)


def paired_table(runs: Runs, pairs: Iterable[tuple[str, str]]) -> str:
    """Differences between two rows of one world and one seed of training, and in how many runs each is above 0."""
    lines = []
    for one, other in pairs:
        differences = [
            {key: run["rows"][one][key] - there[key] for key in COLUMNS}
            for run in runs
            if one in run["rows"] and (there := _same_run(runs, run, other)) is not None
        ]
        if differences:
            values = [[each[key] for each in differences] for key in COLUMNS]
            cells = [f"{spread(each, '+')} ({sum(v > 0 for v in each)}/{len(each)})" for each in values]
            lines.append([f"{one} − {other}", *cells])
    return markdown(["difference", *COLUMNS.values()], lines)


def prompts_table(runs: Runs) -> str:
    """How many prompts are nearest to the class's own background, and what the others are nearest to."""
    lines = [
        [str(run["run"]["world"]), str(run["run"]["seed"]), f"{run['prompts']['own']:.0f} %", _missed(run)]
        for run in runs
        if "prompts" in run
    ]
    return markdown(["world", "seed", "own background", "others"], lines)


def spread(values: Sequence[float], sign: str = "") -> str:
    """Mean ± sample standard deviation; the value alone where there is one."""
    mean = f"{np.mean(values):{sign}.1f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.1f}"


def markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _same_run(runs: Runs, run: Mapping[str, Any], row: str) -> Mapping[str, float] | None:
    """That row of the same world, with the same seed of training or none."""
    for each in runs:
        one, other = each["run"], run["run"]
        same = all(one[key] == other[key] for key in one if key != "seed") and one["seed"] in (None, other["seed"])
        if same and each["fingerprint"] == run["fingerprint"] and row in each["rows"]:
            return each["rows"][row]
    return None


def _missed(run: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}: {word}" for k, word in run["prompts"]["missed"].items()) or "–"
