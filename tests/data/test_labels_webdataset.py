"""Labels in tars: .cls, .json, .txt; numbers, contradictions, captions; label files that name keys."""

import json
from pathlib import Path

import pytest
from tar_files import write_tar

from semples_cli.data.dataset import load_dataset, load_labels
from semples_cli.errors import DataError, SettingsError

CLASSES = "cat\ndog\nhot dog\n"


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Write shards of samples {key: {suffix: content}} and read them; each sample gets an image."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "classes.txt").write_text(CLASSES)
    (tmp_path / "shards").mkdir()

    def write(samples, name="t"):
        members = {}
        for key, files in samples.items():
            members[f"{key}.jpg"] = b""
            for suffix, content in files.items():
                text = content if isinstance(content, str | bytes) else json.dumps(content)
                members[f"{key}.{suffix}"] = text if isinstance(text, bytes) else text.encode()
        return write_tar(tmp_path / f"shards/{name}.tar", members)

    return write


def read(path="shards", classes="classes.txt", **options):
    return load_dataset([Path(path)], classes=classes, **options)


def names(dataset):
    return {
        sample.id: "|".join(dataset.class_set.name_of(k) for k in sample.class_indices) for sample in dataset.samples
    }


def jsons(*values):
    """One sample for each object of a .json."""
    return {str(i): {"json": value} for i, value in enumerate(values, 1)}


def test_class_numbers_count_from_zero(world):
    world({"1": {"cls": "0"}, "2": {"cls": "2\n"}, "a/3": {"cls": "1"}})
    dataset = read()
    assert names(dataset) == {"t/1": "cat", "t/2": "hot dog", "t/a/3": "dog"}
    assert dataset.notes[0] == "shards: read as WebDataset, .cls, class numbers from 0: 3 classes, 3 images"
    assert dataset.table.form == "webdataset"
    assert dataset.problems == ()


def test_several_numbers_are_several_classes(world):
    world({"1": {"cls": "0 2"}, "2": {"cls": "0,1"}})
    assert names(read()) == {"t/1": "cat|hot dog", "t/2": "cat|dog"}


def test_names_need_no_class_list(world):
    world({"1": {"cls": "cat"}, "2": {"cls": " boat\n"}, "3": {"cls": "cat|boat"}, "4": {"cls": "none"}})
    dataset = read(classes=None)
    assert dataset.class_set.names == ("boat", "cat")
    assert names(dataset) == {"t/1": "cat", "t/2": "boat", "t/3": "boat|cat", "t/4": ""}


def test_a_class_that_is_called_by_a_number_is_that_class(world, tmp_path):
    (tmp_path / "digits.txt").write_text("7\n3\n")
    world({"1": {"cls": "3"}, "2": {"cls": "7"}})
    assert names(read(classes="digits.txt")) == {"t/1": "3", "t/2": "7"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"label": "dog"}, "dog"),
        ({"label": "cat|hot dog"}, "cat|hot dog"),
        ({"labels": ["cat", "hot dog"]}, "cat|hot dog"),
        ({"class": 0}, "cat"),
        ({"classes": [0, 2]}, "cat|hot dog"),
        ({"cls": "0"}, "cat"),
        ({"label": None}, ""),
        ({"labels": []}, ""),
        ({"labels": ["No Finding"]}, ""),
        ({"label": 0, "labels": ["cat"], "caption": "whatever"}, "cat"),
    ],
)
def test_json_says_names_or_numbers_under_any_of_its_keys(world, value, expected):
    world({"0": {"json": {"label": 0}}, "1": {"json": value}})
    assert names(read()) == {"t/0": "cat", "t/1": expected}


def test_numbers_of_json_begin_where_they_show_it(world):
    world(jsons({"label": 1}, {"label": 3}))  # 3 of three classes
    dataset = read()
    assert names(dataset) == {"t/1": "cat", "t/2": "hot dog"}
    assert "WebDataset, .json 'label', class numbers from 1" in dataset.notes[0]


