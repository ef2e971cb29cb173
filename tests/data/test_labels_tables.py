"""Tables with traps: Open Images, CheXpert, NIH, WSSS split lists; samples follow each dataset's documentation."""

import pytest

from semples_cli.data.dataset import load_dataset, load_labels
from semples_cli.data.labels.class_descriptions import is_machine_id
from semples_cli.data.labels.recognise import read_labels
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

PETS = ClassSet(("Cat", "Dog"))

# https://storage.googleapis.com/openimages/web/download.html: image-level labels and class descriptions
OPEN_IMAGES = """ImageID,Source,LabelName,Confidence
000026e7ee790996,verification,/m/01yrx,1
000026e7ee790996,verification,/m/0bt9lr,0
000062a39995e348,crowdsource-verification,/m/0bt9lr,1
000062a39995e348,verification,/m/01yrx,1
0000c64e1253d68f,verification,/m/01yrx,0
"""
DESCRIPTIONS = "/m/01yrx,Cat\n/m/0bt9lr,Dog\n/m/083vt,Wood\n"


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Write a label file into the folder where the test stands, and read it."""
    monkeypatch.chdir(tmp_path)

    def write_and_read(content, labels_format="auto", class_set=None, name="labels.csv"):
        (tmp_path / name).write_text(content)
        return read_labels((tmp_path / name).relative_to(tmp_path), labels_format, class_set)

    return write_and_read


def names(table):
    return {key: row.names for key, row in table.rows.items()}


# Long CSV


def test_open_images_with_its_class_descriptions_beside_it(read, tmp_path):
    (tmp_path / "class-descriptions-boxable.csv").write_text(DESCRIPTIONS)
    table = read(OPEN_IMAGES)
    assert names(table) == {
        "000026e7ee790996": ("Cat",),
        "000062a39995e348": ("Dog", "Cat"),
        "0000c64e1253d68f": (),
    }
    assert table.absent == {"Dog": 1, "Cat": 1}
    assert table.form == "long-csv"
    assert table.description == "labels.csv: read as long CSV: 2 classes, 3 images"


def test_later_descriptions_have_a_header(read, tmp_path):
    (tmp_path / "oidv7-class-descriptions.csv").write_text("LabelName,DisplayName\n" + DESCRIPTIONS)
    assert names(read(OPEN_IMAGES))["000062a39995e348"] == ("Dog", "Cat")


def test_two_descriptions_that_disagree_are_refused(read, tmp_path):
    (tmp_path / "a-class-descriptions.csv").write_text(DESCRIPTIONS)
    (tmp_path / "b-class-descriptions.csv").write_text("/m/0bt9lr,Hound\n")
    with pytest.raises(
        DataError, match=r"b-class-descriptions\.csv:1: /m/0bt9lr is 'Hound' here and 'Dog' before; keep"
    ):
        read(OPEN_IMAGES)


def test_ids_without_names_are_refused_with_both_cures(read):
    with pytest.raises(DataError, match=r"ids such as /m/01yrx, which say nothing to CLIP; .*beside it.*--classes"):
        read(OPEN_IMAGES)


def test_ids_may_be_the_classes_with_words_for_clip(read):
    classes = ClassSet(("/m/01yrx", "/m/0bt9lr"), ("cat", "dog"))
    assert names(read(OPEN_IMAGES, class_set=classes))["000026e7ee790996"] == ("/m/01yrx",)


def test_ids_that_are_no_class_of_the_list_are_left_out_and_said(read, tmp_path):
    (tmp_path / "class-descriptions.csv").write_text(DESCRIPTIONS)
    table = read(OPEN_IMAGES + "000026e7ee790996,machine,/m/083vt,1\n", class_set=ClassSet(("cat",)))
    assert names(table) == {"000026e7ee790996": ("cat",), "000062a39995e348": ("cat",), "0000c64e1253d68f": ()}
    assert table.problems == ()
    assert table.description.endswith("labels of 2 ids that are no class of the list are left out")


def test_a_name_that_is_no_class_is_a_problem_of_its_image(read):
    table = read("ImageID,LabelName,Confidence\na,Cat,1\na,Dgo,1\nb,Dog,1\nc,Horse,0\n", class_set=PETS)
    assert names(table) == {"b": ("Dog",)}
    assert table.problems == (
        ("labels.csv:3:2", "unknown class 'Dgo'; did you mean 'Dog'?"),
        ("labels.csv:5:2", "unknown class 'Horse'; known classes: Cat, Dog"),
    )


def test_a_machine_s_guess_counts_as_absent_and_is_said_and_a_person_s_word_stands(read):
    table = read("ImageID,LabelName,Confidence\na,Cat,0.9\na,Dog,0.4\na,Dog,1\nb,Dog,0\nb,Dog,0.8\n")
    assert names(table) == {"a": ("Dog",), "b": ()}
    assert table.uncertain == {"Cat": 1}
    assert table.absent == {"Dog": 1}
    assert table.description.endswith("1 between 0 and 1 (uncertain) taken as absent")


def test_present_and_absent_at_once_leaves_the_image_out(read):
    table = read("ImageID,LabelName,Confidence\na,Cat,1\na,Cat,0\na,Dog,1\nb,Dog,1\n")
    assert names(table) == {"b": ("Dog",)}
    said = "a: Cat is 0 here and 1 on line 2; the image is left out, keep one of the rows"
    assert table.problems == (("labels.csv:3:2", said),)


@pytest.mark.parametrize("confidence", ["high", "", "1.5", "-1", "nan"])
def test_a_confidence_that_is_no_share_is_a_problem(read, confidence):
    table = read(f"ImageID,LabelName,Confidence\na,Cat,{confidence}\nb,Dog,1\n", "long-csv")
    assert names(table) == {"b": ("Dog",)}
    assert table.problems == (("labels.csv:2:3", f"confidence {confidence!r}; write a number from 0 to 1"),)


def test_boxes_are_long_csv_too(read):
    table = read("ImageID,Source,LabelName,Confidence,XMin,XMax\na,x,Cat,1,0.1,0.5\na,x,Cat,1,0.2,0.3\na,x,Dog,1,0,1\n")
    assert names(table) == {"a": ("Cat", "Dog")}


def test_a_row_of_another_width_is_a_problem(read):
    table = read("ImageID,LabelName,Confidence\na,Cat,1\nb,Dog\n")
    assert names(table) == {"a": ("Cat",)}
    assert table.problems == (("labels.csv:3:1", "2 cells where the header has 3; write 3"),)


def test_an_image_in_several_rows_reads_both_ways_and_is_refused(read):
    content = "image,label\na.jpg,cat\na.jpg,dog\nb.jpg,\n"
    cure = r"--labels-format list-csv \(a row an image\) or --labels-format long-csv \(a row a label\)"
    with pytest.raises(DataError, match=rf"reads both as list-csv and as long-csv; say which: {cure}"):
        read(content)
    assert names(read(content, "long-csv")) == {"a.jpg": ("cat", "dog"), "b.jpg": ()}
    assert names(read(content, "list-csv")) == {"b.jpg": ()}


def test_a_list_in_any_cell_settles_it(read):
    table = read("image,label,confidence\na.jpg,cat|dog,0.5\nb.jpg,cat,1\n")
    assert names(table) == {"a.jpg": ("cat", "dog"), "b.jpg": ("cat",)}
    assert table.form == "list-csv"


def test_long_csv_needs_both_columns(read):
    with pytest.raises(DataError, match=r"labels\.csv:1: the header must name one column of images and one of labels"):
        read("a,b\n1,2\n", "long-csv")


@pytest.mark.parametrize(("name", "is_id"), [("/m/01yrx", True), ("/g/11bc5yf", True), ("cat", False), ("/m/", False)])
def test_machine_ids(name, is_id):
    assert is_machine_id(name) is is_id


# One-hot with other columns between, and spaces in the header

# CheXpert's train.csv: 1.0, 0.0, -1.0 (uncertain) and blank (not mentioned) behind patient and view
CHEXPERT = """Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Pleural Effusion,Edema
CheXpert/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,0.0
CheXpert/train/patient00002/study2/view1_frontal.jpg,Female,87,Frontal,AP,,-1.0,1.0
CheXpert/train/patient00002/study1/view2_lateral.jpg,Male,1,Lateral,,,1.0,-1.0
"""


def test_chexpert(read):
    table = read(CHEXPERT)
    assert list(names(table).values()) == [(), ("Edema",), ("Pleural Effusion",)]
    assert table.class_names == ("Pleural Effusion", "Edema")
    assert table.uncertain == {"Pleural Effusion": 1, "Edema": 1}
    assert table.absent == {"Edema": 1}
    assert table.description == (
        "labels.csv: read as one-hot CSV: 2 classes, 3 images; 2 cells of -1 (uncertain) taken as absent; "
        "columns that hold no 0 and 1 are left out: Sex, Age, Frontal/Lateral, AP/PA"
    )


def test_a_column_of_a_known_class_is_never_left_out(read):
    table = read("filename,Cat,Dog,view\na.jpg,1,x,l\nb.jpg,0,y,r\n", class_set=PETS)
    assert names(table) == {}
    assert [where for where, _ in table.problems] == ["labels.csv:2:3", "labels.csv:3:3"]


def test_other_columns_need_a_named_image_column_and_no_labels(read):
    with pytest.raises(DataError, match="not recognised as labels"):
        read("photograph,view,cat\na,l,1\nb,r,0\n")
    assert read("image,labels,is_train\na.jpg,cat,1\nb.jpg,dog,0\n").form == "list-csv"


def test_no_flags_at_all_is_refused(read):
    with pytest.raises(DataError, match=r"labels\.csv:1: no column holds 0 and 1; write one for each class"):
        read("filename,view\na.jpg,l\nb.jpg,r\n", "onehot-csv")


def test_nih(read):
    # NIH ChestX-ray14's Data_Entry_2017.csv
    table = read(
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age\n"
        "00000001_000.png,Cardiomegaly,0,1,058Y\n"
        "00000001_001.png,Cardiomegaly|Emphysema,1,1,058Y\n"
        "00000002_000.png,No Finding,0,2,081Y\n"
    )
    assert names(table) == {
        "00000001_000.png": ("Cardiomegaly",),
        "00000001_001.png": ("Cardiomegaly", "Emphysema"),
        "00000002_000.png": (),
    }


def test_spaces_in_a_header(read):
    table = read("filename, hot dog, fire truck\na.jpg, 1, 0\nb.jpg, 1, 1\n")
    assert table.class_names == ("hot dog", "fire truck")
    assert names(table)["b.jpg"] == ("hot dog", "fire truck")


def test_imagefolder_metadata_csv(read):
    table = read("file_name,label,text\n0001.png,cat,a cat\n0002.png,dog,a dog\n", name="metadata.csv")
    assert names(table) == {"0001.png": ("cat",), "0002.png": ("dog",)}


# WSSS split lists

COCO_LIST = "COCO_train2014_000000000009 45 49 50\nCOCO_train2014_000000000025 23\nCOCO_train2014_000000000030\n"


def coco_names(*numbers, first=0):
    from semples_cli.data.class_list import read_class_list

    classes = read_class_list("coco14")
    return tuple(classes.name_of(number - first + 1) for number in numbers)


def coco():
    from semples_cli.data.class_list import read_class_list

    return read_class_list("coco14")


def test_a_zero_settles_the_numbering(read):
    table = read(COCO_LIST + "COCO_train2014_000000000036 0 25\n", class_set=coco())
    assert names(table) == {
        "COCO_train2014_000000000009": ("bowl", "orange", "broccoli"),
        "COCO_train2014_000000000025": ("giraffe",),
        "COCO_train2014_000000000030": (),
        "COCO_train2014_000000000036": ("person", "umbrella"),
    }
    assert table.description == "labels.csv: read as WSSS split list, class numbers from 0: 80 classes, 4 images"
    assert table.class_names == coco().names


def test_the_number_of_classes_settles_it_the_other_way(read):
    table = read("a 80 1\nb 2\n", class_set=coco())
    assert names(table) == {"a": coco_names(80, 1, first=1), "b": coco_names(2, first=1)}


def test_a_numbering_that_nothing_settles_is_refused_and_an_option_settles_it(read):
    with pytest.raises(DataError) as error:
        read(COCO_LIST, class_set=coco())
    assert str(error.value) == (
        "labels.csv: reads both as numbers from 0, where 50 is 'broccoli', and as numbers from 1, where 50 is "
        "'orange'; say which: --labels-format wsss-list-from-0 or --labels-format wsss-list-from-1"
    )
    key = "COCO_train2014_000000000009"
    assert names(read(COCO_LIST, "wsss-list-from-0", coco()))[key] == coco_names(45, 49, 50)
    assert names(read(COCO_LIST, "wsss-list-from-1", coco()))[key] == coco_names(45, 49, 50, first=1)


@pytest.mark.parametrize(
    ("content", "labels_format", "message"),
    [
        (
            "a 2\nb 7\n",
            "auto",
            r"labels\.csv:2: class numbers 2 to 7, but 2 classes are 0 to 1 or 1 to 2; give the list",
        ),
        ("a 0\nb 2\n", "auto", r"labels\.csv:2: class numbers 0 to 2, but 2 classes are 0 to 1 or 1 to 2"),
        ("a 2\nb 0\n", "wsss-list-from-1", r"labels\.csv:2: class numbers 0 to 2, but 2 classes are 1 to 2"),
        ("a 2\nb 0\n", "wsss-list-from-0", r"labels\.csv:1: class numbers 0 to 2, but 2 classes are 0 to 1"),
    ],
)
def test_numbers_that_do_not_fit_the_list_are_refused(read, content, labels_format, message):
    with pytest.raises(DataError, match=message):
        read(content, labels_format, PETS)


def test_numbers_need_a_class_list(read):
    with pytest.raises(DataError, match=r"labels\.csv: its classes are numbers; give the class list by --classes"):
        read(COCO_LIST)


def test_a_list_without_any_number_is_no_label_file(read):
    with pytest.raises(DataError, match="not recognised as labels"):
        read("a\nb\n", class_set=PETS)
    with pytest.raises(DataError, match="it lists images and no class numbers; bring the list that has them"):
        read("a\nb\n", "wsss-list", PETS)


def test_what_may_be_a_class_of_voc_is_refused(read):
    with pytest.raises(DataError, match=r"both as a WSSS split list of classes 0 and 1, and as one class of VOC's"):
        read("2007_000032 1\n2007_000033 0\n", class_set=PETS, name="cat_train.txt")
    with pytest.raises(DataError, match=r"cat_train\.txt: marks images by 1 and -1, as a class of VOC's .*folder"):
        read("2007_000032  1\n2007_000033 -1\n", class_set=PETS, name="cat_train.txt")
    assert names(read("a 1\nb 0\n", "wsss-list", PETS)) == {"a": ("Dog",), "b": ("Cat",)}


def test_a_bad_line_is_a_problem(read):
    table = read("a 0\nb 1 x\nc 1\n", "wsss-list", PETS)
    assert names(table) == {"a": ("Cat",), "c": ("Dog",)}
    assert table.problems == (("labels.csv:2:1", "'b 1 x' is not `<image> <number> …`; correct this line"),)


# Through the one entry point


def test_long_csv_meets_its_images_by_stem(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("000026e7ee790996", "0000c64e1253d68f", "ffff"):
        (tmp_path / f"images/{name}.jpg").touch()
    (tmp_path / "train-labels.csv").write_text(OPEN_IMAGES)
    (tmp_path / "class-descriptions.csv").write_text(DESCRIPTIONS)
    data = load_dataset([tmp_path / "images"], labels=tmp_path / "train-labels.csv")
    assert {sample.id: sample.class_indices for sample in data.samples} == {
        "000026e7ee790996": (1,),
        "0000c64e1253d68f": (),
    }
    assert (data.unlabelled, data.unmatched_rows) == (("ffff",), ("000062a39995e348",))
    assert data.table.absent == {"Dog": 1, "Cat": 1}


def test_labels_alone_settle_the_classes_and_say_it(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("image,labels\na.jpg,dog|cat\nb.jpg,none\n")
    labels = load_labels(path)
    assert labels.class_set.names == ("cat", "dog")
    assert labels.notes == (
        f"{path}: read as list-column CSV: 2 classes, 2 images",
        "2 classes, in the order of sorted names; --classes fixes another",
    )
    assert load_labels(path, classes="voc12").class_set.index_of("dog") == 12
