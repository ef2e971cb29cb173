"""The report against names, settings and labels that would be markup, in a real Chromium that watches its policy.

What `semples report` and `semples evaluate --out` write, with every text that others choose being an attack.
"""

import html
import json
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from semples_cli.artifacts.manifest import Manifest
from semples_cli.artifacts.manifest_entries import FileIdentity, ManifestEntry
from semples_cli.artifacts.mask_png import write_mask
from semples_cli.artifacts.prompts_file import PromptTraining, write_prompts
from semples_cli.artifacts.run_folder import RunFolder, class_record, write_run_record
from semples_cli.cli.app import app
from semples_cli.types import ClassSet, PromptSet

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
# OWNED is set by whatever of this runs; the address is one that nobody has.
PAYLOADS = (
    "<script>OWNED=1</script>",
    "</script><script>OWNED=1</script>",
    "</style><script>OWNED=1</script>",
    "</title><script>OWNED=1</script>",
    "</textarea></noscript></template><script>OWNED=1</script>",
    "--><script>OWNED=1</script><!--",
    "<!--<script>",
    "]]><script>OWNED=1</script>",
    '"><img src=x onerror=OWNED=1>',
    "'><img src=x onerror=OWNED=1>",
    "<img src=//semples.invalid/x onload=OWNED=1>",
    "<svg onload=OWNED=1>",
    "<svg><animate onbegin=OWNED=1 attributeName=x dur=1s>",
    "<svg><script href=data:,OWNED=1 />",
    "<svg><style><img src=x onerror=OWNED=1>",
    "<math><mtext><table><mglyph><style><img src=x onerror=OWNED=1>",
    "<iframe srcdoc='<script>parent.OWNED=1</script>'>",
    "<iframe src=javascript:parent.OWNED=1>",
    "<object data=data:text/html,<script>parent.OWNED=1</script>>",
    "<embed src=//semples.invalid/x>",
    "<base href=//semples.invalid/>",
    "<meta http-equiv=refresh content='0;url=//semples.invalid/'>",
    "<link rel=stylesheet href=//semples.invalid/x>",
    "<form action=//semples.invalid/><input autofocus onfocus=OWNED=1>",
    "<details open ontoggle=OWNED=1>",
    "<a href=javascript:OWNED=1 id=theme>",
    "<input id=data>",
    "javascript:OWNED=1",
    "data:text/html,<script>OWNED=1</script>",
    '" onmouseover=OWNED=1 x="',
    "' autofocus onfocus=OWNED=1 x='",
    "{{7*7}}",
    "{% include '/etc/passwd' %}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "${7*7}",
    "#{7*7}",
    "\\u003cscript\\u003eOWNED=1\\u003c/script\\u003e",
    "&lt;script&gt;OWNED=1&lt;/script&gt;",
    "&#60;script&#62;OWNED=1",
    "red;}body{display:none}",
    "url(//semples.invalid/x)",
    "expression(OWNED=1)",
    "*/}</style><style>*{display:none}",
    "__proto__",
    "constructor",
    "\u202e<script>OWNED=1</script>",
    "`${OWNED=1}`",
    "';OWNED=1//",
    "$\\frac{1}{0}$",
    "alert(document.domain)",
)
CLASSES = ClassSet(PAYLOADS)
# As file names, where / makes folders and nothing begins with a dot; line ends of JavaScript are names too.
FILES = (*(re.sub(r"/+", "/", each).strip("/") for each in PAYLOADS), "a\u2028b", "a\u2029b", "a\nb", "a\rb")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield launched
        launched.close()


