"""VOC annotations, image sets and split lists, WSSS lists and cls_labels.npy that are not what they should be."""

import io
import pickle

import numpy as np
import pytest
from hostile_case import Case, check, partly, refused, taken
from typer.testing import CliRunner

from semples_cli.cli.app import app

ONE = {"a": ("cat",)}


def xml(content: str) -> str:
    return f"<annotation><filename>b.jpg</filename>{content}</annotation>"


def thing(name: str = "dog", more: str = "") -> str:
    return f"<object><name>{name}</name>{more}</object>"


def entities(depth: int) -> str:
    """Billion laughs: each entity is ten of the one before."""
    rows = "".join(f'<!ENTITY e{k} "{f"&e{k - 1};" * 10}">' for k in range(1, depth))
    head = f'<!DOCTYPE annotation [<!ENTITY e0 "dog">{rows}]>'
    return f"{head}<annotation>{thing(f'&e{depth - 1};')}</annotation>"


XML = {
    "plain": taken(xml(thing()), {**ONE, "b": ("dog",)}),
    "bom": taken("\ufeff" + xml(thing()), {**ONE, "b": ("dog",)}),
    "utf16": taken(f'<?xml version="1.0" encoding="UTF-16"?>{xml(thing())}'.encode("utf-16"), {**ONE, "b": ("dog",)}),
    "no-objects": taken(xml(""), {**ONE, "b": ()}),
    "empty": partly("", ONE, "Annotations/b.xml: cannot be read as XML (no element found"),
    "truncated": partly(xml(thing())[:-5], ONE, "Annotations/b.xml: cannot be read as XML"),
    "json": partly('{"object": "dog"}', ONE, "Annotations/b.xml: cannot be read as XML"),
    "nul": partly(xml(thing("d\0g")), ONE, "Annotations/b.xml: cannot be read as XML (not well-formed"),
    "latin1-without-saying": partly(xml(thing("é")).encode("latin-1"), ONE, "Annotations/b.xml: cannot be read as XML"),
    "latin1": taken(
        f'<?xml version="1.0" encoding="ISO-8859-1"?>{xml(thing("é"))}'.encode("latin-1"), {**ONE, "b": ("é",)}
    ),
    "encoding-that-lies": partly(
        f'<?xml version="1.0" encoding="UTF-16"?>{xml(thing())}', ONE, "Annotations/b.xml: cannot be read as XML"
    ),
    "encoding-that-is-none": partly(
        f'<?xml version="1.0" encoding="klingon"?>{xml(thing())}', ONE, "b.xml: cannot be read as XML (unknown encoding"
    ),
    "encoding-of-many-bytes": partly(
        f'<?xml version="1.0" encoding="utf-7"?>{xml(thing())}', ONE, "Annotations/b.xml: cannot be read as XML"
    ),
    "entities-that-grow": partly(entities(10), ONE, "Annotations/b.xml: cannot be read as XML (EntitiesForbidden"),
    "entity-of-a-file": partly(
        '<!DOCTYPE annotation [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + xml(thing("&x;")), ONE, "(EntitiesForbidden"
    ),
    "entity-of-the-network": partly(
        '<!DOCTYPE annotation [<!ENTITY x SYSTEM "http://127.0.0.1:9/x">]>' + xml(thing("&x;")),
        ONE,
        "(EntitiesForbidden",
    ),
    "parameter-entity": partly(
        '<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:9/x"> %x;]>' + xml(thing()), ONE, "(EntitiesForbidden"
    ),
    "dtd-of-the-network": taken(
        '<!DOCTYPE annotation SYSTEM "http://127.0.0.1:9/voc.dtd">' + xml(thing()), {**ONE, "b": ("dog",)}
    ),
    "entity-that-nobody-defined": partly(xml(thing("&dog;")), ONE, "(undefined entity"),
    "namespace": partly(
        f'<annotation xmlns="urn:x">{thing()}</annotation>', ONE, "its outermost element is '{urn:x}annotation'"
    ),
    "another-root": partly(f"<html>{thing()}</html>", ONE, "its outermost element is 'html', not 'annotation'"),
    "list-of-annotations": partly(f"<annotations>{xml(thing())}</annotations>", ONE, "its outermost element is"),
    "deep": taken(xml("<part>" * 50_000 + "</part>" * 50_000 + thing()), {**ONE, "b": ("dog",)}),
    "object-without-name": partly(xml("<object/>" + thing()), ONE, "b.xml: an object in it has no name"),
    "object-with-an-empty-name": partly(xml(thing(" ")), ONE, "b.xml: an object in it has no name"),
    "name-of-lines": partly(xml(thing("d\nog")), ONE, "b.xml: class 'd\\nog' holds a line end"),
    "name-in-cdata": taken(xml(thing("<![CDATA[dog]]>")), {**ONE, "b": ("dog",)}),
    "name-of-markup": taken(xml(thing("&lt;script&gt;")), {**ONE, "b": ("<script>",)}),
    "name-with-a-child": partly(xml(thing("<b>dog</b>")), ONE, "b.xml: an object in it has no name"),
    "all-difficult": taken(xml(thing(more="<difficult>1</difficult>")), {**ONE, "b": ()}),
    "processing-instruction": taken(
        '<?xml-stylesheet href="http://127.0.0.1:9"?>' + xml(thing()), {**ONE, "b": ("dog",)}
    ),
}


