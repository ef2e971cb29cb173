"""The nouns refuse what they must not hold."""

from pathlib import Path

import numpy as np
import pytest

from semples_cli.errors import ArtifactError, DataError, EngineError, SemplesError, SettingsError
from semples_cli.types import Cam, ClassSet, Mask, Sample, Shard


def test_class_numbers_start_at_one_and_come_back():
    classes = ClassSet(("cat", "dog"))
    assert [classes.index_of(name) for name in classes.names] == [1, 2]
    assert [classes.name_of(k) for k in range(3)] == ["background", "cat", "dog"]
    assert len(classes) == 2


def test_prompt_names_default_to_the_names():
    assert ClassSet(("cat",)).prompt_names == ("cat",)
    assert ClassSet(("tvmonitor",), ("tv monitor",)).prompt_names == ("tv monitor",)


def test_unknown_class_offers_the_nearest():
    with pytest.raises(DataError, match="unknown class 'planes'; did you mean 'plane'"):
        ClassSet(("cat", "plane")).index_of("planes")


def test_unknown_class_with_nothing_near_lists_some():
    with pytest.raises(DataError, match=r"known classes: a0, .*… \(30 in all\)"):
        ClassSet(tuple(f"a{n}" for n in range(30))).index_of("zzzzzz")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "at least one foreground class"),
        (("cat", "cat"), "listed twice"),
        (("background",), "always class 0"),
        (("cat", " "), "name is empty"),
        (tuple(map(str, range(255))), "at most 254"),
    ],
)
def test_class_sets_refused(names, message):
    with pytest.raises(DataError, match=message):
        ClassSet(names)


def test_254_classes_fit():
    assert ClassSet(tuple(map(str, range(254)))).index_of("253") == 254


def test_prompt_names_of_another_number_are_refused():
    with pytest.raises(DataError, match="2 class names but 1 prompt names"):
        ClassSet(("a", "b"), ("x",))


def test_sample_sorts_its_classes():
    assert Sample("a/1", Path("a/1.jpg"), (3, 1, 3)).class_indices == (1, 3)


@pytest.mark.parametrize("sample_id", ["", "/etc/x", "../x", "a/../../x"])
def test_ids_that_lead_out_of_the_folder_are_refused(sample_id):
    with pytest.raises(DataError, match="relative path inside"):
        Sample(sample_id, Path("x.jpg"), ())


@pytest.mark.parametrize("index", [0, 255, -1])
def test_class_indices_outside_the_mask_range_are_refused(index):
    with pytest.raises(DataError, match=r"1\.\.254"):
        Sample("a", Path("a.jpg"), (index,))


def make_cam(scores, classes=(1,)):
    return Cam("a", np.array(classes, np.int64), np.asarray(scores, np.float32), (4, 4))


def test_cam_without_classes_is_fine():
    assert make_cam(np.zeros((0, 2, 2)), ()).scores.shape == (0, 2, 2)


@pytest.mark.parametrize("value", [-0.01, 1.01, np.nan, np.inf])
def test_cam_scores_outside_the_unit_interval_are_refused(value):
    with pytest.raises(ArtifactError, match=r"finite and lie in \[0, 1\]"):
        make_cam(np.full((1, 2, 2), value))


@pytest.mark.parametrize(("shape", "classes"), [((2, 2), (1,)), ((2, 2, 2), (1,))])
def test_cam_shapes_that_do_not_go_together_are_refused(shape, classes):
    with pytest.raises(ArtifactError, match="expected \\(K, h, w\\)"):
        make_cam(np.zeros(shape), classes)


@pytest.mark.parametrize("values", [np.zeros((2, 2), np.int64), np.zeros((2, 2, 3), np.uint8)])
def test_masks_are_two_dimensional_bytes(values):
    with pytest.raises(ArtifactError, match=r"\(H, W\) uint8"):
        Mask("a", values)


def test_exit_codes_of_the_error_tree():
    codes = {error: error.exit_code for error in (SemplesError, DataError, ArtifactError, EngineError, SettingsError)}
    assert codes == {SemplesError: 1, DataError: 1, ArtifactError: 1, EngineError: 1, SettingsError: 2}


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
def test_shards_part_a_list_without_rest_or_overlap(count):
    items = list(range(11))
    parts = [items[Shard(i, count).part] for i in range(1, count + 1)]
    assert sorted(item for part in parts for item in part) == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(("index", "count"), [(0, 1), (2, 1), (-1, 3), (1, 0)])
def test_shards_are_numbered_from_one(index, count):
    with pytest.raises(SettingsError, match=f"shard {index}/{count}: shards are numbered from 1"):
        Shard(index, count)


@pytest.mark.parametrize(
    ("name", "trouble"),
    [
        ("", "a class name is empty"),
        (" \t", "a class name is empty"),
        (" cat", "class ' cat' begins or ends with a space; remove it"),
        ("ca\nt", r"class 'ca\nt' holds a line end, a tab or another control character; rename it"),
        ("ca\u2028t", "holds a line end"),
        ("\ud800", "holds a line end, a tab or another control character"),
        ("x" * 201, "class 'xxxxxxxxxxxxxxxxxxxx' … has 201 characters, more than 200; shorten it"),
    ],
)
def test_texts_that_can_be_no_class_name(name, trouble):
    with pytest.raises(DataError) as raised:
        ClassSet(("dog", name))
    assert trouble in str(raised.value)


def test_words_for_clip_may_be_long_but_have_no_line_ends():
    assert ClassSet(("cat",), ("a cat " * 50 + "here",))
    with pytest.raises(DataError, match="holds a line end"):
        ClassSet(("cat",), ("a\ncat",))


def test_accents_of_one_character_and_of_two_are_one_name():
    classes = ClassSet(("dog", "caf\u00e9"))
    assert classes.index_of("cafe\u0301") == classes.index_of("caf\u00e9") == 2
    with pytest.raises(DataError, match="listed twice"):
        ClassSet(("cafe\u0301", "caf\u00e9"))


@pytest.mark.parametrize("name", ["CAT", "\uff43\uff41\uff54", "cat\u200f", "c at"])
def test_a_name_that_looks_the_same_is_the_nearest(name):
    with pytest.raises(DataError, match="did you mean 'cat'"):
        ClassSet(("cab", "cat", "car")).index_of(name)
