from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from semples_cli.errors import DataError
from semples_cli.functional import crf as module
from semples_cli.functional.crf import DenseCrf, label_unary, refine_labels, refine_scores, score_unary
from semples_cli.functional.masks import resize_scores

VOC = DenseCrf(4, 3, 83, 5, 3, 10)
CLIP_ES = DenseCrf(1, 3, 67, 3, 4, 10)
# Where no pixel may differ from the published code, it is asked for by name; the other backend's tests are its own.
PUBLISHED_VOC, PUBLISHED_CLIP_ES = (replace(crf, backend="pydensecrf2") for crf in (VOC, CLIP_ES))


def skip_without(backend):
    if backend == "pydensecrf2":
        pytest.importorskip("pydensecrf")


def scene(height=17, width=31, seed=0):
    """A noisy two-coloured image, and the ground truth of its left half."""
    rng = np.random.default_rng(seed)
    left = np.zeros((height, width), bool)
    left[:, : width // 2] = True
    image = np.where(left[..., None], (200, 40, 40), (30, 60, 180)) + rng.integers(-15, 16, (height, width, 3))
    return image.astype(np.uint8), left


def direct(image, unary, crf):
    """The backend without us: what the published code calls."""
    count, height, width = len(unary), *image.shape[:2]
    field = pytest.importorskip("pydensecrf.densecrf").DenseCRF2D(width, height, count)
    field.setUnaryEnergy(np.ascontiguousarray(unary.reshape(count, -1)))
    field.addPairwiseGaussian(sxy=crf.gaussian_sxy, compat=crf.gaussian_compat)
    field.addPairwiseBilateral(
        sxy=crf.bilateral_sxy, srgb=crf.bilateral_srgb, rgbim=image.copy(), compat=crf.bilateral_compat
    )
    return np.array(field.inference(crf.iterations)).reshape(count, height, width)


@pytest.mark.parametrize("crf", [PUBLISHED_VOC, PUBLISHED_CLIP_ES, DenseCrf(3, 3, 50, 5, 10, 1, "pydensecrf2")])
@pytest.mark.parametrize("size", [(17, 31), (24, 40), (1, 1), (1, 9), (9, 1)])
def test_labels_equal_the_backend_called_directly(crf, size):
    unary_from_labels = pytest.importorskip("pydensecrf.utils").unary_from_labels
    image, left = scene(*size)
    rng = np.random.default_rng(1)
    labels = np.where(left ^ (rng.random(size) < 0.2), 7, 0).astype(np.uint8)
    labels[0, 0] = 12
    order = np.array([0, *sorted(set(labels.ravel().tolist()) - {0})])
    expected = direct(image, unary_from_labels(np.searchsorted(order, labels), len(order), 0.7, zero_unsure=False), crf)
    values, confidence = refine_labels(image, labels, 0.7, crf)
    np.testing.assert_array_equal(values, order[expected.argmax(0)])
    np.testing.assert_array_equal(confidence, np.minimum(expected.max(0), 1))
    assert (values.dtype, confidence.dtype) == (np.uint8, np.float32)


@pytest.mark.parametrize("size", [(17, 31), (24, 40), (1, 1)])
def test_scores_equal_the_backend_called_directly(size):
    unary_from_softmax = pytest.importorskip("pydensecrf.utils").unary_from_softmax
    image, _ = scene(*size)
    scores = np.random.default_rng(2).random((3, *size), np.float32)
    scores[:, 0, 0] = (1, 0, 0)  # needs the clip: -log 0 is infinite
    both = np.concatenate([1 - scores.max(0, keepdims=True), scores])
    expected = direct(image, unary_from_softmax(both, clip=1e-5), CLIP_ES)
    values, confidence = refine_scores(image, scores, np.array([5, 2, 200]), PUBLISHED_CLIP_ES)
    np.testing.assert_array_equal(values, np.array([0, 5, 2, 200])[expected.argmax(0)])
    np.testing.assert_array_equal(confidence, np.minimum(expected.max(0), 1))


def test_noise_is_removed_along_the_colour_edge():
    image, left = scene(40, 60)
    noisy = left ^ (np.random.default_rng(3).random(left.shape) < 0.1)
    values, confidence = refine_labels(image, np.where(noisy, 9, 0).astype(np.uint8), 0.7, VOC)
    np.testing.assert_array_equal(values, np.where(left, 9, 0))
    assert confidence.min() > 0.5


@pytest.mark.parametrize("fill", [0, (0, 255)])
def test_no_foreground_is_all_background_without_the_crf(fill, monkeypatch):
    monkeypatch.setattr(DenseCrf, "infer", lambda *args: pytest.fail("the backend divides by zero here"))
    image, left = scene()
    labels = np.where(left, *fill).astype(np.uint8) if isinstance(fill, tuple) else np.zeros(left.shape, np.uint8)
    values, confidence = refine_labels(image, labels, 0.7, VOC)
    np.testing.assert_array_equal(values, np.zeros(left.shape, np.uint8))
    np.testing.assert_array_equal(confidence, np.ones(left.shape, np.float32))
    assert (values.dtype, confidence.dtype) == (np.uint8, np.float32)


def test_no_map_is_all_background():
    image, left = scene()
    values, confidence = refine_scores(image, np.empty((0, *left.shape), np.float32), np.empty(0, np.int64), CLIP_ES)
    assert (values == 0).all()
    assert (confidence == 1).all()
    assert values.shape == confidence.shape == left.shape


def test_a_mask_that_knows_nothing_stays_unknown():
    image, left = scene()
    labels = np.full(left.shape, 255, np.uint8)
    values, confidence = refine_labels(image, labels, 0.7, VOC)
    np.testing.assert_array_equal(values, labels)
    assert (confidence == 0).all()
    assert (values.dtype, confidence.dtype) == (np.uint8, np.float32)
    values[0, 0] = 1
    assert labels[0, 0] == 255  # not a view of what was given


def test_unknown_pixels_take_the_class_of_their_colour():
    image, left = scene(24, 40)
    labels = np.where(left, 3, 0).astype(np.uint8)
    labels[6:18, 14:26] = 255
    values, _ = refine_labels(image, labels, 0.7, VOC)
    np.testing.assert_array_equal(values, np.where(left, 3, 0))


def test_a_mask_of_one_class_everywhere_keeps_background_as_a_candidate():
    image, left = scene()
    values, confidence = refine_labels(image, np.full(left.shape, 254, np.uint8), 0.7, VOC)
    assert (values == 254).all()
    assert confidence.max() <= 1


def test_label_unary_by_hand_and_against_the_backend():
    labels = np.array([[0, 4], [9, 255]], np.uint8)
    unary = label_unary(labels, np.array([0, 4, 9], np.uint8), 0.7)
    own, other, unsure = -np.log(0.7), -np.log(0.15), -np.log(1 / 3)
    expected = [[[own, other], [other, unsure]], [[other, own], [other, unsure]], [[other, other], [own, unsure]]]
    np.testing.assert_allclose(unary, np.array(expected, np.float32), rtol=1e-7)
    unary_from_labels = pytest.importorskip("pydensecrf.utils").unary_from_labels
    theirs = unary_from_labels(np.array([[1, 2], [3, 0]]), 3, 0.7, zero_unsure=True).reshape(3, 2, 2)
    np.testing.assert_array_equal(unary, theirs)


def test_score_unary_is_clipped_and_not_normalised():
    unary = score_unary(np.array([[[1.0, 0.5]], [[0.0, 0.5]]], np.float32))
    expected = -np.log(np.array([[[1e-5, 0.5]], [[1, 0.5]], [[1e-5, 0.5]]]))
    np.testing.assert_allclose(unary, expected, rtol=1e-6, atol=1e-12)
    assert unary.dtype == np.float32


@pytest.mark.parametrize("backend", ["sparse", "pydensecrf2"])
def test_read_only_and_strided_input_is_taken_and_left_alone(backend):
    skip_without(backend)
    crf = replace(VOC, backend=backend)
    image, left = scene()
    labels = np.where(left, 3, 0).astype(np.uint8)
    expected = refine_labels(image, labels, 0.7, crf)
    wide = np.repeat(image, 2, axis=1)
    strided = wide[:, ::2]
    strided.flags.writeable = False
    labels.flags.writeable = False
    for got, want in zip(refine_labels(strided, labels, 0.7, crf), expected, strict=True):
        np.testing.assert_array_equal(got, want)
    fortran = np.asfortranarray(image)
    np.testing.assert_array_equal(refine_labels(fortran, np.asfortranarray(labels), 0.7, crf)[0], expected[0])


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_no_class_appears_that_was_not_there(height, width, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    labels = rng.choice(np.array([0, 3, 254, 255], np.uint8), (height, width))
    values, confidence = refine_labels(image, labels, 0.7, CLIP_ES)
    assert set(np.unique(values)) <= set(np.unique(labels)) | {0}
    assert 0 <= confidence.min() <= confidence.max() <= 1


@pytest.mark.parametrize(
    ("call", "noun"),
    [
        (lambda image: refine_labels(image, np.zeros((20, 31), np.uint8), 0.7, VOC), "mask"),
        (lambda image: refine_scores(image, np.zeros((1, 20, 31), np.float32), np.array([1]), VOC), "CAM"),
    ],
)
def test_another_size_is_refused_with_both_sizes(call, noun):
    with pytest.raises(DataError, match=rf"image is 17×31 .* its {noun} is for 20×31: give the images that"):
        call(scene()[0])


def test_maps_and_class_indices_must_go_together():
    image, left = scene()
    with pytest.raises(DataError, match="give one class index for each map"):
        refine_scores(image, np.zeros((2, *left.shape), np.float32), np.array([1]), VOC)


# At reduced size


@pytest.mark.parametrize("backend", ["sparse", "pydensecrf2"])
def test_a_large_image_is_inferred_small_and_its_probabilities_enlarged(backend):
    skip_without(backend)
    image, left = scene(48, 64)
    crf = replace(VOC, backend=backend, max_pixels=48 * 64 // 4)
    unary = label_unary(np.where(left, 3, 0).astype(np.uint8), np.array([0, 3], np.uint8), 0.7)
    picture = np.asarray(Image.fromarray(image).resize((32, 24), Image.Resampling.BOX))
    half = DenseCrf(2, 3, 41.5, 5, 3, 10, backend)
    expected = resize_scores(half.infer(picture, resize_scores(unary, (24, 32))), (48, 64))
    got = crf.infer(image, unary)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_allclose(got.sum(0), 1, atol=1e-5)
    assert (np.where(got.argmax(0), 3, 0) == np.where(left, 3, 0)).mean() > 0.99


@pytest.mark.parametrize("limit", [17 * 31, 600, 10**6, None])
def test_an_image_within_the_limit_is_inferred_as_it_is(limit):
    image, left = scene()
    labels = np.where(left, 3, 0).astype(np.uint8)
    whole, limited = (refine_labels(image, labels, 0.7, replace(VOC, max_pixels=each)) for each in (None, limit))
    for one, other in zip(whole, limited, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_backend_is_the_one_that_was_named(monkeypatch):
    asked = []
    monkeypatch.setattr(module, "choose_inference", lambda *given: asked.append(given) or (lambda *args: args[1]))
    image, left = scene()
    unary = label_unary(np.where(left, 3, 0).astype(np.uint8), np.array([0, 3], np.uint8), 0.7)
    for backend in ("auto", "sparse", "pydensecrf2"):
        replace(VOC, backend=backend).infer(image, unary)
    assert asked == [("auto", 2), ("sparse", 2), ("pydensecrf2", 2)]


@pytest.mark.parametrize(("size", "limit"), [((1, 900), 100), ((900, 1), 100), ((17, 31), 1)])
def test_thin_images_keep_a_pixel(size, limit):
    image, left = scene(*size)
    labels = np.where(left, 3, 0).astype(np.uint8)
    labels[0, 0] = 3
    values, confidence = refine_labels(image, labels, 0.7, replace(VOC, max_pixels=limit))
    assert values.shape == confidence.shape == size
    assert 0 <= confidence.min() <= confidence.max() <= 1
