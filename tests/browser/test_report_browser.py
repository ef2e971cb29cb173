"""The report in a real headless Chromium: no error, no request, and every control does what it says.

Run by `make test-browser`. CHROMIUM names another browser than /usr/bin/chromium; SHOTS a folder for pictures of the
page.
"""

import io
import json
import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_world import CLASSES, LEAST_CONFIDENT_FIRST, SCENES, WORST_FIRST, make_world

from semples_cli.artifacts.mask_png import write_mask
from semples_cli.artifacts.report_html.render import write_report_page
from semples_cli.artifacts.report_html.thumbnails import error_uri, image_uri, mask_uri
from semples_cli.artifacts.run_folder import class_record, write_run_record
from semples_cli.steps.make_report import make_report
from semples_cli.steps.progress import silent
from semples_cli.types import ClassSet

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
SHOTS = os.environ.get("SHOTS")
NASTY = {
    "<script>document.title='owned'</script>": "script",
    '"><img src=x onerror="document.title=\'owned\'">': "attribute",
    "</script><script>document.title='owned'</script>": "end of the data block",
    "javascript:document.title='owned'": "address",
    "{{ 7 * 7 }}": "template",
    "\u202egnp.exe שלום": "right to left",
    "日本語 🐈 é": "unicode",
}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield launched
        launched.close()


@pytest.fixture
def visit(browser):
    """Open a page; at the end there must be no error, no violated policy, and no request but for the page itself."""
    trouble, contexts = [], []

    @contextmanager
    def opened(path, **options):
        context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **options}
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: trouble.append(message.text))  # a violated policy is an error here too
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda request: trouble.append(request.url) if not local(request.url, path) else None)
        page.goto(path.as_uri())
        look_at_gallery(page)
        yield page
        context.close()

    yield opened
    assert trouble == []


def look_at_gallery(page):
    """Cards are only there when the window is near them."""
    page.evaluate("document.getElementById('gallery')?.scrollIntoView()")
    if page.evaluate("Boolean(document.getElementById('shown')?.textContent)"):
        page.wait_for_selector(".card")


def local(url, path):
    return url == path.as_uri() or url.startswith("data:")


@pytest.fixture
def page_path(tmp_path):
    """The page of the small pipeline with ground truth."""
    run = make_world(tmp_path)
    return make_report(run, ground_truth=tmp_path / "truth", begin=lambda part: silent).path


def ids(page):
    return page.locator(".card .id").all_text_contents()


def shoot(page, name, **options):
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", **options)


def test_the_page_opens_without_an_error_and_shows_the_worst_first(visit, page_path):
    with visit(page_path) as page:
        assert page.title() == "run · semples report"
        assert ids(page) == WORST_FIRST
        assert page.locator("#shown").text_content() == "4 of 4 images"
        shoot(page, "small", full_page=True)


def test_every_picture_is_decoded(visit, page_path):
    with visit(page_path) as page:
        page.evaluate("Promise.all([...document.images].map((image) => image.decode()))")
        sizes = page.evaluate("[...document.images].map((image) => [image.naturalWidth, image.naturalHeight])")
        assert len(sizes) == 4 * (1 + 1 + 1 + 2 + 1 + 2)  # image, CAM, mask, overlay of two, truth, error of two
        assert {tuple(size) for size in sizes} == {(20, 12), (5, 3)}


def test_the_order(visit, page_path):
    with visit(page_path) as page:
        page.select_option("#order", label="least confident first")
        assert ids(page) == LEAST_CONFIDENT_FIRST
        page.select_option("#order", label="best first")
        assert ids(page) == WORST_FIRST[::-1]
        page.select_option("#order", label="by name")
        assert ids(page) == sorted(SCENES)


def test_the_filter_by_class_shows_images_whose_mask_or_ground_truth_has_it(visit, page_path):
    with visit(page_path) as page:
        options = page.locator("#class option").all_text_contents()
        assert options == ["all (4)", "cat (2)", "dog (2)", "emu (1)"]
        page.select_option("#class", label="cat (2)")
        assert ids(page) == ["b", "a/1"]  # in b it is only in the ground truth
        assert page.locator("#shown").text_content() == "2 of 4 images"
        assert page.locator(".card").first.locator(".chip.absent").text_content() == "cat"
        page.select_option("#class", value="")
        assert ids(page) == WORST_FIRST


def test_the_slider_changes_the_opacity_of_the_overlay(visit, page_path):
    with visit(page_path) as page:
        over = page.locator(".over").first

        def opacity():
            return float(over.evaluate("(each) => getComputedStyle(each).opacity"))

        assert opacity() == pytest.approx(0.55)
        page.locator("#opacity").fill("20")
        assert opacity() == pytest.approx(0.2)
        assert page.locator("#opacity-value").text_content() == "20 %"
        page.locator("#opacity").press("End")
        assert opacity() == 1


