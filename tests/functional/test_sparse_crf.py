"""Our sparse matrices against pydensecrf2, which stays the reference."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.special import softmax

from semples_cli.config import CRF_PRESETS
from semples_cli.errors import SettingsError
from semples_cli.functional import sparse_crf
from semples_cli.functional.crf_backends import infer_pydensecrf2
from semples_cli.functional.permutohedral import normalised_lattice
from semples_cli.functional.sparse_crf import infer_sparse

# Float32 sums in another order, ten times through a softmax.
SAME = 1e-4
# Where the number of pixels is no multiple of 4, pydensecrf2 fills up with points at the origin of its feature space:
# the vertices around it join the blur, and pixels close to it (dark ones in the upper left corner) feel that a little.
NEARLY_SAME = 5e-3


def photograph(height, width, seed=0):
    """Regions with soft borders and grain, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = np.stack([gaussian_filter(rng.normal(size=(height, width)), 8, mode="reflect") for _ in range(3)], axis=-1)
    picture = 128 + 900 * coarse + rng.normal(scale=3, size=coarse.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


def energies(labels, height, width, seed=1):
    rng = np.random.default_rng(seed)
    return (4 * rng.random((labels, height, width))).astype(np.float32)


def terms(name):
    preset = CRF_PRESETS[name]
    gaussian = (preset.gaussian_sxy, preset.gaussian_compat)
    return gaussian, (preset.bilateral_sxy, preset.bilateral_srgb, preset.bilateral_compat), preset.iterations


def both(image, unary, preset):
    pytest.importorskip("pydensecrf")
    return infer_sparse(image, unary, *terms(preset)), infer_pydensecrf2(image, unary, *terms(preset))


def check(ours, theirs, tolerance):
    assert ours.shape == theirs.shape
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours.sum(0), 1, atol=1e-5)
    np.testing.assert_allclose(ours, theirs, atol=tolerance)
    first, second = np.sort(theirs, axis=0)[::-1][:2]
    is_clear = first - second > 2 * tolerance
    np.testing.assert_array_equal(ours.argmax(0)[is_clear], theirs.argmax(0)[is_clear])


@pytest.mark.parametrize("preset", CRF_PRESETS)
@pytest.mark.parametrize("labels", [2, 3, 5])
@pytest.mark.parametrize("size", [(40, 60), (64, 48), (36, 36)])
def test_probabilities_and_labels_are_those_of_the_reference(preset, labels, size):
    ours, theirs = both(photograph(*size), energies(labels, *size), preset)
    check(ours, theirs, SAME)
    np.testing.assert_array_equal(ours.argmax(0), theirs.argmax(0))


@pytest.mark.parametrize("preset", CRF_PRESETS)
@pytest.mark.parametrize("size", [(37, 61), (17, 31), (5, 7)])
def test_sizes_that_pydensecrf2_fills_up_differ_a_little(preset, size):
    ours, theirs = both(photograph(*size), energies(3, *size), preset)
    check(ours, theirs, NEARLY_SAME)
    assert (ours.argmax(0) == theirs.argmax(0)).mean() > 0.99


@pytest.mark.parametrize("preset", CRF_PRESETS)
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 40), (40, 1), (2, 1)])
@pytest.mark.parametrize("labels", [2, 3])
def test_the_smallest_images(preset, size, labels):
    ours, theirs = both(photograph(*size), energies(labels, *size), preset)
    check(ours, theirs, SAME if size[0] * size[1] % 4 == 0 else NEARLY_SAME)


@pytest.mark.parametrize("preset", CRF_PRESETS)
@pytest.mark.parametrize("colour", [0, 127, 255])
def test_images_of_one_colour(preset, colour):
    image = np.full((24, 32, 3), colour, np.uint8)
    check(*both(image, energies(3, 24, 32), preset), SAME)


@pytest.mark.parametrize("labels", [6, 9, 12, 21])
def test_many_labels_go_in_blocks(labels):
    ours, theirs = both(photograph(24, 32), energies(labels, 24, 32), "semples-voc")
    check(ours, theirs, SAME)
    np.testing.assert_array_equal(ours.argmax(0), theirs.argmax(0))


