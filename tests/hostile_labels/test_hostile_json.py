"""JSON that is damaged, nested without end, doubled, or of other types than it should be."""

import json

import pytest
from hostile_case import check, partly, refused, taken

ONE = {"a": ("cat",)}
DIGITS = "7" * 5000
DEEP = "[" * 100_000
GOOD_LINE = '{"file_name": "a.jpg", "labels": ["cat"]}\n'


def lines(*more: str) -> str:
    return GOOD_LINE + "".join(f"{line}\n" for line in more)


def line(labels: str) -> str:
    return lines(f'{{"file_name": "b.jpg", "labels": {labels}}}')


LINES = {
    "bom": taken("\ufeff" + GOOD_LINE, ONE),
    "crlf": taken(GOOD_LINE.replace("\n", "\r\n"), ONE),
    "blank-lines": taken(f"\n\n{GOOD_LINE}\n\n", ONE),
    "empty": refused("", "l.jsonl: no lines; write one for each image"),
    "utf16": refused(GOOD_LINE.encode("utf-16"), "l.jsonl:1: UTF-16"),
    "latin1": refused(lines('{"file_name": "é"}').encode("latin-1"), "l.jsonl:2: ", "0xe9"),
    "truncated": refused(lines('{"file_name": "b.jpg", "lab'), "l.jsonl:2: not JSON"),
    "truncated-escape": refused(lines('{"file_name": "\\u00'), "l.jsonl:2: not JSON"),
    "pretty-printed": refused(json.dumps({"file_name": "a.jpg", "labels": ["cat"]}, indent=1), "l.jsonl:1: not JSON"),
    "two-on-a-line": refused(GOOD_LINE.strip() * 2, "l.jsonl:1: more than one JSON object"),
    "array-of-all": refused(f"[{GOOD_LINE.strip()}]", "l.jsonl:1: a list where an object is needed"),
    "number": refused(lines("7"), "l.jsonl:2: a int where an object is needed"),
    "python": refused(lines("{'file_name': 'b.jpg'}"), "l.jsonl:2: not JSON"),
    "comment": refused("// ours\n" + GOOD_LINE, "l.jsonl:1: not JSON"),
    "control-character": refused(lines('{"file_name": "b\t.jpg"}'), "l.jsonl:2: not JSON"),
    "deep": refused(lines('{"labels": ' + DEEP), "l.jsonl:2: not JSON (brackets within brackets"),
    "deep-in-objects": refused(lines('{"a":' * 100_000), "l.jsonl:2: not JSON (brackets within brackets"),
    "endless-number": refused(line(DIGITS), "l.jsonl:2: not JSON (a number of thousands of digits)"),
    "key-twice": refused(
        lines('{"file_name": "b.jpg", "labels": ["cat"], "labels": ["dog"]}'),
        "l.jsonl:2: not JSON ('labels' stands twice",
    ),
    "image-key-twice": refused(lines('{"file_name": "b.jpg", "file_name": "a.jpg", "labels": "cat"}'), "stands twice"),
    "two-keys-of-labels": refused(
        lines('{"image": "b.jpg", "labels": "a", "tags": "b"}'), "l.jsonl:2: 'labels' and 'tags'"
    ),
    "no-keys": partly(lines("{}"), ONE, "l.jsonl:2: no key is called 'file_name'"),
    "no-labels": partly(lines('{"file_name": "b.jpg"}'), ONE, "l.jsonl:2: no key is called 'labels'"),
    "labels-null": taken(line("null"), {**ONE, "b": ()}),
    "labels-number": partly(line("3"), ONE, "l.jsonl:2: 3 is no class name"),
    "labels-nan": partly(line("NaN"), ONE, "l.jsonl:2: nan is no class name"),
    "labels-infinity": partly(line("-Infinity"), ONE, "l.jsonl:2: -inf is no class name"),
    "labels-float": partly(line("1e308"), ONE, "l.jsonl:2: 1e+308 is no class name"),
    "labels-true": partly(line("true"), ONE, "l.jsonl:2: True is no class name"),
    "labels-object": partly(line('{"cat": true}'), ONE, "l.jsonl:2: {'cat': True} is no class name"),
    "labels-of-lists": partly(line('[["cat"]]'), ONE, "l.jsonl:2: ['cat'] is no class name"),
    "labels-with-null": partly(line('["cat", null]'), ONE, "l.jsonl:2: None is no class name"),
    "labels-long": partly(line(f"[{list(range(5000))}]"), ONE, "l.jsonl:2: ", "is no class name; write the name"),
    "labels-empty-text": taken(line('""'), {**ONE, "b": ()}),
    "labels-of-empty-texts": taken(line('["", "cat"]'), {**ONE, "b": ("cat",)}),
    "image-number": taken(lines('{"file_name": 7, "labels": "cat"}'), ONE, "without image: 7"),
    "image-true": partly(lines('{"file_name": true, "labels": "cat"}'), ONE, "l.jsonl:2: True is no name"),
    "image-object": partly(lines('{"file_name": {}, "labels": "cat"}'), ONE, "l.jsonl:2: {} is no name"),
    "image-empty": partly(lines('{"file_name": "", "labels": "cat"}'), ONE, "l.jsonl:2: no image is named"),
    "objects-of-another-kind": partly(lines('{"file_name": "b.jpg", "objects": [1]}'), ONE, "l.jsonl:2: no key"),
    "contradiction": partly(
        lines('{"file_name": "b.jpg", "labels": "cat"}', '{"file_name": "b.jpg", "labels": "dog"}'),
        ONE,
        "l.jsonl:3: b.jpg has other labels on line 2 (cat)",
    ),
}