def test_the_overlay_is_the_mask_over_the_image(visit, page_path):
    """Seen, not only styled: at full opacity the pixels of the mask have its colour, at none that of the image."""
    with visit(page_path) as page:
        frame = page.locator('[data-pane="overlay"] .frame').first
        frame.scroll_into_view_if_needed()
        looks = {}
        for value in ("0", "100"):
            page.locator("#opacity").fill(value)
            shot = frame.screenshot()
            looks[value] = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)
        height, width = looks["100"].shape[:2]
        inside = looks["100"][height // 2, round(width * 8 / 20)]  # b: a dog from column 4 to 12
        assert np.abs(inside - (0, 128, 0)).max() < 12
        outside = slice(round(width * 14 / 20), None)
        assert np.abs(looks["0"][:, outside] - looks["100"][:, outside]).max() < 3


def test_all_stages_can_be_seen_beside_each_other(visit, page_path):
    with visit(page_path) as page:
        captions = page.locator(".card").first.locator("figcaption")
        assert captions.all_text_contents() == ["image", "CAM", "mask", "overlay", "ground truth", "error"]
        page.check("#all-stages")
        assert captions.all_text_contents() == ["image", "CAM", "seeds", "mask", "overlay", "ground truth", "error"]


def test_the_cam_is_coloured_and_of_the_class_looked_for(visit, page_path):
    with visit(page_path) as page:
        heat = page.locator('[data-pane="cams"] .heat').first
        assert "heat" in heat.evaluate("(each) => getComputedStyle(each).filter")
        heat.scroll_into_view_if_needed()
        shot = np.asarray(Image.open(io.BytesIO(heat.screenshot())).convert("RGB")).astype(int)
        assert (shot.max(2) - shot.min(2)).max() > 80  # not grey


@pytest.mark.parametrize(("scheme", "other"), [("light", "dark"), ("dark", "light")])
def test_light_and_dark(visit, page_path, scheme, other):
    def paper(page):
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    def is_dark(page):
        return int(paper(page).split("(")[1].split(",")[0]) < 128

    with visit(page_path, color_scheme=scheme) as page:
        assert is_dark(page) == (scheme == "dark")
        button = page.locator("#theme")
        assert button.text_content() == other.capitalize()
        shoot(page, f"small-{scheme}")
        button.click()
        assert is_dark(page) == (other == "dark")
        ink = page.locator("#classes svg text").nth(2).evaluate("(each) => getComputedStyle(each).fill")
        assert (int(ink.split("(")[1].split(",")[0]) > 128) == (other == "dark")  # plots follow
        button.click()
        assert is_dark(page) == (scheme == "dark")


def test_everything_can_be_reached_by_keyboard(visit, page_path):
    with visit(page_path) as page:
        reached = []
        for _ in range(40):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id || document.activeElement.getAttribute('href')"))
        assert {"#gallery", "theme", "class", "order", "opacity", "all-stages"} <= set(reached)
        controls = "[...document.querySelectorAll('button, select, input')]"
        assert all(page.evaluate(f"{controls}.map((each) => each.ariaLabel || each.labels[0]?.textContent)"))


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out_sideways(visit, page_path, width):
    with visit(page_path, viewport={"width": width, "height": 900}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        shoot(page, f"small-{width}", full_page=True)


def test_without_javascript_the_figures_are_there(visit, page_path):
    with visit(page_path, java_script_enabled=False) as page:
        assert page.locator("#classes svg").count() == 2
        assert "needs JavaScript" in page.locator("noscript").inner_text()


def test_without_ground_truth(visit, tmp_path):
    path = make_report(make_world(tmp_path), begin=lambda part: silent).path
    with visit(path) as page:
        assert ids(page) == LEAST_CONFIDENT_FIRST
        assert page.locator("#order option").all_text_contents() == ["least confident first", "by name"]
        assert page.locator(".card").first.locator("figcaption").all_text_contents() == [
            "image",
            "CAM",
            "mask",
            "overlay",
        ]
        assert page.locator(".legend").count() == 0


def test_without_images(visit, tmp_path):
    run = make_world(tmp_path)
    for path in (tmp_path / "images").rglob("*.png"):
        path.unlink()
    with visit(make_report(run, begin=lambda part: silent).path) as page:
        assert page.locator('[data-pane="image"] .empty').count() == 4
        assert "could not be shown" in page.locator("#gallery .notice").first.text_content()


def nasty_world(root):
    """A folder of masks whose ids, classes and folder are an attack each."""
    names = list(NASTY)
    folder = root / "<b>masks" / "r"
    for k, name in enumerate(names):
        values = np.full((6, 8), k + 1, np.uint8)
        write_mask(folder / f"{name.replace('/', '-')}.png", values)  # a file name has no slash
        write_mask(root / "truth" / f"{name.replace('/', '-')}.png", values)
    record = {"command": names[0], "classes": class_record(ClassSet(tuple(names))), "inputs": [names[1]]}
    record |= {"settings": {names[2]: names[0]}, "engine": {"model": names[1], "licence": names[0]}}
    write_run_record(folder, record)
    return folder


def test_names_are_harmless(visit, tmp_path):
    folder = nasty_world(tmp_path)
    path = make_report(folder, tmp_path / "r.html", ground_truth=tmp_path / "truth", begin=lambda part: silent).path
    with visit(path) as page:
        assert page.title() == "r · semples report"
        assert sorted(ids(page)) == sorted(name.replace("/", "-") for name in NASTY)
        assert page.locator("script").count() == 2
        attributes = page.evaluate("[...document.querySelectorAll('*')].flatMap((each) => each.getAttributeNames())")
        assert not [name for name in attributes if name.startswith("on")]
        for name in NASTY:
            assert name in page.locator("#classes").inner_text() + page.locator("#classes table").text_content()
        page.select_option("#class", index=2)
        assert page.locator(".card").count() == 1
        shoot(page, "nasty", full_page=True)


def test_an_injected_script_would_not_run(browser, page_path):
    """The policy is the second wall: even markup that got into the page does nothing."""
    text = page_path.read_text()
    attack = "<script>document.title='owned'</script><style>body{display:none}</style>"
    attack += "<img src=x onerror=\"document.title='owned'\"><img src=https://semples.invalid/x.png>"
    page_path.write_text(text.replace("<main>", f"<main>{attack}"))
    page = browser.new_page()
    requests: list[str] = []
    page.on("requestfinished", lambda request: requests.append(request.url))
    page.goto(page_path.as_uri())
    page.wait_for_timeout(200)
    assert page.title() == "run · semples report"
    assert page.evaluate("getComputedStyle(document.body).display") == "block"
    assert not [url for url in requests if not local(url, page_path)]
    page.close()


def large_page(path, num_images):
    """A page of many images, made from few pictures: what the browser holds is as much as in a real one."""
    run = path.parent / "world"
    make_world(run)
    made = make_report(run / "run", run / "small.html", ground_truth=run / "truth", begin=lambda part: silent)
    document = json.loads(json.dumps(made.document))
    rng = np.random.default_rng(0)
    rgb, pictures = rng.integers(0, 256, (120, 160, 3), np.uint8), []
    values = np.zeros((120, 160), np.uint8)
    values[30:90, 40:120] = 1
    for k in range(8):
        mask = np.roll(values, 4 * k, 1)
        pictures.append(
            {
                "image": image_uri(rgb),
                "mask": mask_uri(mask),
                "truth": mask_uri(values),
                "error": error_uri(values, mask),
            }
        )
    first = document["images"][0] | {
        "thumbnail": [120, 160],
        "classes": [1],
        "truth_classes": [1],
        "label_classes": [1],
    }
    document["images"] = [
        first | {"id": f"{k:05d}", "score": k / num_images, "classes": [1 + k % 3]} for k in range(num_images)
    ]
    document["num_masks"] = num_images
    return write_report_page(path, document, [pictures[k % 8] for k in range(num_images)])


def test_two_thousand_images_scroll_with_few_nodes(visit, tmp_path):
    path = large_page(tmp_path / "large.html", 2000)
    with visit(path) as page:
        assert ids(page)[:3] == ["00000", "00001", "00002"]
        most = 0
        for _ in range(12):
            page.mouse.wheel(0, 25_000)
            page.wait_for_timeout(60)
            most = max(most, page.evaluate("document.querySelectorAll('#cards *').length"))
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        page.locator(".card .id", has_text="01999").wait_for()
        most = max(most, page.evaluate("document.querySelectorAll('#cards *').length"))
        assert page.locator(".card").count() < 80
        assert most < 4000
        page.evaluate("document.getElementById('gallery').scrollIntoView()")
        page.locator(".card .id", has_text="00000").wait_for()
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        page.select_option("#class", value="2")  # a shorter list begins at its beginning
        page.locator(".card .id", has_text="00001").wait_for()
        assert page.locator("#bar").bounding_box()["y"] < 200
        assert page.locator("#shown").text_content() == "667 of 2000 images"


def test_it_prints_without_its_controls(visit, page_path):
    with visit(page_path) as page:
        page.emulate_media(media="print")
        assert not page.locator("#bar").is_visible()
        assert not page.locator("nav").is_visible()
        assert page.locator("#classes svg").first.is_visible()
        assert len(page.pdf()) > 10_000


def test_all_classes_of_the_small_world_are_offered(visit, page_path):
    with visit(page_path) as page:
        assert [text.split(" (")[0] for text in page.locator("#class option").all_text_contents()[1:]] == list(
            CLASSES.names
        )
