"""Label Studio, LabelMe and JSON lines; samples follow each tool's documentation."""

import json
import re

import pytest

from semples_cli.data.dataset import load_dataset
from semples_cli.data.labels.json_items import read_json_array
from semples_cli.data.labels.json_kind import json_kind
from semples_cli.data.labels.label_studio import image_name
from semples_cli.data.labels.recognise import read_labels
from semples_cli.errors import DataError, SettingsError
from semples_cli.types import ClassSet

PETS = ClassSet(("Cat", "Dog"))


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write_and_read(content, name="export.json", labels_format="auto", class_set=None):
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content, indent=2))
        return read_labels((tmp_path / name).relative_to(tmp_path), labels_format, class_set)

    return write_and_read


def names(table):
    return {key: row.names for key, row in table.rows.items()}


# Label Studio


def result(kind, classes, **value):
    return {"id": "x", "from_name": "tag", "to_name": "img", "type": kind, "value": {**value, kind: classes}}


def task(number, image, *annotations, **more):
    """A task as https://labelstud.io/guide/task_format shows it."""
    made = [{"id": number * 10 + k, "result": list(each), "was_cancelled": False} for k, each in enumerate(annotations)]
    return {"id": number, "data": {"image": image}, "annotations": made, "predictions": [], "project": 3, **more}


def test_choices_of_the_full_export(read):
    table = read(
        [
            task(1, "/data/upload/3/1cc5a5e0-a.jpg", [result("choices", ["Cat", "Dog"])]),
            task(2, "/data/upload/3/9a9ae5d2-b.jpg", []),
            task(3, "/data/upload/3/0000abcd-c.jpg"),
            task(4, "/data/upload/3/0000abce-d.jpg", predictions=[{"result": [result("choices", ["Dog"])]}]),
        ]
    )
    assert names(table) == {"a.jpg": ("Cat", "Dog"), "b.jpg": ()}
    assert table.form == "label-studio"
    said = "export.json: read as Label Studio JSON: 2 classes, 2 images; 2 tasks without annotation"
    assert table.description == said


def test_regions_of_any_kind_name_classes(read):
    box = {"x": 1, "y": 2, "width": 3, "height": 4, "rotation": 0}
    kinds = ("rectanglelabels", "polygonlabels", "brushlabels", "ellipselabels", "keypointlabels", "labels")
    tasks = [task(k, f"{kind}.png", [result(kind, ["Cat"], **box)]) for k, kind in enumerate(kinds)]
    tasks.append(task(9, "text.png", [{"type": "textarea", "value": {"text": ["Dog"]}}, {"type": "relation"}]))
    assert names(read(tasks)) == {**{f"{kind}.png": ("Cat",) for kind in kinds}, "text.png": ()}


def test_a_skipped_task_has_no_label(read):
    skipped = task(2, "b.jpg", [result("choices", ["Dog"])])
    skipped["annotations"][0]["was_cancelled"] = True
    table = read([task(1, "a.jpg", [result("choices", ["Cat"])]), skipped])
    assert names(table) == {"a.jpg": ("Cat",)}
    assert "1 task without annotation" in table.description


def test_annotators_who_agree_are_one_and_who_do_not_are_a_problem_with_its_line(read):
    cat, dog = [result("choices", ["Cat"])], [result("choices", ["Dog"])]
    content = "[\n" + ",\n".join(json.dumps(each) for each in (task(1, "a.jpg", cat, cat), task(2, "b.jpg", cat, dog)))
    table = read(content + "\n]")
    assert names(table) == {"a.jpg": ("Cat",)}
    assert table.problems[0][0] == "export.json:3:1"
    assert "b.jpg has other labels on line 3 (Cat); neither is used" in table.problems[0][1]
    assert (table.repeated, table.contradicted) == (2, ("b.jpg",))


def test_completions_of_old_exports(read):
    old = task(1, "a.jpg", [result("choices", ["Cat"])])
    old["completions"] = old.pop("annotations")
    assert names(read([old])) == {"a.jpg": ("Cat",)}


