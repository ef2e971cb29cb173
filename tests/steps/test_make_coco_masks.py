"""Masks from COCO instances: against pycocotools' own drawing and by hand, overlaps, crowds, resume, damage."""

import json

import numpy as np
import pytest
from coco_files import NAMES, SIZE, annotation, box, document, names, numbered, write_coco
from PIL import Image
from pycocotools.coco import COCO

from semples_cli.artifacts.mask_png import find_masks, read_mask
from semples_cli.data.class_list import read_class_list
from semples_cli.errors import ArtifactError, DataError, SettingsError
from semples_cli.steps.evaluate_masks import evaluate_masks
from semples_cli.steps.make_coco_masks import make_coco_masks
from semples_cli.steps.progress import silent
from semples_cli.types import ClassSet

PERSON, BOAT, DOG = (read_class_list("coco14").index_of(name) for name in ("person", "boat", "dog"))
TURNED = ClassSet(tuple(reversed(NAMES.values())))
IDS = [name.removesuffix(".jpg") for name in names("train2014")]


@pytest.fixture
def annotations(tmp_path):
    return write_coco(tmp_path / "coco") / "annotations/instances_train2014.json"


@pytest.fixture
def make(annotations, tmp_path):
    def run(**options):
        return make_coco_masks(annotations, tmp_path / "gt", progress=silent, **options)

    run.out = tmp_path / "gt"
    return run


def test_masks_hold_what_pycocotools_draws(make, annotations, capsys):
    summary = make()
    assert (summary.written, summary.failed) == (4, ())
    assert set(find_masks(make.out)) == set(IDS)
    reader = COCO(str(annotations))
    capsys.readouterr()
    values = {1: PERSON, 9: BOAT, 18: DOG}
    for image_id, name in zip((9, 25, 30, 34), IDS, strict=True):
        mask = read_mask(make.out / f"{name}.png")
        drawn = [(reader.annToMask(each).astype(bool), each) for each in reader.loadAnns(reader.getAnnIds(image_id))]
        for region, each in drawn:
            alone = region & ~np.any([other for other, it in drawn if it is not each] or [np.zeros(SIZE, bool)], axis=0)
            assert (mask[alone] == values[each["category_id"]]).all()
        outside = ~np.any([region for region, _ in drawn] or [np.zeros(SIZE, bool)], axis=0)
        assert (mask[outside] == 0).all()
        assert mask.shape == SIZE


def test_the_smaller_region_is_on_top_whatever_their_order(make):
    make()
    mask = read_mask(make.out / f"{IDS[0]}.png")
    assert (mask[2:8, 4:7] == PERSON).all()  # the person stands before the boat
    assert mask[2, 1] == mask[9, 12] == BOAT
    assert (mask == PERSON).sum() == 18
    assert (mask == BOAT).sum() == 12 * 9 - 18


def test_crowds_are_their_class_or_ignored(make):
    make()
    mask = read_mask(make.out / f"{IDS[1]}.png")
    assert (mask[9:] == PERSON).all()
    assert (mask[2:9, 3:11] == DOG).all()
    make(crowd="ignore", overwrite=True)
    again = read_mask(make.out / f"{IDS[1]}.png")
    assert (again[9:] == 255).all()
    np.testing.assert_array_equal(again[:9], mask[:9])


def test_values_follow_the_class_list(make):
    make(class_set=TURNED)
    person, boat = TURNED.index_of("person"), TURNED.index_of("boat")
    assert set(np.unique(read_mask(make.out / f"{IDS[0]}.png"))) == {0, person, boat} != {0, PERSON, BOAT}
    with pytest.raises(DataError, match="category 'bicycle' is no class of the list"):
        make(class_set=ClassSet(("dog", "person")), overwrite=True)


def test_it_is_ground_truth_for_evaluate(make):
    make()
    report = evaluate_masks(make.out, make.out, progress=silent)
    assert report.miou == 1
    assert report.num_images == 4


def test_what_is_done_is_kept_and_what_changed_is_drawn_again(make, annotations):
    make(limit=2)
    before = {path: path.stat().st_mtime_ns for path in find_masks(make.out).values()}
    assert make().resumed == 2
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    content = document()
    content["annotations"][0]["segmentation"] = box(4, 2, 2, 2)
    annotations.write_text(json.dumps(content))
    summary = make()
    assert (summary.written, summary.resumed) == (1, 3)
    assert (read_mask(make.out / f"{IDS[0]}.png") == PERSON).sum() == 4
    (make.out / f"{IDS[2]}.png").unlink()
    assert make().written == 1