def coco(images: object = None, annotations: object = None, categories: object = None, **more: object) -> str:
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 4, "width": 4}] if images is None else images,
        "annotations": [{"id": 1, "image_id": 1, "category_id": 3}] if annotations is None else annotations,
        "categories": [{"id": 3, "name": "cat"}, {"id": 90, "name": "dog"}] if categories is None else categories,
    }
    return json.dumps({**document, **more})


def image(**facts: object) -> list[dict]:
    return [{"id": 1, "file_name": "a.jpg", "height": 4, "width": 4, **facts}]


def annotation(**facts: object) -> list[dict]:
    return [{"id": 1, "image_id": 1, "category_id": 3, **facts}]


def category(**facts: object) -> list[dict]:
    return [{"id": 3, "name": "cat", **facts}]


NO_COCO = "x.json: no COCO instances"
COCO = {
    "gaps-between-ids": taken(coco(), ONE),
    "bom": taken("\ufeff" + coco(), ONE),
    "unsorted-ids": taken(coco(categories=[{"id": 90, "name": "cat"}, {"id": 3, "name": "dog"}]), {"a": ("dog",)}),
    "ids-as-text": taken(coco(image(id="1"), annotation(image_id="1", category_id="3"), category(id="3")), ONE),
    "ids-with-a-point": taken(coco(image(id=1.0), annotation(image_id=1.0)), ONE),
    "id-of-a-fraction": refused(coco(annotations=annotation(category_id=3.5)), NO_COCO, "3.5"),
    "id-true": refused(coco(annotations=annotation(image_id=True)), NO_COCO, "True"),
    "id-null": refused(coco(annotations=annotation(image_id=None)), NO_COCO, "None"),
    "id-list": refused(coco(image(id=[1])), NO_COCO, "a list as id"),
    "id-nan": refused(coco(image(id=float("nan"))), NO_COCO),
    "id-infinite": refused(coco(image(id=float("inf"))), NO_COCO),
    "id-of-a-name": refused(coco(image(id="a.jpg")), NO_COCO, "'a.jpg'"),
    "id-negative": taken(coco(image(id=-1), annotation(image_id=-1)), ONE),
    "id-beyond-64-bits": taken(coco(image(id=2**80), annotation(image_id=2**80)), ONE),
    "id-endless": refused(coco().replace('"id": 1', f'"id": {DIGITS}', 1), "x.json: not JSON (a number of thousands"),
    "id-endless-as-text": refused(coco(image(id=DIGITS)), NO_COCO),
    "id-missing": refused(coco(images=[{"file_name": "a.jpg", "height": 4, "width": 4}]), NO_COCO, "'id' is missing"),
    "no-images": refused(coco(images=[], annotations=[]), "x.json: it lists no images"),
    "no-annotations": taken(coco(annotations=[]), {"a": ()}),
    "no-categories": refused(coco(categories=[], annotations=[]), "x.json: no class at all"),
    "key-missing": refused('{"images": [], "annotations": []}', NO_COCO, "'categories' is missing"),
    "key-twice": refused(
        coco()[:-1] + ', "annotations": []}', "x.json: not JSON ('annotations' stands twice in one object)"
    ),
    "images-null": refused(coco().replace('"images": [{', '"images": null, "x": [{'), NO_COCO),
    "images-object": refused(coco(images={"1": {}}), NO_COCO),
    "images-of-null": refused(coco(images=[None]), NO_COCO),
    "annotations-number": refused(coco(annotations=7), NO_COCO),
    "annotations-text": refused(coco(annotations="cat"), NO_COCO),
    "annotations-of-lists": refused(coco(annotations=[[1, 2]]), NO_COCO),
    "categories-of-names": refused(coco(categories=["cat"]), NO_COCO),
    "two-images-of-an-id": refused(
        coco(image() + image(file_name="b.jpg")), "x.json: two images have the id 1; give them different ones"
    ),
    "two-images-of-a-name": refused(coco(image() + image(id=2)), "x.json: two images have the file_name 'a.jpg'"),
    "two-categories-of-an-id": refused(coco(categories=category() * 2), "x.json: two categories have the id 3"),
    "two-categories-of-a-name": refused(coco(categories=category() + category(id=4)), "x.json: class 'cat' is listed"),
    "categories-alike": refused(coco(categories=category() + category(id=4, name="CAT")), "look like one class"),
    "category-background": refused(
        coco(categories=category(name="background")), "x.json: background is always class 0"
    ),
    "category-null": refused(coco(categories=category(name=None)), NO_COCO, "a NoneType as name"),
    "category-object": refused(coco(categories=category(name={"en": "cat"})), NO_COCO, "a dict as name"),
    "category-number": taken(coco(categories=category(name=7)), {"a": ("7",)}),
    "category-empty": refused(coco(categories=category(name=" ")), "x.json: a class name is empty"),
    "category-of-lines": refused(coco(categories=category(name="c\nat")), "x.json: class 'c\\nat' holds a line end"),
    "categories-10000": refused(
        coco(categories=[{"id": k, "name": f"class {k}"} for k in range(10_000)]),
        "x.json: 10000 classes",
        "at most 254",
    ),
    "annotation-of-no-image": refused(coco(annotations=annotation(image_id=2)), "annotation 0 is of image 2, which"),
    "annotation-of-no-category": refused(coco(annotations=annotation(category_id=4)), "annotation 0 is of category 4"),
    "class-list-without-it": refused(
        coco(), "x.json: category 'cat' is no class of the list", "did you mean 'cats'?", classes="cats\ndog\n"
    ),
    "boxes-negative": taken(coco(annotations=annotation(bbox=[-5, -5, -1, 1e308], area=-1)), ONE),
    "boxes-nan": taken(coco(annotations=annotation(bbox=[float("nan")] * 4)), ONE),
    "rle-broken": taken(coco(annotations=annotation(segmentation={"size": [4], "counts": "!"})), ONE),
    "polygon-broken": taken(coco(annotations=annotation(segmentation=[[1, "x"], None])), ONE),
    "size-endless": refused(coco(image(height=float("inf"))), NO_COCO),
    "size-null": refused(coco(image(height=None)), NO_COCO),
    "file-name-number": refused(coco(image(file_name=7)), "x.json: an image is called 7, which leads out"),
    "file-name-empty": refused(coco(image(file_name="")), "x.json: an image is called '', which"),
    "file-name-parent": refused(
        coco(image(file_name="../a.jpg")), "x.json: an image is called '../a.jpg', which leads out"
    ),
    "file-name-absolute": refused(
        coco(image(file_name="/a.jpg")), "x.json: an image is called '/a.jpg', which leads out"
    ),
    "file-name-windows-parent": refused(coco(image(file_name="..\\a.jpg")), "which leads out of its folder"),
    "truncated": refused(coco()[:-30], "x.json:1:", "not JSON"),
    "empty": refused("", "x.json:1:1: not JSON"),
    "deep": refused('{"images": ' + DEEP, "x.json: not JSON (brackets within brackets"),
    "deep-region": taken(coco(annotations=annotation(segmentation=json.loads("[" * 500 + "]" * 500))), ONE),
    "utf16": refused(coco().encode("utf-16"), "x.json:1: UTF-16"),
    "captions": refused(
        '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"caption": "a cat"}]}', NO_COCO
    ),
    "null": refused("null", NO_COCO, "a NoneType at the top"),
    "jsonl-called-json": refused(GOOD_LINE * 2, "x.json:2:1: not JSON (Extra data)"),
}


