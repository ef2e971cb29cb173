"""A folder of masks is looked at: each kind of damage is found, under its code, in the files that have it."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semples_cli.artifacts.manifest import Manifest
from semples_cli.artifacts.manifest_entries import ManifestEntry
from semples_cli.artifacts.mask_png import write_mask
from semples_cli.artifacts.run_folder import RunFolder, class_record, write_run_record
from semples_cli.errors import ArtifactError, DataError, SettingsError
from semples_cli.steps import check_masks as step
from semples_cli.steps import mask_findings
from semples_cli.steps.check_masks import check_as_dict, check_masks
from semples_cli.steps.mask_findings import Findings
from semples_cli.steps.progress import silent
from semples_cli.types import ClassSet

CLASSES = ClassSet(("cat", "dog", "cow"))
IDS = ("a", "b/c", "d")


def values_of(*present, size=(6, 8)):
    """A mask whose columns are background and then these values, each in two columns of eight."""
    values = np.zeros(size, np.uint8)
    for number, value in enumerate(present, 1):
        values[:, 2 * number : 2 * number + 2] = value
    return values


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Three good masks with their images; the labels name what they show."""
    monkeypatch.chdir(tmp_path)
    for sample_id in IDS:
        write_mask(tmp_path / f"masks/{sample_id}.png", values_of(1, 2))
        picture(tmp_path / f"images/{sample_id}.jpg")
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES.names))
    (tmp_path / "labels.csv").write_text("image,labels\n" + "".join(f"{each}.jpg,cat|dog\n" for each in IDS))
    return tmp_path


def picture(path, size=(6, 8), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1], (9, 99, 9)).save(path, **options)


def look(world, *, known="images classes labels", note=None, **options):
    """Check the masks with what is named as known."""
    given = {"images": [world / "images"], "classes": world / "classes.txt", "labels": world / "labels.csv"}
    chosen = {key: given[key] for key in known.split()} | options
    return check_masks(world / "masks", progress=silent, note=note, **chosen)


def found(check):
    """Items by code."""
    return {finding.code: dict(finding.items) for finding in check.findings}


def test_nothing_is_wrong_with_good_masks(world):
    check = look(world)
    assert check.findings == ()
    assert (check.masks, check.images, check.class_names, check.labelled, check.coverage) == (
        3,
        3,
        CLASSES.names,
        3,
        1.0,
    )
    assert not check.has_errors


