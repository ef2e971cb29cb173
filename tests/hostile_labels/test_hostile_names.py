"""Class names and image names that mean harm, or look like others."""

import unicodedata

import pytest
from hostile_case import check, partly, refused, taken

from semples_cli.data.dataset import load_dataset
from semples_cli.errors import SettingsError

COMPOSED, APART = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")
ONE = {"a": ("cat",)}
LONG = "x" * 10_000
MANY = "".join(f"class {number}\n" for number in range(10_000))


def csv(*rows: str) -> str:
    return "\n".join(("image,labels", *rows)) + "\n"


def quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def jsonl(*pairs: str) -> str:
    return "".join(
        f'{{"file_name": {image}, "labels": {labels}}}\n' for image, labels in zip(pairs[::2], pairs[1::2], strict=True)
    )


# Names of classes

UNKNOWN = {
    "misspelt": ("aeroplan", "labels.csv:3:2: unknown class 'aeroplan'; did you mean 'aeroplane'?"),
    "plural": ("cats", "did you mean 'cat'?"),
    "another-case": ("CAT", "did you mean 'cat'?"),
    "full-width": ("\uff43\uff41\uff54", "did you mean 'cat'?"),
    "with-an-invisible-mark": ("cat\u200f", "did you mean 'cat'?"),
    "with-a-zero-width-space": ("c\u200bat", "did you mean 'cat'?"),
    "cyrillic-a": ("c\u0430t", "did you mean 'cat'?"),
    "nothing-near": ("zzz", "labels.csv:3:2: unknown class 'zzz'; known classes: aeroplane, cat, hot dog"),
    "with-space-for-underscore": ("hot_dog", "did you mean 'hot dog'?"),
    "too-long": (LONG, "labels.csv:3:2: class 'xxxxxxxxxxxxxxxxxxxx' … has 10000 characters, more than 200"),
    "html": ("<script>alert(1)</script>", "labels.csv:3:2: unknown class '<script>alert(1)</script>'"),
    "markup-of-the-terminal": ("[red]cat[/red]", "labels.csv:3:2: unknown class 'red]cat[/red'"),
    "emoji-code": (":cat:", "labels.csv:3:2: unknown class ':cat:'; did you mean 'cat'?"),
    "escape-sequence": ("\x1b[31mcat", "labels.csv:3:2: class '\\x1b[31mcat' holds a line end, a tab or another"),
    "format-string": ("{cat} %s %n", "labels.csv:3:2: unknown class '{cat} %s %n'"),
    "path": ("../../etc/passwd", "labels.csv:3:2: unknown class '../../etc/passwd'"),
    "formula": ("=cmd()!A1", "labels.csv:3:2: unknown class '=cmd()!A1'"),
}
FREE = {
    "line-end": ('"ca\nt"', "labels.csv:3:2: class 'ca\\nt' holds a line end"),
    "line-separator": ("ca\u2028t", "labels.csv:3:2: class 'ca\\u2028t' holds a line end"),
    "next-line": ("ca\x85t", "labels.csv:3:2: class 'ca\\x85t' holds a line end"),
    "tab": ("ca\tt", "labels.csv:3:2: class 'ca\\tt' holds a line end, a tab"),
    "bell": ("ca\at", "labels.csv:3:2: class 'ca\\x07t' holds"),
    "delete": ("ca\x7ft", "labels.csv:3:2: class 'ca\\x7ft' holds"),
    "too-long": (LONG, "labels.csv:3:2: class 'xxxxxxxxxxxxxxxxxxxx' … has 10000 characters"),
}
KEPT = {
    "number": "7",
    "float": "1e5",
    "html": "<b>cat</b>",
    "arabic": "قطة",
    "hebrew-with-a-mark": "חתול\u200f",
    "emoji-of-several": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "quotes": "the \"cat\" 'x'",
    "separator-of-paths": "a/b\\c",
    "percent": "100 %",
    "hash": "c#",
    "dash": "-cat",
    "python-word": "None of these",
    "brackets-within": "cat (male)",
}
CLASSES = {
    **{
        f"unknown-{key}": partly(csv("a.jpg,cat", f"b.jpg,{name}"), ONE, says, classes="aeroplane\ncat\nhot dog\n")
        for key, (name, says) in UNKNOWN.items()
    },
    **{f"free-{key}": partly(csv("a.jpg,cat", f"b.jpg,{name}"), ONE, says) for key, (name, says) in FREE.items()},
    **{f"kept-{key}": taken(csv(f"a.jpg,{quoted(name)}"), {"a": (name,)}) for key, name in KEPT.items()},
    "two-forms-of-accents": refused(
        csv(f"a.jpg,{COMPOSED}", f"b.jpg,{APART}"), "labels.csv: 'cafe\\u0301' and 'caf\\xe9' look like one class"
    ),
    "two-forms-in-one-row": refused(csv(f"a.jpg,{COMPOSED}|{APART}"), "look like one class"),
    "two-cases": refused(csv("a.jpg,Cat", "b.jpg,cat"), "labels.csv: 'Cat' and 'cat' look like one class", "--classes"),
    "two-spaces": refused(csv("a.jpg,hotdog", "b.jpg,hot dog"), "labels.csv: 'hot dog' and 'hotdog' look like one"),
    "two-that-differ-by-a-mark": refused(csv("a.jpg,cat", "b.jpg,cat\u200e"), "'cat' and 'cat\\u200e' look like one"),
    "two-cases-that-are-listed": taken(
        csv("a.jpg,Cat", "b.jpg,cat"), {"a": ("Cat",), "b": ("cat",)}, classes="Cat\ncat\n"
    ),
    "accents-apart-in-the-list": taken(csv(f"a.jpg,{COMPOSED}"), {"a": (APART,)}, classes=f"dog\n{APART}\n"),
    "accents-apart-in-the-labels": taken(csv(f"a.jpg,{APART}"), {"a": (COMPOSED,)}, classes=f"dog\n{COMPOSED}\n"),
    "accents-apart-in-a-header": taken(
        f"filename,{APART},dog\na.jpg,1,0\n", {"a": (COMPOSED,)}, classes=f"{COMPOSED}\ndog\n"
    ),
    "spaces-around": taken(csv("a.jpg,  cat  | dog "), {"a": ("cat", "dog")}),
    "no-break-spaces-around": taken(csv("a.jpg,\u00a0cat\u00a0"), ONE),
    "background": taken(
        csv("a.jpg,background|cat", "b.jpg,Background", "c.jpg,BACKGROUND"), {**ONE, "b": (), "sub/c": ()}
    ),
    "background-and-no-other": refused(csv("a.jpg,background"), "labels.csv: no row that can be used names a class"),
    "background-as-a-column": taken("filename,Background,cat\na.jpg,1,1\nb.jpg,1,0\n", {**ONE, "b": ()}),
    "many": refused(csv(*(f"{k}.jpg,class {k}" for k in range(10_000))), "labels.csv: 10000 classes", "at most 254"),
    "many-columns": refused(
        "filename," + ",".join(f"class {k}" for k in range(10_000)) + "\na.jpg," + ",".join("0" * 10_000) + "\n",
        "labels.csv: 10000 classes",
        "at most 254",
    ),
    "255": refused(csv(*(f"{k}.jpg,class {k}" for k in range(255))), "labels.csv: 255 classes", "at most 254"),
    "254": taken(csv("a.jpg,class 7", *(f"{k}.jpg,class {k}" for k in range(254))), {"a": ("class 7",)}, "254 classes"),
    "escaped-line-end-in-json": partly(
        jsonl('"a.jpg"', '["cat"]', '"b.jpg"', '["do\\ng"]'), ONE, "l.jsonl:2: class 'do\\ng' holds", name="l.jsonl"
    ),
    "nul-in-json": partly(
        jsonl('"a.jpg"', '["cat"]', '"b.jpg"', '["do\\u0000g"]'), ONE, "l.jsonl:2: class 'do\\x00g'", name="l.jsonl"
    ),
    "half-a-character-in-json": partly(
        jsonl('"a.jpg"', '["cat"]', '"b.jpg"', '["\\ud800"]'), ONE, "l.jsonl:2: class '\\ud800' holds", name="l.jsonl"
    ),
    "spaces-around-in-json": taken(
        jsonl('"a.jpg"', '[" cat "]', '"b.jpg"', '["cat"]'), {**ONE, "b": ("cat",)}, name="l.jsonl"
    ),
    "pipes-and-commas-in-json": taken(jsonl('"a.jpg"', '["cat|dog, wet"]'), {"a": ("cat|dog, wet",)}, name="l.jsonl"),
}