def annotations(case: Case) -> Case:
    """One good file, and the odd one beside it."""
    good = f"<annotation>{thing('cat')}</annotation>"
    others = {"Annotations/a.xml": good, "Annotations/b.xml": case.content}
    return Case(rows=case.rows, code=case.code, says=case.says, name="Annotations", others=others)


def main(*says: str, rows: dict | None = None, code: int = 1, classes: str | None = None, **files: str | bytes) -> Case:
    """Image sets; `cat_train` is a file of that name."""
    return Case(
        "", rows, code, says, "Main", classes, others={f"Main/{name}.txt": text for name, text in files.items()}
    )


MAIN = {
    "plain": main(rows={**ONE, "b": ("dog",)}, code=0, cat_train="a 1\nb -1\n", dog_train="a -1\nb  1\n"),
    "a-line-without-flag": main("Main/cat_train.txt:2: 'b' is not `<id> 1`", cat_train="a 1\nb\n"),
    "a-flag-too-many": main("Main/cat_train.txt:2: 'b 1 1' is not", cat_train="a 1\nb 1 1\n"),
    "a-flag-of-2": main("Main/cat_train.txt:1: 'a 2' is not", cat_train="a 2\nb 1\n", dog_train="a 1\n"),
    "a-long-line": main("Main/cat_train.txt:2: 'xxx", " is not `<id> 1`", cat_train="a 1\n" + "x" * 100_000 + "\n"),
    "two-splits-that-disagree": main(
        "Main/cat_trainval.txt:1: a is marked -1 here and 1 elsewhere; it is left out",
        rows={"b": ("cat",)},
        code=3,
        cat_train="a 1\nb 1\n",
        cat_trainval="a -1\nb 1\n",
    ),
    "one-file-that-disagrees": main(
        "Main/cat_train.txt:3: a is marked -1 here and 1 elsewhere",
        rows={"b": ("cat",)},
        code=3,
        cat_train="a 1\nb 1\na -1\n",
    ),
    "binary": main("Main/cat_train.txt:1: ", "UTF-8", cat_train=b"a 1\xff", dog_train="a 1\n"),
    "empty": main("Main: no images here", cat_train=""),
    "unknown-class": main(
        "Main/cats_train.txt: unknown class 'cats'; did you mean 'cat'?", cats_train="a 1\n", classes="cat\n"
    ),
    "nameless-class": main("Main: a class name is empty", _train="a 1\nb -1\n"),
    "background": main(rows=ONE, code=0, background_train="a 1\n", cat_train="a 1\n"),
}