def test_nothing_is_changed(world):
    (world / "masks/x.png").write_bytes(b"rubbish")

    def state():
        paths = sorted(path for path in world.rglob("*"))
        return [(path, path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in paths]

    before = state()
    look(world)
    assert state() == before


def test_what_is_not_known_is_said_and_not_compared(world):
    notes = []
    check = look(world, known="", note=notes.append)
    assert notes == [
        "no images known: sizes are not compared; add --images",
        "no class list known: values are not compared with it; add --classes",
    ]
    assert (check.images, check.class_names, check.labelled) == (None, None, 0)
    assert check.findings == ()


# Files that are no masks.


def damaged(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def flipped(path):
    data = bytearray(path.read_bytes())
    data[-20] ^= 255  # in the checksummed pixels
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("spoil", "code", "detail"),
    [
        (damaged, "unreadable", "this PNG is damaged"),
        (flipped, "unreadable", "this PNG is damaged"),
        (lambda path: path.write_bytes(b""), "unreadable", "this file is empty"),
        (lambda path: path.write_bytes(b"text" * 20), "unreadable", "is not a PNG"),
        (lambda path: path.write_bytes(path.read_bytes()[:20]), "unreadable", "is not a PNG"),
        (lambda path: Image.new("RGB", (8, 6)).save(path), "wrong-kind", "8-bit RGB PNG"),
        (lambda path: Image.new("RGBA", (8, 6)).save(path), "wrong-kind", "8-bit RGBA PNG"),
        (lambda path: Image.new("LA", (8, 6)).save(path), "wrong-kind", "8-bit grey with alpha PNG"),
        (lambda path: Image.new("I;16", (8, 6)).save(path), "wrong-kind", "16-bit grey PNG"),
        (lambda path: Image.new("1", (8, 6)).save(path), "wrong-kind", "1-bit grey PNG"),
        (lambda path: Image.new("L", (8, 6)).save(path, "JPEG"), "jpeg", "is not a PNG"),
    ],
)
def test_a_file_that_is_no_mask_is_found(world, spoil, code, detail):
    spoil(world / "masks/b/c.png")
    check = look(world)
    assert list(found(check)) == [code]
    assert list(found(check)[code]) == ["b/c"]
    assert detail in found(check)[code]["b/c"]
    assert check.has_errors


def test_a_mask_that_may_not_be_read_is_found(world, monkeypatch):
    (world / "masks/d.png").unlink()
    (world / "masks/d.png").symlink_to("nowhere.png")
    assert list(found(look(world))["unreadable"]) == ["d"]


def test_jpegs_among_the_masks_are_found_by_their_names(world):
    picture(world / "masks/b/x.JPG")
    picture(world / "masks/overlays/a.jpg")  # pictures of ours
    assert found(look(world)) == {"jpeg": {"b/x.JPG": ""}}


def test_grey_and_two_bit_palette_masks_are_masks(world):
    write_mask(world / "masks/a.png", values_of(1, 2), mode="L")
    image = Image.fromarray(values_of(1, 2))
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    image.save(world / "masks/d.png", bits=2)
    check = look(world)
    assert found(check) == {"no-palette": {"a": ""}}
    assert (check.findings[0].severity, check.has_errors) == ("info", False)


def test_colours_unlike_vocs_are_told_from_vocs(world):
    image = Image.fromarray(values_of(1, 2))
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 128, 0])
    image.save(world / "masks/a.png")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 7, 7, 7])  # 3 is not in the mask
    image.save(world / "masks/d.png")
    assert found(look(world)) == {"palette": {"a": ""}}


def test_an_empty_folder_is_an_error(world):
    shutil.rmtree(world / "masks")
    (world / "masks").mkdir()
    check = look(world, known="")
    assert found(check) == {"no-masks": {str(world / "masks"): ""}}
    assert (check.masks, check.coverage, check.has_errors) == (0, None, True)


def test_no_folder_is_refused(world):
    with pytest.raises(ArtifactError, match="nowhere: no such folder; give the folder that holds the mask PNGs"):
        check_masks(world / "nowhere", progress=silent)


# Values.


def test_values_that_are_no_class_are_named(world):
    write_mask(world / "masks/a.png", values_of(1, 4, 254))
    write_mask(world / "masks/d.png", np.arange(48, dtype=np.uint8).reshape(6, 8))
    check = look(world, known="images classes")
    assert found(check) == {
        "no-class": {"a": "4, 254; there are 3 classes", "d": "4, 5, 6, 7, 8 and 39 more; there are 3 classes"}
    }


def test_grey_levels_are_suspected_without_a_class_list(world):
    write_mask(world / "masks/a.png", (np.arange(48, dtype=np.uint8) * 5).reshape(6, 8))
    write_mask(world / "masks/d.png", np.arange(40, dtype=np.uint8).repeat(2).reshape(8, 10))
    check = look(world, known="")
    assert found(check) == {"grey-levels": {"a": "47 values"}}
    assert check.findings[0].severity == "warning"


def test_binary_masks_are_an_error_and_void_beside_classes_is_not(world):
    for sample_id in IDS:
        write_mask(world / f"masks/{sample_id}.png", values_of(255))
    check = look(world, known="images classes")
    assert found(check)["binary"] == {str(world / "masks"): ""}
    assert check.has_errors
    write_mask(world / "masks/a.png", values_of(255, 1))
    assert "binary" not in found(look(world, known="images classes"))


def test_masks_of_background_alone_are_noted_where_no_label_is_known(world):
    write_mask(world / "masks/a.png", values_of())
    assert found(look(world, known="images classes")) == {"only-background": {"a": ""}}
    assert "binary" not in found(look(world, known=""))


