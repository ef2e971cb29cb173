"""Matplotlib figures as SVG elements of a page: in its colours, light or dark, and under its content security policy.

A figure is drawn in the stand-in colours below. They become CSS variables, and what matplotlib writes as inline style,
which the page's policy forbids, becomes attributes. Ids, comments, metadata and namespaces go: two plots do not
clash, and no address is left in the page.
"""

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from xml.etree import ElementTree as ET  # reads nothing but what matplotlib just wrote

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Stand-ins, by the CSS variable that they become. Nothing else in a plot has these colours.
INK, SOFT, GRID, TRACK, GOOD, BAD = "#010203", "#020304", "#030405", "#040506", "#050607", "#060708"
SERIES = ("#070809", "#08090a", "#090a0b", "#0a0b0c", "#0b0c0d", "#0c0d0e")
_VARIABLES = {INK: "ink", SOFT: "soft", GRID: "grid", TRACK: "track", GOOD: "good", BAD: "bad"} | {
    colour: f"series-{number}" for number, colour in enumerate(SERIES, 1)
}

TIP = "tip-"
PIXELS_PER_INCH = 104  # of the page, where there is room
# One family that comes with matplotlib, so that labels are placed alike on every machine; the page's own is shown.
_RC = {"svg.fonttype": "none", "font.family": ["DejaVu Sans"], "font.size": 8.5, "text.parse_math": False}
_PRESENTATION = re.compile(r"(fill|stroke|opacity|text-anchor|font-size|font-weight)(-[a-z]+)?")
_SIZE_IN_SHORTHAND = re.compile(r"([\d.]+)px")
_NAMESPACE = re.compile(r"\{[^}]*\}")


def colour_tables(name: str, steps: int = 17) -> tuple[str, str, str]:
    """A colour map of matplotlib as the `tableValues` of an SVG filter: red, green, blue."""
    colours = matplotlib.colormaps[name](np.linspace(0, 1, steps))
    red, green, blue = (" ".join(f"{value:.3f}" for value in colours[:, channel]) for channel in range(3))
    return red, green, blue


@contextmanager
def house_style() -> Iterator[None]:
    """Draw alike whatever the user's matplotlibrc says; a `$` in a name is a `$`."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the browser has fonts for it
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield


def new_figure(width: float, height: float) -> Figure:
    """A transparent figure, width and height in inches, apart from pyplot's global state; in `house_style` only."""
    return Figure(figsize=(width, height), facecolor="none")


def as_inline_svg(figure: Figure, name: str, label: str, tips: Mapping[str, str] | None = None) -> str:
    """The figure as an `<svg>` element, in `house_style` only; the same figure gives the same text.

    Args:
        figure: Drawn in the stand-in colours, or in others that stay as they are.
        name: Of the plot, unique in the page: its clip paths are called after it.
        label: What the plot shows, for those who do not see it.
        tips: Text to show under the pointer, by the gid of an artist; gids begin with TIP.
    """
    buffer = io.StringIO()
    matplotlib.rcParams["svg.hashsalt"] = name
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    root = ET.fromstring(buffer.getvalue().encode())  # our own text
    for parent in list(root.iter()):
        for child in [each for each in parent if _local(each.tag) in ("metadata", "style")]:
            parent.remove(child)
    for element in root.iter():
        _clean(element, tips or {})
    del root.attrib["height"]
    root.attrib |= {"width": f"{PIXELS_PER_INCH * figure.get_figwidth():.0f}", "role": "img", "aria-label": label}
    return ET.tostring(root, encoding="unicode", short_empty_elements=False)


def _clean(element: ET.Element, tips: Mapping[str, str]) -> None:
    element.tag = _local(element.tag)
    element.tail = None
    if element.tag != "text" and element.text and not element.text.strip():
        element.text = None
    attributes = {_local(name): value for name, value in element.attrib.items()}
    identity = attributes.get("id", "")
    if element.tag not in ("clipPath", "path") or identity.startswith(TIP):  # paths of markers are referred to
        attributes.pop("id", None)
    attributes |= _presentation(attributes.pop("style", ""))
    element.attrib.clear()
    element.attrib.update({name: _themed(value) for name, value in attributes.items() if name != "version"})
    if identity in tips:
        title = ET.Element("title")
        title.text = tips[identity]
        element.insert(0, title)


def _presentation(style: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for declaration in filter(None, map(str.strip, style.split(";"))):
        name, value = (part.strip() for part in declaration.split(":", 1))
        if name == "font" and (size := _SIZE_IN_SHORTHAND.search(value)):
            found["font-size"] = size[1]
        elif _PRESENTATION.fullmatch(name):
            found[name] = value.removesuffix("px")
    return found


def _themed(value: str) -> str:
    variable = _VARIABLES.get(value.lower())
    return f"var(--{variable})" if variable else value


def _local(name: str) -> str:
    return _NAMESPACE.sub("", name)
