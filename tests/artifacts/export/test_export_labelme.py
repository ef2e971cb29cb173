"""LabelMe files, read as LabelMe reads them: labelme itself needs Qt, so the reader is written after its format."""

import base64
import io
import json

import numpy as np
import pytest
from export_world import CLASSES, MASKS, export_all, files_in, write_images
from PIL import Image

from semples_cli.artifacts.export.labelme import LabelmeExporter
from semples_cli.artifacts.export.protocol import ExportImage, ExportSettings
from semples_cli.data.dataset import load_dataset
from semples_cli.errors import SettingsError
from semples_cli.types import ClassSet


def read_as_labelme(path):
    """The mask of a file, as `labelme/_label_file.py` reads it and `labelme2voc` draws it.

    What its reader demands is demanded here: a list of two finite points, a description and flags of the right types,
    a base64 PNG that decodes to two dimensions, and the size of the image that `imagePath` names beside the file.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["imageData"] is None
    with Image.open(path.parent / document["imagePath"]) as image:
        assert image.size == (document["imageWidth"], document["imageHeight"])
    assert all(isinstance(name, str) and isinstance(value, bool) for name, value in document["flags"].items())
    numbers = {"__ignore__": 255, **{name: index for index, name in enumerate(CLASSES.names, 1)}}
    canvas = np.zeros((document["imageHeight"], document["imageWidth"]), np.uint8)
    for shape in document["shapes"]:
        assert (shape["shape_type"], shape["description"], shape["flags"], shape["group_id"]) == ("mask", "", {}, None)
        decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"])))).astype(bool)
        assert decoded.ndim == 2
        (left, top), (right, bottom) = shape["points"]
        inside = canvas[top : bottom + 1, left : right + 1]
        assert inside.shape == decoded.shape, "the corners are inclusive"
        inside[decoded] = numbers[shape["label"]]
    return canvas


@pytest.mark.parametrize("instances", ["class", "components"])
def test_every_pixel_is_read_back_and_void_too(tmp_path, instances):
    exporter, files = export_all(LabelmeExporter, tmp_path, ExportSettings(instances=instances))
    assert (exporter.notes, exporter.void_rule) == ([], "")
    assert files == (tmp_path / "out/labels.txt",)
    for sample_id, values in MASKS.items():
        assert np.array_equal(read_as_labelme(tmp_path / f"out/{sample_id}.json"), values), sample_id


def test_a_file_by_hand(tmp_path):
    values = np.zeros((4, 5), np.uint8)
    values[1, 2], values[2, 3] = 2, 2
    (path,) = write_images(tmp_path, {"a": values}).values()
    exporter = LabelmeExporter(tmp_path / "out", CLASSES, ExportSettings())
    assert exporter.add(ExportImage("a", path, values)) == (tmp_path / "out/a.jpg", tmp_path / "out/a.json")
    document = json.loads((tmp_path / "out/a.json").read_text())
    (shape,) = document["shapes"]
    assert (shape["label"], shape["points"]) == (CLASSES.names[1], [[2, 1], [3, 2]])
    decoded = Image.open(io.BytesIO(base64.b64decode(shape["mask"])))
    assert decoded.mode == "L"
    assert np.asarray(decoded).tolist() == [[1, 0], [0, 1]]
    assert document["flags"] == {name: index == 2 for index, name in enumerate(CLASSES.names, 1)}
    assert (document["version"], document["imagePath"]) == ("5.5.0", "a.jpg")


def test_one_pixel_has_two_equal_corners(tmp_path):
    values = np.ones((1, 1), np.uint8)
    (path,) = write_images(tmp_path, {"a": values}).values()
    LabelmeExporter(tmp_path / "out", CLASSES, ExportSettings()).add(ExportImage("a", path, values))
    (shape,) = json.loads((tmp_path / "out/a.json").read_text())["shapes"]
    assert shape["points"] == [[0, 0], [0, 0]]
    assert np.array_equal(read_as_labelme(tmp_path / "out/a.json"), values)


@pytest.mark.parametrize(("instances", "count"), [("class", 1), ("components", 2)])
def test_regions_are_one_shape_or_several(tmp_path, instances, count):
    values = np.zeros((3, 5), np.uint8)
    values[:, 0], values[:, 4] = 1, 1
    (path,) = write_images(tmp_path, {"a": values}).values()
    LabelmeExporter(tmp_path / "out", CLASSES, ExportSettings(instances=instances)).add(ExportImage("a", path, values))
    assert len(json.loads((tmp_path / "out/a.json").read_text())["shapes"]) == count


def test_image_and_file_lie_side_by_side_in_the_tree_of_ids(tmp_path):
    export_all(LabelmeExporter, tmp_path)
    pairs = [f"{sample_id}.{suffix}" for sample_id in MASKS for suffix in ("jpg", "json")]
    assert files_in(tmp_path / "out") == sorted([*pairs, "labels.txt"])


@pytest.mark.parametrize("copy", [False, True])
def test_images_are_linked_or_copied(tmp_path, copy):
    export_all(LabelmeExporter, tmp_path, ExportSettings(copy_images=copy))
    assert (tmp_path / "out/one.jpg").samefile(tmp_path / "images/one.jpg") is not copy


def test_labels_txt_begins_as_labelme2voc_wants_it(tmp_path):
    export_all(LabelmeExporter, tmp_path)
    lines = (tmp_path / "out/labels.txt").read_text(encoding="utf-8").splitlines()
    assert lines == ["__ignore__", "_background_", *CLASSES.names]


def test_our_own_reader_takes_the_flags_and_not_the_void(tmp_path):
    _, (labels_txt,) = export_all(LabelmeExporter, tmp_path)
    classes = tmp_path / "classes.txt"
    classes.write_text("\n".join(CLASSES.names), encoding="utf-8")
    dataset = load_dataset([labels_txt.parent], labels=labels_txt.parent, labels_format="labelme", classes=str(classes))
    assert dataset.problems == ()
    expected = {sample_id: tuple(set(np.unique(values).tolist()) - {0, 255}) for sample_id, values in MASKS.items()}
    assert {sample.id: sample.class_indices for sample in dataset.samples} == {
        sample_id: tuple(sorted(found)) for sample_id, found in expected.items()
    }


@pytest.mark.parametrize("name", ["__ignore__", "_background_"])
def test_a_class_with_a_name_of_labelme_is_refused(tmp_path, name):
    with pytest.raises(SettingsError, match=f"class '{name}': LabelMe's name .* give --classes with another name"):
        LabelmeExporter(tmp_path / "out", ClassSet(("cat", name)), ExportSettings())


def test_an_export_that_is_given_up_leaves_no_list(tmp_path):
    exporter = LabelmeExporter(tmp_path / "out", CLASSES, ExportSettings())
    exporter.abandon()
    assert not (tmp_path / "out").exists()