@pytest.fixture
def watch(browser):
    """Open a page and note what it tries: requests, dialogs, windows, downloads, errors, violations of its policy."""
    contexts = []

    def opened(path):
        context = browser.new_context(reduced_motion="reduce", accept_downloads=False)
        contexts.append(context)
        context.add_init_script(
            "window.violations = [];"
            "document.addEventListener('securitypolicyviolation', (e) => window.violations.push(e.violatedDirective));"
        )
        tried = []
        context.on("page", lambda page: page.on("popup", lambda other: tried.append(f"window {other.url}")))
        page = context.new_page()
        page.on("dialog", lambda dialog: (tried.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("download", lambda download: tried.append(f"download {download.url}"))
        page.on("pageerror", lambda error: tried.append(f"error {error}"))
        page.on("requestfinished", lambda request: tried.extend(_leaving(request, path)))
        page.on("requestfailed", lambda request: tried.extend(_leaving(request, path)))
        page.goto(path.as_uri())
        return page, tried

    yield opened
    for context in contexts:
        context.close()


def _leaving(request, path):
    """What leaves the page: not what its policy stopped before it was asked for."""
    inside = request.url == path.as_uri() or request.url.startswith("data:image/")
    return [] if inside or request.failure == "csp" else [f"request {request.url}: {request.failure}"]


@pytest.fixture
def server():
    """Who would be asked: notes each request; `address` stands for //semples.invalid."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    served = HTTPServer(("127.0.0.1", 0), Handler)
    served.asked, served.address = asked, f"http://127.0.0.1:{served.server_address[1]}"
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield served
    served.shutdown()
    served.server_close()
    thread.join()


def runs(page):
    """Whether anything that was not meant to has run."""
    return page.evaluate("'OWNED' in window || document.cookie !== '' || document.baseURI !== location.href")


def hostile_world(root):
    """A pipeline's folder, every text of which is an attack; and ground truth."""
    run = root / "<b onmouseover=OWNED=1>run"
    for stage in ("seeds", "crf"):
        for k, name in enumerate(FILES):
            values = np.zeros((6, 8), np.uint8)
            values[:, 2:6] = 1 + k % len(CLASSES)
            write_mask(run / f"{stage}/{name}.png", values)
            write_mask(root / f"truth/{name}.png", np.roll(values, 1, 1))
            image = root / f"images/{name}.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 6), (k, 90, 20)).save(image)
        texts = {f"{name} ": name for name in PAYLOADS}
        nested = {PAYLOADS[0]: {PAYLOADS[1]: [PAYLOADS[2], {PAYLOADS[3]: PAYLOADS[8]}]}}
        record = {
            "command": PAYLOADS[0],
            "classes": class_record(CLASSES),
            "inputs": [str(root / "images"), *PAYLOADS],
            "settings": {**texts, **nested, "background_score": 0.4},
            "engine": {**texts, "model": PAYLOADS[8], "licence": PAYLOADS[0], "weights": PAYLOADS[1]},
            "generator": texts,
            "background_choice": {"rule": PAYLOADS[0], "score": 0.4, "curve": [[0.3, 0.1], [0.4, 0.2]]},
            "source": PAYLOADS[1],
            "background_score": 0.4,
        }
        write_run_record(run / stage, record)
        with Manifest(RunFolder(run / stage), overwrite=True) as manifest:
            for k, name in enumerate(FILES):
                identity = FileIdentity(str(root / f"images/{name}.png"), 1, 1, "0")
                known = {"confidence": 0.5, "class_confidence": {str(1 + k % len(CLASSES)): 0.5}, "coverage": 1.0}
                manifest.append(ManifestEntry(name, "ok", output=f"{name}.png", files=(identity,), **known))
            for k, payload in enumerate(PAYLOADS):
                manifest.append(ManifestEntry(f"{k}{payload}", ("failed", "skipped")[k % 2], reason=payload))
    vectors = np.zeros((len(CLASSES), 2, 4), np.float32)
    settings = {name: name for name in PAYLOADS}
    prompts = PromptSet(
        CLASSES.names, CLASSES.names, vectors, PAYLOADS[0], "ab" * 32, False, PAYLOADS[8] + "{}", settings
    )
    write_prompts(run / "prompts.safetensors", prompts, PromptTraining({"loss": [1.0, 0.5]}))
    return run


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """What `report` and `evaluate` write of it."""
    root = tmp_path_factory.mktemp("hostile")
    run = hostile_world(root)
    truth = ["--ground-truth", str(root / "truth")]
    done = CliRunner().invoke(app, ["report", str(run), "--out", str(root / "with.html"), *truth])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, ["report", str(run), "--out", str(root / "without.html")])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(
        app, ["evaluate", str(run / "crf"), str(root / "truth"), "--out", str(root / "evaluated")]
    )
    assert done.exit_code == 0, done.output
    return {"report": root / "with.html", "no truth": root / "without.html", "evaluate": root / "evaluated/report.html"}


@pytest.mark.parametrize("which", ["report", "no truth", "evaluate"])
def test_nothing_of_a_text_becomes_markup_or_runs(watch, pages, which):
    page, tried = watch(pages[which])
    page.evaluate("document.getElementById('gallery').scrollIntoView()")
    page.wait_for_selector(".card")
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    for _ in range(8):  # through the whole gallery
        page.mouse.wheel(0, 20_000)
        page.wait_for_timeout(40)
    assert not runs(page)
    assert tried == []
    assert page.evaluate("window.violations") == []
    assert page.locator("script").count() == 2
    found = page.evaluate("[...new Set([...document.querySelectorAll('*')].map((each) => each.localName))]")
    assert not {"iframe", "object", "embed", "base", "math", "animate", "template", "textarea"} & set(found)
    every = "[...document.querySelectorAll('*')].flatMap((each) => [...each.attributes])"
    attributes = page.evaluate(f"{every}.map((one) => [one.name, one.value])")
    assert not [name for name, _ in attributes if name.startswith("on")]
    links = {value for name, value in attributes if name in ("href", "src", "action", "srcset", "data", "xlink:href")}
    kinds = {link.partition(";")[0] for link in links if not link.startswith("#")}
    assert kinds <= {"data:,", "data:image/png", "data:image/webp"}


def test_every_name_is_there_as_text_and_can_be_looked_for(watch, pages):
    page, _ = watch(pages["report"])
    page.evaluate("document.getElementById('gallery').scrollIntoView()")
    text = page.evaluate("document.body.textContent")
    for payload in PAYLOADS:
        assert payload in text, payload
    options = page.locator("#class option").all_text_contents()
    assert [option.rpartition(" (")[0] for option in options[1:]] == list(PAYLOADS)
    for k in (1, 2, 30, len(PAYLOADS)):
        page.select_option("#class", index=k)
        shown = page.locator(".card .id").all_text_contents()
        assert len(shown) == (2 if k <= len(FILES) - len(PAYLOADS) else 1)
        assert FILES[k - 1] in shown
    page.select_option("#class", value="")
    page.select_option("#order", label="by name")
    page.locator("#theme").click()
    page.check("#all-stages")
    assert not runs(page)
    assert page.evaluate("window.violations") == []


def test_the_policy_is_strict(pages):
    for path in pages.values():
        text = path.read_text(encoding="utf-8")
        (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text)
        directives = dict(part.strip().split(" ", 1) for part in html.unescape(policy).split(";"))
        assert directives.keys() == {"default-src", "img-src", "style-src", "script-src", "base-uri", "form-action"}
        assert directives["default-src"] == directives["base-uri"] == directives["form-action"] == "'none'"
        assert directives["img-src"] == "data:"
        for name in ("style-src", "script-src"):
            assert re.fullmatch(r"'sha256-[A-Za-z0-9+/=]{44}'", directives[name])
        assert text.index("Content-Security-Policy") < text.index("<title>")  # it holds for what comes after it alone


# Markup that would act by itself, were it in the page. A policy has no word on <meta http-equiv=refresh>.
ACTIVE = [
    each for each in PAYLOADS if re.search(r"<(script|img|svg|math|iframe|object|embed|link|base|details|form)", each)
]


@pytest.mark.parametrize("payload", ACTIVE)
def test_the_policy_is_a_second_wall(watch, pages, tmp_path, server, payload):
    """Even markup that got into the page runs nothing and asks nobody."""
    text = pages["report"].read_text(encoding="utf-8")
    planted = tmp_path / "planted.html"
    markup = payload.replace("//semples.invalid", server.address).removeprefix("<!--")
    planted.write_text(text.replace("<main>", f"<main><div>{markup}</div>", 1), encoding="utf-8")
    page, tried = watch(planted)
    page.wait_for_timeout(100)
    assert not runs(page)
    assert not [each for each in tried if not each.startswith("error")]
    assert server.asked == []


def test_what_the_policy_stops_is_told(watch, pages, tmp_path):
    """That the watching sees something."""
    text = pages["report"].read_text(encoding="utf-8")
    planted = tmp_path / "planted.html"
    bad = (
        "<script>OWNED=1</script><p style='color:red'>x</p><img src=//semples.invalid/x><base href=//semples.invalid/>"
    )
    planted.write_text(text.replace("<main>", f"<main>{bad}", 1), encoding="utf-8")
    page, _ = watch(planted)
    page.wait_for_timeout(60)
    told = page.evaluate("window.violations")
    assert {"script-src-elem", "style-src-attr", "img-src", "base-uri"} <= set(told)
    assert not runs(page)


def test_without_the_policy_the_same_markup_runs(watch, pages, tmp_path):
    """That the attacks are attacks."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", pages["report"].read_text(encoding="utf-8"))
    planted = tmp_path / "planted.html"
    planted.write_text(text.replace("<main>", "<main><img src=data:,x onerror=OWNED=1>", 1), encoding="utf-8")
    page, _ = watch(planted)
    page.wait_for_function("'OWNED' in window")


def test_the_data_of_the_page_is_the_document(pages):
    """The block of JSON is read by its end tag first, then as JSON: neither may see the other's signs."""
    text = pages["report"].read_text(encoding="utf-8")
    (block,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert block.isascii()
    assert not re.search("[<>&]", block)
    names = [each["name"] for each in json.loads(block)["classes"]]
    assert names == ["background", *PAYLOADS]
