"""Draws the page of a report from its document: one file that asks the network for nothing.

Whatever a name, a reason or a setting holds is text: Jinja escapes it, the script only ever sets it as text, and the
content security policy lets no script or style run but those two whose hashes it names.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from semples_cli.artifacts.atomic import open_atomic
from semples_cli.artifacts.report_html.figures import draw_figures
from semples_cli.artifacts.report_html.svg import colour_tables
from semples_cli.artifacts.report_html.wording import FILTERS

_HERE = Path(__file__).parent
# In a data block only these can end it, or begin a comment; the rest of the page never sees its text.
_JSON_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def write_report_page(path: Path, document: Mapping[str, Any], pictures: Sequence[Mapping[str, Any]] = ()) -> Path:
    """Write the page, whole or not at all; the same document gives the same bytes.

    Args:
        path: The HTML file; missing folders are made.
        document: From `report_document`.
        pictures: Data URIs of each of the document's images, in their order.

    Returns:
        The file.
    """
    page = render_report(document, pictures)
    with open_atomic(path) as handle:
        handle.write(page.encode(errors="replace"))  # a file name that is no valid UTF-8 is shown with question marks
    return path


def render_report(document: Mapping[str, Any], pictures: Sequence[Mapping[str, Any]] = ()) -> str:
    """The page as text; arguments as in `write_report_page`."""
    style, script = (_read(name) for name in ("report.css", "report.js"))
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= FILTERS
    stages = document["stages"]
    return environment.get_template("report.html.j2").render(
        document,
        last=stages[-1],
        figures={name: Markup(svg) for name, svg in draw_figures(document).items()},  # our own drawing
        policy=_policy(style, script),
        style=Markup(style),  # a file of ours
        script=Markup(script),  # a file of ours
        heat=colour_tables("inferno"),
        data=_data_block({"images": _with_pictures(document["images"], pictures), "classes": document["classes"]}),
    )


def _with_pictures(facts: Sequence[Mapping[str, Any]], pictures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**fact, "pictures": picture} for fact, picture in zip(facts, pictures or [{}] * len(facts), strict=True)]


def _data_block(value: object) -> Markup:
    """JSON that cannot leave its script element; ASCII alone, so that no odd character ends a line either."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(text.translate(_JSON_ESCAPES))  # nothing is left that could be markup


def _policy(style: str, script: str) -> str:
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)
    )
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