def test_an_unknown_class_names_the_line_of_its_task(read):
    tasks = [task(1, "a.jpg", [result("choices", ["Cat"])]), task(2, "b.jpg", [result("choices", ["Dgo"])])]
    table = read("[" + ", \n  ".join(json.dumps(each) for each in tasks) + "]", class_set=PETS)
    assert table.problems == (("export.json:2:3", "unknown class 'Dgo'; did you mean 'Dog'?"),)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("/data/upload/3/1cc5a5e0-a.jpg", "a.jpg"),
        ("/data/upload/1cc5a5e0-a.jpg", "a.jpg"),
        ("/data/upload/3/1cc5a5e0-my%20cat%2B1.jpg", "my cat+1.jpg"),
        ("/data/upload/3/plain.jpg", "/data/upload/3/plain.jpg"),
        ("/data/local-files/?d=pets/a%20b/1.jpg", "pets/a b/1.jpg"),
        ("http://localhost:8080/data/local-files/?x=1&d=/pets/a+b.jpg", "pets/a+b.jpg"),
        ("https://example.com/opensource/label-studio/1.jpg?token=x", "opensource/label-studio/1.jpg"),
        ("s3://bucket/pets/1.jpg", "pets/1.jpg"),
        ("pets/1.jpg", "pets/1.jpg"),
        ("C:\\pets\\1.jpg", "C:\\pets\\1.jpg"),
    ],
)
def test_the_image_that_a_reference_means(reference, name):
    assert image_name(reference) == name


def minimal(number, image, **choice):
    """A task of JSON-MIN."""
    added = {"annotator": 1, "annotation_id": number, "created_at": "2021-03-09T22:16:08Z", "lead_time": 4.3}
    return {"image": image, "id": number, **choice, **added}


def test_json_min(read):
    table = read(
        [
            minimal(1, "/data/upload/1/1cc5a5e0-a.jpg", choice="Cat"),
            minimal(2, "/data/upload/1/1cc5a5e1-b.jpg", choice={"choices": ["Cat", "Dog"]}),
            minimal(3, "/data/local-files/?d=x/c.jpg", label=[{"x": 1, "rectanglelabels": ["Dog"]}]),
            minimal(4, "/data/local-files/?d=x/d.jpg"),
        ]
    )
    assert names(table) == {"a.jpg": ("Cat",), "b.jpg": ("Cat", "Dog"), "x/c.jpg": ("Dog",), "x/d.jpg": ()}
    assert table.description == "export.json: read as Label Studio JSON-MIN: 2 classes, 4 images"


def test_the_only_text_of_json_min_is_the_choice_whatever_it_is_called(read):
    assert names(read([minimal(1, "a.jpg", animal="Cat")])) == {"a.jpg": ("Cat",)}
    content = [minimal(1, "a.jpg", animal="Cat", weather="rain")]
    with pytest.raises(DataError, match=r"'animal' and 'weather' may both be the choice, .* export it as JSON"):
        read(content)
    assert names(read([minimal(1, "a.jpg", choice="Cat", weather="rain")])) == {"a.jpg": ("Cat",)}


def test_texts_beside_regions_or_multiple_choices_are_no_classes_and_that_is_said(read):
    box = [{"x": 1, "rectanglelabels": ["Dog"]}]
    content = [minimal(1, "a.jpg", box=box, title="Rex"), minimal(2, "b.jpg", box=box, title="Bo")]
    table = read(content)
    assert names(table) == {"a.jpg": ("Dog",), "b.jpg": ("Dog",)}
    assert table.description.endswith("2 images; texts of title are not read; if they are choices, export JSON")
    content = [minimal(1, "a.jpg", pets={"choices": ["Cat", "Dog"]}, title="Rex"), minimal(2, "b.jpg", pets="Cat")]
    assert names(read(content)) == {"a.jpg": ("Cat", "Dog"), "b.jpg": ("Cat",)}


