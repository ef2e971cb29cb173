"""Labels alone and with images: counts by hand."""

import json

import pytest

from semples_cli.errors import SettingsError
from semples_cli.steps.inspect_labels import ClassCount, inspect_labels, inspection_as_dict

LABELS = """filename,cat,dog,bird
a.jpg,1,0,-1
b.jpg,0,0,0
gone.jpg,1,1,0
a.jpg,1,0,-1
c.jpg,1,0,0
c.jpg,0,1,0
d.jpg,2,0,0
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for name in ("a", "b", "c", "new"):
        (tmp_path / f"images/{name}.jpg").touch()
    (tmp_path / "labels.csv").write_text(LABELS)
    return tmp_path


def test_labels_alone(folder):
    found = inspect_labels(labels=folder.relative_to(folder) / "labels.csv")
    assert (found.source, found.form) == ("labels.csv", "onehot-csv")
    assert (found.rows, found.empty_rows, found.repeated) == (3, 1, 2)
    assert found.contradicted == ("c.jpg",)
    assert [where for where, _ in found.problems] == ["labels.csv:7:1", "labels.csv:8:2"]
    assert found.classes == (
        ClassCount("cat", "cat", 1, rows=2, images=None, absent=2, uncertain=0),
        ClassCount("dog", "dog", 2, rows=1, images=None, absent=4, uncertain=0),
        ClassCount("bird", "bird", 3, rows=0, images=None, absent=4, uncertain=2),
    )
    assert (found.images, found.unlabelled, found.unmatched_rows) == (None, (), ())
    assert "read as one-hot CSV: 3 classes, 3 images; 2 cells of -1" in found.notes[0]


def test_with_images(folder):
    found = inspect_labels([folder / "images"], labels=folder / "labels.csv")
    assert found.images == 4
    assert found.unlabelled == ("c", "new")
    assert found.unmatched_rows == ("gone.jpg",)
    assert [(each.name, each.rows, each.images) for each in found.classes] == [
        ("cat", 2, 1),
        ("dog", 1, 0),
        ("bird", 0, 0),
    ]
    assert len(found.problems) == 2


def test_labels_beside_the_images_and_by_data(folder):
    assert inspect_labels([folder / "images"]) == inspect_labels(data=folder / "images")
    assert inspect_labels([folder / "images"]).form == "onehot-csv"


def test_class_folders_and_one_hot_name_their_form(folder):
    for name in ("cat", "dog"):
        (folder / f"tree/{name}").mkdir(parents=True)
        (folder / f"tree/{name}/1.jpg").touch()
    found = inspect_labels([folder / "tree"], labels_format="class-folders")
    assert [(each.name, each.images) for each in found.classes] == [("cat", 1), ("dog", 1)]
    assert found.form == "class-folders"


def test_words_for_clip_come_from_the_class_list(folder):
    (folder / "classes.txt").write_text("dog\tpuppy\ncat\nbird\n")
    found = inspect_labels(labels=folder / "labels.csv", classes=folder / "classes.txt")
    assert [(each.index, each.name, each.prompt_name) for each in found.classes] == [
        (1, "dog", "puppy"),
        (2, "cat", "cat"),
        (3, "bird", "bird"),
    ]


def test_it_is_one_json_document(folder):
    document = json.loads(json.dumps(inspection_as_dict(inspect_labels(labels=folder / "labels.csv"))))
    assert document["problems"][1]["where"].endswith("labels.csv:8:2")
    assert "'2' is neither 0 nor 1" in document["problems"][1]["message"]
    assert document["classes"][0]["rows"] == 2


@pytest.mark.parametrize("options", [{}, {"split": "train"}])
def test_nothing_to_inspect_is_refused(options):
    with pytest.raises(SettingsError, match=r"nothing to inspect: name the labels by --labels FILE, .* or a dataset"):
        inspect_labels(**options)


def test_a_split_needs_a_dataset(folder):
    with pytest.raises(SettingsError, match=r"--split needs the dataset: name .* by --data"):
        inspect_labels(labels=folder / "labels.csv", split="train")
