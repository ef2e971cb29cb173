"""What a report takes for a stage, in which order, and what the ground truth says of it."""

import json
import shutil

import numpy as np
import pytest
from report_world import CLASSES, SCENES, make_world

from semples_cli.artifacts.mask_png import write_mask
from semples_cli.artifacts.run_folder import RunFolder, class_record, write_run_record
from semples_cli.errors import ArtifactError, SettingsError
from semples_cli.steps.cam_reader import ANY_FORM
from semples_cli.steps.evaluate_masks import evaluate_cams, evaluate_masks
from semples_cli.steps.progress import silent
from semples_cli.steps.report_stages import cut_stage, find_stages, measure, open_stage
from semples_cli.types import ClassSet


@pytest.fixture
def run(tmp_path):
    return make_world(tmp_path)


def begin(part):
    return silent


def note(sentence):
    pytest.fail(f"noted: {sentence}")


def names(stages):
    return [stage.name for stage in stages]


def edit_record(folder, **changes):
    path = RunFolder(folder).record
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_pipeline_folder_has_its_stages_in_order(run):
    seeds, crf = find_stages(run)
    assert names([seeds, crf]) == ["seeds", "crf"]
    assert sorted(crf.masks) == sorted(SCENES)
    assert sorted(seeds.cams.paths) == sorted(SCENES)
    assert crf.cams is None
    assert crf.entries["a/1"].confidence == 0.9
    assert crf.class_set == CLASSES
    assert crf.record["settings"] == {"iterations": 10}


@pytest.mark.parametrize(
    ("folders", "order"),
    [
        (["crf", "refined", "seeds", "matched"], ["matched", "seeds", "refined", "crf"]),
        (
            ["crf", "generator", "matched", "refined", "seeds", "seeds+prompts"],
            ["seeds", "generator", "matched", "seeds+prompts", "refined", "crf"],
        ),
        (["mine", "crf", "also mine"], ["also mine", "mine", "crf"]),
    ],
)
def test_order_of_the_stages(tmp_path, folders, order):
    for name in folders:
        write_run_record(tmp_path / name, {"command": "cams", "classes": class_record(CLASSES)})
    (tmp_path / "world").mkdir()  # no run
    assert names(find_stages(tmp_path)) == order


def test_a_run_folder_is_one_stage(run):
    assert names(find_stages(run / "crf")) == ["crf"]


def test_a_folder_of_masks_needs_classes(run, tmp_path):
    shutil.rmtree(run / "crf" / ".semples")
    with pytest.raises(SettingsError, match=r"does not say its classes .*add --classes classes\.txt"):
        find_stages(run / "crf")
    (stage,) = find_stages(run / "crf", CLASSES)
    assert (stage.record, stage.entries, len(stage.masks)) == ({}, {}, 4)


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_neither_run_nor_masks(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match=rf"{name}: neither a run nor masks here; give the --out folder"):
        find_stages(tmp_path / name, CLASSES)


def test_other_classes_than_recorded(run):
    with pytest.raises(SettingsError, match="says other classes than --classes; leave --classes out"):
        find_stages(run, ClassSet(("cat",)))


def test_stages_of_other_class_lists_do_not_compare(run):
    edit_record(run / "crf", classes=class_record(ClassSet(("emu", "dog", "cat"))))
    with pytest.raises(SettingsError, match="other class lists, so that their masks do not compare: give one of them"):
        find_stages(run)


@pytest.mark.parametrize("name", ["settings", "engine", "generator", "background_choice"])
def test_a_damaged_record_is_named(run, name):
    edit_record(run / "crf", **{name: [1]})
    with pytest.raises(ArtifactError, match=rf"run\.json: '{name}' is damaged; run the command that made .*crf again"):
        open_stage(run / "crf")


def test_a_damaged_manifest_is_named(run):
    with RunFolder(run / "crf").manifest.open("a") as handle:
        handle.write("{}\n")
    with pytest.raises(ArtifactError, match=r"manifest\.jsonl:5: damaged line"):
        open_stage(run / "crf")


def test_measuring_gives_what_evaluate_gives_and_a_score_for_each_image(run, tmp_path):
    stage = measure(open_stage(run / "seeds"), tmp_path / "truth", None, begin, note)
    expected = evaluate_masks(run / "seeds", tmp_path / "truth", progress=silent)
    np.testing.assert_array_equal(stage.report.confusion, expected.confusion)
    assert stage.image_scores == pytest.approx({"a/1": 1.0, "a/2": 4 / 12, "b": 0.0, "c": 0.25})
    assert stage.curve == evaluate_cams(run / "seeds", tmp_path / "truth", progress=silent).curve
    assert measure(open_stage(run / "crf"), tmp_path / "truth", None, begin, note).curve == ()


def test_a_split_list_counts_only_what_it_names(run, tmp_path):
    (tmp_path / "val.txt").write_text("b\n")
    stage = measure(open_stage(run / "seeds"), tmp_path / "truth", tmp_path / "val.txt", begin, note)
    assert list(stage.image_scores) == ["b"]
    assert stage.report.num_images == 1


def test_a_stage_in_which_everything_failed_is_not_measured(run, tmp_path):
    for path in (run / "crf").rglob("*.png"):
        path.unlink()
    said = []
    stage = measure(open_stage(run / "crf"), tmp_path / "truth", None, begin, said.append)
    assert stage.report is None
    assert said == [f"{run / 'crf'}: no mask here, nothing to compare with the ground truth"]


def test_masks_are_cut_where_the_report_cuts(run, tmp_path):
    report = evaluate_cams(run / "seeds", tmp_path / "truth", background_score=0.9, progress=silent)
    (tmp_path / "truth" / "b.png").unlink()
    stage = cut_stage(open_stage(run / "seeds"), ANY_FORM, report, tmp_path / "truth", None, silent)
    assert sorted(stage.masks) == ["a/1", "a/2", "c"]  # those with ground truth
    assert set(stage.image_scores.values()) == {0.0}
    values = stage.read_values("c", stage.cams.read("c"))
    assert not values.any()


def test_the_mask_is_read_where_nothing_is_cut(run):
    write_mask(run / "crf" / "c.png", np.full((3, 4), 255, np.uint8))
    assert (open_stage(run / "crf").read_values("c") == 255).all()
