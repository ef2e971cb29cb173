import json
from importlib.metadata import version

import numpy as np
import pytest

from semples_cli.artifacts.mask_png import find_masks, write_mask
from semples_cli.artifacts.run_folder import (
    RunFolder,
    check_same_run,
    class_record,
    read_class_set,
    read_run_record,
    refuse_stages,
    write_run_record,
)
from semples_cli.errors import ArtifactError, SettingsError
from semples_cli.types import ClassSet

CLASSES = ClassSet(("cat", "dog"), ("cat", "dog puppy"))


def test_where_things_lie(tmp_path):
    run = RunFolder(tmp_path)
    assert run.hidden == tmp_path / ".semples"
    assert run.cams == tmp_path / ".semples/cams"
    assert run.manifest == tmp_path / ".semples/manifest.jsonl"
    assert run.record == tmp_path / ".semples/run.json"
    assert run.lock == tmp_path / ".semples/lock"
    assert run.mask_path("a/1") == tmp_path / "a/1.png"
    assert run.mask_path("a/1.b") == tmp_path / "a/1.b.png"
    assert run.overlay_path("a/1") == tmp_path / "overlays/a/1.png"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrap", [RunFolder, lambda root: root])
def test_record_round_trip(tmp_path, wrap):
    record = {"command": "cams", "classes": class_record(CLASSES), "inputs": ["/ä/\udcff"], "settings": {"size": 512}}
    path = write_run_record(wrap(tmp_path), record)
    assert path == tmp_path / ".semples/run.json"
    assert read_run_record(tmp_path) == {"format_version": 1, "semples_version": version("semples"), **record}
    assert read_class_set(tmp_path) == CLASSES


def test_no_record_is_none(tmp_path):
    assert read_run_record(tmp_path) is None
    assert read_run_record(tmp_path / "absent") is None
    assert read_class_set(tmp_path) is None


def test_a_file_in_place_of_the_folder_is_no_record(tmp_path):
    (tmp_path / "mask.png").write_bytes(b"")
    assert read_run_record(tmp_path / "mask.png") is None


def test_a_record_without_classes_has_none(tmp_path):
    write_run_record(tmp_path, {"command": "crf", "classes": None})
    assert read_class_set(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format_version": "1"}', "\x00\xff"])
def test_damaged_record_names_the_file_and_the_cure(tmp_path, text):
    path = RunFolder(tmp_path).record
    path.parent.mkdir()
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ArtifactError, match=r"run\.json: .*--overwrite"):
        read_run_record(tmp_path)


def test_newer_record_asks_for_an_upgrade(tmp_path):
    path = RunFolder(tmp_path).record
    path.parent.mkdir()
    path.write_text(json.dumps({"format_version": 2}))
    with pytest.raises(ArtifactError, match=r"format 2, .* up to 1; upgrade"):
        read_run_record(tmp_path)


@pytest.mark.parametrize(
    "classes",
    ["cat", 3, {}, {"names": ["cat"]}, {"names": ["cat", "cat"], "prompt_names": ["a", "b"]}, {"names": 1}, [1]],
)
def test_damaged_class_list_names_the_file_and_the_cure(tmp_path, classes):
    write_run_record(tmp_path, {"classes": classes})
    with pytest.raises(ArtifactError, match=r"run\.json: its class list is damaged .*--overwrite"):
        read_class_set(tmp_path)


def record_of(*names, command="cams"):
    return {"command": command, "classes": class_record(ClassSet(names)) if names else None}


def test_a_new_folder_and_the_same_classes_pass():
    check_same_run(None, record_of("cat"))
    check_same_run(record_of("cat", "dog"), record_of("cat", "dog"))
    check_same_run(record_of(), record_of())


def test_other_prompt_names_pass_because_the_mask_values_mean_the_same():
    check_same_run({"classes": class_record(CLASSES)}, {"classes": class_record(ClassSet(("cat", "dog")))})


@pytest.mark.parametrize(
    ("before", "now", "what"),
    [
        (("cat", "dog"), ("dog", "cat"), "class 1 was 'cat', is 'dog'"),
        (("cat", "dog"), ("cat", "hen"), "class 2 was 'dog', is 'hen'"),
        (("cat",), ("cat", "dog"), "1 classes before, 2 now"),
        ((), ("cat",), "0 classes before, 1 now"),
    ],
)
def test_another_class_list_is_refused(before, now, what):
    with pytest.raises(SettingsError) as caught:
        check_same_run(record_of(*before), record_of(*now))
    assert what in str(caught.value)
    assert "choose another --out, or --overwrite" in str(caught.value)


def test_the_folder_of_another_command_is_refused():
    with pytest.raises(SettingsError, match=r"made by `semples cams`; choose another --out"):
        check_same_run(record_of("cat"), record_of("cat", command="crf"))


# The folder around several runs


def stage(root, name, *ids, command="cams", inputs=("/images",)):
    write_run_record(root / name, {"command": command, "inputs": list(inputs)})
    for sample_id in ids:
        write_mask(root / name / f"{sample_id}.png", np.zeros((2, 2), np.uint8))


@pytest.mark.parametrize("read", [refuse_stages, find_masks])
def test_a_folder_around_runs_of_the_same_images_names_them_in_their_order(tmp_path, read):
    stage(tmp_path, "crf", command="crf")  # interrupted before its first mask
    stage(tmp_path, "refined", "a/1", command="refine")
    stage(tmp_path, "seeds", "a/1", "b")
    stage(tmp_path, "matched", "b")
    stage(tmp_path, "coco", "a/1", command="export")
    (tmp_path / "overview.png").write_bytes(b"")
    names = ", ".join(str(tmp_path / name) for name in ("matched", "seeds", "refined", "crf"))
    with pytest.raises(ArtifactError) as refused:
        read(tmp_path)
    assert str(refused.value).startswith(f"{tmp_path} holds no masks itself")
    assert str(refused.value).endswith(f"; name one of its stages: {names}")


def test_a_stage_is_read(tmp_path):
    stage(tmp_path, "seeds", "a")
    stage(tmp_path, "crf", "a", command="crf")
    assert set(find_masks(tmp_path / "crf")) == {"a"}


def test_runs_of_different_images_in_one_folder_are_its_masks(tmp_path):
    stage(tmp_path, "train", "1", inputs=["/images/train"])
    stage(tmp_path, "val", "1", inputs=["/images/val"])
    assert set(find_masks(tmp_path)) == {"train/1", "val/1"}


def test_a_run_may_hold_other_runs_of_its_images(tmp_path):
    stage(tmp_path, ".", "a")
    stage(tmp_path, "crf", "a", command="crf")
    stage(tmp_path, "sure", "a", command="review")
    refuse_stages(tmp_path)


def test_one_run_among_masks_and_an_export_beside_a_run_are_no_stages(tmp_path):
    stage(tmp_path, "crf", "a", command="crf")
    write_mask(tmp_path / "b.png", np.zeros((2, 2), np.uint8))
    stage(tmp_path, "cvat", "a", command="export")
    refuse_stages(tmp_path)


def test_what_is_no_folder_or_empty_has_no_stages(tmp_path):
    refuse_stages(tmp_path / "none")
    (tmp_path / "empty/x").mkdir(parents=True)
    refuse_stages(tmp_path / "empty")


def test_a_damaged_record_of_a_stage_is_named(tmp_path):
    stage(tmp_path, "seeds", "a")
    RunFolder(tmp_path / "seeds").record.write_text("{")
    with pytest.raises(ArtifactError, match=r"seeds/\.semples/run\.json: cannot be read as JSON"):
        refuse_stages(tmp_path)
