"""COCO instances JSON as image-level labels: ids, order, layout, splits, and every refusal."""

import json

import pytest
from coco_files import NAMES, annotation, box, document, names, write_coco

from semples_cli.data.class_list import read_class_list
from semples_cli.data.coco import category_order, find_coco, find_coco_split, read_instances
from semples_cli.data.dataset import load_dataset
from semples_cli.errors import DataError, SettingsError


@pytest.fixture
def coco(tmp_path):
    return write_coco(tmp_path / "coco")


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "instances.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def changed(**changes):
    return {**document(), **changes}


def labels_of(dataset):
    return {sample.id: tuple(dataset.class_set.name_of(k) for k in sample.class_indices) for sample in dataset.samples}


def test_what_the_file_says(coco):
    instances = read_instances(coco / "annotations/instances_train2014.json")
    assert list(instances.categories.items()) == list(NAMES.items())
    known = {
        1: "person",
        9: "boat",
        13: "stop sign",
        18: "dog",
        27: "backpack",
        62: "chair",
        72: "tv",
        90: "toothbrush",
    }
    assert {number: instances.categories[number] for number in known} == known
    assert [image.file_name for image in instances.images] == names("train2014")
    assert instances.images[0].size == (12, 16)
    assert [[shape.category for shape in image.shapes] for image in instances.images] == [[1, 9], [18, 1], [], [9]]
    assert [shape.is_crowd for shape in instances.images[1].shapes] == [False, True]


def test_the_folder_is_recognised_and_the_split_said(coco):
    dataset = load_dataset(data=coco)
    assert any("COCO layout, split train2014, 4 images" in note for note in dataset.notes)
    assert any("read as COCO instances: 80 classes, 4 images, 3 of them with annotations" in n for n in dataset.notes)
    assert labels_of(dataset) == {
        "COCO_train2014_000000000009": ("person", "boat"),
        "COCO_train2014_000000000025": ("person", "dog"),
        "COCO_train2014_000000000030": (),
        "COCO_train2014_000000000034": ("boat",),
    }
    assert dataset.class_set == read_class_list("coco14")  # its words for CLIP too


@pytest.mark.parametrize(("split", "found"), [("val", "val2014"), ("val2014", "val2014"), ("train", "train2014")])
def test_other_splits(coco, split, found):
    dataset = load_dataset(data=coco, split=split)
    assert {sample.id for sample in dataset.samples} == {name.removesuffix(".jpg") for name in names(found)}


def test_images_may_lie_one_folder_deeper_and_the_layout_too(tmp_path):
    folder = write_coco(tmp_path / "data" / "coco2014", nested="images")
    assert find_coco(tmp_path / "data") == folder
    assert find_coco_split(folder, None).images == folder / "images" / "train2014"
    assert len(load_dataset(data=tmp_path / "data").samples) == 4


def test_the_file_alone_labels_any_folder_of_its_images(coco):
    file = coco / "annotations/instances_val2014.json"
    dataset = load_dataset([coco / "val2014"], labels=file)
    assert len(dataset.samples) == 4
    assert labels_of(dataset) == labels_of(load_dataset(data=coco, split="val"))
    assert dataset.class_set == read_class_list("coco14")


def test_categories_of_an_annotation_tool_keep_the_order_of_their_ids(written, coco):
    categories = [{"id": 18, "name": "bolt"}, {"id": 9, "name": "nut"}, {"id": 1, "name": "washer"}]
    path = written(changed(categories=categories))
    assert category_order(read_instances(path)).names == ("washer", "nut", "bolt")
    dataset = load_dataset([coco / "train2014"], labels=path)
    assert dataset.class_set.names == ("washer", "nut", "bolt")
    assert labels_of(dataset)["COCO_train2014_000000000009"] == ("washer", "nut")


def test_some_of_cocos_names_are_no_reason_for_all_80(written, coco):
    categories = [{"id": 1, "name": "truck"}, {"id": 2, "name": "person"}]
    path = written(changed(categories=categories, annotations=[annotation(9, 1, box(1, 1, 3, 3))]))
    assert load_dataset([coco / "train2014"], labels=path).class_set.names == ("truck", "person")


def test_cocos_names_under_other_ids_keep_cocos_order(written):
    categories = [{"id": number, "name": name} for number, name in enumerate(sorted(NAMES.values()))]
    assert category_order(read_instances(written(changed(categories=categories, annotations=[])))) == read_class_list(
        "coco14"
    )