@pytest.mark.label_studio
def test_what_label_studio_s_own_converter_writes(tmp_path):
    from label_studio_sdk.converter import Converter

    config = (
        '<View><Image name="img" value="$image"/><Choices name="pets" toName="img" choice="multiple">'
        '<Choice value="Cat"/><Choice value="Dog"/></Choices></View>'
    )
    tasks = [
        task(1, "/data/upload/3/1cc5a5e0-a.jpg", [result("choices", ["Cat", "Dog"])]),
        task(2, "/data/local-files/?d=x/b.jpg", [result("choices", ["Cat"])]),
    ]
    for each in (each for one in tasks for annotation in one["annotations"] for each in annotation["result"]):
        each.update({"from_name": "pets", "original_width": 8, "original_height": 8})
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    converter = Converter(config, str(tmp_path))
    converter.convert_to_json_min(str(tmp_path / "tasks.json"), str(tmp_path / "min"), is_dir=False)
    converter.convert_to_json(str(tmp_path / "tasks.json"), str(tmp_path / "full"), is_dir=False)
    for form in ("min", "full"):
        table = read_labels(tmp_path / form / "result.json")
        assert names(table) == {"a.jpg": ("Cat", "Dog"), "x/b.jpg": ("Cat",)}


def test_the_image_may_be_called_otherwise(read):
    assert names(read([{**task(1, "", [result("choices", ["Cat"])]), "data": {"id": "x", "photo": "p/a.png"}}])) == {
        "p/a.png": ("Cat",)
    }


def test_a_task_without_image_or_with_a_strange_choice_is_a_problem(read):
    table = read(
        [
            {**task(7, "", [result("choices", ["Cat"])]), "data": {"text": "words"}},
            task(8, "b.jpg", [result("choices", [["a", "b"]])]),
            task(9, "c.jpg", [result("choices", ["Cat"])]),
        ]
    )
    assert names(table) == {"c.jpg": ("Cat",)}
    assert [message for _, message in table.problems] == [
        "task 7: no image is named; export it again",
        "task 8: ['a', 'b'] is no class name; export it again",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", r"export\.json: no task has an annotation; export as JSON or JSON-MIN"),
        ("[{}\n, {]", r"export\.json:2: not JSON \(.*export the file again"),
        ("[1]", r"export\.json:1: a int where an object is needed"),
        ("[{}", r"export\.json:1: not JSON"),
        ('[{"id": 1}', r"export\.json:1: not JSON"),
    ],
)
def test_what_is_no_export_is_refused(read, content, message):
    with pytest.raises(DataError, match=message):
        read(content)


def test_an_object_is_no_array_of_tasks(read):
    with pytest.raises(DataError, match=r"export\.json: a JSON array of tasks is needed; export it again"):
        read("{}", labels_format="label-studio")


