"""Label files that we write, byte by byte, and what cannot be written."""

import json

import numpy as np
import pytest

from semples_cli.artifacts.label_files import WRITTEN_FORMS, check_names, write_class_list, write_labels
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

PETS = ClassSet(("hot dog", "cat"), ("sausage", "cat"))
ROWS = {"a/1.jpg": ("hot dog", "cat"), "2.jpg": (), "3,4.jpg": ("cat",)}


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("list-csv", 'image,labels\na/1.jpg,hot dog|cat\n2.jpg,\n"3,4.jpg",cat\n'),
        ("onehot-csv", 'filename,hot dog,cat\na/1.jpg,1,1\n2.jpg,0,0\n"3,4.jpg",0,1\n'),
        (
            "jsonl",
            '{"file_name": "a/1.jpg", "labels": ["hot dog", "cat"]}\n{"file_name": "2.jpg", "labels": []}\n'
            '{"file_name": "3,4.jpg", "labels": ["cat"]}\n',
        ),
    ],
)
def test_text_forms(tmp_path, form, text):
    write_labels(tmp_path / "out", form, ROWS, PETS)
    assert (tmp_path / "out").read_text() == text


def test_numbers_of_a_wsss_list_count_from_0(tmp_path):
    write_labels(tmp_path / "out", "wsss-list", {"a/1": ("hot dog", "cat"), "2": (), "3": ("cat",)}, PETS)
    assert (tmp_path / "out").read_text() == "a/1 0 1\n2\n3 1\n"


def test_cls_labels_as_wsss_code_loads_it(tmp_path):
    path = tmp_path / "cls_labels.npy"
    write_labels(path, "cls-labels-npy", {"a/1": ("cat",), "2": ()}, PETS)
    loaded = np.load(path, allow_pickle=True).item()
    assert {key: value.tolist() for key, value in loaded.items()} == {"a/1": [0, 1], "2": [0, 0]}
    assert all(value.dtype == np.float32 for value in loaded.values())


def test_unicode_is_utf_8(tmp_path):
    for form in ("list-csv", "jsonl"):
        write_labels(tmp_path / "out", form, {"ä.jpg": ("Öl",)}, ClassSet(("Öl",)))
        assert "Öl" in (tmp_path / "out").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "cell"), [("tench, Tinca", '"tench, Tinca|"'), ("[x]", "[x]|")])
def test_commas_and_brackets_in_a_name_are_marked(tmp_path, name, cell):
    write_labels(tmp_path / "out", "list-csv", {"a.jpg": (name,)}, ClassSet((name,)))
    assert (tmp_path / "out").read_text() == f"image,labels\na.jpg,{cell}\n"


@pytest.mark.parametrize(
    ("form", "rows", "name", "message"),
    [
        ("list-csv", {}, "a|b", r"class 'a\|b' cannot stand in list-csv, .*; rename it, or take --to onehot-csv"),
        ("list-csv", {}, "a;b", "cannot stand in list-csv"),
        ("wsss-list", {"my cat": ()}, "cat", r"'my cat' cannot stand in a wsss-list, .*rename it, or take jsonl"),
        ("wsss-list", {"a,b": ()}, "cat", "'a,b' cannot stand in a wsss-list"),
    ],
)
def test_what_would_not_be_read_back_is_refused_and_nothing_is_written(tmp_path, form, rows, name, message):
    with pytest.raises(DataError, match=message):
        write_labels(tmp_path / "out", form, rows, ClassSet((name,)))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_survives_a_failure(tmp_path):
    path = tmp_path / "out"
    path.write_text("mine")
    with pytest.raises(DataError):
        write_labels(path, "wsss-list", {"a b": ()}, PETS)
    assert path.read_text() == "mine"


def test_a_class_list_keeps_order_and_words_for_clip(tmp_path):
    write_class_list(tmp_path / "classes.txt", PETS)
    assert (tmp_path / "classes.txt").read_text() == "hot dog\tsausage\ncat\n"


@pytest.mark.parametrize("name", ["#1"])
def test_names_that_a_class_list_cannot_hold_are_refused(tmp_path, name):
    with pytest.raises(DataError, match=r"cannot stand in a class list: .*; rename it"):
        write_class_list(tmp_path / "classes.txt", ClassSet((name,)))


def test_the_forms():
    assert set(WRITTEN_FORMS) == {"list-csv", "onehot-csv", "jsonl", "cls-labels-npy", "wsss-list"}


def test_jsonl_lines_are_json(tmp_path):
    write_labels(tmp_path / "out", "jsonl", {'a"b.jpg': ("cat",)}, PETS)
    assert json.loads((tmp_path / "out").read_text())["file_name"] == 'a"b.jpg'


@pytest.mark.parametrize("form", ["list-csv", "onehot-csv", "jsonl", "wsss-list"])
def test_a_name_that_is_no_utf_8_is_refused_by_name_and_nothing_is_written(tmp_path, form):
    with pytest.raises(DataError, match=r"'a/\\udcff.jpg' cannot stand in .*no valid UTF-8; rename the image"):
        write_labels(tmp_path / "out", form, {"ä.jpg": ("cat",), "a/\udcff.jpg": ("cat",)}, PETS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("image", ["", " a.jpg", "a.jpg\n", "a\\b.jpg", "./a.jpg", "a\0.jpg", "a" * 5000])
@pytest.mark.parametrize("form", WRITTEN_FORMS)
def test_names_of_images_that_would_come_back_as_others_are_refused(tmp_path, form, image):
    with pytest.raises(DataError, match="would be read otherwise out of a label file; rename it"):
        write_labels(tmp_path / "out", form, {image: ("cat",)}, PETS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("form", "rows", "message"),
    [
        ("list-csv", {"image": ("labels",)}, "taken for the header of list-csv; take --to jsonl"),
        ("wsss-list", {"a": (), "b": ()}, "without a number it is not recognised as one; take jsonl"),
    ],
)
def test_rows_that_would_not_be_recognised_are_refused(tmp_path, form, rows, message):
    with pytest.raises(DataError, match=message):
        write_labels(tmp_path / "out", form, rows, ClassSet(("cat", "labels")))
    assert not list(tmp_path.iterdir())


def test_class_names_are_checked_before_there_is_a_row():
    with pytest.raises(DataError, match=r"class 'a\|b' cannot stand in list-csv"):
        check_names("list-csv", ClassSet(("a|b",)))
    check_names("jsonl", ClassSet(("a|b",)))
