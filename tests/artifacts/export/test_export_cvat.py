"""CVAT's zip, read back with datumaro, as CVAT does."""

import re
import shutil
import subprocess
import zipfile

import numpy as np
import pytest
from export_world import CLASSES, MASKS, export_all, files_in
from PIL import Image

from semples_cli.artifacts.export.cvat import CvatExporter
from semples_cli.artifacts.export.protocol import ExportImage, ExportSettings
from semples_cli.errors import DataError, SettingsError
from semples_cli.types import ClassSet


@pytest.fixture
def read_with_datumaro(monkeypatch, tmp_path):
    """Class name of each pixel by image id; None where nothing is."""
    pytest.importorskip("datumaro")
    monkeypatch.setenv("HOME", str(tmp_path))  # it writes its telemetry choice there

    def read(path):
        from datumaro import Dataset
        from datumaro.components.annotation import AnnotationType

        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / "unzipped")
        dataset = Dataset.import_from(str(tmp_path / "unzipped"), "voc_segmentation")
        labels = dataset.categories()[AnnotationType.label]
        found = {}
        for item in dataset:
            found[item.id] = {labels[each.label].name: np.asarray(each.image) for each in item.annotations}
        return found

    return read


@pytest.mark.filterwarnings("ignore")  # datumaro's own
def test_datumaro_reads_every_pixel_back(tmp_path, read_with_datumaro):
    exporter, (path,) = export_all(CvatExporter, tmp_path)
    assert exporter.notes == []
    found = read_with_datumaro(path)
    assert found.keys() == MASKS.keys()
    for sample_id, values in MASKS.items():
        there = {"background": (values == 0) | (values == 255)}
        there |= {name: values == index for index, name in enumerate(CLASSES.names, 1)}
        there = {name: pixels for name, pixels in there.items() if pixels.any()}
        assert found[sample_id].keys() == there.keys()
        for name, pixels in there.items():
            assert np.array_equal(found[sample_id][name].astype(bool), pixels), (sample_id, name)


def test_what_the_zip_holds(tmp_path):
    _, files = export_all(CvatExporter, tmp_path)
    assert files == (tmp_path / "out/annotations.zip",)
    assert files_in(tmp_path / "out") == ["annotations.zip"]
    with zipfile.ZipFile(files[0]) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [
            "labelmap.txt",
            *(f"SegmentationClass/{sample_id}.png" for sample_id in MASKS),
            "ImageSets/Segmentation/default.txt",
        ]
        assert archive.read("labelmap.txt").decode() == (
            "background:0,0,0::\ncat:128,0,0::\nsofa bed:0,128,0::\nStraße:128,128,0::\nnowhere:0,0,128::\n"
        )
        assert archive.read("ImageSets/Segmentation/default.txt").decode().splitlines() == list(MASKS)
        for sample_id, values in MASKS.items():
            image = Image.open(archive.open(f"SegmentationClass/{sample_id}.png"))
            assert image.mode == "P"  # index and colour say the same line of the label map
            assert np.array_equal(np.asarray(image), np.where(values == 255, 0, values))
        colours = np.asarray(Image.open(archive.open("SegmentationClass/full.png")).convert("RGB"))
        assert (colours == (128, 128, 0)).all()


@pytest.mark.skipif(shutil.which("unzip") is None, reason="needs unzip")
def test_unzip_makes_files_that_can_be_read(tmp_path):
    _, (path,) = export_all(CvatExporter, tmp_path)
    subprocess.run(["unzip", "-q", path, "labelmap.txt", "-d", tmp_path / "here"], check=True)
    assert (tmp_path / "here/labelmap.txt").stat().st_mode & 0o777 == 0o644


def test_the_same_masks_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    contents = {export_all(CvatExporter, tmp_path / name)[1][0].read_bytes() for name in ("one", "two")}
    assert len(contents) == 1


def test_no_image_at_all_is_a_whole_zip(tmp_path):
    _, (path,) = export_all(CvatExporter, tmp_path, masks={})
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["labelmap.txt", "ImageSets/Segmentation/default.txt"]
        assert archive.read("ImageSets/Segmentation/default.txt") == b""


def test_a_colon_is_taken_out_of_a_name_and_said(tmp_path):
    classes = ClassSet(("a:b", "cat"))
    exporter, (path,) = export_all(CvatExporter, tmp_path, masks={"one": MASKS["one"]}, class_set=classes)
    assert exporter.notes == ["class 'a:b' is 'ab' in CVAT, whose label map ends a name at ':'"]
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labelmap.txt").splitlines()[1] == b"ab:128,0,0::"


@pytest.mark.parametrize(
    ("names", "bad"),
    [(("ab", "a:b"), "'ab'"), (("#1",), "'#1'"), ((":",), "':'"), (("Background",), "'Background'"), ((":#",), "':#'")],
)
def test_names_that_a_label_map_cannot_hold_are_refused(tmp_path, names, bad):
    message = rf"^class {re.escape(bad)} would be .* give --classes with other names in the same order$"
    with pytest.raises(SettingsError, match=message):
        CvatExporter(tmp_path / "out", ClassSet(names), ExportSettings())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("sample_id", ["#1", " 1", "a/1 "])
def test_ids_that_the_list_cannot_hold_fail_alone(tmp_path, sample_id):
    exporter = CvatExporter(tmp_path / "out", CLASSES, ExportSettings())
    with pytest.raises(DataError, match=r"rename the image$"):
        exporter.add(ExportImage(sample_id, tmp_path / "1.jpg", MASKS["one"]))
    exporter.add(ExportImage("2", tmp_path / "2.jpg", MASKS["one"]))
    with zipfile.ZipFile(exporter.finish()[0]) as archive:
        assert archive.namelist()[1:-1] == ["SegmentationClass/2.png"]
        assert archive.read(archive.namelist()[-1]) == b"2\n"


def test_abandoned_it_leaves_nothing(tmp_path):
    exporter = CvatExporter(tmp_path / "out", CLASSES, ExportSettings())
    exporter.add(ExportImage("1", tmp_path / "1.jpg", MASKS["ragged"]))
    exporter.abandon()
    del exporter  # a zip that is collected must not try to write its end
    assert files_in(tmp_path / "out") == []
