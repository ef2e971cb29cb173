"""The plots of the report, each as inline SVG: bars of the classes, confusion matrix, curves."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from semples_cli.artifacts.report_html.svg import (
    BAD,
    GOOD,
    GRID,
    INK,
    SERIES,
    SOFT,
    TIP,
    TRACK,
    as_inline_svg,
    house_style,
    new_figure,
)

WIDTH = 5.2  # inches; the page scales it
LONGEST_NAME = 24
LEGEND_COLUMNS = 3
MOST_WITH_NUMBERS = 12  # classes whose confusion matrix has room for numbers
LEAST_SHARE = 0.005  # of a row: what is less would not be seen

Points = Sequence[tuple[float, float | None]]


@house_style()
def class_bars(rows: Sequence[Mapping[str, Any]], what: str, second: str, second_what: str) -> str:
    """A bar for each class, in its colour, on a track that is as long as a second share.

    Args:
        rows: In order, each with `name`, `colour` ('#rrggbb', or None for background), and `share` and `second` (shares
            of 1, or None).
        what: Heading of the bars: 'IoU'.
        second: Key of the second share: 'coverage'. Where no class has one, it is left out.
        second_what: Its heading.
    """
    has_second = any(row[second] is not None for row in rows)
    bar, top = 0.235, 0.34
    figure = new_figure(WIDTH, top + bar * len(rows) + 0.1)
    axes = _blank(figure.add_axes((0, 0, 1, 1)), figure.get_figwidth(), figure.get_figheight())
    left, right = _room(rows), WIDTH - (1.4 if has_second else 0.65)
    first_column, second_column = right + 0.55, WIDTH - 0.05
    _text(axes, first_column, top - 0.14, f"{what} %", ha="right", color=SOFT)
    if has_second:
        _text(axes, second_column, top - 0.14, f"{second_what} %", ha="right", color=SOFT)
    tips: dict[str, str] = {}
    for number, row in enumerate(rows):
        y, gid, share, other = top + bar * (number + 0.5), f"{TIP}{number}", row["share"], row[second]
        tips[gid] = f"{row['name']}: {what} {_percent(share)} %"
        _text(axes, left - 0.1, y, _short(row["name"]), ha="right")
        _box(axes, left, y, (right - left) * (1.0 if other is None else other), 0.12, TRACK)
        _box(axes, left, y, (right - left) * (share or 0), 0.12, row["colour"] or SOFT, gid=gid)
        _text(axes, first_column, y, _percent(share), ha="right")
        if has_second:
            _text(axes, second_column, y, _percent(other), ha="right", color=SOFT)
    return as_inline_svg(figure, "bars", f"{what} of each class, in percent", tips)


@house_style()
def confusion_plot(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """The confusion matrix: shares of each row, what is right in one colour and what is wrong in the other.

    Args:
        names: C names, background first.
        counts: C rows of C + 1 pixel counts: rows ground truth, columns prediction, last column predicted 255.
    """
    cell = max(0.1, min(0.34, 4.2 / len(names)))
    margin = 0.12 + 0.07 * max(len(_short(name)) for name in names)
    figure = new_figure(margin + cell * (len(names) + 1) + 0.1, margin + cell * len(names) + 0.1)
    axes = _blank(figure.add_axes((0, 0, 1, 1)), figure.get_figwidth(), figure.get_figheight())
    size = min(8.5, 72 * cell * 0.8)
    tips: dict[str, str] = {}
    for column, name in enumerate([*names, "255"]):
        x = margin + cell * (column + 0.5)
        _text(axes, x, margin - 0.08, _short(name), ha="center", va="bottom", rotation=90, fontsize=size)
    for row, name in enumerate(names):
        _text(axes, margin - 0.08, margin + cell * (row + 0.5), _short(name), ha="right", fontsize=size)
        tips |= _confusion_row(axes, names, counts[row], row, margin, cell)
    return as_inline_svg(figure, "confusion", "Confusion matrix: rows ground truth, columns prediction", tips)


@house_style()
def curve_plot(
    name: str, curves: Mapping[str, Points], marks: Sequence[tuple[str, float, float]], x: str, y: str, *, scale: float
) -> str:
    """Curves over one axis, with points that are marked.

    Args:
        name: Of the plot, unique in the page.
        curves: (x, y) points by name, y None where undefined.
        marks: (name of its curve, x, y); hollow points.
        x: What the x axis is.
        y: What the y axis is.
        scale: Factor on y: 100 for shares in percent.
    """
    height = 2.6 + (0.2 * math.ceil(len(curves) / LEGEND_COLUMNS) if len(curves) > 1 else 0.0)
    figure = new_figure(WIDTH, height)
    axes = _plain(figure.add_axes((0.12, 0.42 / height, 0.86, 2.1 / height)))
    colours = {key: SERIES[number % len(SERIES)] for number, key in enumerate(curves)}
    lines: list[Any] = []
    for key, points in curves.items():
        xs, ys = zip(*((u, float("nan") if v is None else v * scale) for u, v in points), strict=True)
        lines += axes.plot(xs, ys, color=colours[key], lw=1.6, solid_capstyle="round")
    for key, u, v in marks:
        axes.plot([u], [v * scale], "o", ms=5, mfc="none", mec=colours[key], mew=1.4)
    axes.set_xlabel(x, color=SOFT, labelpad=5)
    axes.set_ylabel(y, color=SOFT, labelpad=5)
    if len(curves) > 1:
        place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.3}
        axes.legend(lines, map(_short, curves), ncols=LEGEND_COLUMNS, frameon=False, labelcolor=INK, **place)
    return as_inline_svg(figure, name, f"{y} over {x}")


def _confusion_row(
    axes: Axes, names: Sequence[str], counts: Sequence[int], row: int, margin: float, cell: float
) -> dict[str, str]:
    total = sum(counts)
    axes.add_patch(Rectangle((margin, margin + cell * row), cell * len(counts), cell, fc=TRACK, alpha=0.5, lw=0))
    tips: dict[str, str] = {}
    for column, count in enumerate(counts):
        share = count / total if total else 0.0
        if share < LEAST_SHARE:
            continue
        x, gid = margin + cell * column, f"{TIP}{row}-{column}"
        colour = GOOD if row == column else BAD
        box = Rectangle((x, margin + cell * row), cell, cell, fc=colour, alpha=round(0.12 + 0.88 * share, 3), lw=0)
        box.set_gid(gid)
        axes.add_patch(box)
        taken = "left undecided (255)" if column == len(names) else f"taken for {names[column]}"
        tips[gid] = f"{100 * share:.1f} % of {names[row]} {taken}"
        if len(names) <= MOST_WITH_NUMBERS:
            _text(axes, x + cell / 2, margin + cell * (row + 0.5), f"{100 * share:.0f}", ha="center", fontsize=7.5)
    return tips


def _blank(axes: Axes, width: float, height: float) -> Axes:
    """Axes in inches from the top left corner, without a frame."""
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return axes


def _plain(axes: Axes) -> Axes:
    axes.set_facecolor("none")
    axes.tick_params(colors=SOFT, length=0, pad=5)
    axes.grid(color=GRID, lw=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    return axes


def _box(axes: Axes, x: float, y: float, width: float, height: float, colour: str, gid: str | None = None) -> None:
    # The masks' colours were not made for paper, light or dark: a hairline keeps the darkest of them visible.
    box = Rectangle((x, y - height / 2), width, height, fc=colour, ec=SOFT, lw=0.4 if gid and width else 0)
    box.set_gid(gid)
    axes.add_patch(box)


def _text(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:  # matplotlib's own
    axes.text(x, y, text, **{"va": "center_baseline", "color": INK} | style)


def _room(rows: Sequence[Mapping[str, Any]]) -> float:
    return 0.25 + 0.075 * max(len(_short(row["name"])) for row in rows)


def _short(name: str) -> str:
    """One line, not too long, and nothing that a font or an XML file cannot hold."""
    text = "".join(each if each.isprintable() else "·" for each in name)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"