def npy(content: object) -> bytes:
    text = io.BytesIO()
    np.save(text, np.array(content, object), allow_pickle=True)
    return text.getvalue()


def raw_npy(pickled: bytes) -> bytes:
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(text, {"descr": "|O", "fortran_order": False, "shape": ()})
    return text.getvalue() + pickled


def numbers_npy(array: np.ndarray) -> bytes:
    text = io.BytesIO()
    np.save(text, array)
    return text.getvalue()


GOOD = {"a": np.array([1, 0], np.float32)}
WRONG = "entry 'b': an id, and a vector of 0 and 1 are needed"
NPY = {
    "plain": taken(npy({**GOOD, "b": np.array([0, 1])}), {**ONE, "b": ("dog",)}),
    "a-half": partly(npy({**GOOD, "b": np.array([0.5, 1])}), ONE, WRONG),
    "minus-one": partly(npy({**GOOD, "b": np.array([-1, 1])}), ONE, WRONG),
    "nan": partly(npy({**GOOD, "b": np.array([np.nan, 1])}), ONE, WRONG),
    "two-dimensions": partly(npy({**GOOD, "b": np.eye(2)}), ONE, WRONG),
    "text": partly(npy({**GOOD, "b": "dog"}), ONE, WRONG),
    "lists-of-two-lengths": refused(npy({**GOOD, "b": [1, 0, 0]}), "n.npy: 2 lengths of vectors"),
    "empty": refused(npy({}), "n.npy: no labels"),
    "list": refused(npy(["a", "b"]), "n.npy: no labels"),
    "numbers": refused(numbers_npy(np.zeros(3)), "n.npy: no labels"),
    "lengths-of-none": refused(npy({"a": "dog"}), "n.npy: 0 lengths of vectors"),
    "another-number-of-classes": refused(npy({"a": np.zeros(20)}), "n.npy: it has 20 classes, but the class list 2"),
    "key-of-thousands-of-digits": refused(
        npy({**GOOD, 10**5000: np.array([0, 1])}), "n.npy: damaged, or no dict of plain arrays"
    ),
    "key-negative": partly(npy({**GOOD, -1: np.array([0, 1])}), ONE, "entry -1: an id"),
    "key-true": partly(npy({**GOOD, True: np.array([0, 1])}), ONE, "entry True: an id"),
    "key-tuple": partly(npy({**GOOD, (1, 2): np.array([0, 1])}), ONE, "entry (1, 2): an id"),
    "key-bytes": partly(npy({**GOOD, b"b": np.array([0, 1])}), ONE, "entry b'b': an id"),
    "key-none": partly(npy({**GOOD, None: np.array([0, 1])}), ONE, "entry None: an id"),
    "key-empty": partly(npy({**GOOD, "": np.array([0, 1])}), ONE, "no image is named"),
    "key-parent": taken(npy({**GOOD, "../../b": np.array([0, 1])}), {**ONE, "b": ("dog",)}),
    "truncated": refused(npy(GOOD)[:-20], "n.npy: damaged"),
    "truncated-header": refused(npy(GOOD)[:20], "n.npy: damaged"),
    "magic-alone": refused(b"\x93NUMPY", "n.npy: damaged"),
    "version-9": refused(b"\x93NUMPY\x09\x00" + npy(GOOD)[8:], "n.npy: damaged"),
    "header-that-is-no-dict": refused(
        b"\x93NUMPY\x01\x00\x10\x00" + b"[1, 2, 3]      \n" + b"x" * 50, "n.npy: damaged"
    ),
    "header-without-end": refused(b"\x93NUMPY\x01\x00\x10\x00" + b"{'descr': (((((\n", "n.npy: damaged"),
    "header-that-is-long": refused(b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b"{", "n.npy: damaged"),
    "shape-endless": refused(
        b"\x93NUMPY\x01\x00\x76\x00"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999999,), }".ljust(117)
        + b"\n",
        "n.npy: no labels",
    ),
    "set": refused(raw_npy(pickle.dumps({"a": {1, 2}}, 4)), "n.npy: damaged"),
    "csv-called-npy": refused("image,labels\na.jpg,cat\n", "n.npy: damaged"),
    "empty-file": refused("", "n.npy: damaged"),
}
WSSS = {
    "plain": taken("a 1\nb 1 2\n", {**ONE, "b": ("cat", "dog")}),
    "both-ways": refused("a 1\nb 1 1\n", "w.txt: reads both as numbers from 0"),
    "beyond-the-list": refused("a 1\nb 3 1\n", "w.txt:2: class numbers 1 to 3, but 2 classes are 0 to 1 or 1 to 2"),
    "negative": refused("a 0\nb -2 1\n", "w.txt:2: class numbers -2 to 1"),
    "flags": refused("a 1\nb -1\n", "w.txt: marks images by 1 and -1"),
    "of-thousands-of-digits": partly(
        f"a 1 2\nb {'7' * 5000}\n",
        {"a": ("cat", "dog")},
        "w.txt:2:1: ",
        "is not `<image> <number>",
        args={"labels_format": "wsss-list"},
    ),
    "digits-of-another-script": partly(
        "a 1 2\nb \u0661 x\n", {"a": ("cat", "dog")}, "w.txt:2:1: ", args={"labels_format": "wsss-list"}
    ),
    "words": partly(
        "a 1 2\nb dog\n", {"a": ("cat", "dog")}, "w.txt:2:1: 'b dog' is not", args={"labels_format": "wsss-list"}
    ),
    "no-numbers": refused("a\nb\n", "w.txt:1: not recognised as labels"),
    "contradiction": partly("a 1 2\nb 2\na 2\n", {"b": ("dog",)}, "w.txt:3:1: a has other labels on line 1"),
}


