"""Conversion: what is written is read back, with the same classes in the same order."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semples_cli.artifacts.label_files import WRITTEN_FORMS, write_class_list, write_labels
from semples_cli.data.class_list import read_class_list
from semples_cli.data.dataset import load_dataset, load_labels
from semples_cli.data.labels.recognise import LABEL_FORMATS
from semples_cli.errors import DataError, SettingsError
from semples_cli.steps.convert_labels import FORM_SUFFIXES, convert_labels
from semples_cli.types import ClassSet

LABELS = "filename,zebra,cat,hot dog\na.jpg,1,1,0\nb/1.jpg,0,0,1\nc.png,0,0,0\n"
PRESENT = {"a": ("zebra", "cat"), "b/1": ("hot dog",), "c": ()}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b/1.jpg", "c.png"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).touch()
    (tmp_path / "labels.csv").write_text(LABELS)
    return Path()


def out_of(form):
    return Path(f"out{FORM_SUFFIXES[form]}")


def present(data):
    return {sample.id: tuple(data.class_set.name_of(k) for k in sample.class_indices) for sample in data.samples}


@pytest.mark.parametrize("images", [None, Path("images")])
@pytest.mark.parametrize("form", WRITTEN_FORMS)
def test_what_is_written_is_read_back(folder, form, images):
    out = out_of(form)
    done = convert_labels(Path("labels.csv"), out, form, images=images, classes_out=Path("classes.txt"))
    assert (done.written, done.problems, done.unmatched_rows) == (3, (), ())
    assert done.class_set.names == ("zebra", "cat", "hot dog")
    data = load_dataset([Path("images")], labels=out, classes="classes.txt")
    assert present(data) == PRESENT
    assert data.class_set == done.class_set
    assert data.table.form == form
    assert data.problems == data.unlabelled == data.unmatched_rows == ()


def test_one_hot_keeps_the_order_itself(folder):
    convert_labels(Path("labels.csv"), Path("out.csv"), "onehot-csv")
    assert load_labels(Path("out.csv")).class_set.names == ("zebra", "cat", "hot dog")


def test_there_and_back_again_is_the_same_file(folder):
    classes = Path("classes.txt")
    convert_labels(Path("labels.csv"), Path("1.jsonl"), "jsonl", classes_out=classes)
    convert_labels(Path("1.jsonl"), Path("2.csv"), "list-csv", classes=classes)
    convert_labels(Path("2.csv"), Path("3.csv"), "onehot-csv", classes=classes)
    assert Path("3.csv").read_text() == LABELS


@pytest.mark.parametrize("form", ["cls-labels-npy", "wsss-list", "list-csv", "jsonl"])
def test_an_order_that_the_file_does_not_hold_is_said(folder, form):
    done = convert_labels(Path("labels.csv"), out_of(form), form)
    assert any("does not hold the order of the classes; --classes-out" in note for note in done.notes)
    write_class_list(Path("classes.txt"), done.class_set)
    again = convert_labels(Path("labels.csv"), out_of(form), form, classes="classes.txt", overwrite=True)
    assert not any("does not hold" in note for note in again.notes)


def test_a_wsss_list_says_how_to_read_it_again(folder):
    done = convert_labels(Path("labels.csv"), Path("out.txt"), "wsss-list", classes_out=Path("classes.txt"))
    assert "out.txt: numbers count the classes from 0; read it again by --labels-format wsss-list-from-0" in done.notes
    read = load_labels(Path("out.txt"), labels_format="wsss-list-from-0", classes="classes.txt")
    assert read.table.rows["b/1"].names == ("hot dog",)


def test_uncertain_marks_are_said_to_be_lost(folder):
    Path("labels.csv").write_text("filename,cat,dog\na.jpg,-1,1\nb.jpg,-1,-1\n")
    done = convert_labels(Path("labels.csv"), Path("out.csv"), "onehot-csv")
    assert "3 uncertain marks are written as absent" in done.notes
    assert Path("out.csv").read_text() == "filename,cat,dog\na.jpg,0,1\nb.jpg,0,0\n"


def test_only_the_images_that_are_there_by_their_own_paths(folder):
    Path("labels.csv").write_text("image,labels\na.png,cat\ngone.jpg,cat\n1.jpg,dog\n")
    done = convert_labels(Path("labels.csv"), Path("metadata.jsonl"), "jsonl", images=Path("images"))
    assert (done.written, done.unmatched_rows, done.unlabelled) == (2, ("gone.jpg",), ("c",))
    assert Path("metadata.jsonl").read_text() == (
        '{"file_name": "a.jpg", "labels": ["cat"]}\n{"file_name": "b/1.jpg", "labels": ["dog"]}\n'
    )


def test_rows_with_problems_are_left_out_and_told(folder):
    Path("labels.csv").write_text("image,labels\na.jpg,cat\nb.jpg,cow\n")
    Path("classes.txt").write_text("cat\n")
    done = convert_labels(Path("labels.csv"), Path("out.csv"), "onehot-csv", classes="classes.txt")
    assert done.written == 1
    assert done.problems[0][0] == "labels.csv:3:2"


def test_hugging_face_reads_the_jsonl(folder, tmp_path):
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    for path in Path("images").rglob("*.*"):
        Image.new("RGB", (2, 2)).save(path)
    convert_labels(Path("labels.csv"), Path("images/metadata.jsonl"), "jsonl", images=Path("images"))
    data = datasets.load_dataset("imagefolder", data_dir="images", split="train", cache_dir=str(tmp_path / "cache"))
    assert sorted(map(tuple, data["labels"])) == [(), ("hot dog",), ("zebra", "cat")]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("labels.csv", "out.csv", "xml"), SettingsError, "--to xml: choose one of list-csv, onehot-csv, jsonl"),
        (
            ("labels.csv", "out.txt", "list-csv"),
            SettingsError,
            r"--out out\.txt: a file of the form list-csv ends in \.csv",
        ),
        (("labels.csv", "out.csv", "cls-labels-npy"), SettingsError, r"cls-labels-npy ends in \.npy, .*; call it so"),
        (("labels.csv", "there.csv", "list-csv"), SettingsError, r"there\.csv is there already; give --overwrite, or"),
        (("labels.csv", "./labels.csv", "list-csv"), SettingsError, "must be different files; choose another name"),
        (("none.csv", "out.csv", "list-csv"), DataError, r"none\.csv: no such file"),
    ],
)
def test_refusals(folder, arguments, error, message):
    Path("there.csv").write_text("mine")
    source, out, form = arguments
    with pytest.raises(error, match=message):
        convert_labels(Path(source), Path(out), form)
    assert Path("there.csv").read_text() == "mine"
    assert Path("labels.csv").read_text() == LABELS
    assert not Path("out.csv").exists()


def test_the_class_list_is_not_overwritten_either(folder):
    Path("classes.txt").write_text("mine")
    with pytest.raises(SettingsError, match=r"classes\.txt is there already"):
        convert_labels(Path("labels.csv"), Path("out.csv"), "list-csv", classes_out=Path("classes.txt"))
    with pytest.raises(SettingsError, match="must be different files"):
        convert_labels(Path("labels.csv"), Path("out.csv"), "list-csv", classes_out=Path("out.csv"))
    assert not Path("out.csv").exists()
    convert_labels(Path("labels.csv"), Path("out.csv"), "list-csv", classes_out=Path("classes.txt"), overwrite=True)
    assert Path("classes.txt").read_text() == "zebra\ncat\nhot dog\n"


def test_jsonl_needs_file_names(folder):
    Path("ids.csv").write_text("image,labels\na,cat\n")
    with pytest.raises(DataError, match=r"ids\.csv: 'a' is no file name, which jsonl needs; give .* by --images"):
        convert_labels(Path("ids.csv"), Path("out.jsonl"), "jsonl")


def test_ids_that_would_collide_are_refused(folder):
    Path("two.csv").write_text("image,labels\na.jpg,cat\na.png,dog\n")
    with pytest.raises(DataError, match="two images would both be called 'a', for cls-labels-npy has no suffixes"):
        convert_labels(Path("two.csv"), Path("out.npy"), "cls-labels-npy")


def test_no_row_that_can_be_used_is_refused(folder):
    Path("none.csv").write_text("image,labels\na.jpg,cow\n")
    Path("cats.txt").write_text("cat\n")
    with pytest.raises(
        DataError, match=r"none\.csv: no row can be used, so nothing is written; `semples labels inspect`"
    ):
        convert_labels(Path("none.csv"), Path("out.csv"), "list-csv", classes="cats.txt")


def test_every_form_that_is_written_is_read_and_has_a_suffix():
    assert set(WRITTEN_FORMS) <= set(LABEL_FORMATS)
    assert set(FORM_SUFFIXES) == set(WRITTEN_FORMS)


NAME = st.text("abcÄ ,.[]'-()&", min_size=1, max_size=6).filter(lambda name: name == name.strip())
TABLES = st.dictionaries(
    st.text("ab1_-/", min_size=1, max_size=5).filter(lambda key: "//" not in key and key[0] != "/" and key[-1] != "/"),
    st.sets(st.integers(0, 3), max_size=4),
    min_size=1,
)


@given(rows=TABLES, names=st.lists(NAME, unique=True, min_size=4, max_size=4), form=st.sampled_from(WRITTEN_FORMS))
def test_any_names_are_read_back(tmp_path_factory, rows, names, form):
    classes = ClassSet(tuple(names))
    by_id = form in ("cls-labels-npy", "wsss-list")
    table = {key if by_id else f"{key}.jpg": tuple(names[k] for k in sorted(present)) for key, present in rows.items()}
    folder = tmp_path_factory.mktemp("round")
    path = folder / f"out{FORM_SUFFIXES[form]}"
    if form == "wsss-list" and not any(rows.values()):
        with pytest.raises(DataError, match="no image of a wsss-list has a class"):
            write_labels(path, form, table, classes)
        return
    write_labels(path, form, table, classes)
    write_class_list(folder / "classes.txt", classes)
    read_as = "wsss-list-from-0" if form == "wsss-list" else form
    read = load_labels(path, labels_format=read_as, classes=folder / "classes.txt")
    assert {key: set(row.names) for key, row in read.table.rows.items()} == {k: set(v) for k, v in table.items()}
    assert read.class_set == classes == read_class_list(folder / "classes.txt")
    assert read.table.problems == ()