def test_void_is_counted(world):
    write_mask(world / "masks/a.png", values_of(255, 255, 1))  # half of it
    write_mask(world / "masks/b/c.png", np.full((6, 8), 255, np.uint8))
    void = values_of(255, 255, 1)
    void[0, 0] = 255
    write_mask(world / "masks/d.png", void)
    check = look(world, known="images classes")
    assert found(check) == {"all-ignore": {"b/c": ""}, "low-coverage": {"d": "47.9%"}}
    assert check.coverage == pytest.approx(1 - (24 + 48 + 25) / 144)
    assert not check.has_errors


# Images.


def test_sizes_unlike_the_images_are_found(world):
    write_mask(world / "masks/a.png", values_of(1, 2, size=(5, 8)))
    check = look(world)
    assert found(check) == {"size": {"a": "5 × 8, the image 6 × 8"}}


def test_exchanged_sides_hint_at_exif(world):
    write_mask(world / "masks/a.png", values_of(1, 2, size=(8, 6)))
    check = look(world)
    assert found(check) == {"transposed": {"a": "8 × 6, the image 6 × 8"}}
    assert "EXIF orientation" in check.findings[0].cure


def test_the_size_of_an_image_is_that_of_the_upright_one(world):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(world / "images/a.jpg", size=(8, 6), exif=exif)
    assert found(look(world)) == {}
    write_mask(world / "masks/a.png", values_of(1, 2, size=(8, 6)))
    assert "transposed" in found(look(world))


def test_what_lacks_its_other_half_is_found(world):
    (world / "masks/a.png").rename(world / "masks/x.png")
    check = look(world, known="images classes")
    assert found(check) == {"no-image": {"x": ""}, "no-mask": {"a": ""}}
    assert [finding.severity for finding in check.findings] == ["error", "warning"]


def test_an_image_that_cannot_be_read_is_found_and_its_mask_is_still_looked_at(world):
    (world / "images/a.jpg").write_bytes(b"rubbish")
    write_mask(world / "masks/a.png", values_of(1, 9))
    check = look(world, known="images classes")
    assert list(found(check)) == ["no-class", "image"]
    assert "a.jpg: not an image that can be read" in found(check)["image"]["a"]


# Labels.


def test_classes_are_compared_with_the_labels(world):
    write_mask(world / "masks/a.png", values_of(1))
    write_mask(world / "masks/b/c.png", values_of(1, 2, 3))
    write_mask(world / "masks/d.png", values_of(255))
    check = look(world)
    assert found(check) == {
        "foreign-class": {"b/c": "cow"},
        "all-background": {"d": "cat, dog"},
        "no-pixel": {"a": "dog"},
    }
    assert [finding.severity for finding in check.findings] == ["error", "warning", "warning"]


def test_an_image_without_class_may_be_all_background(world):
    (world / "labels.csv").write_text("image,labels\na.jpg,none\nb/c.jpg,cat|dog\n")
    write_mask(world / "masks/a.png", values_of())
    check = look(world)
    assert (found(check), check.labelled) == ({}, 2)


def test_a_class_beyond_the_list_is_named_by_its_number(world):
    write_mask(world / "masks/a.png", values_of(1, 2, 7))
    assert found(look(world))["foreign-class"] == {"a": "7"}


def test_labels_bring_their_classes_where_no_others_are_known(world):
    check = look(world, known="images labels")
    assert (check.class_names, found(check)) == (("cat", "dog"), {})


def test_labels_in_another_order_than_the_masks_are_compared_by_name(world):
    write_run_record(world / "masks", {"classes": class_record(ClassSet(("dog", "cat")))})
    for sample_id in IDS:
        write_mask(world / f"masks/{sample_id}.png", values_of(1))
    (world / "labels.csv").write_text("image,labels\n" + "".join(f"{each}.jpg,dog\n" for each in IDS))
    assert found(look(world, known="images labels")) == {}