def test_numbers_of_json_that_may_begin_at_either_are_not_guessed(world):
    world(jsons({"label": 1}, {"label": 2}))
    with pytest.raises(DataError) as caught:
        read()
    for part in ("shards: reads both as numbers from 0, where 2 is 'hot dog'", "from 1, where 2 is 'dog'"):
        assert part in str(caught.value)
    assert "--labels-format webdataset-from-0 or --labels-format webdataset-from-1" in str(caught.value)
    assert names(read(labels_format="webdataset-from-0")) == {"t/1": "dog", "t/2": "hot dog"}
    assert names(read(labels_format="webdataset-from-1")) == {"t/1": "cat", "t/2": "dog"}


def test_a_cls_beside_says_where_the_numbers_begin(world):
    world({"1": {"cls": "1", "json": {"label": 1}}, "2": {"json": {"label": 2}}})
    dataset = read()
    assert names(dataset) == {"t/1": "dog", "t/2": "hot dog"}
    assert ".cls and .json 'label', class numbers from 0" in dataset.notes[0]


def test_cls_too_counts_from_one_where_a_person_says_so(world):
    world({"1": {"cls": "1"}, "2": {"cls": "3"}})
    assert names(read(labels_format="webdataset-from-1")) == {"t/1": "cat", "t/2": "hot dog"}


@pytest.mark.parametrize("labels_format", ["auto", "webdataset", "webdataset-from-0"])
def test_numbers_beyond_the_classes_are_refused(world, labels_format):
    world({"1": {"cls": "0"}, "2": {"cls": "3"}})
    with pytest.raises(
        DataError, match="class numbers 0 to 3, but 3 classes are 0 to 2; give the list that they count"
    ):
        read(labels_format=labels_format)


def test_numbers_need_a_class_list(world):
    world({"1": {"cls": "0"}})
    with pytest.raises(DataError, match="its classes are numbers; give the class list by --classes"):
        read(classes=None)


def test_files_and_keys_that_contradict_each_other_are_both_named(world):
    world(
        {
            "1": {"cls": "0", "json": {"label": "dog"}},
            "2": {"json": {"label": "cat", "classes": ["cat", "dog"]}},
            "3": {"cls": "1", "json": {"label": "dog"}},
            "4": {"cls": "none", "json": {"labels": []}},
        }
    )
    dataset = read()
    assert names(dataset) == {"t/3": "dog", "t/4": ""}
    assert dataset.unlabelled == ("t/1", "t/2")
    cure = "neither is used, keep one of them"
    assert dataset.problems == (
        ("shards/t.tar/1", f".cls says cat and .json 'label' says dog; {cure}"),
        ("shards/t.tar/2", f".json 'label' says cat and .json 'classes' says cat|dog; {cure}"),
    )


@pytest.mark.parametrize(
    ("files", "where", "said"),
    [
        ({"cls": "cta"}, ".cls", "unknown class 'cta'; did you mean 'cat'?"),
        ({"cls": "-1"}, ".cls", "-1 is no class number; take the file out"),
        ({"cls": b"\xff\xfe"}, ".cls", "no UTF-8 text; write it again"),
        ({"cls": "x" * (2**20 + 1)}, ".cls", "more than 1048576 bytes, which is no label"),
        ({"json": '{"label": '}, ".json", "not JSON"),
        ({"json": "[" * 100_000}, ".json", "not JSON"),
        ({"json": {"label": -1}}, ".json 'label'", "-1 is no class number"),
        ({"json": {"label": True}}, ".json", "True in 'label' is no class; write names or numbers"),
        ({"json": {"labels": ["cat", 0.5]}}, ".json", "0.5 in 'labels' is no class"),
        ({"json": {"labels": [{"name": "cat"}]}}, ".json", "in 'labels' is no class"),
        ({"json": {"label": {"cat": 1}}}, ".json", "in 'label' is no class"),
        ({"json": {"labels": ["cat", "cow"]}}, ".json 'labels'", "unknown class 'cow'"),
    ],
)
def test_one_bad_label_is_a_problem_of_its_file_and_stops_nothing(world, files, where, said):
    world({"bad": files, "good": {"cls": "1"}})
    dataset = read()
    assert names(dataset) == {"t/good": "dog"}
    assert dataset.unlabelled == ("t/bad",)
    ((place, message),) = dataset.problems
    assert place == f"shards/t.tar/bad{where}"
    assert said in message


