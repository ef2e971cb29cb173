"""YOLO's files, read back by supervision."""

import subprocess
import sys
from urllib.parse import unquote

import numpy as np
import pytest
import supervision
from export_world import CLASSES, MASKS, export_all, files_in, write_images
from hypothesis import given, settings
from hypothesis import strategies as st
from supervision.dataset.utils import approximate_mask_with_polygons

from semples_cli.artifacts.export.protocol import ExportImage, ExportSettings
from semples_cli.artifacts.export.yolo import YoloExporter, flat_name, trace_polygons
from semples_cli.errors import DataError, SettingsError
from semples_cli.types import ClassSet


def read_back(out):
    """Masks by id, as `supervision.DetectionDataset.from_yolo` has them; and the class names."""
    dataset = supervision.DetectionDataset.from_yolo(
        str(out / "images/train"), str(out / "labels/train"), str(out / "data.yaml"), force_masks=True
    )
    masks = {}
    for path, image, found in dataset:
        canvas = np.zeros(image.shape[:2], np.uint8)
        if len(found):
            for mask, index in zip(found.mask, found.class_id, strict=True):
                canvas[mask.astype(bool)] = index + 1
        masks[unquote(path.rpartition("/")[2]).rpartition(".")[0]] = canvas
    return masks, tuple(dataset.classes)


