"""Label Studio's tasks: with a stand-in for its encoder everywhere, and marked `label_studio` by its own reader."""

import json
import sys
import xml.etree.ElementTree as ET
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from export_world import CLASSES, MASKS, export_all, files_in, write_images
from tar_files import write_tar

from semples_cli.artifacts.export import label_studio
from semples_cli.artifacts.export.label_studio import LabelStudioExporter, label_config
from semples_cli.artifacts.export.protocol import ExportImage, ExportSettings
from semples_cli.artifacts.mask_png import voc_palette
from semples_cli.errors import SettingsError
from semples_cli.types import ClassSet

SPOTS = {f"a/{number}": np.full((3, 4), 1, np.uint8) for number in range(5)}


@pytest.fixture
def stand_in(monkeypatch):
    """An encoder without the SDK: the painted pixels' values as they are; what it was given, for the tests."""
    given = []

    def encode(mask):
        given.append(mask)
        return mask.ravel().tolist()

    monkeypatch.setattr(label_studio, "load_encoder", lambda: encode)
    return given


def read_tasks(files):
    return [task for path in files for task in json.loads(path.read_text(encoding="utf-8"))]


def export_one(tmp_path, values, settings=None, **facts):
    (path,) = write_images(tmp_path / "images", {"a/1": values}).values()
    exporter = LabelStudioExporter(tmp_path / "out", CLASSES, settings or ExportSettings())
    assert exporter.add(ExportImage("a/1", path, values, **facts)) == ()
    config, *shards = exporter.finish()
    (task,) = read_tasks(shards)
    return exporter, config, task


def test_without_the_sdk_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "label_studio_sdk", None)
    with pytest.raises(SettingsError, match=r'brush format is its own .*: pip install "semples\[label-studio\]"'):
        LabelStudioExporter(tmp_path / "out", CLASSES, ExportSettings())
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("stand_in")
def test_a_task_by_hand(tmp_path):
    values = np.array([[0, 2], [255, 2]], np.uint8)
    _, config, task = export_one(tmp_path, values, confidence=0.25, class_confidence={2: 0.5})
    (prediction,) = task["predictions"]
    (result,) = prediction["result"]
    assert prediction["model_version"].startswith("semples ")
    assert (prediction["score"], result["score"]) == (0.25, 0.5)
    assert (result["original_width"], result["original_height"], result["image_rotation"]) == (2, 2, 0)
    assert result["value"] == {"format": "rle", "rle": [0, 255, 0, 255], "brushlabels": [CLASSES.names[1]]}
    view = ET.parse(config).getroot()
    brush = view.find("BrushLabels")
    assert (result["from_name"], result["to_name"]) == (brush.get("name"), brush.get("toName"))
    assert brush.get("toName") == view.find("Image").get("name")
    assert view.find("Image").get("value").removeprefix("$") in task["data"]


def test_the_encoder_is_given_0_and_255_as_it_wants_them(tmp_path, stand_in):
    export_all(LabelStudioExporter, tmp_path)
    assert all(mask.dtype == np.uint8 and mask.ndim == 2 and set(np.unique(mask)) <= {0, 255} for mask in stand_in)
    assert len(stand_in) == sum(len(set(np.unique(values)) - {0, 255}) for values in MASKS.values())


@pytest.mark.usefixtures("stand_in")
def test_unknown_confidences_are_left_out(tmp_path):
    _, _, task = export_one(tmp_path, np.ones((2, 2), np.uint8))
    assert "score" not in task["predictions"][0]
    assert "score" not in task["predictions"][0]["result"][0]