def test_places_count_lines_and_columns(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('\ufeff\n [{"a":\n 1},\n\n   {"b": 2}, {"c": 3}]\n', encoding="utf-8")
    assert [(item.line, item.column, item.value) for item in read_json_array(path)] == [
        (2, 3, {"a": 1}),
        (5, 4, {"b": 2}),
        (5, 14, {"c": 3}),
    ]


# LabelMe


def labelme(image, *shapes, **flags):
    """A file as LabelMe 5 writes it."""
    return json.dumps(
        {
            "version": "5.5.0",
            "flags": flags,
            "shapes": [
                {"label": label, "points": [[1, 2], [3, 4]], "group_id": None, "shape_type": "rectangle", "flags": {}}
                for label in shapes
            ],
            "imagePath": image,
            "imageData": None,
            "imageHeight": 8,
            "imageWidth": 8,
        }
    )


def test_flags_that_are_true_and_the_labels_of_shapes(tmp_path):
    (tmp_path / "a.json").write_text(labelme("a.jpg", "dog", "dog", "_background_", cat=True, dog=False, bird=False))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/b.json").write_text(labelme("..\\images\\b.jpg", "__ignore__"))
    (tmp_path / "c.json").write_text(json.dumps({"flags": {}, "shapes": [], "imagePath": None}))
    for labels_format in ("auto", "labelme"):
        table = read_labels(tmp_path, labels_format)
        assert names(table) == {"a.jpg": ("cat", "dog"), "images/b.jpg": (), "c": ()}
        assert table.absent == {"bird": 1}
        assert table.form == "labelme"
        assert table.description == f"{tmp_path}: read as LabelMe JSON: 2 classes, 3 images"


def test_one_file_of_labelme(read):
    assert names(read(labelme("a.jpg", "cat"), "a.json")) == {"a.jpg": ("cat",)}


def test_paths_of_labelme_lead_to_the_images(tmp_path):
    for name in ("a/1.jpg", "b/1.jpg"):
        (tmp_path / "images" / name).parent.mkdir(parents=True)
        (tmp_path / "images" / name).touch()
    for name, label in (("a", "cat"), ("b", "dog")):
        (tmp_path / f"ann/{name}").mkdir(parents=True)
        (tmp_path / f"ann/{name}/1.json").write_text(labelme(f"../../images/{name}/1.jpg", label))
    data = load_dataset([tmp_path / "images"], labels=tmp_path / "ann")
    assert {sample.id: sample.class_indices for sample in data.samples} == {"a/1": (1,), "b/1": (2,)}


def test_labelme_beside_its_images_by_its_format(tmp_path):
    (tmp_path / "1.jpg").touch()
    (tmp_path / "1.json").write_text(labelme("1.jpg", "cat"))
    assert [sample.id for sample in load_dataset([tmp_path], labels_format="labelme").samples] == ["1"]
    assert [sample.id for sample in load_dataset([tmp_path], labels=tmp_path).samples] == ["1"]
    with pytest.raises(SettingsError, match="no labels found"):
        load_dataset([tmp_path])


def test_labelme_in_folders_of_images_may_be_class_folders(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").touch()
        (tmp_path / name / "1.json").write_text(labelme("1.jpg", "thing"))
    both = r"reads both as labelme and as class-folders; say which: --labels-format labelme or --labels-format class-f"
    with pytest.raises(DataError, match=both):
        read_labels(tmp_path)
    assert names(read_labels(tmp_path, "labelme")) == {"cat/1.jpg": ("thing",), "dog/1.jpg": ("thing",)}
    assert names(read_labels(tmp_path, "class-folders")) == {"cat/1.jpg": ("cat",), "dog/1.jpg": ("dog",)}
    assert read_labels(tmp_path, class_set=ClassSet(("thing",))).form == "labelme"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON .*; save it in LabelMe again"),
        ("[]", "a list where LabelMe has an object"),
        ("{}", "neither flags nor shapes, so not of LabelMe; take the file out of the folder"),
        ('{"shapes": [{}]}', "shapes or flags are not as LabelMe writes them"),
        ('{"flags": []}', None),
        ('{"flags": [1]}', "shapes or flags are not as LabelMe writes them"),
    ],
)
def test_a_damaged_file_of_labelme_is_a_problem_and_the_others_are_read(tmp_path, text, message):
    (tmp_path / "a.json").write_text(labelme("a.jpg", "cat"))
    (tmp_path / "b.json").write_text(text)
    table = read_labels(tmp_path)
    assert names(table)["a.jpg"] == ("cat",)
    if message is None:
        assert names(table)["b"] == ()
        return
    ((where, said),) = table.problems
    assert where == str(tmp_path / "b.json")
    assert re.search(message, said)


def test_an_empty_folder_has_no_labelme(tmp_path):
    with pytest.raises(DataError, match=r"no \.json files here; give the folder in which LabelMe saved them"):
        read_labels(tmp_path, "labelme")


# JSON lines


