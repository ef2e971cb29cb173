"""Plots as inline SVG: what they say, and what must not be in them."""

import re
from html.parser import HTMLParser

import matplotlib
import pytest

from semples_cli.artifacts.report_html.figures import draw_figures
from semples_cli.artifacts.report_html.plots import LONGEST_NAME, class_bars, confusion_plot, curve_plot
from semples_cli.artifacts.report_html.svg import (
    BAD,
    GOOD,
    GRID,
    INK,
    SERIES,
    SOFT,
    TRACK,
    as_inline_svg,
    colour_tables,
    house_style,
    new_figure,
)

ROWS = [
    {"name": "background", "colour": None, "share": 0.9, "coverage": 1.0},
    {"name": "cat", "colour": "#800000", "share": 0.5, "coverage": 0.75},
    {"name": "emu", "colour": "#008000", "share": None, "coverage": None},
]
NASTY = ["<script>alert(1)</script>", "a\"b'c", "$x^{2$", "日本語", "שלום", "\u202egnp.exe", "_hidden", "a\x1bb\ud800"]


class Reader(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


def bars(rows=ROWS):
    return class_bars(rows, "IoU", "coverage", "covered")


def curves(names=("seeds", "refined"), marks=()):
    points = [(0.0, 0.25), (0.5, 0.5), (1.0, None)]
    return curve_plot("curve", dict.fromkeys(names, points), marks, "background score", "mIoU %", scale=100)


def test_bars_say_their_numbers_and_a_dash_where_there_is_none():
    texts = Reader(bars()).texts
    for expected in ("background", "90.0", "100.0", "cat", "50.0", "75.0", "emu", "–", "IoU %", "covered %"):
        assert expected in texts
    assert "cat: IoU 50.0 %" in texts  # the text under the pointer


def test_bars_are_as_long_as_their_shares_and_in_the_colours_of_the_masks():
    widths = {}
    for tag, attributes in Reader(bars()).tags:
        if tag == "path" and attributes.get("fill") in ("#800000", "var(--track)"):
            xs = [float(x) for x in re.findall(r"[ML] ([\d.]+)", attributes["d"])]
            widths.setdefault(attributes["fill"], []).append(max(xs) - min(xs))
    (cat,) = widths["#800000"]
    whole, track, _ = widths["var(--track)"]
    assert cat / whole == pytest.approx(0.5, abs=1e-3)
    assert track / whole == pytest.approx(0.75, abs=1e-3)


def test_the_second_column_is_left_out_where_nothing_is_known():
    rows = [{**row, "coverage": None} for row in ROWS]
    assert "covered" not in bars(rows)


def test_confusion_says_shares_of_the_row_and_leaves_out_what_would_not_be_seen():
    svg = confusion_plot(["background", "cat"], [[970, 4, 26], [100, 100, 0]])
    texts = Reader(svg).texts
    assert "97.0 % of background taken for background" in texts
    assert "2.6 % of background left undecided (255)" in texts
    assert "50.0 % of cat taken for background" in texts
    assert not [text for text in texts if "background taken for cat" in text]  # 0.4 %
    fills = [attributes.get("fill") for tag, attributes in Reader(svg).tags if tag == "path"]
    assert fills.count("var(--good)") == 2
    assert fills.count("var(--bad)") == 2


def test_confusion_of_a_class_without_ground_truth_is_an_empty_row():
    texts = Reader(confusion_plot(["background", "cat"], [[0, 0, 0], [0, 5, 0]])).texts
    assert not [text for text in texts if text.endswith("of background taken for background")]


def test_a_confusion_of_many_classes_has_no_numbers_and_stays_small():
    names = [f"class {k}" for k in range(81)]
    counts = [[1000 if row == column else 1 for column in range(82)] for row in range(81)]
    svg = confusion_plot(names, counts)
    assert "93" not in Reader(svg).texts
    assert len(svg) < 200_000


def test_curves_have_a_legend_where_there_are_several():
    assert {"seeds", "refined"} <= set(Reader(curves()).texts)
    assert "seeds" not in Reader(curves(names=("seeds",))).texts


def test_the_score_in_use_is_marked():
    plain, marked = curves(), curves(marks=[("seeds", 0.5, 0.5)])
    assert marked.count("<use") == plain.count("<use") + 1
    target = re.search(r'<use[^>]*href="#(\w+)"', marked)[1]
    assert f'id="{target}"' in marked


@pytest.mark.parametrize("name", NASTY)
def test_names_are_text_whatever_they_hold(name):
    rows = [{**ROWS[1], "name": name}]
    svgs = [bars(rows), confusion_plot([name, "cat"], [[1, 1, 0], [0, 1, 0]]), curves(names=(name, "other"))]
    for svg in svgs:
        reader = Reader(svg)
        assert {tag for tag, _ in reader.tags} <= {
            "svg",
            "defs",
            "g",
            "path",
            "text",
            "title",
            "use",
            "clippath",
            "rect",
        }
        shown = "".join(each if each.isprintable() else "·" for each in name)
        assert any(shown[: LONGEST_NAME - 1] in text for text in reader.texts)


def test_long_names_are_cut_in_the_plot_and_whole_under_the_pointer():
    name = "w" * 60
    texts = Reader(bars([{**ROWS[1], "name": name}])).texts
    assert "w" * (LONGEST_NAME - 1) + "…" in texts
    assert f"{name}: IoU 50.0 %" in texts


@pytest.mark.parametrize("svg", [bars(), confusion_plot(["background", "cat"], [[9, 1, 0], [1, 9, 0]]), curves()])
def test_nothing_is_left_that_a_page_cannot_have(svg):
    reader = Reader(svg)
    attributes = {name for _, each in reader.tags for name in each}
    assert attributes.isdisjoint({"style", "class", "xmlns", "xmlns:xlink", "version"})
    assert not {name for name in attributes if name.startswith("on")}
    assert "http" not in svg
    assert "<!--" not in svg
    assert "metadata" not in svg
    stand_ins = {INK, SOFT, GRID, TRACK, GOOD, BAD, *SERIES}
    assert not [colour for colour in stand_ins if colour in svg.lower()]
    assert ("svg", "img") in [(tag, each.get("role")) for tag, each in reader.tags]


def test_ids_of_several_plots_do_not_clash():
    ids = [
        re.findall(r'\bid="([^"]+)"', svg)
        for svg in (bars(), curves(), curve_plot("other", {"a": [(0, 1), (1, 2)]}, [], "x", "y", scale=1))
    ]
    for first in range(3):
        assert len(set(ids[first])) == len(ids[first])
        for second in range(first):
            assert set(ids[first]).isdisjoint(ids[second])


def test_the_same_figures_give_the_same_text_whatever_the_user_s_settings_are():
    before = bars(), curves()
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "svg.fonttype": "path", "lines.linewidth": 9}):
        assert (bars(), curves()) == before


