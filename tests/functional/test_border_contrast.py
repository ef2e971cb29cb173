import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from semples_cli.errors import DataError
from semples_cli.functional.border_contrast import SMOOTHING, STEP, BorderContrast, candidate_scores
from semples_cli.functional.masks import seed_mask

SCORES = candidate_scores().astype(np.float32)
# Values on the scores and beside them in float32, where a comparison goes wrong first.
NEAR = sorted({float(v) for s in SCORES for v in (s, np.nextafter(s, np.float32(1)), np.nextafter(s, np.float32(0)))})
VALUES = st.sampled_from(NEAR) | st.floats(0, 1, width=32)


def raw(*images):
    """The curve before smoothing."""
    contrast = BorderContrast()
    for luma, maps in images:
        contrast.update(luma, maps)
    return contrast._sum / len(images)


def by_loop(luma, maps):
    """The same by cutting the image at one score after another."""
    gradient = np.hypot(ndimage.sobel(luma, 0), ndimage.sobel(luma, 1)).astype(np.float64)
    curve = []
    for score in candidate_scores():
        mask = seed_mask(maps, np.arange(1, len(maps) + 1), float(score))
        strengths = []
        for axis in (0, 1):
            one, other = (np.take(mask, range(k, mask.shape[axis] - 1 + k), axis) for k in (0, 1))
            ahead, behind = (np.take(gradient, range(k, mask.shape[axis] - 1 + k), axis) for k in (0, 1))
            strengths += ((ahead + behind) / 2)[one != other].tolist()
        curve.append(np.mean(strengths) / gradient.mean() if strengths and gradient.any() else 0)
    return np.array(curve)


@st.composite
def pictures(draw):
    height, width, num_maps = (draw(st.integers(1, most)) for most in (6, 6, 3))
    luma = draw(hnp.arrays(np.float32, (height, width), elements=st.integers(0, 255).map(float)))
    return luma, draw(hnp.arrays(np.float32, (num_maps, height, width), elements=VALUES))


def test_the_scores_lie_inside_of_0_and_1():
    assert candidate_scores()[[0, -1]].round(9).tolist() == [0.06, 0.94]
    np.testing.assert_allclose(np.diff(candidate_scores()), STEP)


@given(pictures())
@settings(max_examples=60, deadline=None)
def test_equals_cutting_at_one_score_after_another(picture):
    np.testing.assert_allclose(raw(picture), by_loop(*picture), rtol=1e-5, atol=1e-6)


def test_by_hand():
    """A step edge between columns 1 and 2, and a ramp: only a border at the edge crosses anything."""
    luma = np.float32([[0, 0, 8, 8]] * 4)
    ramp = np.float32([[[0.9, 0.7, 0.3, 0.1]] * 4])
    # Sobel of the step is 4 · 8 at columns 1 and 2 and 0 at 0 and 3; the mean over the image is 16.
    curve = dict(zip(candidate_scores().round(2).tolist(), raw((luma, ramp)), strict=True))
    assert curve[0.5] == pytest.approx(32 / 16)  # border between columns 1 and 2
    assert curve[0.8] == pytest.approx((0 + 32) / 2 / 16)  # between 0 and 1
    assert curve[0.2] == pytest.approx((32 + 0) / 2 / 16)  # between 2 and 3
    assert curve[0.08] == curve[0.92] == 0  # all object, all background: no border
    assert curve[0.7] == curve[0.8]  # a pixel at the score is background
    contrast = BorderContrast()
    contrast.update(luma, ramp)
    assert 0.3 <= contrast.scores[contrast.best()] < 0.7


def test_two_classes_have_a_border_between_them():
    luma = np.float32([[0, 0, 8, 8]] * 4)
    maps = np.float32([[[0.9, 0.9, 0.1, 0.1]] * 4, [[0.1, 0.1, 0.8, 0.8]] * 4])
    curve = dict(zip(candidate_scores().round(2).tolist(), raw((luma, maps)), strict=True))
    assert curve[0.5] == pytest.approx(2)  # cat beside dog
    assert curve[0.84] == pytest.approx(2)  # cat beside background
    assert curve[0.92] == 0


@given(pictures(), st.floats(0.25, 4))
@settings(max_examples=20, deadline=None)
def test_brightness_does_not_matter(picture, factor):
    luma, maps = picture
    np.testing.assert_allclose(raw((luma * np.float32(factor) + 3, maps)), raw(picture), rtol=1e-3, atol=1e-3)


def test_flat_images_and_images_without_border_say_nothing():
    flat = np.full((4, 4), 7, np.float32)
    ramp = np.linspace(0, 1, 16, dtype=np.float32).reshape(1, 4, 4)
    assert not raw((flat, ramp)).any()
    assert not raw((ramp[0] * 255, np.ones((1, 4, 4), np.float32))).any()
    assert not raw((np.zeros((1, 1), np.float32), np.ones((1, 1, 1), np.float32))).any()


@given(st.lists(pictures(), min_size=2, max_size=4))
@settings(max_examples=20, deadline=None)
def test_images_are_averaged_in_any_order(several):
    np.testing.assert_allclose(
        raw(*several), np.mean([by_loop(*each) for each in several], axis=0), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(raw(*reversed(several)), raw(*several), rtol=1e-12)


def test_the_curve_is_the_smoothed_mean_and_the_lowest_of_equals_wins():
    luma = np.float32([[0, 0, 8, 8]] * 4)
    ramp = np.float32([[[0.9, 0.7, 0.3, 0.1]] * 4])
    contrast = BorderContrast()
    assert not contrast.curve().any()
    assert contrast.best() == 0
    for _ in range(3):
        contrast.update(luma, ramp)
    assert contrast.num_images == 3
    expected = ndimage.gaussian_filter1d(raw((luma, ramp)), SMOOTHING / STEP, mode="nearest")
    np.testing.assert_allclose(contrast.curve(), expected)
    assert contrast.best() == int(np.argmax(expected))


@pytest.mark.parametrize("shape", [(1, 4, 5), (1, 5, 4), (2, 2, 2)])
def test_other_sizes_are_refused_with_the_cure(shape):
    message = rf"^maps of \({shape[1]}, {shape[2]}\) pixels for an image of \(4, 4\): resize the maps first$"
    with pytest.raises(DataError, match=message):
        BorderContrast().update(np.zeros((4, 4), np.float32), np.zeros(shape, np.float32))


def test_the_curve_of_one_image_is_its_own_and_faint_edges_count_as_strong_ones():
    luma, ramp = np.float32([[0, 0, 8, 8]] * 4), np.float32([[[0.9, 0.7, 0.3, 0.1]] * 4])
    expected = ndimage.gaussian_filter1d(raw((luma, ramp)), SMOOTHING / STEP, mode="nearest")
    for strength in (1, 1 / 1024):
        contrast = BorderContrast()
        contrast.update(luma * np.float32(strength), ramp)
        np.testing.assert_allclose(contrast.curve(), expected)


def test_no_map_is_refused():
    with pytest.raises(DataError):
        BorderContrast().update(np.zeros((4, 4), np.float32), np.zeros((0, 4, 4), np.float32))