def test_labels_with_classes_that_the_masks_do_not_have_are_refused(world):
    write_run_record(world / "masks", {"classes": class_record(ClassSet(("dogs", "cat")))})
    with pytest.raises(DataError, match=r"labels\.csv goes with other classes than the masks: .* did you mean 'dogs'"):
        look(world, known="images labels")


def test_labels_without_images_are_refused(world):
    with pytest.raises(SettingsError, match=r"labels\.csv: of which images is not known; add --images"):
        look(world, known="labels")


def test_label_rows_that_cannot_be_used_are_counted(world):
    (world / "labels.csv").write_text("image,labels\na.jpg,cat|dog\nb/c.jpg,cat|dog\nd.jpg,mouse\n")
    notes = []
    look(world, note=notes.append)
    assert "1 label rows cannot be used: `semples labels inspect` lists them" in notes


# The run's own files.


@pytest.fixture
def run(world):
    """The masks as a run of ours."""
    record = {"classes": class_record(CLASSES), "inputs": [str(world / "images")], "command": "cams"}
    write_run_record(world / "masks", record)
    with Manifest(RunFolder(world / "masks")) as manifest:
        for sample_id in IDS:
            entry = ManifestEntry(sample_id, "ok", output=f"{sample_id}.png", class_confidence={"1": 0.5, "2": 0.5})
            manifest.append(entry)
    return world


def test_a_run_knows_images_classes_and_labels_itself(run):
    check = look(run, known="")
    assert (check.images, check.class_names, check.labelled, check.findings) == (3, CLASSES.names, 3, ())
    write_mask(run / "masks/a.png", values_of(1, 3))
    assert found(look(run, known="")) == {"foreign-class": {"a": "cow"}, "no-pixel": {"a": "dog"}}


def test_a_mask_that_the_manifest_promises_is_missed(run):
    (run / "masks/a.png").unlink()
    check = look(run, known="")
    assert found(check) == {"no-file": {"a": "a.png"}, "no-mask": {"a": ""}}
    assert check.has_errors


def test_an_image_that_was_taken_out_with_its_mask_is_missed_by_nobody(run):
    (run / "masks/a.png").unlink()
    next((run / "images").glob("a.*")).unlink()
    check = look(run, known="")
    assert found(check) == {}
    assert not check.has_errors


def test_a_mask_that_the_manifest_does_not_know_is_found(run):
    with Manifest(RunFolder(run / "masks")) as manifest:
        manifest.append(ManifestEntry("a", "failed", "too dark"))
    write_mask(run / "masks/x.png", values_of(1))
    picture(run / "images/x.jpg")
    check = look(run, known="")
    assert found(check) == {"not-ok": {"a": "failed: too dark", "x": "not in the manifest"}}
    assert not check.has_errors


def test_why_an_image_has_no_mask_is_said(run):
    with Manifest(RunFolder(run / "masks")) as manifest:
        manifest.append(ManifestEntry("a", "skipped", "no label names it"))
    (run / "masks/a.png").unlink()
    assert found(look(run, known="")) == {"no-mask": {"a": "skipped: no label names it"}}


def test_a_damaged_manifest_is_an_error_and_the_masks_are_still_looked_at(run):
    (run / "masks/.semples/manifest.jsonl").write_text("rubbish\n")
    write_mask(run / "masks/a.png", values_of(9))
    check = look(run, known="")
    assert list(found(check)) == ["no-class", "record"]
    assert "damaged line" in found(check)["record"]["manifest.jsonl"]


@pytest.mark.parametrize("text", ["rubbish", json.dumps({"format_version": 1, "classes": {"names": 3}})])
def test_a_damaged_record_is_one_error(run, text):
    (run / "masks/.semples/run.json").write_text(text)
    check = look(run, known="images classes")
    assert list(found(check)) == ["record"]
    assert list(found(check)["record"]) == ["run.json"]


def test_recorded_images_that_are_gone_are_said(run):
    (run / "images").rename(run / "moved")
    notes = []
    check = look(run, known="", note=notes.append)
    assert notes[0] == f"run.json says that the images are {run / 'images'}, which is not there"
    assert (check.images, check.findings) == (None, ())


