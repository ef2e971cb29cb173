"""Masks from COCO instances: against pycocotools' own drawing and by hand, overlaps, crowds, resume, damage."""

import json

import numpy as np
import pytest
from coco_files import SIZE, annotation, box, document, names, numbered, write_coco
from pycocotools.coco import COCO

from semples_cli.artifacts.mask_png import find_masks, read_mask
from semples_cli.data.class_list import read_class_list
from semples_cli.errors import ArtifactError, DataError, SettingsError
from semples_cli.steps.evaluate_masks import evaluate_masks
from semples_cli.steps.make_coco_masks import make_coco_masks
from semples_cli.steps.progress import silent
from semples_cli.types import ClassSet

PERSON, BOAT, DOG = (read_class_list("coco14").index_of(name) for name in ("person", "boat", "dog"))
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
    make(class_set=ClassSet(("dog", "boat", "person")))
    assert set(np.unique(read_mask(make.out / f"{IDS[0]}.png"))) == {0, 2, 3}
    with pytest.raises(DataError, match="category 'boat' is no class of the list"):
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
    [[[1, 2]], {"size": [12, 16], "counts": [5]}, {"size": [3, 3], "counts": [9]}, None, {"size": [12, 16]}],
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
        make(class_set=ClassSet(("dog", "boat", "person")))
