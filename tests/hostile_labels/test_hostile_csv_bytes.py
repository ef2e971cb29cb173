"""CSV whose bytes are odd: encodings, line ends, quotes, delimiters, ragged and endless rows."""

import pytest
from hostile_case import check, partly, refused, taken

PLAIN = "image,labels\na.jpg,cat\nb.jpg,dog|cat\n"
ROWS = {"a": ("cat",), "b": ("cat", "dog")}
ONE = {"a": ("cat",)}

CASES = {
    "plain": taken(PLAIN, ROWS),
    "bom": taken(b"\xef\xbb\xbf" + PLAIN.encode(), ROWS),
    "two-boms": refused(b"\xef\xbb\xbf\xef\xbb\xbf" + PLAIN.encode(), "labels.csv"),
    "bom-alone": refused(b"\xef\xbb\xbf", "labels.csv: no rows; write one row"),
    "empty": refused(b"", "labels.csv: no rows; write one row"),
    "blank-lines": refused(b"\n\r\n  \n\t\n", "labels.csv: no rows; write one row"),
    "crlf": taken(PLAIN.replace("\n", "\r\n"), ROWS),
    "cr-alone": taken(PLAIN.replace("\n", "\r"), ROWS),
    "mixed-line-ends": taken("image,labels\ra.jpg,cat\r\nb.jpg,dog|cat\n", ROWS),
    "no-last-line-end": taken(PLAIN.rstrip("\n"), ROWS),
    "form-feed-is-no-line-end": taken("image,labels\na.jpg,cat\f\nb.jpg,dog|cat\n", ROWS),
    "utf16-with-bom": refused(PLAIN.encode("utf-16"), "labels.csv:1: ", "UTF-16", "save it as UTF-8"),
    "utf16-le": refused(PLAIN.encode("utf-16-le"), "labels.csv", "NUL", "UTF-8"),
    "utf16-be": refused(PLAIN.encode("utf-16-be"), "labels.csv", "NUL", "UTF-8"),
    "utf32-with-bom": refused(PLAIN.encode("utf-32"), "labels.csv:1: ", "UTF-8"),
    "utf32-be": refused(PLAIN.encode("utf-32-be"), "labels.csv", "UTF-8"),
    "utf7": refused(b"+AGkAbQBhAGcAZQ-\n+AGEALgBqAHAAZw-", "labels.csv:1: not recognised as labels"),
    "latin1": refused("image,labels\na.jpg,café\n".encode("latin-1"), "labels.csv:2: ", "0xe9", "UTF-8"),
    "overlong-utf8": refused(b"image,labels\na.jpg,c\xc0\xaft\n", "labels.csv:2: ", "0xc0"),
    "utf8-of-a-surrogate": refused(b"image,labels\na.jpg,\xed\xa0\x80\n", "labels.csv:2: ", "0xed"),
    "cut-within-a-character": refused("image,labels\na.jpg,ü".encode()[:-1], "labels.csv:2: ", "0xc3"),
    "nul": refused(b"image,labels\na.jpg,ca\0t\n", "labels.csv:2: ", "NUL"),
    "nul-at-the-end": refused(PLAIN.encode() + b"\0" * 512, "labels.csv:4: ", "NUL"),
    "png": refused(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "labels.csv:1: ", "0x89"),
    "gzip": refused(b"\x1f\x8b\x08\0\0\0\0\0", "labels.csv:1: ", "0x8b"),
    "zip": refused(b"PK\x03\x04\x14\0\0\0", "labels.csv:1: ", "NUL"),
    "quote-unclosed": refused('image,labels\na.jpg,cat\n"b.jpg,dog\n', "labels.csv:3: ", "close the quotes"),
    "quote-unclosed-in-the-header": refused('"image,labels\na.jpg,cat\n', "labels.csv:1: ", "close the quotes"),
    "text-after-a-quote": refused('image,labels\n"a.jpg"x,cat\n', "labels.csv:2: ", "close the quotes"),
    "quotes-within-quotes": taken('image,labels\n"a.jpg","cat"\n"b.jpg","dog|cat"\n', ROWS),
    "line-end-in-the-image": taken(
        'image,labels\n"a\n.jpg",dog\na.jpg,cat\n', ONE, "without image: a\\n.jpg: no image here"
    ),
    "line-end-in-a-class": partly(
        'image,labels\nb.jpg,"d\nog"\na.jpg,cat\n', ONE, "labels.csv:2:2: ", "line end", "'d\\nog'"
    ),
    "tabs": taken("image\tlabels\na.jpg\tcat\nb.jpg\tdog|cat\n", ROWS),
    "semicolons": taken("image;labels\na.jpg;cat\nb.jpg;dog|cat\n", ROWS),
    "semicolons-in-some-rows": partly("image,labels\na.jpg,cat\nb.jpg;dog\n", ONE, "labels.csv:3:1: 1 cells"),
    "pipes-as-delimiter": refused("image|labels\na.jpg|cat\n", "labels.csv:1: not recognised"),
    "spaces-as-delimiter": refused("image labels\na.jpg cat\n", "labels.csv:1: not recognised"),
    "row-too-long": partly("image,labels\na.jpg,cat\nb.jpg,dog,cat\n", ONE, "labels.csv:3:1: 3 cells", "cat|dog"),
    "row-too-short": partly("image,labels\na.jpg,cat\nb.jpg\n", ONE, "labels.csv:3:1: 1 cells"),
    "onehot-ragged": partly("filename,cat,dog\na.jpg,1,0\nb.jpg,1\n", ONE, "labels.csv:3:1: 2 cells"),
    "long-ragged": partly("image,label,confidence\na.jpg,cat,1\nb.jpg,dog\n", ONE, "labels.csv:3:1: 2 cells"),
    "header-alone": refused("image,labels\n", "labels.csv", "--classes"),
    "onehot-header-alone": refused("filename,cat,dog\n", "labels.csv"),
    "header-of-empty-cells": refused(",,\na.jpg,1,0\n", "labels.csv: reads both", "write a header"),
    "rows-of-empty-cells": taken("image,labels\n,\na.jpg,cat\n,,,\n,\n", ONE),
    "image-cell-empty": partly("image,labels\n,dog\na.jpg,cat\n", ONE, "labels.csv:2:1: no image is named"),
    "header-twice": partly("image,labels\na.jpg,cat\nimage,labels\n", {"a": ("cat",)}, "labels.csv:3"),
    "comment-first": refused("# our labels\nimage,labels\na.jpg,cat\n", "labels.csv:1: not recognised"),
    "excel-sep-line": refused("sep=,\nimage,labels\na.jpg,cat\n", "labels.csv"),
    "html": refused("<!DOCTYPE html><html><body>404 Not Found</body></html>", "labels.csv:1: not recognised"),
    "json-called-csv": refused('[{"image": "a.jpg", "labels": ["cat"]}]', "labels.csv:1: ", "export the file as CSV"),
    "cell-over-the-limit": refused(f"image,labels\na.jpg,{'x' * 200_000}\n", "labels.csv:2: ", "131072"),
    "git-lfs-pointer": refused(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "labels.csv:1: not recognised"
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_odd_csv(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(case, tmp_path)