def test_imagefolder(read):
    lines = [
        {"file_name": "0001.png", "labels": ["cat", "dog"]},
        {"file_name": "0002.png", "label": "cat|dog"},
        {"file_name": "0003.png", "label": None},
        {"file_name": "a/0004.png", "objects": {"bbox": [[302, 109, 73, 52]], "categories": ["dog"]}},
        {"label": "none", "file_name": "0005.png", "text": "no pets"},
    ]
    table = read("\n\n".join(json.dumps(each) for each in lines) + "\n", "metadata.jsonl")
    assert names(table) == {
        "0001.png": ("cat", "dog"),
        "0002.png": ("cat", "dog"),
        "0003.png": (),
        "a/0004.png": ("dog",),
        "0005.png": (),
    }
    assert {key: row.line for key, row in table.rows.items()}["0002.png"] == 3
    assert table.description == "metadata.jsonl: read as JSON lines: 2 classes, 5 images"


def test_lines_that_cannot_be_used_are_problems(read):
    lines = [
        '{"file_name": "1.png", "label": 3}',
        '{"file_name": "2.png"}',
        '{"labels": ["cat"]}',
        '{"file_name": "4.png", "labels": ["cow"]}',
        '{"file_name": "5.png", "labels": ["Cat"]}',
    ]
    table = read("\n".join(lines), "metadata.jsonl", class_set=PETS)
    assert names(table) == {"5.png": ("Cat",)}
    assert [where for where, _ in table.problems] == [f"metadata.jsonl:{line}" for line in (1, 2, 3, 4)]
    assert "3 is no class name; write the name" in table.problems[0][1]
    assert "no key is called 'labels'; write file_name and labels" in table.problems[1][1]
    assert "no key is called 'file_name'" in table.problems[2][1]
    assert "unknown class 'cow'" in table.problems[3][1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"metadata\.jsonl: no lines; write one for each image, such as"),
        ('{"file_name": "a"} {}', r"metadata\.jsonl:1: more than one JSON object on this line; write one a line"),
        ('{"file_name": "a", "label": "x"}\n{', r"metadata\.jsonl:2: not JSON"),
        (
            '{"file_name": "a", "label": "x", "tags": "y"}',
            r"metadata\.jsonl:1: 'label' and 'tags' may both be the labels",
        ),
        ("[]", r"metadata\.jsonl:1: a list where an object is needed"),
    ],
)
def test_what_is_no_jsonl_is_refused(read, content, message):
    with pytest.raises(DataError, match=message):
        read(content, "metadata.jsonl")


def test_metadata_beside_the_images_is_found_and_two_are_refused(tmp_path):
    (tmp_path / "1.png").touch()
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "1.png", "label": "cat"}\n')
    data = load_dataset([tmp_path])
    assert [(sample.id, sample.class_indices) for sample in data.samples] == [("1", (1,))]
    (tmp_path / "metadata.csv").write_text("file_name,label\n1.png,dog\n")
    with pytest.raises(SettingsError, match=r"metadata\.csv and .*metadata\.jsonl both lie .*say which by --labels"):
        load_dataset([tmp_path])
    (tmp_path / "labels.csv").write_text("image,labels\n1.png,cow\n")
    assert load_dataset([tmp_path]).class_set.names == ("cow",)


# Which of them


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("[]", "label-studio"),
        ("\ufeff \n[{}]", "label-studio"),
        ('{"version": "5.0", "flags": {}, "shapes": []}', "labelme"),
        ('{"info": {}, "images": [], "annotations": []}', "coco-json"),
        ('{"categories": [{"name": "x"}], "note": "\\"shapes\\": 1", "shapes" : []}', "coco-json"),
    ],
)
def test_the_kind_of_a_json_file(tmp_path, text, kind):
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    assert json_kind(tmp_path / "x.json") == kind


def test_a_missing_json_file_is_refused(tmp_path):
    for name in ("gone.json", "gone.jsonl"):
        with pytest.raises(DataError, match=rf"{name}: no such file; correct the path"):
            read_labels(tmp_path / name)


def test_text_that_is_not_utf_8_is_refused(tmp_path):
    (tmp_path / "x.jsonl").write_bytes("ä".encode("latin-1"))
    with pytest.raises(DataError, match=r"x\.jsonl:1: cannot be read as UTF-8 text .*export it as JSON again"):
        read_labels(tmp_path / "x.jsonl")