def tasks(*found: object) -> str:
    return json.dumps([{"id": 1, "data": {"image": "/data/a.jpg"}, "annotations": [{"result": choice("cat")}]}, *found])


def choice(*names: object) -> list[dict]:
    return [{"type": "choices", "value": {"choices": list(names)}}]


def task(annotations: object, **facts: object) -> dict:
    return {"id": 2, "data": {"image": "b.jpg"}, "annotations": annotations, **facts}


LABEL_STUDIO = {
    "plain": taken(tasks(task([{"result": choice("dog")}])), {**ONE, "b": ("dog",)}),
    "annotations-null": taken(tasks(task(None)), ONE, "1 task without annotation"),
    "annotations-number": refused(tasks(task(5)), "x.json:1:", "'annotations' is no list of objects"),
    "annotations-text": refused(tasks(task("cat")), "x.json:1:", "'annotations' is no list of objects"),
    "annotations-object": refused(tasks(task({"result": []})), "'annotations' is no list of objects"),
    "annotations-of-numbers": refused(tasks(task([7])), "'annotations' is no list of objects"),
    "result-number": refused(tasks(task([{"result": 7}])), "x.json:1:", "'result' is no list of objects"),
    "result-of-texts": refused(tasks(task([{"result": ["cat"]}])), "'result' is no list of objects"),
    "value-null": taken(tasks(task([{"result": [{"value": None}]}])), {**ONE, "b": ()}),
    "choices-number": partly(tasks(task([{"result": [{"value": {"choices": 7}}]}])), ONE, "task 2: 7 is no class name"),
    "choices-null": partly(tasks(task([{"result": choice(None)}])), ONE, "task 2: None is no class name"),
    "two-annotators-disagree": partly(
        tasks(task([{"result": choice("cat")}, {"result": choice("dog")}])), ONE, "b.jpg has other labels"
    ),
    "cancelled": taken(tasks(task([{"result": choice("dog"), "was_cancelled": True}])), ONE),
    "predictions-alone": taken(tasks(task([], predictions=[{"result": choice("dog")}])), ONE),
    "data-null": partly(tasks(task([{"result": choice("dog")}], data=None)), ONE, "task 2: no image is named"),
    "data-list": partly(tasks(task([{"result": choice("dog")}], data=["b.jpg"])), ONE, "task 2: no image is named"),
    "broken-url": taken(
        tasks(task([{"result": choice("dog")}], data={"image": "http://[x/b.jpg"})), {**ONE, "b": ("dog",)}
    ),
    "script-in-the-name": taken(
        tasks(task([{"result": choice("dog")}], data={"image": "<script>.jpg"})), ONE, "without image: <script>.jpg"
    ),
    "parent-in-the-url": taken(
        tasks(task([{"result": choice("dog")}], data={"image": "/data/local-files/?d=..%2f..%2fetc%2fb.jpg"})),
        {**ONE, "b": ("dog",)},
    ),
    "array-of-numbers": refused("[1, 2]", "x.json:1: a int where an object is needed"),
    "empty-array": refused("[]", "x.json: no task has an annotation"),
    "two-arrays": refused(tasks() + tasks(), "x.json:1: text behind the array"),
    "truncated": refused(tasks()[:-1], "x.json:1: not JSON"),
    "key-twice": refused(tasks()[:-2] + ', "id": 7}]', "x.json:1: not JSON ('id' stands twice"),
    "deep": refused('[{"data": ' + DEEP, "x.json:1: not JSON (brackets within brackets"),
    "min-of-two-texts": refused(json.dumps([{"image": "a.jpg", "one": "cat", "two": "dog"}]), "may both be the choice"),
    "min-of-numbers": taken(
        json.dumps([{"image": "a.jpg", "choice": "cat"}, {"image": "b.jpg", "choice": 7}]), {**ONE, "b": ()}
    ),
}