@pytest.mark.parametrize("value", [[1, 2], '"text"', 5, {"caption": "a cat"}])
def test_json_of_something_else_is_no_label(world, value):
    world({"1": {"json": value}, "2": {"cls": "1"}, "3": {}})
    dataset = read()
    assert names(dataset) == {"t/2": "dog"}
    assert dataset.problems == ()
    assert dataset.unlabelled == ("t/1", "t/3")
    assert dataset.notes[0].endswith("; 2 images without label")


def test_label_files_in_trouble_are_problems(world, tmp_path):
    write_tar(
        tmp_path / "shards/t.tar",
        [("1.jpg", b""), ("1.cls", b"0"), ("1.cls", b"1"), ("2.jpg", b""), ("2.cls", b"1")],
    )
    dataset = read()
    assert names(dataset) == {"t/2": "dog"}
    ((place, message),) = dataset.problems
    assert place == "shards/t.tar/1.cls"
    assert "several members of this name" in message


def test_texts_of_class_names_are_labels(world):
    world({"1": {"txt": "cat\nhot dog\n"}, "2": {"txt": "dog"}, "3": {"txt": "cat|dog"}, "4": {"txt": "none"}})
    dataset = read()
    assert names(dataset) == {"t/1": "cat|hot dog", "t/2": "dog", "t/3": "cat|dog", "t/4": ""}
    assert "WebDataset, .txt: " in dataset.notes[0]


def test_captions_are_refused_and_said(world):
    world(
        {"1": {"txt": "a cat on the grass, seen from far away on a day"}, "2": {"txt": "dog"}, "3": {"txt": "Two dogs"}}
    )
    with pytest.raises(DataError) as caught:
        read()
    message = str(caught.value)
    assert "are captions, not class names (such as 'a cat on the grass, seen from far away o …')" in message
    assert "bring labels by --labels FILE, or let them be proposed by semples tag" in message


def test_one_caption_among_class_names_is_a_problem(world):
    world({"1": {"txt": "cat"}, "2": {"txt": "dog"}, "3": {"txt": "a dog"}})
    dataset = read()
    assert names(dataset) == {"t/1": "cat", "t/2": "dog"}
    assert dataset.problems == (
        ("shards/t.tar/3.txt", "'a dog' is no list of class names; correct it, or take it out"),
    )


def test_captions_beside_labels_are_left_alone(world):
    world({"1": {"txt": "a cat", "cls": "0"}, "2": {"txt": "dog"}})
    dataset = read()
    assert names(dataset) == {"t/1": "cat"}
    assert dataset.problems == ()


def test_texts_alone_need_a_class_list(world):
    world({"1": {"txt": "cat"}})
    with pytest.raises(DataError, match=r"only \.txt beside the images; if they hold class names, give the classes"):
        read(classes=None)


def test_tars_without_labels_say_what_is_looked_for(world):
    world({"1": {}, "2": {}})
    with pytest.raises(SettingsError, match="no labels found; name a label file by --labels FILE"):
        read()
    with pytest.raises(
        DataError, match=r"no labels in the tars: a sample needs a \.cls, or a \.json with one of label,"
    ):
        read(labels_format="webdataset")


def test_the_image_of_several_suffixes_finds_its_label(world, tmp_path):
    write_tar(tmp_path / "shards/t.tar", {"v1.0/1.input.png": b"", "v1.0/1.cls": b"2", "v1.0/1.seg.png": b""})
    with pytest.raises(DataError, match="are both images of the sample"):
        read()
    write_tar(tmp_path / "shards/t.tar", {"v1.0/1.input.png": b"", "v1.0/1.cls": b"2"})
    assert names(read()) == {"t/v1.0/1": "hot dog"}


