"""The page: whole HTML, nothing from the network, and names that stay text."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from semples_cli.artifacts.report_html.render import render_report, write_report_page
from semples_cli.artifacts.report_html.wording import count, percent, setting, shade, thousands

VOID = {"meta", "link", "br", "input", "img", "fefuncr", "fefuncg", "fefuncb"}
NASTY = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "{{ 7 * 7 }}{% raw %}",
    "\u202ecod.exe",
    "<!--",
    "a&amp;b",
    "\u2028line",
    "surrogate \udcff",
    "javascript:alert(1)",
]
EVALUATION = {
    "miou": 0.5,
    "num_classes_averaged": 2,
    "num_images": 1,
    "pixel_accuracy": 0.75,
    "coverage": 1.0,
    "missing": [],
    "confusion": [[3, 1, 0], [1, 3, 0]],
    **{key: {"background": 0.6, "cat": 0.4} for key in ("iou", "precision", "recall", "fp_rate", "fn_rate")},
}


class Page(HTMLParser):
    """Checks that every element is closed, and keeps what is looked at."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts, self.inside = [], [], [], {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            self.inside.setdefault(self.open[-1], []).append(data)
        else:
            self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def stage(name="crf", **changes):
    return {
        "name": name,
        "folder": f"/runs/{name}",
        "command": "crf",
        "semples_version": "0.1.0",
        "settings": {"iterations": 10, "scales": [0.75, 1.0], "background_words": []},
        "engine": {"model": "tiny", "licence": "MIT-0", "weights_sha256": "ab" * 32},
        "generator": {},
        "inputs": ["/images"],
        "num_masks": 1,
        "counts": {"ok": 1, "skipped": 1, "failed": 2},
        "reasons": [{"status": "failed", "reason": "damaged", "count": 2, "ids": ["x"]}],
        "confidence": 0.875,
        "background_score": 0.4,
        "background_choice": None,
        "best_background_score": None,
        "best_miou": None,
        "curve": [],
        "evaluation": None,
    } | changes


def document(name="cat", image_id="a/1", **changes):
    base = {"iou": None, "coverage": None, "num_found": 1, "num_labelled": None, "confidence": None}
    image = {
        "id": image_id,
        "size": [3, 4],
        "thumbnail": [3, 4],
        "classes": [1],
        "truth_classes": [],
        "label_classes": [],
        "score": None,
        "coverage": 1.0,
        "trouble": "",
        "confidence": 0.5,
        "class_confidence": {},
    }
    return {
        "format_version": 1,
        "semples_version": "0.1.0",
        "title": "run",
        "stages": [stage()],
        "classes": [
            {"index": 0, "name": "background", "colour": None, **base},
            {"index": 1, "name": name, "colour": "#800000", **base},
        ],
        "prompts": None,
        "num_masks": 1,
        "images": [image],
    } | changes


PROMPTS = {
    "file": "prompts.safetensors",
    "clip": "tiny",
    "weights_sha256": "cd" * 32,
    "length": 30,
    "template": "a photo of {}.",
    "described": False,
    "classes": [{"class": "cat", "learned": True}, {"class": "dog", "learned": False}],
    "settings": {"num_pairs": 1268},
    "loss_by_epoch": [0.5, 0.25],
}


def text_of(page):
    return re.sub(r"[ \n]+", " ", "".join(page.texts))


def data_of(page):
    return json.loads(page.inside["script"][0])


def test_the_page_is_whole_and_says_what_the_document_says():
    page = Page(render_report(document()))
    text = text_of(page)
    for expected in (
        "1 mask of 1 class by semples crf, with tiny, weights under MIT-0",
        "No ground truth was given",
        "1 skipped, 2 failed",
        "87.5",
        "0.75, 1.0",
        "ab" * 32,
        "damaged",
        "/images",
    ):
        assert expected in text, expected
    assert "mIoU" not in text.split("Classes")[0]


def test_ground_truth_brings_figures_tables_and_the_legend_of_errors():
    text = text_of(Page(render_report(document(stages=[stage(evaluation=EVALUATION)]))))
    for expected in (
        "mIoU50.0%over 2 classes, 1 image",
        "pixel accuracy75.0%",
        "precision %",
        "found where there is none",
        "no part of mIoU",
    ):
        assert expected in text, expected
    assert "No ground truth" not in text