# Names of images: a row that names none of ours is said, and gives no image its label.

STRANGE = {
    "parent": "../a.jpg",
    "parent-within": "sub/../../images/../a.jpg",
    "absolute": "/a.jpg",
    "drive": "C:\\photos\\a.jpg",
    "network": "\\\\server\\share\\a.jpg",
    "url": "https://example.org/x/a.jpg",
    "home": "~/a.jpg",
}
IMAGES = {
    # Only the file name can match, and it is that of one image: as if the row said a.jpg.
    **{f"by-file-name-{key}": taken(csv(f"{name},cat"), ONE) for key, name in STRANGE.items()},
    "another-folder": taken(csv("other/a.jpg,cat", "a.jpg,dog"), {"a": ("dog",)}, "without image: other/a.jpg"),
    "percent-signs": refused(csv("%61.jpg,cat", "b.jpg,none").replace("cat", "none"), "no row that can be used"),
    "percent-signs-are-no-name": taken(csv("%61.jpg,cat"), {}, "without image: %61.jpg", "without label: a"),
    "trailing-spaces": taken(csv("a.jpg   ,cat"), ONE),
    "trailing-dot": taken(csv("a.jpg.,cat"), {}, "without image: a.jpg."),
    "backslashes": taken(csv("sub\\c.jpg,cat"), {"sub/c": ("cat",)}),
    "dot-slash": taken(csv("./a.jpg,cat"), ONE),
    "another-suffix": taken(csv("a.PNG,cat"), ONE),
    "no-suffix": taken(csv("a,cat"), ONE),
    "another-case": taken(csv("A.jpg,cat"), {}, "without image: A.jpg"),
    "dots-alone": taken(csv("..,cat", "...,cat", "..jpg,cat", ".jpg,cat"), {}, "without image: ..jpg"),
    "slashes-alone": taken(csv("/,cat", "//,cat", "a.jpg/,dog"), {"a": ("dog",)}, "without image: /"),
    "long": partly(
        csv(f"{LONG}.jpg,cat", "a.jpg,dog"), {"a": ("dog",)}, "labels.csv:2:1: an image called by 10004 characters"
    ),
    "deep": taken(csv(f"{'x/' * 2000}a.jpg,cat"), ONE),
    "right-to-left": taken(csv("a\u202egpj.exe,cat"), {}, "without image: a\\u202egpj.exe"),
    "escape-sequence": taken(csv("\x1b[2Ja.jpg,cat"), {}, "without image: \\x1b[2Ja.jpg"),
    "repeated": taken(csv("a.jpg,cat", "a.jpg,cat", "a,cat"), ONE),
    "repeated-in-another-order": taken(csv("a.jpg,cat|dog", "a.jpg,dog|cat"), {"a": ("cat", "dog")}),
    "contradicted": partly(
        csv("a.jpg,cat", "b.jpg,dog", "a.jpg,dog|cat", "a.jpg,cat"),
        {"b": ("dog",)},
        "labels.csv:4:1: a.jpg has other labels on line 2 (cat); neither is used",
    ),
    "another-row-by-a-worse-name": taken(csv("a.jpg,cat", "./images/a.png,dog"), ONE, "without image: images/a.png"),
    "contradicted-by-a-suffix": partly(
        csv("a.png,cat", "a.gif,dog", "b.jpg,cat"), {"b": ("cat",)}, "the image a is labelled in several ways"
    ),
    "contradicted-by-nothing": partly(
        csv("a.jpg,cat", "a.jpg,", "b.jpg,cat"), {"b": ("cat",)}, "labels.csv:3:1: ", args={"labels_format": "list-csv"}
    ),
    "contradicted-by-nothing-reads-two-ways": refused(
        csv("a.jpg,cat", "a.jpg,", "b.jpg,cat"), "labels.csv: reads both as list-csv and as long-csv"
    ),
    "accents-apart": taken(csv(f"{APART}.jpg,cat"), {COMPOSED: ("cat",)}, others={f"images/{COMPOSED}.jpg": b""}),
    "two-files-that-look-alike": taken(
        csv(f"{APART}.jpg,cat", f"{COMPOSED}.jpg,dog"),
        {COMPOSED: ("dog",), APART: ("cat",)},
        others={f"images/{COMPOSED}.jpg": b"", f"images/{APART}.jpg": b""},
    ),
    "ambiguous-file-name": partly(
        csv("x.jpg,cat", "a.jpg,dog"),
        {"a": ("dog",)},
        "labels.csv:2: x.jpg may be p/x or q/x; write the path",
        others={"images/p/x.jpg": b"", "images/q/x.jpg": b""},
    ),
    "null-in-json": partly(
        jsonl("null", '"cat"', '"a.jpg"', '"cat"'), ONE, "l.jsonl:1: None is no name of an image", name="l.jsonl"
    ),
    "list-in-json": partly(
        jsonl('["a.jpg"]', '"cat"', '"b.jpg"', '"cat"'),
        {"b": ("cat",)},
        "l.jsonl:1: ['a.jpg'] is no name",
        name="l.jsonl",
    ),
    "half-a-character-in-json": taken(
        jsonl('"\\ud800.jpg"', '"cat"', '"a.jpg"', '"cat"'), ONE, "without image: \\ud800.jpg", name="l.jsonl"
    ),
    "nul-in-json": taken(jsonl('"a\\u0000.jpg"', '"cat"', '"a.jpg"', '"cat"'), ONE, "a\\x00.jpg", name="l.jsonl"),
    "two-image-columns": refused("image,image,labels\na.jpg,b.jpg,cat\n", "labels.csv:1:2: a second column 'image'"),
    "two-image-columns-of-one-hot": refused(
        "file_name,cat,FileName\na.jpg,1,b.jpg\n", "labels.csv:1:3: a second column"
    ),
    "two-label-columns": refused("image,label,tags\na.jpg,cat,dog\n", "labels.csv:1:3: 'label' and 'tags' may both"),
}


@pytest.mark.parametrize(
    ("label", "says"),
    [
        ("ca\nt", "--label: class 'ca\\nt' holds a line end"),
        ("\x1b[31mcat", "--label: class '\\x1b[31mcat' holds a line end, a tab or another control character"),
        (LONG, "has 10000 characters, more than 200; shorten it"),
        ("background, ,", "names no class"),
    ],
    ids=range(4),
)
def test_names_on_the_command_line(label, says, tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(SettingsError) as raised:
        load_dataset([tmp_path], label=label)
    assert says in str(raised.value)


def test_folders_whose_accents_are_apart_are_classes(tmp_path):
    (tmp_path / APART).mkdir()
    (tmp_path / APART / "1.jpg").touch()
    (tmp_path / "classes.txt").write_text(f"dog\n{COMPOSED}\n")
    data = load_dataset([tmp_path], classes=tmp_path / "classes.txt")
    assert [sample.class_indices for sample in data.samples] == [(2,)]


@pytest.mark.parametrize("case", CLASSES.values(), ids=CLASSES)
def test_class_names(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(case, tmp_path)


@pytest.mark.parametrize("case", IMAGES.values(), ids=IMAGES)
def test_image_names(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(case, tmp_path)
