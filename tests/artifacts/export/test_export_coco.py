"""COCO JSON, read back with pycocotools: every pixel of every class, ids, names and numbers."""

import contextlib
import io
import json

import numpy as np
import pytest
from export_world import CLASSES, MASKS, export_all, files_in
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from semples_cli.artifacts.export.coco import CocoExporter, encode_rle
from semples_cli.artifacts.export.instances import iterate_shapes
from semples_cli.artifacts.export.protocol import ExportImage, ExportSettings
from semples_cli.types import ClassSet

MASK = arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 1, 2, 255]))


def read(path):
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(path)


def masks_of(coco):
    """The class indices of each image by file name, and that no pixel is in two annotations."""
    found = {}
    for image in coco.loadImgs(coco.getImgIds()):
        values = np.zeros((image["height"], image["width"]), np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]])):
            pixels = coco.annToMask(annotation).astype(bool)
            assert not values[pixels].any()
            values[pixels] = annotation["category_id"]
        found[image["file_name"]] = values
    return found


@pytest.mark.parametrize("instances", ["class", "components"])
def test_pycocotools_reads_every_pixel_back(tmp_path, instances):
    exporter, files = export_all(CocoExporter, tmp_path, ExportSettings(instances=instances))
    assert files == (tmp_path / "out/instances.json",)
    assert files_in(tmp_path / "out") == ["instances.json"]
    assert exporter.notes == []
    found = masks_of(read(files[0]))
    assert list(found) == [f"{sample_id}.jpg" for sample_id in MASKS]
    for sample_id, values in MASKS.items():
        assert np.array_equal(found[f"{sample_id}.jpg"], np.where(values == 255, 0, values)), sample_id


def test_ids_classes_areas_and_boxes(tmp_path):
    _, (path,) = export_all(CocoExporter, tmp_path)
    document = json.loads(path.read_bytes())
    assert path.read_bytes().isascii()
    assert document["categories"] == [{"id": index, "name": name} for index, name in enumerate(CLASSES.names, 1)]
    assert [image["id"] for image in document["images"]] == list(range(1, len(MASKS) + 1))
    annotations = document["annotations"]
    assert [each["id"] for each in annotations] == list(range(1, len(annotations) + 1))
    assert {each["iscrowd"] for each in annotations} == {0}
    assert all("score" not in each for each in annotations)
    (full,) = [each for each in annotations if each["image_id"] == 4]
    assert (full["area"], full["bbox"], full["category_id"]) == (54, [0.0, 0.0, 9.0, 6.0], 3)
    assert full["segmentation"] == {"size": [6, 9], "counts": "0f1"}  # 0 of background, 54 of the class
    assert type(full["area"]) is int


def test_components_are_one_annotation_each(tmp_path):
    values = np.array([[1, 0, 1, 0, 2]], np.uint8)
    for instances, expected in (("class", [1, 2]), ("components", [1, 1, 2])):
        out = tmp_path / instances
        out.mkdir()
        _, (path,) = export_all(CocoExporter, out, ExportSettings(instances=instances), {"1": values})
        assert [each["category_id"] for each in json.loads(path.read_bytes())["annotations"]] == expected


def test_a_known_confidence_is_the_score(tmp_path):
    masks = {"1": np.array([[1, 2]], np.uint8)}
    _, (path,) = export_all(CocoExporter, tmp_path, masks=masks, confidences={"1": {2: 0.25}})
    first, second = json.loads(path.read_bytes())["annotations"]
    assert "score" not in first
    assert second["score"] == 0.25


def test_no_image_at_all_is_a_whole_document(tmp_path):
    _, (path,) = export_all(CocoExporter, tmp_path, masks={})
    document = json.loads(path.read_bytes())
    assert (document["images"], document["annotations"], len(document["categories"])) == ([], [], 4)


def test_254_classes_keep_their_numbers(tmp_path):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    names = ClassSet(tuple(f"class {index}" for index in range(1, 255)))
    _, (path,) = export_all(CocoExporter, tmp_path, masks={"1": values}, class_set=names)
    found = masks_of(read(path))["1.jpg"]
    assert found.ravel().tolist() == [*range(255), 0]


@given(MASK, st.sampled_from(["class", "components"]))
def test_rle_is_that_of_pycocotools(values, instances):
    for shape in iterate_shapes(values, instances):
        assert encode_rle(shape) == coco_mask.encode(np.asfortranarray(shape.whole().astype(np.uint8)))


def test_polygons_fill_holes_and_say_what_that_loses(tmp_path):
    ring = np.ones((3, 4), np.uint8)
    ring[1, 1:3] = 0
    masks = {"ring": ring, "square": np.ones((2, 2), np.uint8)}
    exporter, (path,) = export_all(CocoExporter, tmp_path, ExportSettings(polygons=True), masks)
    coco = read(path)
    found = masks_of(coco)
    assert found["ring.jpg"].tolist() == np.ones((3, 4)).tolist()
    assert found["square.jpg"].tolist() == [[1, 1], [1, 1]]
    first, second = coco.dataset["annotations"]
    assert first["segmentation"] == [[0, 0, 4, 0, 4, 3, 0, 3]]
    assert (first["area"], second["bbox"]) == (12, [0.0, 0.0, 2.0, 2.0])
    assert exporter.notes == [
        "polygons fill holes: their IoU with the masks is 0.9167 on average, 0.8333 at the least (ring); without "
        "--polygons nothing is lost"
    ]


def test_polygons_without_a_shape_have_nothing_to_say(tmp_path):
    exporter, _ = export_all(CocoExporter, tmp_path, ExportSettings(polygons=True), {"1": MASKS["background"]})
    assert exporter.notes == []


def test_polygons_lie_where_the_shape_lies(tmp_path):
    values = np.zeros((9, 7), np.uint8)
    values[4:6, 3] = 1
    _, (path,) = export_all(CocoExporter, tmp_path, ExportSettings(polygons=True), {"1": values})
    assert np.array_equal(masks_of(read(path))["1.jpg"], values)


def test_abandoned_it_leaves_nothing(tmp_path):
    exporter = CocoExporter(tmp_path / "out", CLASSES, ExportSettings())
    exporter.add(ExportImage("1", tmp_path / "1.jpg", MASKS["ragged"]))
    assert len(files_in(tmp_path / "out")) == 2  # images and annotations, each to its own file
    exporter.abandon()
    assert files_in(tmp_path / "out") == []