def test_missing_masks_are_said():
    stages = [stage(evaluation=EVALUATION | {"missing": ["q/7", "q/8"]})]
    assert "2 ground truths without a mask, not counted: q/7 is the first." in text_of(
        Page(render_report(document(stages=stages)))
    )


def test_stages_stand_side_by_side():
    stages = [
        stage("seeds", evaluation=EVALUATION, best_miou=0.625, best_background_score=0.3),
        stage(evaluation=EVALUATION),
    ]
    page = Page(render_report(document(stages=stages)))
    text = text_of(page)
    assert "Stages side by side" in text
    assert "seedscrf10.450.062.50.375.0100.087.5" in text
    assert {"class": "n shade-4"} in page.all("td")
    assert "Stages side by side" not in text_of(Page(render_report(document())))


def test_prompts_without_a_clip_say_how_to_ask_one():
    text = text_of(Page(render_report(document(prompts=PROMPTS))))
    assert "30 learned tokens" in text
    assert "1\u2009268 pairs" in text
    assert "not learned: too few images" in text
    assert "semples prompts show prompts.safetensors" in text


def test_described_prompts_name_their_words():
    each = {"class": "boat", "learned": True, "nouns": [{"noun": "sea", "similarity": 0.913}], "nearest_class": "fish"}
    each |= {"nearest_class_similarity": 0.5, "own_similarity": 0.25, "describes_own_class": True}
    text = text_of(Page(render_report(document(prompts=PROMPTS | {"described": True, "classes": [each]}))))
    assert "boat sea 0.91 fish 0.50 0.25 describes itself" in text
    assert "--describe-prompts" not in text


def test_the_choice_of_the_background_score_is_said():
    choice = {"rule": "clip match", "score": 0.4, "curve": [[0.3, 0.1], [0.4, 0.2]], "per_class": {"cat": 0.45}}
    text = text_of(Page(render_report(document(stages=[stage(background_choice=choice)]))))
    assert "clip match" in text
    assert "cat0.45" in text
    assert "chosen without ground truth" in text


def test_a_curve_by_ground_truth_needs_no_choice():
    stages = [stage(evaluation=EVALUATION, curve=[[0.0, 0.5], [1.0, 0.25]])]
    text = text_of(Page(render_report(document(stages=stages))))
    assert "mIoU by the ground truth at every background score" in text
    assert "What the score was chosen by" not in text


def test_a_choice_by_labelled_masks_says_by_how_many():
    choice = {
        "rule": "calibrated",
        "score": 0.4,
        "curve": [[0.3, 0.1]],
        "images": ["a", "b"],
        "calibration": {"miou": 1},
    }
    text = text_of(Page(render_report(document(stages=[stage(background_choice=choice)]))))
    assert "What the score was chosen by, mIoU over 2 labelled images." in text


def test_prompts_and_choices_that_do_not_say_everything():
    stages = [stage(background_choice={"score": 0.4, "curve": [[0.3, 0.1]]})]
    text = text_of(Page(render_report(document(prompts=PROMPTS | {"settings": {}}, stages=stages))))
    assert "What the score was chosen by, without ground truth. The circle" in text
    assert "They were learned from" not in text


def test_what_cannot_be_shown_is_said():
    facts = document(num_masks=7)
    facts["images"][0]["trouble"] = "the image was not found"
    text = text_of(Page(render_report(facts)))
    assert "1 of 7 images: those of the least confidence" in text
    assert "1 image could not be shown; the first: a/1, the image was not found" in text


def test_without_a_gallery_there_is_none():
    page = Page(render_report(document(images=[])))
    assert "gallery" not in {attributes.get("id") for _, attributes in page.tags}


def test_the_data_block_holds_facts_and_pictures():
    pictures = [{"image": "data:image/webp;base64,AA==", "mask": "data:image/png;base64,BB=="}]
    data = data_of(Page(render_report(document(), pictures)))
    assert data["images"] == [{**document()["images"][0], "pictures": pictures[0]}]
    assert data["classes"] == document()["classes"]