def test_matplotlib_s_own_settings_are_left_as_they_were():
    before = dict(matplotlib.rcParams)
    bars()
    assert dict(matplotlib.rcParams) == before


def test_the_colour_tables_go_from_dark_to_light():
    for table in colour_tables("inferno", 5):
        values = [float(value) for value in table.split()]
        assert len(values) == 5
        assert values[0] < 0.1
        assert values[-1] > 0.6


def test_an_empty_figure_has_a_label_and_a_width_alone():
    with house_style():
        svg = as_inline_svg(new_figure(2, 1), "empty", 'a "label" <b>')
    ((tag, attributes), *_) = Reader(svg).tags
    assert (tag, attributes["aria-label"], attributes["viewbox"]) == ("svg", 'a "label" <b>', "0 0 144 72")
    assert attributes["width"] == "208"
    assert "height" not in attributes  # it follows, also where the page is narrow


def document(**changes):
    stage = {"name": "seeds", "curve": [], "background_score": 0.4, "background_choice": None, "evaluation": None}
    classes = [
        {"name": "background", "colour": None, "iou": None, "coverage": None, "num_found": 0, "confidence": None}
    ]
    classes += [{**classes[0], "name": "cat", "colour": "#800000", "num_found": 1}]
    return {"stages": [stage | changes], "classes": classes, "images": [{}, {}], "prompts": None}


def test_without_ground_truth_bars_say_where_classes_were_found():
    drawn = draw_figures(document())
    assert list(drawn) == ["bars"]
    assert {"cat", "50.0", "found in %"} <= set(Reader(drawn["bars"]).texts)
    assert "background" not in Reader(drawn["bars"]).texts


def test_nothing_to_look_at_draws_nothing():
    assert draw_figures(document() | {"images": []}) == {}


def test_the_choice_without_ground_truth_is_drawn_where_a_run_made_one():
    choice = {"rule": "match", "score": 0.5, "curve": [[0.6, 1.5], [0.4, 1.0], [0.5, 2.0]]}
    drawn = draw_figures(document(background_choice=choice))
    assert {"criterion", "background score"} <= set(Reader(drawn["choice"]).texts)
    assert "<use" in drawn["choice"]


def test_a_curve_with_undefined_points_is_drawn_and_its_score_marked():
    drawn = draw_figures(document(curve=[[0.0, 0.1], [0.4, None], [0.5, 0.3], [1.0, None]]))
    assert "<use" in drawn["curve"]


def test_the_loss_is_drawn_where_it_is_known():
    facts = document() | {"prompts": {"loss_by_epoch": [0.9, None, 0.5]}}
    assert {"epoch", "mean loss"} <= set(Reader(draw_figures(facts)["loss"]).texts)
    assert "loss" not in draw_figures(document() | {"prompts": {"loss_by_epoch": []}})