@pytest.mark.usefixtures("stand_in")
def test_an_image_of_background_is_a_task_with_an_empty_prediction(tmp_path):
    _, _, task = export_one(tmp_path, np.zeros((2, 2), np.uint8), confidence=0.75)
    assert [(each["result"], each["score"]) for each in task["predictions"]] == [([], 0.75)]


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(("instances", "count"), [("class", 1), ("components", 2)])
def test_regions_are_one_stroke_or_several(tmp_path, instances, count):
    values = np.zeros((3, 5), np.uint8)
    values[:, 0], values[:, 4] = 1, 1
    _, _, task = export_one(tmp_path, values, ExportSettings(instances=instances))
    results = task["predictions"][0]["result"]
    assert len({result["id"] for result in results}) == len(results) == count


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("root", "url"),
    [
        ("https://example.org/photos", "https://example.org/photos/a/1.jpg"),
        ("https://example.org/photos/", "https://example.org/photos/a/1.jpg"),
        ("/data/local-files/?d=", "/data/local-files/?d=a/1.jpg"),
        ("/data/local-files/?d=photos", "/data/local-files/?d=photos/a/1.jpg"),
        ("s3://bucket/photos", "s3://bucket/photos/a/1.jpg"),
        (None, "/data/local-files/?d=images/a/1.jpg"),
    ],
)
def test_the_url_is_root_and_relative_path(tmp_path, root, url):
    exporter, _, task = export_one(tmp_path, np.ones((2, 2), np.uint8), ExportSettings(image_root_url=root))
    assert task["data"] == {"image": url, "file_name": "a/1.jpg"}
    said = " ".join(exporter.notes)
    assert (f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={tmp_path}," in said) == (root is None)
    assert (f"add {tmp_path / 'images'} as local storage" in said) == (root is None)


@pytest.mark.usefixtures("stand_in")
def test_names_are_escaped_in_urls_and_kept_beside_them(tmp_path):
    sample_id = "東 京/1+1?#%"
    values = np.ones((2, 2), np.uint8)
    (path,) = write_images(tmp_path / "images", {sample_id: values}).values()
    exporter = LabelStudioExporter(tmp_path / "out", CLASSES, ExportSettings(image_root_url="http://x"))
    exporter.add(ExportImage(sample_id, path, values))
    (task,) = read_tasks(exporter.finish()[1:])
    assert task["data"] == {
        "image": "http://x/%E6%9D%B1%20%E4%BA%AC/1%2B1%3F%23%25.jpg",
        "file_name": f"{sample_id}.jpg",
    }


def export_spots(tmp_path, most_bytes):
    """Five tasks of the same length, at most so many bytes a shard; smaller than `ExportSettings` allows."""
    settings = SimpleNamespace(instances="class", image_root_url=None, shard_size=Fraction(most_bytes, 1_000_000))
    return export_all(LabelStudioExporter, tmp_path, settings, SPOTS)


@pytest.mark.usefixtures("stand_in")
def test_shards_stay_within_their_size_and_hold_every_task_once(tmp_path):
    _, (_, whole) = export_spots(tmp_path, 1_000_000)
    task = len(json.dumps(read_tasks([whole])[0], separators=(",", ":")))
    for count in (1, 2, 5):
        room = count * task + len("[\n\n]\n") + (count - 1) * len(",\n")
        for most_bytes, tasks_a_shard in ((room, count), (room - 1, max(count - 1, 1))):
            exporter, (_, *shards) = export_spots(tmp_path, most_bytes)
            assert [len(read_tasks([shard])) for shard in shards[:-1]] == [tasks_a_shard] * (len(shards) - 1)
            assert [each["data"]["file_name"] for each in read_tasks(shards)] == [f"{spot}.jpg" for spot in SPOTS]
            assert tasks_a_shard == 1 or max(shard.stat().st_size for shard in shards) <= most_bytes
            assert ("import each" in exporter.notes[0]) == (len(shards) > 1)


@pytest.mark.usefixtures("stand_in")
def test_sizes_are_said_in_megabytes(tmp_path):
    big = {str(number): np.ones((400, 500), np.uint8) for number in range(3)}  # 800 kB each in the stand-in's code
    exporter, (_, *shards) = export_all(LabelStudioExporter, tmp_path, ExportSettings(shard_size=2), big)
    assert [shard.name for shard in shards] == ["tasks-001.json", "tasks-002.json"]
    assert exporter.notes[0] == "2 files of tasks, import each: 2.4 MB, the largest 1.6 MB"
    exporter, _ = export_all(LabelStudioExporter, tmp_path, masks={"0": big["0"]})
    assert exporter.notes[0] == "1 file of tasks, 0.8 MB"


@pytest.mark.usefixtures("stand_in")
def test_a_shard_above_what_label_studio_imports_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(label_studio, "IMPORT_LIMIT", 0.00001)
    exporter, _ = export_all(LabelStudioExporter, tmp_path, masks=SPOTS)
    assert "lower --shard-size, or raise its DATA_UPLOAD_MAX_MEMORY_SIZE" in exporter.notes[0]


@pytest.mark.usefixtures("stand_in")
def test_many_shards_hold_no_handles_and_are_removed_when_given_up(tmp_path):
    settings = SimpleNamespace(instances="class", image_root_url=None, shard_size=0)  # each task is a shard
    exporter = LabelStudioExporter(tmp_path / "out", CLASSES, settings)
    paths = write_images(tmp_path / "images", SPOTS)
    for sample_id, values in SPOTS.items():
        exporter.add(ExportImage(sample_id, paths[sample_id], values))
    assert files_in(tmp_path / "out") == [f"tasks-00{number}.json.partial" for number in range(1, 6)]
    assert [shard.handle.closed for shard in exporter._shards] == [True, True, True, True, False]
    exporter.abandon()
    assert files_in(tmp_path / "out") == []


@pytest.mark.usefixtures("stand_in")
def test_no_image_at_all_is_an_empty_list(tmp_path):
    config, tasks = LabelStudioExporter(tmp_path / "out", CLASSES, ExportSettings()).finish()
    assert json.loads(tasks.read_text()) == []
    assert config.is_file()


@pytest.mark.usefixtures("stand_in")
def test_an_image_that_cannot_be_encoded_leaves_nothing_in_the_shard(tmp_path, monkeypatch):
    exporter = LabelStudioExporter(tmp_path / "out", CLASSES, ExportSettings())
    paths = write_images(tmp_path / "images", SPOTS)
    images = [ExportImage(sample_id, paths[sample_id], values) for sample_id, values in SPOTS.items()]
    exporter.add(images[0])
    encode, exporter._encode = exporter._encode, lambda mask: 1 // 0
    with pytest.raises(ZeroDivisionError):
        exporter.add(images[1])
    exporter._encode = encode
    exporter.add(images[2])
    assert [task["data"]["file_name"] for task in read_tasks(exporter.finish()[1:])] == ["a/0.jpg", "a/2.jpg"]


def test_the_config_holds_names_that_xml_does_not_and_colours_of_voc():
    names = ('a "b" & <c>', "Straße", "tv/monitor")
    view = ET.fromstring(label_config(ClassSet(names)))
    labels = view.findall("./BrushLabels/Label")
    assert tuple(label.get("value") for label in labels) == names
    assert [label.get("background") for label in labels] == ["#800000", "#008000", "#808000"]
    assert voc_palette()[3].tolist() == [0x80, 0x80, 0]


# By Label Studio's own SDK.


@pytest.mark.label_studio
@pytest.mark.parametrize("instances", ["class", "components"])
def test_every_class_pixel_is_read_back_by_the_sdk(tmp_path, instances):
    from label_studio_sdk.converter.brush import decode_from_annotation

    _, (_, *shards) = export_all(LabelStudioExporter, tmp_path, ExportSettings(instances=instances))
    for task, (sample_id, values) in zip(read_tasks(shards), MASKS.items(), strict=True):
        assert task["data"]["file_name"] == f"{sample_id}.jpg"
        canvas = np.zeros_like(values)
        # The converter of the SDK lays value and result together before it decodes.
        flat = [{**result, **result["value"]} for result in task["predictions"][0]["result"]]
        for key, painted in decode_from_annotation("mask", flat).items():
            assert set(np.unique(painted)) <= {0, 255}
            canvas[painted == 255] = CLASSES.index_of(key.removeprefix("mask-").rpartition("-")[0])
        assert np.array_equal(canvas, np.where(values == 255, 0, values)), sample_id


@pytest.mark.label_studio
def test_label_studio_validates_config_tasks_and_predictions(tmp_path):
    from label_studio_sdk.label_interface import LabelInterface

    _, (config, *shards) = export_all(LabelStudioExporter, tmp_path, confidences={"full": {3: 0.5}})
    interface = LabelInterface(config.read_text(encoding="utf-8"))
    interface.validate()
    assert set(interface.get_control("mask").labels) == set(CLASSES.names)
    tasks = read_tasks(shards)
    assert len(tasks) == len(MASKS)
    for task in tasks:
        assert interface.validate_task({"data": task["data"]})
        (prediction,) = task["predictions"]
        assert interface.validate_prediction(prediction, return_errors=True) == []


@pytest.mark.label_studio
def test_that_validation_can_fail(tmp_path):
    from label_studio_sdk.label_interface import LabelInterface

    interface = LabelInterface(label_config(CLASSES))
    _, _, task = export_one(tmp_path, np.ones((2, 2), np.uint8), confidence=0.5)
    task["predictions"][0]["result"][0]["from_name"] = "brush"
    assert not interface.validate_prediction(task["predictions"][0])


@pytest.mark.label_studio
def test_a_run_longer_than_a_word_is_read_back(tmp_path):
    """Label Studio's runs are of 2^16 at most, and a background of 0 is one run of four values a pixel."""
    from label_studio_sdk.converter.brush import decode_rle

    values = np.zeros((300, 301), np.uint8)
    values[150, 150:] = 1
    _, _, task = export_one(tmp_path, values)
    decoded = decode_rle(task["predictions"][0]["result"][0]["value"]["rle"]).reshape(300, 301, 4)
    assert np.array_equal(decoded[..., 3] == 255, values == 1)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("settings", [None, ExportSettings(image_root_url="https://x.org/")])
def test_of_images_in_a_tar_it_says_that_they_must_be_unpacked(tmp_path, settings):
    values = np.ones((2, 3), np.uint8)
    (image,) = write_images(tmp_path / "images", {"1": values}).values()
    tar = write_tar(tmp_path / "t.tar", {image.name: image.read_bytes()})
    exporter = LabelStudioExporter(tmp_path / "out", CLASSES, settings or ExportSettings())
    exporter.add(ExportImage("t/1", tar / image.name, values))
    exporter.finish()
    assert "unpack each tar into a folder of its name" in exporter.notes[-1]
    exporter, *_ = export_one(tmp_path / "plain", values)
    assert not any("tar" in note.split() for note in exporter.notes)
