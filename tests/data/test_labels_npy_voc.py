"""`cls_labels.npy`, and VOC's Main and Annotations given by --labels."""

import os

import numpy as np
import pytest

from semples_cli.data.dataset import load_dataset, load_labels
from semples_cli.data.labels.recognise import read_labels
from semples_cli.errors import DataError
from semples_cli.types import ClassSet

PETS = ClassSet(("cat", "dog", "bird"))


@pytest.fixture
def read(tmp_path):
    def save_and_read(content, class_set=PETS):
        np.save(tmp_path / "cls_labels.npy", content, allow_pickle=True)
        return read_labels(tmp_path / "cls_labels.npy", "auto", class_set)

    return save_and_read


def names(table):
    return {key: row.names for key, row in table.rows.items()}


def vector(*present, length=3, dtype=np.float32):
    flags = np.zeros(length, dtype)
    flags[list(present)] = 1
    return flags


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64, bool])
def test_a_dict_of_vectors(read, tmp_path, dtype):
    table = read({"2007_000032": vector(0, 2, dtype=dtype), "2007_000033": vector(dtype=dtype)})
    assert names(table) == {"2007_000032": ("cat", "bird"), "2007_000033": ()}
    assert table.class_names == PETS.names
    assert (table.form, table.problems) == ("cls-labels-npy", ())
    assert table.description == f"{tmp_path / 'cls_labels.npy'}: read as cls_labels.npy: 3 classes, 2 images"


def test_lists_are_vectors_too(read):
    assert names(read({"a": [0, 1, 0]})) == {"a": ("dog",)}


@pytest.mark.parametrize("kind", [int, np.int32, np.int64])
def test_numbers_as_ids_are_written_out(read, kind):
    table = read({kind(2007000032): vector(0), kind(9): vector(1), kind(581929): vector(2)})
    assert list(table.rows) == ["2007_000032", "000000000009", "000000581929"]


def test_numbers_meet_coco_images_of_both_years(tmp_path):
    for name in ("COCO_train2014_000000000009", "000000000025"):
        (tmp_path / f"{name}.jpg").touch()
    np.save(tmp_path / "cls_labels.npy", {9: vector(4, length=20), 25: vector(0, length=20)})
    data = load_dataset([tmp_path], labels=tmp_path / "cls_labels.npy", classes="voc12")
    assert {sample.id: sample.class_indices for sample in data.samples} == {
        "COCO_train2014_000000000009": (5,),
        "000000000025": (1,),
    }
    assert data.unmatched_rows == ()


def test_vectors_need_a_class_list_of_their_length(read):
    with pytest.raises(DataError, match=r"its classes are numbers; give the class list .* --classes voc12"):
        read({"a": vector(length=20)}, None)
    with pytest.raises(DataError, match=r"--classes coco14"):
        read({"a": vector(length=80)}, None)
    with pytest.raises(DataError, match=r"--classes FILE"):
        read({"a": vector()}, None)
    with pytest.raises(DataError, match=r"it has 4 classes, but the class list 3; give the list it was made by"):
        read({"a": vector(length=4)})


def test_bad_entries_are_problems_and_the_others_are_read(read):
    two = np.array([0, 2, 1], np.float32)
    table = read({"a": vector(0), "b": two, -3: vector(0), "c": np.zeros((3, 3)), "d": "110", True: vector(1)})
    assert names(table) == {"a": ("cat",)}
    assert [message.split(":")[0] for _, message in table.problems] == [
        f"entry {key}" for key in ("'b'", "-3", "'c'", "'d'", "True")
    ]
    assert "an id, and a vector of 0 and 1 are needed; write it anew, or remove it" in table.problems[0][1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "no labels; cls_labels.npy is a dict"),
        (np.zeros((3, 4)), "no labels; cls_labels.npy is a dict"),
        ([1, 2], "no labels"),
        ({"a": vector(), "b": vector(length=4)}, "2 lengths of vectors, where all images have the same classes"),
        ({"a": "x"}, "0 lengths of vectors"),
    ],
)
def test_what_is_no_such_dict_is_refused(read, content, message):
    with pytest.raises(DataError, match=message):
        read(content)