def _with(cases: dict, name: str) -> dict:
    return {key: type(case)(**{**vars(case), "name": name, "classes": "cat\ndog\n"}) for key, case in cases.items()}


ALL = {
    **{f"xml-{key}": annotations(case) for key, case in XML.items()},
    **{f"main-{key}": case for key, case in MAIN.items()},
    **{f"npy-{key}": case for key, case in _with(NPY, "n.npy").items()},
    **{f"wsss-{key}": case for key, case in _with(WSSS, "w.txt").items()},
}


@pytest.mark.parametrize("case", ALL.values(), ids=ALL)
def test_odd_voc_and_wsss(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(case, tmp_path)


SPLITS = {
    "missing-images": ("a\nzzz\n", 3, "  problem: zzz: in split train, but not in "),
    "parent": ("a\n../../secret\n", 3, "  problem: ../../secret: in split train, but not in "),
    "absolute": ("a\n/etc/passwd\n", 3, "  problem: etc/passwd: in split train, but not in "),
    "long": ("a\n" + "x" * 10_000 + "\n", 3, "  problem: xxxx"),
    "binary": (b"\x89PNG\r\n", 1, "train.txt:1: cannot be read as UTF-8 text (byte 0x89)"),
    "nul": (b"a\n\0\0\n", 1, "train.txt:2: holds NUL"),
    "twice": ("a\na\n", 0, "split train, 1 images"),
    "two-files-a-line": ("/JPEGImages/a.jpg /SegmentationClass/a.png\n", 0, "split train, 1 images"),
    "empty": ("", 1, "error: voc: no image-level labels; bring "),
}


@pytest.mark.parametrize(("content", "code", "says"), SPLITS.values(), ids=SPLITS)
def test_odd_split_lists(content, code, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {
        "voc/JPEGImages/a.jpg": b"",
        "voc/Annotations/a.xml": f"<annotation>{thing('cat')}</annotation>",
        "voc/Annotations/b.xml": f"<annotation>{thing('dog')}</annotation>",
        "voc/ImageSets/Segmentation/train.txt": content,
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = CliRunner().invoke(app, ["labels", "inspect", "--data", "voc", "--classes", "voc12"], env={"COLUMNS": "200"})
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert done.exit_code == code, done.stderr
    assert says in done.stderr