def test_a_grey_mask(make):
    make(mask_mode="L")
    np.testing.assert_array_equal(np.unique(read_mask(make.out / f"{IDS[0]}.png")), sorted({0, PERSON, BOAT}))


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1, 2]],
        None,
        {"size": [12, 16]},
        {"size": [12, 16], "counts": [5]},
        {"size": [12, 16], "counts": "00"},
        {"size": [3, 3], "counts": [9]},
        [[1, 1, float("nan"), 1, 5, 5]],
    ],
)
def test_a_region_that_cannot_be_drawn_fails_alone(make, annotations, segmentation):
    content = document()
    content["annotations"] = numbered([annotation(9, 1, segmentation), annotation(34, 9, box(1, 1, 3, 3))])
    annotations.write_text(json.dumps(content))
    summary = make()
    assert [item for item, _ in summary.failed] == [IDS[0]]
    assert "correct the file" in summary.failed[0][1]
    assert summary.written == 3
    assert IDS[0] not in find_masks(make.out)


@pytest.mark.parametrize("options", [{"crowd": "maybe"}, {"mask_mode": "RGB"}])
def test_unknown_options(make, options):
    with pytest.raises(SettingsError, match="choose one of"):
        make(**options)


def test_a_folder_of_another_run_is_refused(make):
    make()
    with pytest.raises((ArtifactError, SettingsError), match="overwrite"):
        make(class_set=TURNED)


def test_only_the_images_of_a_folder(make, annotations):
    images = annotations.parents[1] / "train2014"
    for name in (IDS[1], IDS[2]):
        (images / f"{name}.jpg").unlink()
    Image.new("RGB", (5, 5)).save(images / "ours.jpg")
    summary = make(images=images)
    assert (summary.written, summary.failed) == (2, ())
    assert summary.skipped == (("ours", f"not in {annotations}"),)
    assert set(find_masks(make.out)) == {IDS[0], IDS[3]}
    assert make(images=images).resumed == 2


def test_a_file_for_several_folders_finds_the_images_of_one(make, annotations):
    content = document()
    for image in content["images"]:
        image["file_name"] = f"train2014/{image['file_name']}"
    annotations.write_text(json.dumps(content))
    folder = annotations.parents[1]
    assert make(images=folder / "train2014").written == 4
    assert set(find_masks(make.out)) == set(IDS)
    make(images=folder, overwrite=True)
    assert f"train2014/{IDS[0]}" in find_masks(make.out)


@pytest.mark.parametrize("turned", [True, False])
def test_an_image_of_another_size_fails_alone(make, annotations, turned):
    height, width = SIZE
    path = annotations.parents[1] / f"train2014/{IDS[0]}.jpg"
    image, exif = Image.new("RGB", (width, height) if turned else (width * 2, height * 2)), Image.Exif()
    exif[0x0112] = 6 if turned else 1
    make(images=path.parent)
    image.save(path, exif=exif)
    summary = make(images=path.parent)
    assert (summary.resumed, summary.written) == (3, 0)
    (failed,) = summary.failed
    seen = f"{width} x {height}" if turned else f"{height * 2} x {width * 2}"
    assert failed[0] == IDS[0]
    assert f"is {seen} pixels (height x width), upright, but was annotated at {height} x {width}" in failed[1]
    assert IDS[0] not in find_masks(make.out)


def test_a_damaged_image_fails_alone(make, annotations):
    path = annotations.parents[1] / f"train2014/{IDS[0]}.jpg"
    path.write_bytes(b"no image")
    summary = make(images=path.parent)
    assert [item for item, _ in summary.failed] == [IDS[0]]
    assert summary.written == 3


def test_a_folder_without_its_images_is_refused(make, tmp_path, photos):
    with pytest.raises(DataError, match=r"none of the images of .* lists COCO_train2014_000000000009\.jpg .*give"):
        make(images=photos)


def test_two_images_for_one_mask_are_refused(make, annotations):
    content = document()
    content["images"].append({**content["images"][0], "id": 77, "file_name": f"{IDS[0]}.png"})
    annotations.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"{IDS[0]}.jpg and {IDS[0]}.png would both be written as '{IDS[0]}'; rename"):
        make()
    assert not make.out.exists()


@pytest.mark.parametrize("height", [0, -3, 10**9])
def test_a_size_that_no_image_has_fails_alone(make, annotations, height):
    content = document()
    content["images"][0]["height"] = height
    annotations.write_text(json.dumps(content))
    summary = make()
    assert summary.written == 3
    ((item, reason),) = summary.failed
    assert item == IDS[0]
    assert f"{height} x 16 is no size of an image; correct the file" in reason


def test_of_two_regions_of_one_size_the_later_is_on_top(make, annotations):
    content = document()
    content["annotations"] = numbered([annotation(9, 1, box(1, 1, 4, 4)), annotation(9, 9, box(3, 3, 4, 4))])
    annotations.write_text(json.dumps(content))
    make()
    mask = read_mask(make.out / f"{IDS[0]}.png")
    assert ((mask == BOAT).sum(), (mask == PERSON).sum()) == (16, 12)


def test_a_region_of_lists_within_lists_fails_by_name(make, annotations):
    content = json.loads(annotations.read_text())
    content["annotations"][0]["segmentation"] = json.loads("[" * 700 + "]" * 700)
    annotations.write_text(json.dumps(content))
    summary = make()
    ((item, reason),) = summary.failed
    assert summary.written == 3
    assert item in IDS
    assert "cannot be drawn" in reason
