"""One-hot and long tables whose cells are not what the column says."""

import pytest
from hostile_case import check, partly, refused, taken

ONE = {"a": ("cat",)}


def onehot(*rows: str) -> str:
    return "\n".join(("filename,cat,dog", "a.jpg,1,0", *rows)) + "\n"


def long(*rows: str) -> str:
    return "\n".join(("ImageID,Source,LabelName,Confidence", "a.jpg,verification,cat,1", *rows)) + "\n"


FLAGS = {
    "one": ("1", ("cat", "dog")),
    "one-with-a-point": ("1.0", ("cat", "dog")),
    "true": ("true", ("cat", "dog")),
    "TRUE": ("TRUE", ("cat", "dog")),
    "zero": ("0", ("cat",)),
    "false": ("False", ("cat",)),
    "empty": ("", ("cat",)),
    "minus-one": ("-1", ("cat",)),
    "minus-one-with-a-point": ("-1.0", ("cat",)),
    "spaces": (" 1 ", ("cat", "dog")),
}
WRONG_FLAGS = {
    "half": "0.5",
    "two": "2",
    "nan": "nan",
    "na": "#N/A",
    "yes": "yes",
    "x": "x",
    "exponent": "1e0",
    "one-and-more": "1.00",
    "plus-one": "+1",
    "infinite": "inf",
    "full-width": "\uff11",
    "arabic": "\u0661",
    "roman": "\u2160",
    "minus-two": "-2",
    "formula": "=1",
    "script": "<script>",
    "digits": "1" * 5000,
    "quote": '"1""0"',
    "hex": "0x1",
    "comma": '"1,0"',
}
WRONG_CONFIDENCES = {
    "word": "sure",
    "empty": "",
    "nan": "nan",
    "infinite": "inf",
    "minus-infinite": "-inf",
    "negative": "-0.1",
    "above-one": "1.1",
    "huge": "1e999",
    "comma": '"0,5"',
    "percent": "50%",
    "two-points": "0.5.5",
    "digits": "9" * 5000,
    "null": "null",
}

CASES = {
    **{
        f"flag-{key}": taken(onehot(f"b.jpg,1,{cell}"), {**ONE, "b": names}, args={"labels_format": "onehot-csv"})
        for key, (cell, names) in FLAGS.items()
    },
    **{
        f"no-flag-{key}": partly(onehot(f"b.jpg,1,{cell}"), ONE, "labels.csv:3:3: ", "is neither 0 nor 1; write 1")
        for key, cell in WRONG_FLAGS.items()
    },
    **{
        f"no-confidence-{key}": partly(
            long(f"b.jpg,verification,dog,{cell}", "b.jpg,verification,cat,1"), ONE, "labels.csv:3:4: confidence "
        )
        for key, cell in WRONG_CONFIDENCES.items()
    },
    "a-column-twice": refused(
        "filename,cat,dog,cat\na.jpg,1,0,1\n", "labels.csv:1:4: class 'cat' is listed twice in the header"
    ),
    "a-column-without-name": refused(
        "filename,cat,,dog\na.jpg,1,0,1\n", "labels.csv:1:3: a column without a class name"
    ),
    "columns-that-look-alike": refused("filename,cat,Cat\na.jpg,1,0\n", "'cat' and 'Cat' look like one class"),
    "an-index-column": refused(
        ",filename,cat\n0,a.jpg,1\n1,b.jpg,0\n", "labels.csv:1:1: a column without a class name"
    ),
    "a-longer-index-column": taken(
        ",filename,cat\n5,a.jpg,1\n6,b.jpg,0\n7,c.jpg,0\n", {**ONE, "b": (), "sub/c": ()}, "are left out"
    ),
    "a-header-of-flags": refused("filename,0,1\na.jpg,1,0\n", "labels.csv:1: not recognised as labels"),
    "no-header": refused("a.jpg,1,0\nb.jpg,0,1\n", "labels.csv: reads both as one-hot CSV without its header"),
    "all-empty": refused("filename,cat,dog\na.jpg,,\nb.jpg,,\n", "labels.csv:1: not recognised as labels"),
    "an-unknown-column": refused(
        onehot(), "labels.csv:1:3: unknown class 'dog'; did you mean 'dogs'?", classes="cat\ndogs\n"
    ),
    "a-column-of-text-is-left-out": taken(
        "filename,cat,view\na.jpg,1,frontal\nb.jpg,0,lateral\n", {**ONE, "b": ()}, "left out: view"
    ),
    "a-column-of-lines": refused('filename,"c\nat"\na.jpg,1\nb.jpg,0\n', "labels.csv: class 'c\\nat' holds a line end"),
    "contradiction-in-a-table": partly(onehot("b.jpg,1,0", "b.jpg,0,1"), ONE, "labels.csv:4:1: b.jpg has other labels"),
    "long-repeated": taken(long("a.jpg,verification,cat,1"), ONE),
    "long-contradiction": partly(
        long("b.jpg,verification,dog,1", "b.jpg,crowdsource,dog,0"),
        ONE,
        "labels.csv:4:3: b.jpg: dog is 0 here and 1 on line 3; the image is left out",
    ),
    "long-a-person-against-a-machine": taken(
        long("b.jpg,machine,dog,0.7", "b.jpg,verification,dog,1"), {**ONE, "b": ("dog",)}
    ),
    "long-uncertain": taken(
        long("b.jpg,machine,dog,0.7"), {**ONE, "b": ()}, "1 between 0 and 1 (uncertain) taken as absent"
    ),
    "long-verified-negative": taken(long("b.jpg,verification,dog,0"), {**ONE, "b": ()}),
    "long-machine-ids": refused(
        long("b.jpg,verification,/m/01yrx,1"),
        "labels.csv: its labels are ids such as /m/01yrx, which say nothing to CLIP",
    ),
    "long-descriptions-that-contradict": refused(
        long("b.jpg,verification,/m/01yrx,1"),
        "class-descriptions.csv:2: /m/01yrx is 'Dog' here and 'Cat' before",
        others={"class-descriptions.csv": "/m/01yrx,Cat\n/m/01yrx,Dog\n"},
    ),
    "long-descriptions-that-are-no-text": refused(
        long("b.jpg,verification,/m/01yrx,1"),
        "class-descriptions.csv:1: cannot be read as UTF-8 text (byte 0xff)",
        others={"class-descriptions.csv": b"\xff"},
    ),
    "long-the-header-again": partly(
        long("ImageID,Source,LabelName,Confidence", "b.jpg,verification,dog,1"),
        {**ONE, "b": ("dog",)},
        "labels.csv:3:1: the header again; remove this line",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_odd_tables(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(case, tmp_path)
