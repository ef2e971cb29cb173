"""Names that lead elsewhere, or would be code where they stand: each export stays in its folder and is read back."""

import csv
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from export_world import export_all, files_in
from PIL import Image
from surroundings import state_of

from semples_cli.artifacts.cam_store import read_cam, write_cam
from semples_cli.artifacts.export.protocol import ExportImage, ExportSettings
from semples_cli.artifacts.label_files import write_labels
from semples_cli.artifacts.mask_png import write_mask
from semples_cli.artifacts.review_csv import ReviewRow, write_review
from semples_cli.artifacts.run_folder import class_record, write_run_record
from semples_cli.data.labels.recognise import read_labels
from semples_cli.errors import ArtifactError, DataError
from semples_cli.steps.export_masks import export_masks, load_exporter
from semples_cli.steps.progress import silent
from semples_cli.types import Cam, ClassSet

TO = ("coco", "cvat", "hf", "labelme", "voc", "yolo")
VALUES = np.zeros((6, 9), np.uint8)
VALUES[1:5, 2:7] = 1
VALUES[0, 0] = 2

# What no index can name: as files they exist, and fail alone.
UNNAMEABLE = (
    "a\\..\\..\\up",
    "\\\\server\\share\\x",
    "C:\\windows\\x",
    "a\nb",
    "a\r\nb",
    "a\tb",
    "a\x1b[2Jb",
    "a\x7fb",
    "a\x85b",
    "a\u2028b",
    "a\u2029b",
    "a\udcffb",
    "C:x",
    "a:b",
    "a/ /x",
)
ODD = (
    "-rf",
    "~root",
    "$(touch ran)",
    "`touch ran`",
    "%2e%2e%2fup",
    "a..%2f..%2fup",
    "con",
    "ab:c",
    "a?b",
    "=cmd|' !A0",
    "@SUM(1)",
    'a"b',
    "a'b",
    "a,b;c",
    "a{b}",
    "{{7*7}}",
    "b..",
    "x..y/b",
    "b.. /x",
    "deep/" * 12 + "x",
    "\u202egnp",
    "é",
    "👍",
    "train",
    "<img src=x onerror=alert(1)>",
)
# Where the list of a split cannot hold them.
NOT_IN_LISTS = ("#first", " lead", "trail ")
NAMES = (
    "../up",
    "/etc/passwd",
    "..\\up",
    "C:\\x",
    "a/b",
    "=cmd|'/C calc'!A0",
    "+1",
    "@SUM(1+1)",
    "-2",
    '"); x: [y',
    "': !!python/object/apply:os.system ['touch ran'] #",
    "!!python/name:os.system",
    "- a: b",
    "{x}",
    "{classes}",
    "%(x)s",
    "__import__('os').system('touch ran')",
    "', os.system('touch ran'), '",
    "\\N{BULLET}",
    "\\",
    "a\\",
    "'''",
    '"""',
    "---",
    "yes",
    "null",
    "1",
    "~",
    "*x",
    "&x",
    "|",
    "<script>alert(1)</script>",
    "a, b; c",
    "a b " * 49 + "a",
    "\u202eabc",
    "\U0001d4bb",
    "dog\u200b",
)
CLASSES = ClassSet(NAMES)


def write_pair(root, sample_id):
    for path, image in (
        (root / f"images/{sample_id}.png", Image.new("RGB", (9, 6))),
        (root / f"masks/{sample_id}.png", None),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path) if image else write_mask(path, VALUES)


@pytest.fixture
def world(tmp_path):
    """images/ and masks/ with every name, beside a file that nobody may touch."""
    for sample_id in (*UNNAMEABLE, *ODD, *NOT_IN_LISTS):
        try:
            write_pair(tmp_path, sample_id)
        except (OSError, ValueError):
            pytest.skip(f"this file system has no file called {sample_id!r}")
    record = {"command": "cams", "inputs": [str(tmp_path / "images")], "classes": class_record(CLASSES)}
    write_run_record(tmp_path / "masks", record)
    (tmp_path / "up.png").write_text("mine")
    return tmp_path