def test_a_class_list_other_than_the_runs_is_said(run):
    (run / "classes.txt").write_text("dog\ncat\ncow")
    notes = []
    assert look(run, known="classes", note=notes.append).class_names == ("dog", "cat", "cow")
    assert notes == ["--classes is not the class list of the masks' own run.json, which is left aside"]


# Names.


def test_leftovers_are_found_wherever_they_lie(run):
    for name in ("a.png.partial", ".semples/cams/a.npz.partial"):
        (run / "masks" / name).parent.mkdir(exist_ok=True)
        (run / "masks" / name).touch()
    assert found(look(run, known="")) == {"unfinished": {"a.png.partial": "", ".semples/cams/a.npz.partial": ""}}


def test_names_that_collide_elsewhere_are_found(world):
    write_mask(world / "masks/B/C.png", values_of(1, 2))
    write_mask(world / "masks/e/a.png", values_of(1, 2))
    assert found(look(world, known="")) == {
        "case": {"B/C": "as b/c", "b/c": "as B/C"},
        "same-name": {"a": "as e/a", "e/a": "as a"},
    }


def test_two_files_of_one_id_are_an_error(world):
    shutil.copy(world / "masks/a.png", world / "masks/a.PNG")
    check = look(world)
    assert found(check) == {"same-id": {"a": "a.PNG and a.png"}}
    assert check.has_errors


def test_folders_that_are_runs_of_their_own_are_named_and_not_mixed_in(run):
    shutil.copytree(run / "masks", run / "whole/crf")
    shutil.copytree(run / "masks", run / "whole/seeds")
    check = check_masks(run / "whole", progress=silent)
    assert found(check) == {"no-masks": {str(run / "whole"): ""}, "run": {"crf": "", "seeds": ""}}


def test_a_folder_that_cannot_be_listed_is_an_error(world, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    check = look(world, known="")
    assert found(check) == {"unreadable": {str(world / "masks/b"): "cannot be listed: Permission denied"}}


# Many masks.


def test_worker_processes_find_the_same(world, monkeypatch):
    monkeypatch.setattr(step, "MASKS_A_WORKER", 1)
    write_mask(world / "masks/a.png", values_of(1, 9))
    (world / "masks/d.png").write_bytes(b"rubbish")
    assert look(world, workers=2) == look(world)
    assert list(found(look(world, workers=2))) == ["unreadable", "no-class", "foreign-class", "no-pixel"]


def test_a_small_folder_starts_no_process(world, monkeypatch):
    asked = []
    process_each = step.process_each
    monkeypatch.setattr(
        step, "process_each", lambda task, jobs, workers: asked.append(workers) or process_each(task, jobs, workers)
    )
    look(world, workers=64)
    assert asked == [1]


def test_progress_counts_masks(world):
    steps = []
    check_masks(world / "masks", progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_the_document_has_every_item(world):
    for number in range(30):
        (world / f"masks/x{number:02}.png").write_bytes(b"rubbish")
    document = check_as_dict(look(world))
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert (document["ok"], document["masks"], document["classes"]) == (False, 33, list(CLASSES.names))
    first = document["findings"][0]
    assert (first["code"], first["severity"], first["count"], len(first["items"])) == ("unreadable", "error", 30, 30)
    assert first["items"][0]["id"] == "x00"
    assert first["cure"]


def test_a_code_that_is_not_in_the_catalogue_is_a_bug():
    with pytest.raises(KeyError):
        Findings().add("no such code", "a")


def test_the_page_lists_the_catalogue():
    page = (Path(__file__).parents[2] / "docs/handoff/check.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([\w-]+)` \| (\w+) \|", page, re.MULTILINE)
    assert listed == [(code, severity) for code, (severity, _, _) in mask_findings._CATALOGUE.items()]


def test_findings_are_the_same_every_time(world):
    (world / "masks/a.png").write_bytes(b"rubbish")
    texts = [json.dumps(check_as_dict(look(world))) for _ in range(2)]
    assert len({hashlib.sha256(text.encode()).hexdigest() for text in texts}) == 1