def labelme(shapes: object = None, flags: object = None, image_path: object = "a.jpg") -> str:
    found = [{"label": "cat", "points": [[0, 0]]}] if shapes is None else shapes
    return json.dumps(
        {"version": "5", "flags": {} if flags is None else flags, "shapes": found, "imagePath": image_path}
    )


NOT_LABELME = "shapes or flags are not as LabelMe writes them"
LABELME = {
    "plain": taken(labelme(), ONE),
    "flags-that-are-text": partly(labelme(flags={"dog": "false"}), {}, NOT_LABELME),
    "flags-that-are-numbers": partly(labelme(flags={"dog": 0}), {}, NOT_LABELME),
    "flags-list": partly(labelme(flags=["dog"]), {}, NOT_LABELME),
    "shapes-number": partly(labelme(shapes=7), {}, NOT_LABELME),
    "shapes-of-null": partly(labelme(shapes=[None]), {}, NOT_LABELME),
    "label-null": partly(labelme(shapes=[{"label": None}]), {}, NOT_LABELME),
    "label-missing": partly(labelme(shapes=[{"points": []}]), {}, NOT_LABELME),
    "label-of-lines": partly(labelme(shapes=[{"label": "c\nat"}]), {}, "class 'c\\nat' holds a line end"),
    "image-path-number": partly(labelme(image_path=7), {}, NOT_LABELME),
    "image-path-parent": taken(labelme(image_path="../../x/a.jpg"), ONE),
    "image-path-windows": taken(labelme(image_path="..\\images\\a.jpg"), ONE),
    "image-path-drive": taken(labelme(image_path="C:\\x\\a.jpg"), ONE),
    "truncated": partly(labelme()[:-9], {}, "not JSON"),
    "deep": partly('{"shapes": ' + DEEP, {}, "not JSON (brackets within brackets"),
    "list": partly("[]", {}, "a list where LabelMe has an object"),
    "key-twice": partly(labelme()[:-1] + ', "shapes": []}', {}, "not JSON ('shapes' stands twice"),
    "neither": partly('{"imagePath": "a.jpg"}', {}, "neither flags nor shapes"),
}


def _named(cases: dict, name: str) -> dict:
    return {key: type(case)(**{**vars(case), "name": name}) for key, case in cases.items()}


def _in_a_folder(cases: dict) -> dict:
    """One good file, and the odd one beside it: LabelMe has a file for each image."""
    good = labelme(image_path="b.jpg")
    return {
        key: type(case)(
            **{
                **vars(case),
                "name": "labelme",
                "rows": {"b": ("cat",), **case.rows},
                "args": {"labels_format": "labelme"},
                "others": {"labelme/a.json": case.content, "labelme/b.json": good},
            }
        )
        for key, case in cases.items()
    }


ALL = {
    **{f"lines-{key}": case for key, case in _named(LINES, "l.jsonl").items()},
    **{f"coco-{key}": case for key, case in _named(COCO, "x.json").items()},
    **{f"label-studio-{key}": case for key, case in _named(LABEL_STUDIO, "x.json").items()},
    **{f"labelme-{key}": case for key, case in _in_a_folder(LABELME).items()},
}


@pytest.mark.parametrize("case", ALL.values(), ids=ALL)
def test_odd_json(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(case, tmp_path)