def reaches(folder):
    """Files of a folder that lie elsewhere, or are links."""
    paths = [
        path for path in folder.rglob("*") if path.is_symlink() or not path.resolve().is_relative_to(folder.resolve())
    ]
    return sorted(str(path) for path in paths)


def named_in(out, to):
    """The images that the index of an export names, without suffix, as the format's readers take them."""
    if to == "coco":
        return [
            Path(each["file_name"]).with_suffix("").as_posix()
            for each in json.loads((out / "instances.json").read_text())["images"]
        ]
    if to == "cvat":
        with zipfile.ZipFile(out / "annotations.zip") as archive:
            return archive.read("ImageSets/Segmentation/default.txt").decode().splitlines()
    if to == "voc":
        return (out / "splits/train.txt").read_text(encoding="utf-8").splitlines()
    if to == "hf":
        rows = [json.loads(line) for line in (out / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
        return [Path(row["file_name"]).relative_to("images").with_suffix("").as_posix() for row in rows]
    if to == "yolo":
        from urllib.parse import unquote

        return [unquote(path.stem) for path in (out / "labels/train").iterdir()]
    return [
        path.relative_to(out).with_suffix("").as_posix() for path in out.rglob("*.json") if ".semples" not in path.parts
    ]


@pytest.mark.parametrize("to", TO)
def test_an_export_stays_in_its_folder_whatever_images_and_classes_are_called(world, to):
    before = state_of(world, (world / "out",))
    done = export_masks(world / "masks", world / "out", to, None, progress=silent)
    assert state_of(world, (world / "out",)) == before
    assert reaches(world / "out") == []
    expected = {*ODD} if to in ("cvat", "voc") else {*ODD, *NOT_IN_LISTS}
    assert {sample_id for sample_id, _ in done.summary.failed} == {*UNNAMEABLE, *ODD, *NOT_IN_LISTS} - expected
    assert all("\n" not in reason for _, reason in done.summary.failed)
    assert sorted(named_in(world / "out", to)) == sorted(expected)


@pytest.mark.parametrize("to", TO)
def test_an_export_that_is_made_again_removes_its_own_files_alone(world, to):
    export_masks(world / "masks", world / "out", to, None, progress=silent)
    (world / "out/mine.txt").write_text("mine")
    first = files_in(world / "out")
    before = state_of(world, (world / "out",))
    export_masks(world / "masks", world / "out", to, None, progress=silent, overwrite=True)
    assert files_in(world / "out") == first
    assert (world / "out/mine.txt").read_text() == "mine"
    assert state_of(world, (world / "out",)) == before


@pytest.mark.parametrize("line", ["../up.png", "/etc/hostname", "a/../../up.png"])
def test_a_forged_list_of_files_to_remove_is_refused(world, line):
    export_masks(world / "masks", world / "out", "coco", None, progress=silent)
    (world / "out/.semples/written.txt").write_text(f"{line}\n")
    with pytest.raises(ArtifactError, match=r"lies outside of the export; remove .* by hand"):
        export_masks(world / "masks", world / "out", "coco", None, progress=silent, overwrite=True)
    assert (world / "up.png").read_text() == "mine"


@pytest.mark.parametrize(
    "sample_id", ["../up", "/etc/passwd", "a/../../up", "..", ".", "", "a//b", "./a", "a/", "a/./b", "//server/x"]
)
def test_an_id_that_leads_out_is_no_image_of_any_exporter(sample_id):
    with pytest.raises(DataError, match="is not a relative path inside the image folder"):
        ExportImage(sample_id, Path("x.png"), VALUES)


def test_the_zip_unpacks_inside_and_holds_plain_files_alone(world):
    export_masks(world / "masks", world / "out", "cvat", None, progress=silent)
    before = state_of(world, (world / "here",))
    with zipfile.ZipFile(world / "out/annotations.zip") as archive:
        for entry in archive.infolist():
            assert not re.search(r"(^|/)\.\.(/|$)|^/|\\|\0", entry.filename)
            assert entry.external_attr >> 16 == 0o644  # no link, no device
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
        archive.extractall(world / "here")
    assert state_of(world, (world / "here",)) == before
    found = set(files_in(world / "here/SegmentationClass"))
    assert found == {f"{sample_id}.png" for sample_id in ODD}


@pytest.mark.filterwarnings("ignore")  # datumaro's own
def test_datumaro_reads_the_zip_of_odd_names(world, monkeypatch):
    datumaro = pytest.importorskip("datumaro")
    monkeypatch.setenv("HOME", str(world))
    export_masks(world / "masks", world / "out", "cvat", None, progress=silent)
    with zipfile.ZipFile(world / "out/annotations.zip") as archive:
        archive.extractall(world / "here")
    dataset = datumaro.Dataset.import_from(str(world / "here"), "voc_segmentation")
    labels = dataset.categories()[datumaro.components.annotation.AnnotationType.label]
    assert {item.id for item in dataset} == {*ODD}
    assert [label.name for label in labels][1:] == [name.replace(":", "") for name in NAMES]


@pytest.fixture
def of_names(tmp_path):
    """Export one mask under the classes; the folder."""

    def export(to):
        export_all(load_exporter(to), tmp_path, ExportSettings(), {"one": VALUES}, CLASSES)
        return tmp_path / "out"

    return export


def test_class_names_are_no_code_in_yolo_s_yaml(of_names):
    yaml = pytest.importorskip("yaml")
    text = (of_names("yolo") / "data.yaml").read_text(encoding="utf-8")
    for loader in (yaml.SafeLoader, yaml.UnsafeLoader):  # nothing is a tag, so that even this makes plain text
        read = yaml.load(text, loader)
        assert read["names"] == dict(enumerate(NAMES))
        assert read.keys() == {"train", "val", "nc", "names"}


def test_class_names_are_no_code_in_mmsegmentation_s_config(of_names):
    """mmengine runs the file: it must hold literals alone."""
    import ast

    tree = ast.parse((of_names("voc") / "dataset.py").read_text(encoding="utf-8"))
    calls = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert calls == {"dict"}
    tuples = [ast.literal_eval(node) for node in ast.walk(tree) if isinstance(node, ast.Tuple)]
    assert ("background", *NAMES) in tuples


def test_a_folder_s_name_is_no_code_in_mmsegmentation_s_config(tmp_path):
    import ast

    root = tmp_path / "', __import__('os').system('x'), '{classes}"
    root.mkdir()
    export_all(load_exporter("voc"), root, ExportSettings(), {"one": VALUES}, CLASSES)
    tree = ast.parse((root / "out/dataset.py").read_text(encoding="utf-8"))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert str((root / "out").absolute()) in texts


def test_class_names_stand_one_a_line_and_in_json(of_names):
    lines = (of_names("labelme") / "labels.txt").read_text(encoding="utf-8").split("\n")
    assert lines == ["__ignore__", "_background_", *NAMES, ""]
    assert list(json.loads((of_names("labelme") / "one.json").read_text())["flags"]) == list(NAMES)
    coco = json.loads((of_names("coco") / "instances.json").read_text())
    assert [each["name"] for each in coco["categories"]] == list(NAMES)


def test_the_dataset_card_keeps_its_head(of_names):
    """YAML between the first two lines of dashes is what `datasets` follows; a class called --- does not end it."""
    yaml = pytest.importorskip("yaml")
    card = (of_names("hf") / "README.md").read_text(encoding="utf-8")
    _, head, body = card.split("---\n", 2)
    assert yaml.safe_load(head)["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "**"}]}
    ]
    assert [line for line in body.splitlines() if re.match(r"- \d+: ", line)][1:] == [
        f"- {k}: {name}" for k, name in enumerate(NAMES, 1)
    ]


def test_class_names_are_text_in_label_studio_s_config():
    from defusedxml.ElementTree import fromstring

    from semples_cli.artifacts.export.label_studio import label_config

    names = (*NAMES, '"/><Evil/>', "]]>", "&lt;", "<!--")
    root = fromstring(label_config(ClassSet(names)))
    assert [each.get("value") for each in root.iter("Label")] == list(names)
    assert {each.tag for each in root.iter()} == {"View", "Image", "BrushLabels", "Label"}


def test_names_come_back_from_the_review_queue_as_they_are(tmp_path):
    """A spreadsheet may take =… for a formula. Nothing is put before it: programs read this file, by these names."""
    rows = [
        ReviewRow(name, 1, name, 0.5, 0.5, 1.0, tmp_path / "m.png") for name in (*NAMES, *ODD, "a\nb", 'a"b', "a\rb")
    ]
    write_review(tmp_path / "review.csv", rows)
    with (tmp_path / "review.csv").open(newline="", encoding="utf-8") as handle:
        read = list(csv.DictReader(handle))
    assert [(row["image"], row["class"]) for row in read] == [(row.id, row.class_name) for row in rows]


@pytest.mark.parametrize("form", ["list-csv", "onehot-csv", "jsonl"])
@pytest.mark.parametrize("name", NAMES)
def test_a_class_comes_back_from_a_label_file_or_is_refused(tmp_path, form, name):
    classes, path = ClassSet((name, "other")), tmp_path / f"labels.{'jsonl' if form == 'jsonl' else 'csv'}"
    rows = {f"{sample_id}.png": (name,) for sample_id in (*ODD, "#first")}
    if re.search("[|;]", name) and form == "list-csv":
        with pytest.raises(DataError, match="cannot stand in list-csv"):
            write_labels(path, form, rows, classes)
        return
    write_labels(path, form, rows, classes)
    table = read_labels(path, form, classes)
    assert table.problems == ()
    assert {image: row.names for image, row in table.rows.items()} == rows


@pytest.fixture
def before_1980(monkeypatch):
    """A machine without a battery: its clock says 1970, and so do its files."""
    epoch = time.gmtime(0)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(time, "localtime", lambda *_: epoch)
    monkeypatch.setattr(time, "gmtime", lambda *_: epoch)


@pytest.mark.parametrize("to", TO)
def test_a_clock_before_1980_stops_no_export(tmp_path, before_1980, to):
    """Zip files know no earlier year."""
    write_pair(tmp_path, "one")
    for path in tmp_path.rglob("*.png"):
        os.utime(path, (0, 0))
    record = {"command": "cams", "inputs": [str(tmp_path / "images")], "classes": class_record(CLASSES)}
    write_run_record(tmp_path / "masks", record)
    done = export_masks(tmp_path / "masks", tmp_path / "out", to, None, progress=silent)
    assert done.summary.written == 1


def test_a_clock_before_1980_stops_no_cam(tmp_path, before_1980):
    cam = Cam("a", np.array([1]), np.ones((1, 2, 3), np.float32), (4, 6))
    path = write_cam(tmp_path, cam, {})
    assert read_cam(path, "a").image_size == (4, 6)


def test_nothing_of_a_name_reaches_a_shell(world):
    """As a person would call it; `touch ran` in a name must stay a name."""
    command = [
        sys.executable,
        "-m",
        "semples_cli",
        "export",
        str(world / "masks"),
        "--to",
        "coco",
        "--out",
        str(world / "o"),
    ]
    done = subprocess.run(command, cwd=world, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert not (world / "ran").exists()
    assert not re.search(r"\x1b\[2J", done.stderr)  # nor does it move the cursor of a terminal
