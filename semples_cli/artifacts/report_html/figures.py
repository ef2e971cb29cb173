"""Which plots a report has, by what its document holds."""

from collections.abc import Mapping
from typing import Any

from semples_cli.artifacts.report_html.plots import Points, class_bars, confusion_plot, curve_plot


def draw_figures(document: Mapping[str, Any]) -> dict[str, str]:
    """The plots of a document, as inline SVG by name: bars, confusion, curve, choice, loss; only those that apply."""
    evaluation = document["stages"][-1]["evaluation"]
    drawn = {"bars": _bars(document, evaluation is not None)}
    if evaluation is not None:
        drawn["confusion"] = confusion_plot([each["name"] for each in document["classes"]], evaluation["confusion"])
    drawn |= {"curve": _curves(document), "choice": _choice(document), "loss": _loss(document)}
    return {name: svg for name, svg in drawn.items() if svg}


def _bars(document: Mapping[str, Any], is_evaluated: bool) -> str:
    """IoU by the ground truth; without one, in how many of the images shown a class was found."""
    if is_evaluated:
        rows = [{**each, "share": each["iou"]} for each in document["classes"]]
        return class_bars(rows, "IoU", "coverage", "covered")
    num_images = len(document["images"])
    if not num_images:
        return ""
    rows = [{**each, "share": each["num_found"] / num_images} for each in document["classes"][1:]]
    return class_bars(rows, "found in", "confidence", "confident")


def _curves(document: Mapping[str, Any]) -> str:
    curves = {stage["name"]: stage["curve"] for stage in document["stages"] if stage["curve"]}
    if not curves:
        return ""
    marks = []
    for stage in document["stages"]:
        points = [(score, miou) for score, miou in stage["curve"] if miou is not None]
        if points and stage["background_score"] is not None:
            used = min(points, key=lambda point: abs(point[0] - stage["background_score"]))
            marks.append((stage["name"], *used))
    return curve_plot("curve", curves, marks, "background score", "mIoU %", scale=100)


def _choice(document: Mapping[str, Any]) -> str:
    """The criterion by which a run chose its background score, without ground truth."""
    curves: dict[str, Points] = {}
    marks = []
    for stage in document["stages"]:
        choice = stage["background_choice"] or {}
        if not choice.get("curve"):
            continue
        points = sorted(choice["curve"])
        curves[stage["name"]] = points
        known = [(score, value) for score, value in points if value is not None]
        if known and choice.get("score") is not None:
            marks.append((stage["name"], *min(known, key=lambda point: abs(point[0] - choice["score"]))))
    return curve_plot("choice", curves, marks, "background score", "criterion", scale=1) if curves else ""


def _loss(document: Mapping[str, Any]) -> str:
    losses = (document["prompts"] or {}).get("loss_by_epoch")
    if not losses:
        return ""
    points = [(epoch, loss) for epoch, loss in enumerate(losses, 1)]
    return curve_plot("loss", {"loss": points}, [], "epoch", "mean loss", scale=1)
