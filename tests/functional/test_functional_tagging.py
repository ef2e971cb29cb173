import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semples_cli.functional.tagging import TwoGroups, fit_two_groups, text_margins


def test_a_margin_is_the_distance_from_the_mean_of_all_texts():
    cosines = np.array([[0.5, 0.1, 0.0], [0.2, 0.2, 0.2]])
    np.testing.assert_allclose(text_margins(cosines, 2), [[0.3, -0.1], [0, 0]], atol=1e-12)


def test_an_offset_of_an_image_does_not_change_its_margins():
    cosines = np.random.default_rng(0).uniform(-1, 1, (4, 7))
    shifted = cosines + np.array([[0.3], [-0.2], [0.0], [0.9]])
    np.testing.assert_allclose(text_margins(shifted, 5), text_margins(cosines, 5), atol=1e-12)


@given(st.integers(1, 5), st.integers(0, 4), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_margins_have_a_column_a_class_and_lie_within_two(num_classes, num_words, seed):
    cosines = np.random.default_rng(seed).uniform(-1, 1, (3, num_classes + num_words))
    margins = text_margins(cosines, num_classes)
    assert margins.shape == (3, num_classes)
    assert np.abs(margins).max() <= 2


def two_normals(seed, share=0.15, means=(0.0, 0.5), widths=(0.1, 0.08), count=4000):
    rng = np.random.default_rng(seed)
    upper = rng.random(count) < share
    return np.where(upper, rng.normal(means[1], widths[1], count), rng.normal(means[0], widths[0], count)), upper


@pytest.mark.parametrize("share", [0.02, 0.15, 0.5, 0.8])
def test_two_normal_distributions_are_found_again(share):
    values, upper = two_normals(1, share)
    fit = fit_two_groups(values.reshape(40, 100))
    assert fit.share == pytest.approx(share, abs=0.01)
    assert fit.separation == pytest.approx(np.sqrt(2) * 0.5 / np.hypot(0.1, 0.08), rel=0.1)
    assert ((values >= fit.threshold) == upper).mean() > 0.99


def test_equal_widths_and_shares_meet_in_the_middle():
    half, _ = two_normals(2, 0, widths=(0.1, 0.1))
    fit = fit_two_groups(np.concatenate([half, 1 - half]))
    assert fit.threshold == pytest.approx(0.5, abs=1e-6)
    assert fit.share == pytest.approx(0.5, abs=1e-6)


@given(st.floats(0.01, 100), st.floats(-5, 5))
@settings(max_examples=15, deadline=None)
def test_the_threshold_moves_with_the_values(factor, shift):
    values, _ = two_normals(3, count=500)
    fit, moved = fit_two_groups(values), fit_two_groups(factor * values + shift)
    assert moved.threshold == pytest.approx(factor * fit.threshold + shift, rel=1e-3, abs=1e-3 * factor)
    assert moved.separation == pytest.approx(fit.separation, rel=1e-3)


def test_one_group_has_a_low_separation():
    assert fit_two_groups(np.random.default_rng(4).normal(size=3000)).separation < 2


def test_two_single_values_fall_apart_between_them():
    fit = fit_two_groups(np.array([[0.1, 0.1, 0.7]]))
    assert isinstance(fit, TwoGroups)
    assert 0.1 < fit.threshold < 0.7
    assert fit.share == pytest.approx(1 / 3)
    assert np.isfinite(fit.separation)


@pytest.mark.parametrize("values", [[], [0.3], [0.3, 0.3, 0.3]])
def test_values_that_do_not_differ_have_no_groups(values):
    assert fit_two_groups(np.array(values)) is None