@pytest.mark.parametrize("name", NASTY)
def test_names_are_text_wherever_they_stand(name):
    bad = {"reason": name, "status": "failed", "count": 1, "ids": [name]}
    evaluation = EVALUATION | {"missing": [name]}
    evaluation |= {key: {"background": 0.6, name: 0.4} for key in ("iou", "precision", "recall", "fp_rate", "fn_rate")}
    engine = {name: name, "model": name, "licence": name}
    choice = {"rule": name, "score": 0.4, "curve": [[0.3, 0.1]], "per_class": {name: 0.4}}
    stages = [
        stage(name, command=name, folder=name, engine=engine, inputs=[name], reasons=[bad], evaluation=evaluation),
        stage(name + "2", settings={name: [name, {name: name}]}, background_choice=choice, evaluation=evaluation),
    ]
    prompts = PROMPTS | {"file": name, "clip": name, "template": name, "classes": [{"class": name, "learned": True}]}
    facts = document(name, name, title=name, stages=stages, prompts=prompts, num_masks=2)
    facts["images"][0]["trouble"] = name
    harmless = Page(
        render_report(
            document(
                "cat",
                "a/1",
                stages=[
                    stage("x", evaluation=EVALUATION, reasons=[bad | {"reason": "y"}]),
                    stage(
                        "y",
                        evaluation=EVALUATION,
                        background_choice=choice | {"rule": "r", "per_class": {"c": 1}},
                        settings={"s": 1},
                    ),
                ],
                prompts=PROMPTS,
                num_masks=2,
            )
        )
    )
    page = Page(render_report(facts))
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in harmless.tags}
    assert len(page.all("script")) == 2
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    data = data_of(page)
    assert (data["images"][0]["id"], data["classes"][1]["name"]) == (name, name)


def test_only_the_two_hashes_may_run():
    page = Page(render_report(document()))
    (policy,) = [each["content"] for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    directives = dict(each.strip().split(" ", 1) for each in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["img-src"] == "data:"
    for name, text in (("script-src", page.inside["script"][1]), ("style-src", page.inside["style"][0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert directives[name] == f"'sha256-{digest}'"
    assert "unsafe" not in policy


def test_nothing_in_the_page_leads_outside():
    page = Page(render_report(document(stages=[stage(evaluation=EVALUATION)])))
    for tag, attributes in page.tags:
        for key in ("src", "href", "action", "xlink:href", "srcset", "poster"):
            if key in attributes:
                assert re.match(r"#|data:", attributes[key]), (tag, attributes)
        assert "style" not in attributes  # the policy would refuse it
    assert not re.search(
        r"url\((?!#)|@import|fetch\(|XMLHttpRequest|import\(", "".join(page.inside["style"] + page.inside["script"][1:])
    )
    assert not re.search("https?:", render_report(document()))


def test_ids_are_unique_and_links_lead_somewhere():
    page = Page(
        render_report(
            document(stages=[stage(evaluation=EVALUATION), stage("b", evaluation=EVALUATION)], prompts=PROMPTS)
        )
    )
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {each["href"][1:] for each in page.all("a")} <= set(ids)


def test_the_same_document_gives_the_same_bytes(tmp_path):
    facts = document(stages=[stage(evaluation=EVALUATION, curve=[[0.0, 0.5], [1.0, None]])], prompts=PROMPTS)
    first, second = (write_report_page(tmp_path / name / "report.html", facts) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in first.parent.iterdir()] == ["report.html"]


def test_a_name_that_is_no_utf8_is_written_with_question_marks(tmp_path):
    path = write_report_page(tmp_path / "r.html", document(title="bad \udcff name"))
    assert "bad ? name" in path.read_text(encoding="utf-8")


def test_wording():
    assert [percent(None), percent(0.12345), percent(1.0, 0)] == ["–", "12.3", "100"]
    assert [shade(None), shade(0.0), shade(0.449), shade(1.0)] == ["", "shade-0", "shade-4", "shade-10"]
    assert [setting(None), setting([]), setting({}), setting(True), setting(0.5), setting("x")] == [
        "none",
        "none",
        "none",
        "true",
        "0.5",
        "x",
    ]
    assert setting({"a": [1, 2]}) == "a 1, 2"
    assert [count(1, "mask"), count(1500, "mask"), count(2, "class", "classes")] == [
        "1 mask",
        "1\u2009500 masks",
        "2 classes",
    ]
    assert thousands(1234567) == "1\u2009234\u2009567"
