"""The layout of VOC and mmsegmentation: files side by side, and a config that says how to read them."""

import runpy

import numpy as np
import pytest
from export_world import CLASSES, MASKS, export_all, files_in, write_images
from PIL import Image

from semples_cli.artifacts.export.protocol import ExportImage, ExportSettings
from semples_cli.artifacts.export.voc import VocExporter
from semples_cli.errors import DataError


def read_as_mmsegmentation(config):
    """(image, mask) paths of each line of the list, as `BaseSegDataset` of mmsegmentation 1.x joins them."""
    dataset = runpy.run_path(str(config))["train_dataset"]
    root, prefix = dataset["data_root"], dataset["data_prefix"]
    with open(f"{root}/{dataset['ann_file']}", encoding="utf-8") as lines:  # noqa: PTH123  # its way of joining
        names = [line.strip() for line in lines]
    return {
        name: (
            f"{root}/{prefix['img_path']}/{name}{dataset['img_suffix']}",
            f"{root}/{prefix['seg_map_path']}/{name}{dataset['seg_map_suffix']}",
        )
        for name in names
    }


def test_every_pixel_is_read_back_and_void_is_kept(tmp_path):
    exporter, files = export_all(VocExporter, tmp_path)
    assert exporter.notes == []
    assert files == (tmp_path / "out/dataset.py", tmp_path / "out/splits/train.txt")
    found = read_as_mmsegmentation(files[0])
    assert list(found) == list(MASKS)
    for sample_id, (image, mask) in found.items():
        # LoadAnnotations of mmsegmentation decodes with Pillow, unchanged.
        assert np.array_equal(np.array(Image.open(mask)), MASKS[sample_id]), sample_id
        with Image.open(image) as opened:
            assert opened.size == MASKS[sample_id].shape[::-1]


def test_the_folder_holds_what_the_list_names_and_nothing_else(tmp_path):
    export_all(VocExporter, tmp_path)
    pairs = [name for sample_id in MASKS for name in (f"ann_dir/{sample_id}.png", f"img_dir/{sample_id}.jpg")]
    assert files_in(tmp_path / "out") == sorted([*pairs, "dataset.py", "splits/train.txt"])


def test_the_config_names_classes_colours_and_void(tmp_path):
    _, (config, _) = export_all(VocExporter, tmp_path)
    values = runpy.run_path(str(config))
    assert values["metainfo"] == {
        "classes": ("background", *CLASSES.names),
        "palette": [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]],
    }
    dataset = values["train_dataset"]
    assert dataset["metainfo"] is values["metainfo"]
    assert (dataset["type"], dataset["reduce_zero_label"], dataset["ignore_index"]) == ("BaseSegDataset", False, 255)


@pytest.mark.parametrize("copy", [False, True])
def test_images_are_linked_or_copied(tmp_path, copy):
    export_all(VocExporter, tmp_path, ExportSettings(copy_images=copy))
    assert (tmp_path / "out/img_dir/one.jpg").samefile(tmp_path / "images/one.jpg") is not copy
    assert (tmp_path / "out/img_dir/one.jpg").read_bytes() == (tmp_path / "images/one.jpg").read_bytes()


def test_images_of_one_kind_get_one_ending(tmp_path):
    exporter = VocExporter(tmp_path / "out", CLASSES, ExportSettings())
    for sample_id, suffix in (("1", ".JPG"), ("2", ".jpeg"), ("3", ".jpg")):
        (path,) = write_images(tmp_path, {sample_id: MASKS["one"]}, suffix).values()
        exporter.add(ExportImage(sample_id, path, MASKS["one"]))
    found = read_as_mmsegmentation(exporter.finish()[0])
    assert [image.rpartition("/")[2] for image, _ in found.values()] == ["1.jpg", "2.jpg", "3.jpg"]


def test_an_image_of_another_kind_fails_alone(tmp_path):
    exporter = VocExporter(tmp_path / "out", CLASSES, ExportSettings())
    jpeg, png = (write_images(tmp_path, {"1": MASKS["one"]}, suffix)["1"] for suffix in (".jpg", ".png"))
    exporter.add(ExportImage("1", jpeg, MASKS["one"]))
    with pytest.raises(DataError, match=r"1\.png: mmsegmentation takes one ending for all images, here \.jpg; convert"):
        exporter.add(ExportImage("2", png, MASKS["one"]))
    assert list(read_as_mmsegmentation(exporter.finish()[0])) == ["1"]
    assert not (tmp_path / "out/ann_dir/2.png").exists()


def test_an_image_that_cannot_be_read_is_not_in_the_list(tmp_path):
    exporter = VocExporter(tmp_path / "out", CLASSES, ExportSettings())
    with pytest.raises(DataError, match="cannot read this image"):
        exporter.add(ExportImage("1", tmp_path / "gone.png", MASKS["one"]))
    (path,) = write_images(tmp_path, {"2": MASKS["one"]}).values()
    exporter.add(ExportImage("2", path, MASKS["one"]))  # the kind of an image that failed binds nobody
    assert list(read_as_mmsegmentation(exporter.finish()[0])) == ["2"]


def test_an_id_that_the_list_cannot_hold_is_refused(tmp_path):
    exporter = VocExporter(tmp_path / "out", CLASSES, ExportSettings())
    with pytest.raises(DataError, match="cannot begin with '#'"):
        exporter.add(ExportImage("#1", tmp_path / "#1.jpg", MASKS["one"]))
    assert files_in(tmp_path) == []


def test_names_with_quotes_and_braces_stay_python(tmp_path):
    from semples_cli.types import ClassSet

    names = ('"quoted"', "it's", "{x}", "back\\slash")
    _, (config, _) = export_all(VocExporter, tmp_path, masks={"one": MASKS["one"]}, class_set=ClassSet(names))
    assert runpy.run_path(str(config))["metainfo"]["classes"] == ("background", *names)


def test_abandoned_there_is_neither_list_nor_config(tmp_path):
    exporter = VocExporter(tmp_path / "out", CLASSES, ExportSettings())
    (path,) = write_images(tmp_path, {"1": MASKS["one"]}).values()
    exporter.add(ExportImage("1", path, MASKS["one"]))
    exporter.abandon()
    assert files_in(tmp_path / "out") == ["ann_dir/1.png", "img_dir/1.jpg"]
