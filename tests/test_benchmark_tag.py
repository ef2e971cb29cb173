"""benchmarks/tag.py: its rules and figures, by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def tag(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import tag

    yield tag
    for name in ("tag", "pipeline_world", "tables"):
        sys.modules.pop(name, None)


def test_truth_has_a_column_a_class(tag):
    truth = tag.truth_of([(1, 3), (), (10,)])
    assert truth.shape == (3, 10)
    assert truth.sum(axis=1).tolist() == [2, 0, 1]
    assert truth[0, [0, 2]].tolist() == [1, 1]
    assert truth[2, 9] == 1


def test_figures_by_hand(tag):
    truth = np.array([[1, 0], [0, 1], [1, 0], [0, 0]])
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.3], [0.0, 0.0]])
    row = tag.figures(scores, scores >= 0.5, truth)
    assert row["micro F1"] == pytest.approx(100 * 2 * 2 / (2 + 3))
    assert row["macro F1"] == pytest.approx(100 * (2 / 3 + 1) / 2)
    assert row["mAP"] == pytest.approx(100 * ((1 + 2 / 3) / 2 + 1) / 2)
    assert row["no proposal"] == 50


def test_a_class_that_no_image_shows_is_left_out(tag):
    truth = np.array([[1, 0], [0, 0]])
    row = tag.figures(np.array([[1.0, 1], [0, 1]]), np.array([[True, True], [False, True]]), truth)
    assert (row["mAP"], row["macro F1"]) == (100, 100)


def test_the_best_threshold_separates_what_can_be_separated(tag):
    scores = np.concatenate([np.full((10, 2), 0.1), np.full((10, 2), 0.9)])
    truth = (scores > 0.5).astype(int)
    assert 0.1 < tag.best_threshold(scores, truth) <= 0.9


def test_softmax_and_the_soft_maximum(tag):
    cosines = np.array([[0.2, 0.2, -1.0], [0.5, 0.1, 0.1]])
    assert tag.softmax(cosines)[0].tolist() == pytest.approx([0.5, 0.5, 0])
    np.testing.assert_allclose(tag.softmax(cosines).sum(axis=1), 1)
    assert tag.soft_maximum(np.array([[0.3, -0.9]]))[0, 0] == pytest.approx(0.3)
    assert tag.soft_maximum(np.array([[0.3, 0.3]]))[0, 0] == pytest.approx(0.3 + np.log(2) / tag.SCALE)


@pytest.mark.parametrize(
    ("rule", "expected"), [("fixed", [0]), ("found", [0, 1]), ("found, best class always", [0, 1, 2])]
)
def test_rules(tag, rule, expected):
    scores = np.array([[0.9, 0.0], [0.8, 0.05], [0.1, 0.02], *([0.01, 0.0] for _ in range(20))])[:3]
    scores = np.concatenate([scores, np.random.default_rng(0).normal(0.03, 0.02, (200, 2)) * [0, 1]])
    proposed = tag.propose(scores, rule, 0.85)[:3]
    assert np.flatnonzero(proposed.any(axis=1)).tolist() == expected


def test_offsets_of_images_leave_margins_and_those_of_texts_do_not(tag):
    cosines = np.random.default_rng(0).uniform(-1, 1, (5, 12))
    shifted = tag.with_offsets(cosines, 1)
    assert not np.allclose(tag.with_offsets(cosines, 2), shifted)
    of_images = shifted - cosines - (shifted - cosines)[:1]
    np.testing.assert_allclose(of_images, of_images[:, :1] + np.zeros((5, 12)), atol=1e-12)


def test_corrections_take_the_least_certain_first(tag):
    rng = np.random.default_rng(0)
    scores = rng.normal(-0.5, 0.05, (20, 10))
    scores[np.arange(20), np.arange(20) % 10] += 1
    cosines = np.concatenate([scores, -scores.sum(axis=1, keepdims=True)], axis=1)
    truth = np.zeros((20, 10), int)
    tagged = tag.Tagged({"whole image": cosines}, cosines[:1], truth)
    untouched = tag.corrected(tagged, 0)
    assert untouched.sum(axis=1).tolist() == [1] * 20
    nearest = np.abs(scores - tag.fit_two_groups(scores).threshold).min(axis=1).argsort()
    for count in (1, 2, 5):
        changed = (tag.corrected(tagged, count / 20) != untouched).any(axis=1)
        assert np.flatnonzero(changed).tolist() == sorted(nearest[:count])
    assert tag.corrected(tagged, 1).sum() == 0
    assert (tag.corrected(tagged, 0.5, seed=0) == truth).all(axis=1).sum() == 10


def test_parts_of_an_image(tag):
    image = np.arange(16).reshape(4, 4, 1)
    assert tag.cut(image, tag.WHOLE).shape == (4, 4, 1)
    assert tag.cut(image, (0.5, 0, 1, 0.5))[..., 0].tolist() == [[2, 3], [6, 7]]
    assert tag.cut(np.zeros((2, 8, 3)), (0, 0.5, 0.5, 1)).shape == (1, 4, 3)


def test_tables_have_means_over_worlds_and_a_dash_where_there_is_none(tag):
    worlds = [{("cosine", "fixed"): {"mAP": 90.0, "bare": 2.0}, ("z", "fixed"): {"mAP": 80.0}}] * 2
    lines = tag.table("score", worlds).splitlines()
    assert lines[0] == "| score | mAP | bare |"
    assert lines[2] == "| cosine, fixed | 90.0 ± 0.0 | 2.0 ± 0.0 |"
    assert lines[3] == "| z, fixed | 80.0 ± 0.0 | – |"
