import pytest
from hypothesis import given
from hypothesis import strategies as st

from semples_cli.data.labels.list_csv import split_labels
from semples_cli.data.labels.recognise import LABEL_FORMATS, read_labels
from semples_cli.errors import DataError, SettingsError
from semples_cli.types import ClassSet

CLASSES = ClassSet(("cat", "dog", "hot dog", "aeroplane"))


@pytest.fixture
def labels(tmp_path, monkeypatch):
    """Write labels.csv into the folder where the test stands, and read it."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path.relative_to(tmp_path) / "labels.csv"

    def read(content, labels_format="auto", class_set=None):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_labels(path, labels_format, class_set)

    return read


def names(table):
    return {key: row.names for key, row in table.rows.items()}


def lines(table):
    return {key: row.line for key, row in table.rows.items()}


# List column


def test_list_column(labels):
    table = labels("image,labels\na/1.jpg,cat|dog\n2.jpg,cat\n3.jpg,\n")
    assert names(table) == {"a/1.jpg": ("cat", "dog"), "2.jpg": ("cat",), "3.jpg": ()}
    assert lines(table) == {"a/1.jpg": 2, "2.jpg": 3, "3.jpg": 4}
    assert table.class_names is None
    assert table.description == "labels.csv: read as list-column CSV: 2 classes, 3 images"
    assert table.problems == ()
    assert table.where("2.jpg") == "labels.csv:3"


@pytest.mark.parametrize(
    "cell",
    ["cat|dog", "cat;dog", '"cat,dog"', "cat | dog", '"cat, dog"', "cat|dog|", "cat|dog|cat", "\"['cat', 'dog']\""],
)
def test_separators_in_a_cell(labels, cell):
    assert names(labels(f"image,labels\na.jpg,{cell}\n"))["a.jpg"] == ("cat", "dog")


@pytest.mark.parametrize("cell", ["", "none", "None", "No Finding", "no finding", "[]", "nan", "background", '""', "|"])
def test_cells_that_mean_no_class(labels, cell):
    table = labels(f"image,labels\na.jpg,{cell}\nb.jpg,cat\n", class_set=CLASSES)
    assert names(table) == {"a.jpg": (), "b.jpg": ("cat",)}
    assert table.problems == ()


def test_none_is_a_class_where_the_list_says_so(labels):
    table = labels("image,labels\na.jpg,none\n", class_set=ClassSet(("none", "cat")))
    assert names(table) == {"a.jpg": ("none",)}


def test_background_among_others_is_dropped(labels):
    assert names(labels("image,labels\na.jpg,cat|background\n", class_set=CLASSES)) == {"a.jpg": ("cat",)}


def test_spaces_separate_only_known_classes():
    assert split_labels("cat dog", CLASSES) == ["cat", "dog"]
    assert split_labels("hot dog", CLASSES) == ["hot dog"]
    assert split_labels("cat hot", CLASSES) == ["cat hot"]
    assert split_labels("cat dog", None) == ["cat dog"]
    assert split_labels("hot dog|cat", CLASSES) == ["hot dog", "cat"]
    assert split_labels("cat|dog;bird", None) == ["cat", "dog", "bird"]


def test_a_known_name_with_a_comma_stays_whole():
    fish = ClassSet(("tench, Tinca tinca", "cat"))
    assert split_labels("tench, Tinca tinca", fish) == ["tench, Tinca tinca"]
    assert split_labels("tench, Tinca tinca|cat", fish) == ["tench, Tinca tinca", "cat"]


def test_what_may_be_one_class_or_two_is_a_problem_without_a_class_list(labels):
    content = "image,labels\na.jpg,cat\nb.jpg,dog\nc.jpg,cat dog\nd.jpg,hot dog\n"
    table = labels(content)
    assert names(table) == {"a.jpg": ("cat",), "b.jpg": ("dog",), "d.jpg": ("hot dog",)}
    cure = "'cat dog' may be one class or several; write cat|dog, or give the classes by --classes"
    assert table.problems == (("labels.csv:4:2", cure),)
    assert labels(content, class_set=CLASSES).problems == ()


@pytest.mark.parametrize(
    "header",
    [
        "image,labels",
        "File Name,Class",
        "FILENAME,tags",
        "image_id,category",
        "path,label",
        "Image Index,Finding Labels",
    ],
)
def test_names_of_the_columns(labels, header):
    assert names(labels(f"{header}\na.jpg,cat\n")) == {"a.jpg": ("cat",)}


def test_other_columns_and_their_order_do_not_matter(labels):
    table = labels("id,width,labels,filename\n17,640,cat,a.jpg\n18,480,dog,b.jpg\n")
    assert names(table) == {"a.jpg": ("cat",), "b.jpg": ("dog",)}


def test_two_label_columns_are_refused(labels):
    with pytest.raises(DataError, match=r"labels\.csv:1:3: 'label' and 'class' may both list the labels; rename"):
        labels("image,label,class\na.jpg,cat,dog\n")


def test_a_format_that_is_named_takes_two_columns_by_position(labels):
    content = "picture,things\na.jpg,cat\n"
    assert names(labels(content, "list-csv")) == {"a.jpg": ("cat",)}
    assert names(labels("labels,picture\ncat,a.jpg\n", "list-csv")) == {"a.jpg": ("cat",)}
    with pytest.raises(DataError, match=r"labels\.csv:1: not recognised as labels; write a header `image,labels`"):
        labels(content)
    with pytest.raises(DataError, match=r"labels\.csv:1: no column is called 'image'; name the two columns"):
        labels("picture,things,x\na.jpg,cat,1\n", "list-csv")
    with pytest.raises(DataError, match=r"labels\.csv:1: no column is called 'labels'"):
        labels("image\na.jpg\n", "list-csv")


@pytest.mark.parametrize(("row", "came"), [("b.jpg", 1), ("b.jpg,cat,dog", 3)])
def test_a_row_of_another_width_is_a_problem_and_the_others_survive(labels, row, came):
    table = labels(f"image,labels\na.jpg,cat\n{row}\nc.jpg,dog\n")
    assert names(table) == {"a.jpg": ("cat",), "c.jpg": ("dog",)}
    cure = 'put several labels into one cell, as "cat|dog"'
    assert table.problems == (("labels.csv:3:1", f"{came} cells where the header has 2; {cure}"),)


def test_an_unknown_class_is_a_problem_with_the_nearest_known_one(labels):
    table = labels("image,labels\na.jpg,cat\nb.jpg,cat|planes|aeroplanes\nc.jpg,zebra\n", class_set=CLASSES)
    assert names(table) == {"a.jpg": ("cat",)}
    where, message = table.problems[0]
    assert where == "labels.csv:3:2"
    assert message.startswith("unknown class 'planes'; ")
    assert table.problems[1][0] == "labels.csv:4:2"
    assert "known classes: cat, dog, hot dog, aeroplane" in table.problems[1][1]
    near = labels("image,labels\na.jpg,aeroplanes\n", class_set=CLASSES)
    assert near.problems == (("labels.csv:2:2", "unknown class 'aeroplanes'; did you mean 'aeroplane'?"),)


def test_a_row_without_an_image_is_a_problem(labels):
    table = labels("labels,image\ncat,\ndog,a.jpg\n")
    assert names(table) == {"a.jpg": ("dog",)}
    assert table.problems[0][0] == "labels.csv:2:2"
    assert "write its file name into this cell" in table.problems[0][1]


def test_rows_that_contradict_each_other_are_all_left_out(labels):
    table = labels("image,labels\na.jpg,cat\nb.jpg,dog\na.jpg,dog\na.jpg,\n./a.jpg,cat\n", "list-csv")
    assert table.contradicted == ("a.jpg",)
    assert names(table) == {"b.jpg": ("dog",)}
    assert [where for where, _ in table.problems] == ["labels.csv:4:1", "labels.csv:5:1"]
    assert "a.jpg has other labels on line 2 (cat); neither is used, keep one row with all" in table.problems[0][1]


def test_rows_that_say_the_same_are_one(labels):
    table = labels("image,labels\na.jpg,cat|dog\na.jpg,dog|cat\n.\\a.jpg,cat|dog\n")
    assert names(table) == {"a.jpg": ("cat", "dog")}
    assert table.problems == ()
    assert (table.repeated, table.contradicted) == (2, ())
    assert lines(table) == {"a.jpg": 2}


def test_backslashes_become_slashes(labels):
    assert list(names(labels("image,labels\nsub\\deep\\a.jpg,cat\n"))) == ["sub/deep/a.jpg"]


# One-hot


def test_one_hot_fixes_the_order(labels):
    table = labels("filename,hot dog,cat\na.jpg,1,0\nb.jpg,1,1\nc.jpg,0,0\n")
    assert table.class_names == ("hot dog", "cat")
    assert names(table) == {"a.jpg": ("hot dog",), "b.jpg": ("hot dog", "cat"), "c.jpg": ()}
    assert table.description == "labels.csv: read as one-hot CSV: 2 classes, 3 images"


@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("1.0", "0.0"), ("true", "false"), ("TRUE", "False"), ("1", "")])
def test_spellings_of_present_and_absent(labels, yes, no):
    table = labels(f"filename,cat,dog\na.jpg,{yes},{no}\nb.jpg,{no},{yes}\n")
    assert names(table) == {"a.jpg": ("cat",), "b.jpg": ("dog",)}


def test_uncertain_counts_as_absent_and_is_said(labels):
    table = labels("filename,cat,dog\na.jpg,1,-1\nb.jpg,-1.0,1\n")
    assert names(table) == {"a.jpg": ("cat",), "b.jpg": ("dog",)}
    assert table.description.endswith("2 classes, 2 images; 2 cells of -1 (uncertain) taken as absent")
    assert table.uncertain == {"dog": 1, "cat": 1}
    assert table.absent == {}


def test_the_image_column_may_stand_anywhere_or_have_any_name_in_front(labels):
    assert names(labels("cat,image,dog\n1,a.jpg,0\n")) == {"a.jpg": ("cat",)}
    assert names(labels("photograph,cat,dog\na.jpg,0,1\n")) == {"a.jpg": ("dog",)}


def test_background_and_no_finding_are_no_classes(labels):
    table = labels("filename,No Finding,background,cat\na.jpg,1,1,0\nb.jpg,0,1,1\n", class_set=CLASSES)
    assert table.class_names == ("cat",)
    assert names(table) == {"a.jpg": (), "b.jpg": ("cat",)}


def test_a_bad_cell_is_a_problem_with_its_column(labels):
    table = labels("filename,cat,dog\na.jpg,1,0\nb.jpg,0,yes\nc.jpg,0,1\nd.jpg,1\n")
    assert names(table) == {"a.jpg": ("cat",), "c.jpg": ("dog",)}
    assert table.problems == (
        ("labels.csv:3:3", "'yes' is neither 0 nor 1; write 1 if it is present"),
        ("labels.csv:5:1", "2 cells where the header has 3; write one for the image and one for each class"),
    )


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("filename,cat,cat", r"labels\.csv:1:3: class 'cat' is listed twice in the header; name each class once"),
        ("filename,cat,", r"labels\.csv:1:3: a column without a class name; name each class once"),
        ("filename,cat,dogs", r"labels\.csv:1:3: unknown class 'dogs'; did you mean 'dog'\?"),
    ],
)
def test_a_header_that_cannot_be_used_is_refused(labels, header, message):
    with pytest.raises(DataError, match=message):
        labels(f"{header}\na.jpg,1,0\n", class_set=CLASSES)


# Headerless


def test_headerless(labels):
    table = labels("a.jpg,cat,dog\nb.jpg,hot dog\nc.jpg\nd.jpg,,\ne.jpg,cat|dog\n")
    assert names(table) == {
        "a.jpg": ("cat", "dog"),
        "b.jpg": ("hot dog",),
        "c.jpg": (),
        "d.jpg": (),
        "e.jpg": ("cat", "dog"),
    }
    assert lines(table)["a.jpg"] == 1
    assert table.description == "labels.csv: read as headerless CSV: 3 classes, 5 images"


def test_headerless_problems_name_the_very_column(labels):
    table = labels("a.jpg,cat,dog,dogg\nb.jpg,cat\n", class_set=CLASSES)
    assert names(table) == {"b.jpg": ("cat",)}
    assert table.problems == (("labels.csv:1:4", "unknown class 'dogg'; did you mean 'dog'?"),)


def test_headerless_ids_without_suffix_need_the_format(labels):
    content = "0001,cat\n0002,dog\n"
    with pytest.raises(DataError, match="not recognised as labels"):
        labels(content)
    assert names(labels(content, "headerless-csv")) == {"0001": ("cat",), "0002": ("dog",)}


# Recognition


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize(
    ("rows", "form"),
    [
        ([("image", "labels"), ("a.jpg", "cat|dog"), ("b c.jpg", "hot dog")], "list-column"),
        ([("image", "cat", "dog", "hot dog"), ("a.jpg", "1", "1", "0"), ("b c.jpg", "0", "0", "1")], "one-hot"),
        ([("a.jpg", "cat", "dog"), ("b c.jpg", "hot dog")], "headerless"),
    ],
)
def test_every_dialect_of_every_form(labels, delimiter, end, bom, quote, rows, form):
    text = bom + "".join(delimiter.join(f"{quote}{cell}{quote}" for cell in row) + end for row in rows)
    table = labels(text)
    assert names(table) == {"a.jpg": ("cat", "dog"), "b c.jpg": ("hot dog",)}
    assert f"read as {form} CSV: " in table.description


def test_the_delimiter_stands_before_the_list(labels):
    assert names(labels("image;labels\na.jpg;cat,dog\n")) == {"a.jpg": ("cat", "dog")}
    assert names(labels("image,labels\na.jpg,cat;dog\n")) == {"a.jpg": ("cat", "dog")}
    assert names(labels("image\tlabels\na,1.jpg\tcat;dog\n")) == {"a,1.jpg": ("cat", "dog")}
    assert names(labels('"a;b,c.jpg",cat\n')) == {"a;b,c.jpg": ("cat",)}


def test_spaces_after_the_delimiter_do_not_matter(labels):
    assert names(labels('image, labels\na.jpg, "cat,dog"\nb.jpg , cat\n')) == {
        "a.jpg": ("cat", "dog"),
        "b.jpg": ("cat",),
    }


def test_blank_lines_count_as_lines(labels):
    assert lines(labels("\nimage,labels\n\na.jpg,cat\n,\nb.jpg,dog\n")) == {"a.jpg": 4, "b.jpg": 6}


def test_a_quoted_line_break_does_not_shift_the_lines(labels):
    assert lines(labels('image,labels,note\na.jpg,cat,"two\nlines"\nb.jpg,dog,x\n')) == {"a.jpg": 2, "b.jpg": 4}


def test_two_readings_are_refused_with_both_and_the_cure(labels):
    content = "image,label\na.jpg,1\nb.jpg,0\n"
    cure = r"say which: --labels-format list-csv \(a row an image\) or --labels-format onehot-csv \(a column a class\)"
    with pytest.raises(DataError, match=rf"labels\.csv: reads both as list-csv and as onehot-csv; {cure}"):
        labels(content)
    assert names(labels(content, "list-csv")) == {"a.jpg": ("1",), "b.jpg": ("0",)}
    assert names(labels(content, "onehot-csv")) == {"a.jpg": ("label",), "b.jpg": ()}


def test_labels_that_are_all_empty_are_a_list(labels):
    assert names(labels("image,labels\na.jpg,\n")) == {"a.jpg": ()}


def test_one_hot_without_its_header_is_not_guessed(labels):
    content = "a.jpg,1,0\nb.jpg,0,1\n"
    with pytest.raises(
        DataError, match=r"reads both as one-hot CSV without its header .*write a header.*headerless-csv"
    ):
        labels(content)
    assert names(labels(content, "headerless-csv"))["a.jpg"] == ("1", "0")
    assert names(labels(content, class_set=ClassSet(("0", "1"))))["b.jpg"] == ("0", "1")
    with pytest.raises(DataError, match="not recognised as labels"):
        labels("0001,1,0\n0002,0,1\n")


@pytest.mark.parametrize("content", ["", "\n \n", ",,\n"])
def test_an_empty_file_is_refused(labels, content):
    with pytest.raises(DataError, match=r"labels\.csv: no rows; write one row for each image"):
        labels(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "image,labels\nä.jpg,cat\n".encode("latin-1"),
            r"labels\.csv:2: cannot be read as UTF-8 .*save it as UTF-8",
        ),
        ("image,labels\n".encode("utf-16"), r"labels\.csv:1: .* cannot be read as UTF-8 .*save it as UTF-8"),
        ("image,labels\n".encode("utf-16-le"), r"labels\.csv:1: holds NUL characters.*save it as UTF-8"),
        (b'image,labels\na.jpg,cat\nb.jpg,"dog\nc.jpg,cat\n', r"labels\.csv:3: .*close the quotes"),
    ],
)
def test_what_is_no_csv_is_refused(labels, content, message):
    with pytest.raises(DataError, match=message):
        labels(content)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"gone\.csv: no such file; correct the path"):
        read_labels(tmp_path / "gone.csv")


def test_an_unknown_format_names_the_choices(labels):
    with pytest.raises(
        SettingsError, match="--labels-format 'csv': choose one of auto, list-csv, onehot-csv, long-csv"
    ):
        labels("a.jpg,cat\n", "csv")
    assert (
        *("auto", "list-csv", "onehot-csv", "long-csv", "headerless-csv"),
        *("wsss-list", "wsss-list-from-0", "wsss-list-from-1", "cls-labels-npy"),
        *("coco-json", "label-studio", "labelme", "jsonl"),
        *("webdataset", "webdataset-from-0", "webdataset-from-1", "voc-main", "voc-xml", "class-folders"),
    ) == LABEL_FORMATS


def test_a_header_alone_has_no_rows(labels):
    table = labels("image,labels\n")
    assert table.rows == {}
    assert table.description.endswith("0 classes, 0 images")


# Class folders


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_class_folders(tmp_path):
    touch(
        tmp_path / "cat/1.jpg", tmp_path / "cat/deep/2.png", tmp_path / "hot dog/1.jpg", tmp_path / "background/3.jpg"
    )
    for form in ("auto", "class-folders"):
        table = read_labels(tmp_path, form)
        assert names(table) == {
            "cat/1.jpg": ("cat",),
            "cat/deep/2.png": ("cat",),
            "hot dog/1.jpg": ("hot dog",),
            "background/3.jpg": (),
        }
        assert table.description == f"{tmp_path}: read as class folders: 2 classes, 4 images"
        assert table.where("cat/1.jpg") == str(tmp_path)


def test_an_unknown_folder_is_one_problem(tmp_path):
    touch(tmp_path / "cat/1.jpg", tmp_path / "dogs/1.jpg", tmp_path / "dogs/2.jpg", tmp_path / "top.jpg")
    table = read_labels(tmp_path, "class-folders", CLASSES)
    assert names(table) == {"cat/1.jpg": ("cat",)}
    assert table.problems == ((str(tmp_path), "unknown class 'dogs'; did you mean 'dog'?"),)


def test_images_without_folders_are_no_class_folders(tmp_path):
    touch(tmp_path / "1.jpg")
    with pytest.raises(DataError, match=r"no image lies in a folder named by its class.*move them there"):
        read_labels(tmp_path, "class-folders")


def test_folder_and_format_must_go_together(tmp_path):
    touch(tmp_path / "cat/1.jpg", tmp_path / "labels.csv")
    with pytest.raises(SettingsError, match="is a folder, which does not go with --labels-format list-csv; leave one"):
        read_labels(tmp_path, "list-csv")
    with pytest.raises(SettingsError, match="is no folder, which does not go with --labels-format class-folders"):
        read_labels(tmp_path / "labels.csv", "class-folders")


# Round trips

WORD = st.text(st.characters(categories=["Ll", "Lo"]), min_size=2, max_size=6).filter(
    lambda word: word not in ("none", "nan", "null", "background")
)
TABLES = st.dictionaries(
    st.text("abc123_", min_size=1, max_size=5).map(lambda stem: f"{stem}.jpg"),
    st.lists(WORD, unique=True, max_size=4),
    min_size=1,
)


@given(table=TABLES, delimiter=st.sampled_from(",\t;"))
def test_a_list_column_is_read_back(tmp_path_factory, table, delimiter):
    path = tmp_path_factory.mktemp("round") / "labels.csv"
    rows = [f"{key}{delimiter}{'|'.join(present)}" for key, present in table.items()]
    path.write_text("\n".join([f"image{delimiter}labels", *rows]), encoding="utf-8")
    assert names(read_labels(path, "list-csv")) == {key: tuple(present) for key, present in table.items()}


@given(table=TABLES)
def test_one_hot_is_read_back(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("round") / "labels.csv"
    classes = sorted({"zz", *(name for present in table.values() for name in present)})
    rows = [",".join([key, *(str(int(name in present)) for name in classes)]) for key, present in table.items()]
    path.write_text("\n".join([",".join(["filename", *classes]), *rows]), encoding="utf-8")
    read = read_labels(path, "onehot-csv")
    assert read.class_names == tuple(classes)
    assert names(read) == {key: tuple(sorted(present)) for key, present in table.items()}
