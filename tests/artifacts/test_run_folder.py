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


def stage(root, name, *ids):
    write_run_record(root / name, {"command": "cams"})
    for sample_id in ids:
        write_mask(root / name / f"{sample_id}.png", np.zeros((2, 2), np.uint8))


def test_a_folder_around_runs_of_the_same_images_is_no_folder_of_masks(tmp_path):
    stage(tmp_path, "seeds", "a/1", "b")
    stage(tmp_path, "crf", "a/1", "b")
    for read in (refuse_stages, find_masks):
        with pytest.raises(
            ArtifactError, match=f"several runs, not masks: name one of {tmp_path}/crf, {tmp_path}/seeds"
        ):
            read(tmp_path)
    refuse_stages(tmp_path / "crf")


def test_runs_of_different_images_in_one_folder_are_its_masks(tmp_path):
    stage(tmp_path, "train", "a")
    stage(tmp_path, "val", "b")
    assert set(find_masks(tmp_path)) == {"train/a", "val/b"}


def test_a_run_may_hold_another_one(tmp_path):
    stage(tmp_path, ".", "a")
    stage(tmp_path, "crf", "a")
    stage(tmp_path, "sure", "a")
    refuse_stages(tmp_path)
    refuse_stages(tmp_path / "none")
    (tmp_path / "empty/x").mkdir(parents=True)
    refuse_stages(tmp_path / "empty")
