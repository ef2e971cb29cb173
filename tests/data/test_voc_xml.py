"""VOC annotation files, alone and beside ImageSets/Main."""

import pytest
from PIL import Image

from semples_cli.data.dataset import load_dataset
from semples_cli.data.labels.voc_xml import read_voc_xml
from semples_cli.types import ClassSet

BOMB = '<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z "&x;&x;">]><annotation><object><name>&z;</name></object></annotation>'


def annotate(folder, image_id, *objects):
    parts = "".join(f"<object><name>{name}</name><difficult>{hard}</difficult></object>" for name, hard in objects)
    folder.mkdir(exist_ok=True, parents=True)
    (folder / f"{image_id}.xml").write_text(f"<annotation>{parts}</annotation>")


def test_objects_become_classes_each_once(tmp_path):
    annotate(tmp_path, "2007_1", ("dog", 0), ("cat", 0), ("dog", 1))
    table = read_voc_xml(tmp_path, ["2007_1", "2007_2"], None)
    assert {key: row.names for key, row in table.rows.items()} == {"2007_1": ("dog", "cat")}
    assert table.description == f"{tmp_path}: read as VOC annotations: 2 classes, 1 image"


def test_a_class_that_is_only_difficult_is_not_present(tmp_path):
    annotate(tmp_path, "a", ("dog", 1))
    assert read_voc_xml(tmp_path, ["a"], None).rows["a"].names == ()


@pytest.mark.parametrize("text", ["", "<annotation>", "plain text", BOMB])
def test_damaged_or_hostile_files_are_a_problem_and_the_others_are_read(tmp_path, text):
    annotate(tmp_path, "good", ("cat", 0))
    (tmp_path / "bad.xml").write_text(text)
    table = read_voc_xml(tmp_path, ["bad", "good"], None)
    assert list(table.rows) == ["good"]
    ((where, message),) = table.problems
    assert where == str(tmp_path / "bad.xml")
    assert "get the file again" in message


def test_an_unknown_class_names_the_file(tmp_path):
    annotate(tmp_path, "a", ("dogg", 0))
    ((where, message),) = read_voc_xml(tmp_path, ["a"], ClassSet(("dog",))).problems
    assert where == str(tmp_path / "a.xml")
    assert "did you mean 'dog'?" in message


@pytest.fixture
def devkit(tmp_path):
    for name in ("2007_1", "2008_1"):
        (tmp_path / "JPEGImages").mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "JPEGImages" / f"{name}.jpg")
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Segmentation").mkdir()
    (tmp_path / "ImageSets" / "Main" / "dog_trainval.txt").write_text("2008_1  1\n")
    (tmp_path / "ImageSets" / "Main" / "cat_trainval.txt").write_text("2008_1 -1\n")
    (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text("2007_1\n2008_1\n")
    annotate(tmp_path / "Annotations", "2007_1", ("cat", 0))
    annotate(tmp_path / "Annotations", "2008_1", ("cat", 0))
    return tmp_path


def test_annotations_fill_in_what_main_does_not_list(devkit):
    data = load_dataset(data=devkit)
    assert data.class_set.names[11] == "dog"
    named = {sample.id: [data.class_set.name_of(k) for k in sample.class_indices] for sample in data.samples}
    assert named == {"2007_1": ["cat"], "2008_1": ["dog"]}
    assert data.unlabelled == ()
    assert "VOC image sets: 2 classes, 1 image" in " ".join(data.notes)


def test_annotations_alone_are_enough(devkit):
    for path in (devkit / "ImageSets" / "Main").iterdir():
        path.unlink()
    data = load_dataset(data=devkit)
    assert [[data.class_set.name_of(k) for k in sample.class_indices] for sample in data.samples] == [["cat"], ["cat"]]


def test_without_any_labels_both_places_are_named(devkit):
    for folder in ("ImageSets/Main", "Annotations"):
        for path in (devkit / folder).iterdir():
            path.unlink()
    with pytest.raises(Exception, match=r"Annotations/<id>\.xml"):
        load_dataset(data=devkit)
