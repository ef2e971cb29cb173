"""Hugging Face's imagefolder, read back with `datasets`."""

import json

import numpy as np
import pytest
from export_world import CLASSES, MASKS, export_all, files_in, write_images

from semples_cli.artifacts.export.hf import HfExporter
from semples_cli.artifacts.export.protocol import ExportImage, ExportSettings
from semples_cli.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore")  # of datasets, about its own dependencies


@pytest.fixture
def load_dataset(monkeypatch, tmp_path):
    """`datasets.load_dataset`, offline and with its cache in tmp_path."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return lambda *args, **kwargs: datasets.load_dataset(*args, cache_dir=str(tmp_path / "cache"), **kwargs)


def rows_by_name(dataset, out):
    """The mask of each image, by image id."""
    names = [json.loads(line) for line in (out / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(dataset) == len(names)
    return {
        name["mask_file_name"].removeprefix("masks/").removesuffix(".png"): (np.array(row["mask"]), row["image"].size)
        for name, row in zip(names, dataset, strict=True)
    }


@pytest.mark.parametrize("way", ["folder", "imagefolder"])
def test_datasets_reads_every_pixel_back_and_void_is_kept(tmp_path, load_dataset, way):
    exporter, files = export_all(HfExporter, tmp_path)
    out = tmp_path / "out"
    assert files == (out / "README.md", out / "metadata.jsonl")
    assert exporter.notes == []
    args, kwargs = ((str(out),), {}) if way == "folder" else (("imagefolder",), {"data_dir": str(out)})
    splits = load_dataset(*args, **kwargs)
    assert list(splits) == ["train"]
    assert splits["train"].column_names == ["image", "mask"]
    found = rows_by_name(splits["train"], out)
    assert list(found) == list(MASKS)
    for sample_id, (mask, size) in found.items():
        assert np.array_equal(mask, MASKS[sample_id]), sample_id
        assert size == mask.shape[::-1]


def test_the_metadata_name_image_and_mask(tmp_path):
    _, (_, metadata) = export_all(HfExporter, tmp_path)
    lines = [json.loads(line) for line in metadata.read_text(encoding="utf-8").splitlines()]
    assert lines[-1] == {
        "file_name": "images/東京/Übung 1.v2.jpg",
        "mask_file_name": "masks/東京/Übung 1.v2.png",
    }
    named = [name for line in lines for name in line.values()]
    assert files_in(tmp_path / "out") == sorted([*named, "README.md", "metadata.jsonl"])


def test_the_card_lists_the_classes(tmp_path):
    _, (card, _) = export_all(HfExporter, tmp_path)
    text = card.read_text(encoding="utf-8")
    assert "\n- 0: background\n- 1: cat\n- 2: sofa bed\n- 3: Straße\n- 4: nowhere\n" in text
    assert "255 is ignore" in text


@pytest.mark.parametrize("name", ["COCO_train2014_000000000009", "val/1", "a test 2", "dev"])
def test_a_name_that_looks_like_a_split_is_said_and_the_card_keeps_it_together(tmp_path, load_dataset, name):
    masks = {"1": MASKS["one"], name: MASKS["one"]}
    exporter, _ = export_all(HfExporter, tmp_path, masks=masks)
    (note,) = exporter.notes
    assert note.startswith(f"{name}.jpg: load_dataset('imagefolder', data_dir=…) takes ")
    assert note.endswith(f"load_dataset({str(tmp_path / 'out')!r}) does not")
    splits = load_dataset(str(tmp_path / "out"))
    assert list(splits) == ["train"]
    assert rows_by_name(splits["train"], tmp_path / "out").keys() == masks.keys()


@pytest.mark.parametrize("name", ["COCO_train2014_000000000009", "val/1", "dev"])
def test_what_is_said_of_such_names_is_true(tmp_path, load_dataset, name):
    export_all(HfExporter, tmp_path, masks={"1": MASKS["one"], name: MASKS["one"]})
    splits = load_dataset("imagefolder", data_dir=str(tmp_path / "out"))
    assert all("mask" not in split.column_names for split in splits.values())


@pytest.mark.parametrize("name", ["training2", "latest", "devil", "evaluated", "trainers/1"])
def test_other_names_are_no_reason_to_worry(tmp_path, name):
    exporter, _ = export_all(HfExporter, tmp_path, masks={name: MASKS["one"]})
    assert bool(exporter.notes) is (name == "training2")  # digits end a word, as in train2014


@pytest.mark.parametrize("copy", [False, True])
def test_images_are_linked_or_copied(tmp_path, copy):
    export_all(HfExporter, tmp_path, ExportSettings(copy_images=copy), {"one": MASKS["one"]})
    assert (tmp_path / "out/images/one.jpg").samefile(tmp_path / "images/one.jpg") is not copy


def test_an_image_that_cannot_be_read_is_not_in_the_metadata(tmp_path):
    exporter = HfExporter(tmp_path / "out", CLASSES, ExportSettings())
    with pytest.raises(DataError, match="cannot read this image"):
        exporter.add(ExportImage("1", tmp_path / "gone.jpg", MASKS["one"]))
    (path,) = write_images(tmp_path, {"2": MASKS["one"]}).values()
    exporter.add(ExportImage("2", path, MASKS["one"]))
    assert exporter.finish()[1].read_text().splitlines() == [
        '{"file_name": "images/2.jpg", "mask_file_name": "masks/2.png"}'
    ]


def test_abandoned_there_is_no_metadata(tmp_path):
    exporter = HfExporter(tmp_path / "out", CLASSES, ExportSettings())
    (path,) = write_images(tmp_path, {"1": MASKS["one"]}).values()
    exporter.add(ExportImage("1", path, MASKS["one"]))
    exporter.abandon()
    assert files_in(tmp_path / "out") == ["images/1.jpg", "masks/1.png"]