@pytest.mark.parametrize("labels", [2, 3, 7])
def test_mean_field_by_the_formula(labels):
    image, unary = photograph(12, 16), energies(labels, 12, 16)
    rows, columns = np.mgrid[:12, :16].reshape(2, 1, -1).astype(np.float32)
    position, colour = np.concatenate([columns, rows]), image.reshape(-1, 3).T.astype(np.float32)
    near = normalised_lattice(position / 2)
    alike = normalised_lattice(np.concatenate([position / 30, colour / 8]))
    energy = unary.reshape(labels, -1).astype(np.float64)
    marginals = softmax(-energy, axis=0)
    for _ in range(4):
        values = np.ascontiguousarray(marginals.T, np.float32)
        messages = 3.0 * near.apply(values) + 5.0 * alike.apply(values)  # Potts: each label is held up by its own
        marginals = softmax(messages.T - energy, axis=0)
    got = infer_sparse(image, unary, (2.0, 3.0), (30.0, 8.0, 5.0), 4)
    np.testing.assert_allclose(got.reshape(labels, -1), marginals, atol=1e-4)


def test_one_label_is_certain():
    assert (infer_sparse(photograph(6, 8), energies(1, 6, 8), *terms("clip-es")) == 1).all()


@pytest.mark.parametrize("weights", [(0, 0), (-2, 3), (60, 90)])
def test_any_weight_of_the_kernels(weights):
    pytest.importorskip("pydensecrf")
    image, unary = photograph(24, 32), energies(3, 24, 32)
    arguments = ((3.0, weights[0]), (50.0, 5.0, weights[1]), 5)
    check(infer_sparse(image, unary, *arguments), infer_pydensecrf2(image, unary, *arguments), 1e-3)


def test_certain_energies_neither_overflow_nor_vanish():
    unary = np.zeros((2, 24, 32), np.float32)
    unary[1] = 1e4
    got = infer_sparse(photograph(24, 32), unary, *terms("semples-voc"))
    assert (got[0] == 1).all()
    assert (got[1] == 0).all()


def test_what_is_given_is_left_alone():
    image, unary = photograph(24, 32), energies(2, 24, 32)
    image.flags.writeable = unary.flags.writeable = False
    first = infer_sparse(image, unary, *terms("clip-es"))
    np.testing.assert_array_equal(infer_sparse(image, unary, *terms("clip-es")), first)


def test_threads_get_what_one_gets():
    images = [photograph(20 + n % 3, 28, n) for n in range(9)]
    unaries = [energies(3, *image.shape[:2], n) for n, image in enumerate(images)]
    sparse_crf._kept_position_kernel.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image, unary: infer_sparse(image, unary, *terms("clip-es")), images, unaries))
    for image, unary, got in zip(images, unaries, together, strict=True):
        np.testing.assert_array_equal(got, infer_sparse(image, unary, *terms("clip-es")))


def test_position_kernels_are_kept_up_to_a_number_and_a_size(monkeypatch):
    kept = sparse_crf._kept_position_kernel
    kept.cache_clear()
    for width in range(8, 8 + sparse_crf.KEPT_SIZES + 3):
        sparse_crf._position_kernel(6, width, 3.0)
    assert kept.cache_info().currsize == sparse_crf.KEPT_SIZES
    last = 8 + sparse_crf.KEPT_SIZES + 2
    assert sparse_crf._position_kernel(6, last, 3.0) is sparse_crf._position_kernel(6, last, 3.0)
    monkeypatch.setattr(sparse_crf, "LARGEST_KEPT", 6 * last - 1)
    assert sparse_crf._position_kernel(6, last, 3.0) is not sparse_crf._position_kernel(6, last, 3.0)


def test_a_kernel_that_is_too_narrow_is_refused():
    with pytest.raises(SettingsError, match="give larger standard deviations"):
        infer_sparse(photograph(8, 8), energies(2, 8, 8), (3.0, 3.0), (1e-4, 1e-3, 1.0), 1)


def test_pydensecrf2_is_not_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    assert infer_sparse(photograph(6, 8), energies(2, 6, 8), *terms("clip-es")).shape == (2, 6, 8)