def test_shards_are_read_as_one(world):
    world({"1": {"cls": "0"}}, "a-0")
    world({"1": {"cls": "1"}, "2": {"cls": "0"}}, "a-1")
    dataset = read("shards/a-{0..1}.tar")
    assert names(dataset) == {"a-0/1": "cat", "a-1/1": "dog", "a-1/2": "cat"}
    assert names(read("shards")) == names(dataset)


def test_labels_alone_are_read_from_a_tar_or_a_folder(world, tmp_path):
    tar = world({"1": {"cls": "1"}, "2": {"cls": "2"}})
    for source in (tar, tmp_path / "shards"):
        found = load_labels(source, classes="classes.txt")
        assert {key: row.names for key, row in found.table.rows.items()} == {"t/1": ("dog",), "t/2": ("hot dog",)}
        assert found.table.form == "webdataset"
        sure = load_labels(source, classes="classes.txt", labels_format="webdataset-from-1")
        assert sure.table.form == "webdataset-from-1"
        assert sure.table.rows["t/2"].names == ("dog",)


def test_labels_of_tars_go_with_images_that_lie_unpacked(world, tmp_path):
    tar = world({"1": {"cls": "0"}, "2": {"cls": "1"}})
    (tmp_path / "images").mkdir()
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / "images" / name).touch()
    assert names(read("images", labels=tar)) == {"1": "cat", "2": "dog"}


def test_a_compressed_tar_of_labels_is_refused_with_the_cure(tmp_path):
    (tmp_path / "t.tar.gz").write_bytes(b"x")
    with pytest.raises(DataError, match="this tar is compressed"):
        load_labels(tmp_path / "t.tar.gz")


def label_file(tmp_path, *rows):
    (tmp_path / "shards/labels.csv").write_text("\n".join(["image,labels", *rows]) + "\n")


@pytest.mark.parametrize(
    "rows",
    [
        ["a-0/n/1,cat", "a-1/2,dog"],
        ["a-0/n/1.jpg,cat", "a-1/2.png,dog"],
        ["n/1,cat", "2,dog"],
        ["n/1.jpg,cat", "2.jpg,dog"],
        ["a-0.tar/n/1.jpg,cat", "a-1.tar/2.jpg,dog"],
        ["1,cat", "2.jpg,dog"],
    ],
)
def test_a_label_file_may_call_images_by_id_or_key(world, tmp_path, rows):
    world({"n/1": {"cls": "2"}}, "a-0")
    world({"2": {"cls": "2"}}, "a-1")
    label_file(tmp_path, *rows)
    dataset = read(classes=None)
    assert names(dataset) == {"a-0/n/1": "cat", "a-1/2": "dog"}
    assert "list-column CSV" in dataset.notes[0]  # it comes before what lies in the tars


def test_a_key_that_two_tars_have_is_a_problem_with_both(world, tmp_path):
    world({"1": {}}, "a-0")
    world({"1": {}, "2": {}}, "a-1")
    label_file(tmp_path, "1,cat", "2,dog")
    dataset = read(classes=None)
    assert names(dataset) == {"a-1/2": "dog"}
    ((_, message),) = dataset.problems
    assert message == "1 may be a-0/1 or a-1/1; write the path, not only the name"


def test_a_key_tells_samples_apart_whose_last_parts_agree(world, tmp_path):
    world({"n/1": {}, "m/1": {}})
    label_file(tmp_path, "n/1,cat", "m/1,dog")
    assert names(read(classes=None)) == {"t/m/1": "dog", "t/n/1": "cat"}


def test_a_key_ends_at_the_first_dot_in_label_files_too(world, tmp_path):
    write_tar(tmp_path / "shards/t.tar", {"1.input.jpg": b"", "2.jpg": b""})
    label_file(tmp_path, "1,cat", "2,dog")
    assert names(read(classes=None)) == {"t/1": "cat", "t/2": "dog"}


def test_tars_may_be_classes(world):
    world({"1": {}}, "cat")
    world({"1": {}}, "dog")
    assert names(read()) == {"cat/1": "cat", "dog/1": "dog"}