def blobs(seed=0, size=(60, 80)):
    """Two classes in blobs with holes, none of them thin."""
    rng = np.random.default_rng(seed)
    coarse = rng.choice(np.array([0, 1, 2], np.uint8), (size[0] // 5, size[1] // 5), p=[0.4, 0.4, 0.2])
    return coarse.repeat(5, axis=0).repeat(5, axis=1)


def export_one(tmp_path, values, suffix=".png", **kwargs):
    return export_all(YoloExporter, tmp_path, masks={"a": values}, **kwargs)


def test_a_hole_stays_a_hole(tmp_path):
    values = np.zeros((17, 31), np.uint8)
    values[2:15, 3:28] = 1
    values[5:12, 8:20] = 0
    values[7:9, 10:12] = 2
    exporter, _ = export_one(tmp_path, values)
    masks, _ = read_back(tmp_path / "out")
    assert np.array_equal(masks["a"], values)
    said = "read back, the polygons have IoU 1.0000 with the masks, mean over the classes of each image"
    assert exporter.notes == [f"{said}; the least is 1.0000 (a)"]


def test_blobs_are_read_back_exactly(tmp_path):
    exporter, _ = export_all(YoloExporter, tmp_path, masks={str(seed): blobs(seed) for seed in range(5)})
    masks, _ = read_back(tmp_path / "out")
    for seed in range(5):
        assert np.array_equal(masks[str(seed)], blobs(seed)), seed
    assert "IoU 1.0000" in exporter.notes[0]


def test_the_stated_iou_is_that_of_the_reader(tmp_path):
    exporter, _ = export_all(YoloExporter, tmp_path)
    masks, _ = read_back(tmp_path / "out")
    ious = {}
    for sample_id, values in MASKS.items():
        for index in set(np.unique(values).tolist()) - {0, 255}:
            ours, theirs = values == index, masks[sample_id] == index
            ious[sample_id, index] = (ours & theirs).sum() / (ours | theirs).sum()
    mean, least = np.mean(list(ious.values())), min(ious.values())
    assert f"IoU {mean:.4f} with" in exporter.notes[0]
    assert f"the least is {least:.4f}" in exporter.notes[0]
    assert least < 1


def test_regions_too_thin_for_polygons_are_counted(tmp_path):
    values = np.zeros((9, 9), np.uint8)
    values[0, 0] = 1  # a pixel
    values[4, 2:7] = 1  # a line
    values[6:9, 6:9] = 1
    exporter, _ = export_one(tmp_path, values)
    masks, _ = read_back(tmp_path / "out")
    assert masks["a"].sum() == 9
    assert exporter.notes[1] == "2 regions of one pixel, or one line of pixels, are no polygons and are left out"
    assert f"IoU {9 / 15:.4f}" in exporter.notes[0]


def test_lines_are_polygons_of_classes_from_0(tmp_path):
    values = np.zeros((10, 20), np.uint8)
    values[2:5, 4:9] = 3
    export_one(tmp_path, values)
    line = (tmp_path / "out/labels/train/a.txt").read_text()
    assert line == "2 0.20000 0.20000 0.20000 0.40000 0.40000 0.40000 0.40000 0.20000\n"


def test_each_region_is_an_object_and_none_is_a_box(tmp_path):
    export_all(YoloExporter, tmp_path, masks={str(seed): blobs(seed) for seed in range(3)})
    lines = [line for path in (tmp_path / "out/labels/train").iterdir() for line in path.read_text().splitlines()]
    assert all(len(line.split()) >= 7 and len(line.split()) % 2 for line in lines)
    values = np.zeros((9, 9), np.uint8)
    values[:3, :3], values[6:, 6:] = 1, 1
    export_one(tmp_path, values)
    assert len((tmp_path / "out/labels/train/a.txt").read_text().splitlines()) == 2


def test_an_image_of_background_has_an_empty_file(tmp_path):
    exporter, _ = export_one(tmp_path, np.full((4, 4), 255, np.uint8))
    assert (tmp_path / "out/labels/train/a.txt").read_bytes() == b""
    assert exporter.notes == []


def test_data_yaml_has_what_ultralytics_wants(tmp_path):
    yaml = pytest.importorskip("yaml")
    names = ("cat", 'the "best"', "yes", "Straße: 1 # x", "😀", "007")
    values = np.full((5, 5), 5, np.uint8)
    _, (config,) = export_one(tmp_path, values, class_set=ClassSet(names))
    document = yaml.safe_load(config.read_text(encoding="utf-8"))
    assert document == {
        "train": "images/train",
        "val": "images/train",
        "nc": 6,
        "names": dict(enumerate(names)),
    }
    assert (config.parent / document["train"]).is_dir()
    assert read_back(tmp_path / "out")[1] == names


def test_ids_in_folders_get_flat_names_of_their_own(tmp_path):
    ids = ("a/b", "a_b", "a%2Fb", "a__b", "b")
    export_all(YoloExporter, tmp_path, masks={sample_id: blobs() for sample_id in ids})
    masks, _ = read_back(tmp_path / "out")
    assert sorted(masks) == sorted(ids)
    assert "labels/train/a%2Fb.txt" in files_in(tmp_path / "out")
    assert "labels/train/a%252Fb.txt" in files_in(tmp_path / "out")


@given(st.lists(st.text("ab/%2F_", min_size=1, max_size=6), unique=True, max_size=20))
def test_no_two_names_are_alike_and_all_can_be_taken_back(ids):
    names = [flat_name(each) for each in ids]
    assert len(set(names)) == len(ids)
    assert [unquote(name) for name in names] == ids
    assert not any("/" in name for name in names)


@pytest.mark.parametrize("suffix", [".gif", ".ppm"])
def test_an_image_that_yolo_would_pass_over_fails_alone(tmp_path, suffix):
    (path,) = write_images(tmp_path / "images", {"a": blobs()}, suffix).values()
    exporter = YoloExporter(tmp_path / "out", CLASSES, ExportSettings())
    with pytest.raises(DataError, match=f"a{suffix}: YOLO's readers pass over {suffix}; convert it to PNG or JPEG"):
        exporter.add(ExportImage("a", path, blobs()))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("copy", [False, True])
def test_images_are_linked_or_copied(tmp_path, copy):
    export_one(tmp_path, blobs(), settings=ExportSettings(copy_images=copy))
    assert (tmp_path / "out/images/train/a.jpg").samefile(tmp_path / "images/a.jpg") is not copy


def test_a_jpeg_that_ultralytics_would_write_anew_is_never_linked(tmp_path):
    (path,) = write_images(tmp_path / "images", {"a": blobs()}).values()
    path.write_bytes(path.read_bytes() + b"trailer of a camera")
    exporter = YoloExporter(tmp_path / "out", CLASSES, ExportSettings())
    exporter.add(ExportImage("a", path, blobs()))
    copied = tmp_path / "out/images/train/a.jpg"
    assert not copied.samefile(path)
    assert copied.read_bytes() == path.read_bytes()


def test_an_image_that_is_gone_is_a_data_error(tmp_path):
    exporter = YoloExporter(tmp_path / "out", CLASSES, ExportSettings())
    with pytest.raises(DataError, match=r"gone\.jpg: cannot read this image"):
        exporter.add(ExportImage("a", tmp_path / "gone.jpg", blobs()))
    assert not (tmp_path / "out/labels").exists()
    assert exporter.finish()
    assert exporter.notes == []


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_whatever_the_region_its_polygons_lie_in_it(seed):
    rng = np.random.default_rng(seed)
    pixels = rng.random(rng.integers(3, 40, 2)) < rng.uniform(0.3, 0.9)
    for polygon in trace_polygons(pixels, approximate_mask_with_polygons):
        drawn = supervision.polygon_to_mask(polygon, pixels.shape[::-1]).astype(bool)
        assert not (drawn & ~pixels).any()


@pytest.mark.parametrize("seed", [4, 85, 129])
def test_a_region_without_a_straight_seam_keeps_its_holes(seed):
    """supervision finds no way from a hole to the outline in about 1 % of such noise."""
    pixels = np.random.default_rng(seed).random((24, 24)) < 0.7
    drawn = np.zeros_like(pixels)
    for polygon in trace_polygons(pixels, approximate_mask_with_polygons):
        drawn |= supervision.polygon_to_mask(polygon, (24, 24)).astype(bool)
    assert not (drawn & ~pixels).any()
    assert (drawn & pixels).sum() > 0.9 * pixels.sum()


@pytest.mark.parametrize("transposed", [False, True])
def test_what_cannot_be_traced_is_cut_across_its_longer_side(transposed):
    pixels = np.ones((2, 8), np.bool_)
    pixels[0, 5] = False
    if transposed:
        pixels = pixels.T
    drawn = np.zeros_like(pixels)

    def trace(mask, approximation_percentage, bridge_holes):
        """Refuses all that is longer than 2, and gives each pixel as a corner."""
        assert (approximation_percentage, bridge_holes) == (0.0, True)
        if max(mask.shape) > 2:
            raise ValueError
        return [np.argwhere(mask)[:, ::-1]]

    for polygon in trace_polygons(pixels, trace):
        drawn[polygon[:, 1], polygon[:, 0]] = True
    assert np.array_equal(drawn, pixels)


def test_without_supervision_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(SettingsError, match=r'needs supervision \(.*\): pip install "semples\[yolo\]"'):
        YoloExporter(tmp_path / "out", CLASSES, ExportSettings())


def test_a_supervision_that_fills_holes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "supervision.dataset.utils.approximate_mask_with_polygons", lambda mask, approximation_percentage: []
    )
    with pytest.raises(
        SettingsError, match=r'0\.31\.2, older ones fill holes: pip install --upgrade "semples\[yolo\]"'
    ):
        YoloExporter(tmp_path / "out", CLASSES, ExportSettings())


def test_an_export_that_is_given_up_leaves_no_index(tmp_path):
    exporter = YoloExporter(tmp_path / "out", CLASSES, ExportSettings())
    exporter.abandon()
    assert not (tmp_path / "out").exists()


def test_without_opencv_the_polygons_are_the_same_and_nothing_is_said(tmp_path):
    """supervision has an implementation of its own where OpenCV is not there, and warns of it."""
    script = (
        "import sys; sys.modules['cv2'] = None\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from pathlib import Path\n"
        "from export_world import export_all\n"
        "from semples_cli.artifacts.export.yolo import YoloExporter\n"
        "export_all(YoloExporter, Path(sys.argv[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", script, str(tmp_path / "without")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    export_all(YoloExporter, tmp_path / "with")
    names = files_in(tmp_path / "with/out")
    assert files_in(tmp_path / "without/out") == names
    for name in names:
        assert (tmp_path / f"without/out/{name}").read_bytes() == (tmp_path / f"with/out/{name}").read_bytes()