def test_a_category_that_is_called_none_is_one(written, coco):
    categories = [{"id": 1, "name": "none"}, {"id": 2, "name": "nut"}]
    path = written(changed(categories=categories, annotations=[annotation(9, 1, box(1, 1, 3, 3))]))
    assert labels_of(load_dataset([coco / "train2014"], labels=path))["COCO_train2014_000000000009"] == ("none",)


def test_a_class_list_fixes_the_order_and_must_have_every_category(coco, tmp_path):
    (tmp_path / "classes.txt").write_text(
        "\n".join(["dog", "boat", *(n for n in NAMES.values() if n not in ("dog", "boat"))])
    )
    dataset = load_dataset(data=coco, classes=tmp_path / "classes.txt")
    assert dataset.class_set.names[:3] == ("dog", "boat", "person")
    assert sorted(dataset.samples[0].class_indices) == [2, 3]
    (tmp_path / "classes.txt").write_text("dog\nperson\n")
    with pytest.raises(DataError, match="category 'bicycle' is no class of the list"):
        load_dataset(data=coco, classes=tmp_path / "classes.txt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"instances\.json:1:2: not JSON .*copy it again"),
        ("[1]", "a list at the top"),
        ({"images": []}, "'categories' is missing somewhere"),
        (changed(images=[{"id": 1}], annotations=[]), "is missing somewhere"),
        (changed(annotations=[{"category_id": 99, "image_id": 9}]), "annotation 0 is of category 99, which the file"),
        (changed(annotations=[{"category_id": 1, "image_id": 7}]), "annotation 0 is of image 7, which the file"),
        (changed(categories=[{"id": "one", "name": "a"}]), "no COCO instances"),
        (changed(annotations=[5]), "no COCO instances"),
        (changed(images=[], annotations=[]), "it lists no images; bring a file such as"),
        (changed(annotations=5), "no COCO instances"),
        (changed(categories={"1": "person"}), "no COCO instances"),
        (changed(categories=[*document()["categories"], {"id": 18, "name": "wolf"}]), "two categories have the id 18;"),
        (changed(images=document()["images"] * 2), "two images have the id 9; give them different ones"),
        (
            changed(images=[*document()["images"], {**document()["images"][0], "id": 7}]),
            "have the file_name 'COCO_train",
        ),
        (json.dumps(document()).replace('"height": 12', '"height": 1e999'), "no COCO instances .*infinity"),
        ("[" * 200_000, "not JSON .*brackets"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(written, content, message):
    with pytest.raises(DataError, match=message):
        read_instances(written(content))


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "a/../../b.jpg", "..\\a.jpg", "", None, 7])
def test_names_that_lead_out_of_the_folder_are_refused(written, name):
    images = [{"id": 9, "file_name": name, "height": 2, "width": 2}]
    with pytest.raises(DataError, match="which leads out of its folder"):
        read_instances(written(changed(images=images, annotations=[])))


def test_two_categories_of_one_name_are_refused(written):
    path = written(changed(categories=[{"id": k, "name": "nut"} for k in (1, 9, 18)]))
    with pytest.raises(DataError, match=r"instances\.json: .*nut"):
        category_order(read_instances(path))


def test_a_category_for_the_background_is_refused(written):
    path = written(changed(categories=[{"id": 0, "name": "background"}, {"id": 1, "name": "nut"}], annotations=[]))
    with pytest.raises(DataError, match=r"instances\.json: background is always class 0; remove the category"):
        category_order(read_instances(path))


def test_missing_files_and_splits(coco, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_instances(tmp_path / "none.json")
    with pytest.raises(DataError, match="no annotations of split 'test'; choose by --split: train2014, val2014"):
        find_coco_split(coco, "test")
    write_coco(tmp_path / "two", splits=("train2014", "train2017"))
    with pytest.raises(DataError, match="several splits fit 'train'; choose by --split: train2014, train2017"):
        find_coco_split(tmp_path / "two", None)
    for image in (coco / "val2014").iterdir():
        image.unlink()
    (coco / "val2014").rmdir()
    with pytest.raises(DataError, match="no images of split val2014; put them into"):
        load_dataset(data=coco, split="val")


def test_a_folder_without_annotations_has_no_splits(tmp_path, photos):
    assert find_coco(tmp_path) is None
    with pytest.raises(SettingsError, match="only a VOC devkit or a COCO folder has splits"):
        load_dataset([photos], split="val")