class Bomb:
    """Its pickle says: make this folder."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (os.mkdir, (self.target,))


def test_a_pickle_that_would_call_something_is_refused_and_not_run(tmp_path):
    path = tmp_path / "cls_labels.npy"
    np.save(path, {"a": Bomb(str(tmp_path / "made"))})
    with pytest.raises(DataError, match=r"refused, its pickle would call (posix|nt)\.mkdir, and nothing of it was run"):
        read_labels(path, "auto", PETS)
    assert not (tmp_path / "made").exists()
    np.load(path, allow_pickle=True)
    assert (tmp_path / "made").exists()  # so the bomb is one


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"not numpy at all", b"\x93NUMPY\x01\x00\x02\x00{}"])
def test_damaged_files_are_refused(tmp_path, content):
    (tmp_path / "cls_labels.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"cls_labels\.npy: damaged, or no dict of plain arrays .*copy it again"):
        read_labels(tmp_path / "cls_labels.npy", "auto", PETS)


def test_a_cut_file_and_a_missing_one_are_refused(read, tmp_path):
    read({"a": vector()})
    path = tmp_path / "cls_labels.npy"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="damaged"):
        read_labels(path, "auto", PETS)
    with pytest.raises(DataError, match=r"gone\.npy: cannot be read \(No such file"):
        read_labels(tmp_path / "gone.npy", "auto", PETS)


def test_too_large_a_file_is_refused(read, monkeypatch):
    monkeypatch.setattr("semples_cli.data.labels.cls_labels_npy.MAX_FILE_BYTES", 10)
    with pytest.raises(DataError, match="too large for labels; correct the path"):
        read({"a": vector()})


# VOC's folders


@pytest.fixture
def devkit(tmp_path):
    root = tmp_path / "VOC2012"
    for folder in ("JPEGImages", "ImageSets/Main", "Annotations"):
        (root / folder).mkdir(parents=True)
    for name in ("2007_000032", "2008_000002"):
        (root / f"JPEGImages/{name}.jpg").touch()
    # VOC pads the flag to two characters
    (root / "ImageSets/Main/aeroplane_train.txt").write_text("2007_000032  1\n2008_000002 -1\n")
    (root / "ImageSets/Main/tvmonitor_train.txt").write_text("2007_000032  0\n2008_000002  1\n")
    (root / "ImageSets/Main/train.txt").write_text("2007_000032\n2008_000002\n")
    person = "<object><name>person</name><difficult>1</difficult></object>"
    dog = "<object><name>dog</name><pose>Left</pose><difficult>0</difficult></object>"
    text = "<annotation><filename>{0}.jpg</filename>{1}</annotation>"
    (root / "Annotations/2007_000032.xml").write_text(text.format("2007_000032", dog + person))
    (root / "Annotations/2008_000002.xml").write_text(text.format("2008_000002", ""))
    return root


def present(data):
    return {sample.id: tuple(data.class_set.name_of(k) for k in sample.class_indices) for sample in data.samples}


@pytest.mark.parametrize("labels_format", ["auto", "voc-main"])
def test_main_by_labels(devkit, tmp_path, labels_format):
    (devkit / "JPEGImages").rename(tmp_path / "photos")
    data = load_dataset([tmp_path / "photos"], labels=devkit / "ImageSets/Main", labels_format=labels_format)
    assert present(data) == {"2007_000032": ("aeroplane",), "2008_000002": ("tvmonitor",)}
    assert data.samples[0].class_indices == (1,)
    assert len(data.class_set) == 20  # VOC's own order, not that of two names
    assert data.table.uncertain == {"aeroplane": 0, "tvmonitor": 1}
    assert "1 marked 0 (difficult) taken as absent" in data.notes[0]


@pytest.mark.parametrize("labels_format", ["auto", "voc-xml"])
def test_annotations_by_labels(devkit, tmp_path, labels_format):
    (devkit / "JPEGImages").rename(tmp_path / "photos")
    data = load_dataset([tmp_path / "photos"], labels=devkit / "Annotations", labels_format=labels_format)
    assert present(data) == {"2007_000032": ("dog",), "2008_000002": ()}
    assert data.table.uncertain == {"person": 1}
    assert "1 marked difficult taken as absent" in data.notes[0]
    assert data.class_set.index_of("dog") == 12


def test_a_whole_devkit_by_labels(devkit, tmp_path):
    for folder in (devkit, tmp_path):
        labels = load_labels(folder)
        assert names(labels.table) == {"2007_000032": ("aeroplane",), "2008_000002": ("tvmonitor",)}
        assert labels.table.form == "voc-main"
        assert len(labels.class_set) == 20


def test_own_names_keep_their_own_order(devkit):
    (devkit / "ImageSets/Main/camel_train.txt").write_text("2007_000032  1\n")
    assert load_labels(devkit / "ImageSets/Main").class_set.names == ("aeroplane", "camel", "tvmonitor")


def test_a_file_of_background_is_no_class(devkit):
    (devkit / "ImageSets/Main/background_train.txt").write_text("2007_000032  1\n2008_000002  1\n")
    labels = load_labels(devkit / "ImageSets/Main")
    assert labels.table.class_names == ("aeroplane", "tvmonitor")
    assert names(labels.table)["2007_000032"] == ("aeroplane",)


def test_folders_without_their_files_are_refused(tmp_path):
    (tmp_path / "notes_train.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"no \.xml files here; give the folder Annotations"):
        read_labels(tmp_path, "voc-xml")
    (tmp_path / "notes_train.txt").write_text("no flags\n")
    with pytest.raises(DataError, match="is not `<id> 1`"):
        read_labels(tmp_path, "voc-main")
    (tmp_path / "notes_train.txt").unlink()
    with pytest.raises(DataError, match=r"no <class>_<split>\.txt .*give the folder ImageSets/Main"):
        read_labels(tmp_path, "voc-main")


def test_other_text_files_do_not_make_a_folder_voc(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").touch()
    (tmp_path / "read_me.txt").write_bytes(b"\xff\xfe")
    assert read_labels(tmp_path).form == "class-folders"


def test_two_kinds_in_one_folder_are_refused(devkit):
    (devkit / "Annotations/cat_train.txt").write_text("2007_000032  1\n")
    with pytest.raises(
        DataError, match="reads both as voc-main and as voc-xml; say which: --labels-format voc-main or"
    ):
        read_labels(devkit / "Annotations")


@pytest.mark.parametrize(
    ("form", "labels", "read_as"),
    [
        ("voc", "ImageSets/Main", "voc-main"),
        ("voc", ".", "voc-main"),
        ("open_images", "annotations/train-annotations-human-imagelabels.csv", "long-csv"),
    ],
)
def test_what_datumaro_exports(tmp_path, form, labels, read_as):
    pytest.importorskip("datumaro")
    from datumaro.components.annotation import Label
    from datumaro.components.dataset import Dataset
    from datumaro.components.dataset_base import DatasetItem
    from datumaro.components.media import Image

    image = Image.from_numpy(np.zeros((8, 8, 3), np.uint8))
    items = [
        DatasetItem("a", subset="train", media=image, annotations=[Label(0), Label(2)]),
        DatasetItem("b", subset="train", media=image, annotations=[Label(1)]),
    ]
    dataset = Dataset.from_iterable(items, categories=["cat", "dog", "bird"])
    dataset.export(str(tmp_path / "out"), form, save_media=True)
    read = load_labels(tmp_path / "out" / labels)
    assert {key: set(present) for key, present in names(read.table).items()} == {"a": {"cat", "bird"}, "b": {"dog"}}
    assert read.table.form == read_as
