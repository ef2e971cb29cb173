"""What must hold for masks of any content: of the order, the parts, the names and the sides of what is compared."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semples_cli.functional.background_curve import BackgroundCurve
from semples_cli.functional.confidence import coverage_of
from semples_cli.functional.masks import seed_mask
from semples_cli.functional.metrics import class_counts, confusion_counts, dataset_scores

NUM_CLASSES = 5
SIZES = st.tuples(st.integers(1, 8), st.integers(1, 8))


def pairs(*values):
    """Ground truth and mask of one size, of these values."""
    pixels = st.sampled_from(values)
    return SIZES.flatmap(lambda size: st.tuples(*(hnp.arrays(np.uint8, size, elements=pixels) for _ in range(2))))


IMAGES = st.lists(pairs(*range(NUM_CLASSES), 255), min_size=1, max_size=5)
DECIDED = st.lists(pairs(*range(NUM_CLASSES)), min_size=1, max_size=3)


def counted(images):
    return sum(confusion_counts(truth, guess, NUM_CLASSES) for truth, guess in images)


def assert_same_scores(one, other):
    for name, ours, theirs in zip(one._fields, one, other, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


@given(IMAGES, st.randoms())
def test_the_order_of_the_images_changes_nothing(images, random):
    shuffled = random.sample(images, len(images))
    np.testing.assert_array_equal(counted(shuffled), counted(images))


@given(IMAGES, st.integers(1, 4))
def test_shards_add_up_to_one_pass(images, num_shards):
    parts = [counted(images[i::num_shards]) for i in range(num_shards) if images[i::num_shards]]
    np.testing.assert_array_equal(sum(parts), counted(images))


@given(IMAGES)
def test_where_a_pixel_lies_changes_nothing(images):
    for turn in (np.transpose, np.fliplr, lambda a: np.ascontiguousarray(np.rot90(a)), lambda a: a.reshape(1, -1)):
        turned = [(turn(truth), turn(guess)) for truth, guess in images]
        np.testing.assert_array_equal(counted(turned), counted(images))


@given(IMAGES, st.permutations(range(NUM_CLASSES)))
def test_other_class_numbers_permute_the_rows(images, order):
    """Class c becomes order[c]: every figure of it goes along, and what is of all classes stays."""
    table = np.arange(256, dtype=np.uint8)
    table[:NUM_CLASSES] = order
    before, after = counted(images), counted([(table[truth], table[guess]) for truth, guess in images])
    np.testing.assert_array_equal(after[np.ix_(order, [*order, NUM_CLASSES])], before)
    ours, theirs = dataset_scores(before), dataset_scores(after)
    for name in ("iou", "precision", "recall", "fp_rate", "fn_rate"):
        np.testing.assert_array_equal(getattr(theirs, name)[order], getattr(ours, name), err_msg=name)
    assert theirs.miou == pytest.approx(ours.miou, rel=1e-14, nan_ok=True)
    for name in ("num_classes_averaged", "pixel_accuracy", "coverage"):
        np.testing.assert_equal(getattr(theirs, name), getattr(ours, name))


@given(DECIDED)
def test_swapping_the_sides_swaps_precision_and_recall(images):
    ours, theirs = (dataset_scores(counted(each)) for each in (images, [pair[::-1] for pair in images]))
    assert_same_scores(theirs._replace(precision=theirs.recall, recall=theirs.precision, fp_rate=theirs.fn_rate,
                                       fn_rate=theirs.fp_rate), ours)  # fmt: skip


@given(IMAGES)
def test_a_mask_that_is_the_ground_truth_is_perfect(images):
    scores = dataset_scores(counted([(truth, truth) for truth, _ in images]))
    present = np.isin(np.arange(NUM_CLASSES), np.concatenate([truth.ravel() for truth, _ in images]))
    np.testing.assert_array_equal(scores.iou, np.where(present, 1, np.nan))
    assert scores.num_classes_averaged == present.sum()
    if present.any():
        assert (scores.miou, scores.pixel_accuracy, scores.coverage) == (1, 1, 1)


@given(IMAGES, pairs(*range(NUM_CLASSES), 255))
def test_an_image_without_ground_truth_changes_nothing(images, other):
    ignored = (np.full_like(other[0], 255), other[1])
    np.testing.assert_array_equal(counted([*images, ignored]), counted(images))


@given(IMAGES)
def test_shares_are_shares_and_go_together(images):
    confusion = counted(images)
    scores = dataset_scores(confusion)
    for values in scores[:5]:
        known = values[~np.isnan(values)]
        assert ((known >= 0) & (known <= 1)).all()
    smaller = np.fmin(scores.precision, scores.recall)
    assert (scores.iou <= smaller)[~np.isnan(scores.iou)].all()
    np.testing.assert_array_equal(np.isnan(scores.iou), np.isnan(scores.precision) & np.isnan(scores.recall))
    hit, _, target = class_counts(confusion)
    assert target.sum() == sum((truth != 255).sum() for truth, _ in images)
    np.testing.assert_equal(scores.pixel_accuracy, hit.sum() / target.sum() if target.sum() else np.nan)
    if all((truth != 255).all() for truth, _ in images):
        whole = np.concatenate([guess.ravel() for _, guess in images])[None]
        assert scores.coverage == coverage_of(whole)


@given(pairs(*range(NUM_CLASSES)), st.data())
def test_putting_a_pixel_right_lowers_no_score_of_any_class(image, data):
    truth, guess = image
    row, column = (data.draw(st.integers(0, n - 1)) for n in truth.shape)
    better = guess.copy()
    better[row, column] = truth[row, column]
    before, after = dataset_scores(counted([image])), dataset_scores(counted([(truth, better)]))
    assert after.pixel_accuracy >= before.pixel_accuracy
    both = ~np.isnan(before.iou) & ~np.isnan(after.iou)
    assert (after.iou >= before.iou)[both].all()
    assert (np.isnan(after.iou) >= np.isnan(before.iou)).all()  # a class that nobody names is no longer predicted


@given(pairs(*range(NUM_CLASSES)), st.data())
def test_leaving_a_wrong_pixel_undecided_takes_away_a_false_positive_and_nothing_else(image, data):
    truth, guess = image
    row, column = (data.draw(st.integers(0, n - 1)) for n in truth.shape)
    wrong, right = int(guess[row, column]), int(truth[row, column])
    undecided = guess.copy()
    undecided[row, column] = 255
    before, after = counted([image]), counted([(truth, undecided)])
    expected = before.copy()
    expected[right, wrong] -= 1
    expected[right, -1] += 1
    np.testing.assert_array_equal(after, expected)
    np.testing.assert_array_equal(class_counts(after).target, class_counts(before).target)


@st.composite
def scored(draw):
    """Ground truth, maps whose scores are 64ths, and their classes."""
    height, width, num_maps = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(0, 4))
    truth = draw(hnp.arrays(np.uint8, (height, width), elements=st.sampled_from([*range(NUM_CLASSES), 255])))
    scores = draw(hnp.arrays(np.uint8, (num_maps, height, width), elements=st.integers(0, 64)))
    indices = np.array(draw(st.permutations(range(1, NUM_CLASSES)))[:num_maps], np.int64)
    return truth, np.float32(scores) / 64, indices


THRESHOLDS = np.arange(0, 65, 8) / 64


def curve_of(images, thresholds=THRESHOLDS):
    curve = BackgroundCurve(NUM_CLASSES, thresholds)
    for image in images:
        curve.update(*image)
    return curve


@given(st.lists(scored(), min_size=1, max_size=3))
def test_halving_scores_and_background_scores_changes_no_count(images):
    halved = [(truth, scores / 2, indices) for truth, scores, indices in images]
    np.testing.assert_array_equal(curve_of(halved, THRESHOLDS / 2).counts, curve_of(images).counts)


@given(st.lists(scored(), min_size=1, max_size=4), st.randoms(), st.integers(1, 3))
def test_a_curve_is_blind_to_order_and_shards(images, random, num_shards):
    whole = curve_of(images).counts
    np.testing.assert_array_equal(curve_of(random.sample(images, len(images))).counts, whole)
    np.testing.assert_array_equal(sum(curve_of(images[i::num_shards]).counts for i in range(num_shards)), whole)


@given(scored())
def test_a_higher_background_score_only_gives_pixels_to_background(image):
    _, scores, indices = image
    masks = [seed_mask(scores, indices, threshold) for threshold in THRESHOLDS]
    for lower, higher in itertools.pairwise(masks):
        np.testing.assert_array_equal(higher[higher != 0], lower[higher != 0])
    assert not masks[-1].any()  # nothing is above 1


@given(st.lists(scored(), min_size=1, max_size=3))
def test_background_only_grows_along_the_curve_and_pixels_are_never_lost(images):
    curve = curve_of(images)
    tables = [curve.confusion(i) for i in range(len(THRESHOLDS))]
    for before, after in itertools.pairwise(tables):
        np.testing.assert_array_equal(after.sum(1), before.sum(1))
        assert (after[:, 0] >= before[:, 0]).all()
        assert (after[:, 1:] <= before[:, 1:]).all()


@given(scored(), st.randoms())
def test_the_order_of_the_maps_matters_only_where_they_tie(image, random):
    truth, scores, indices = image
    order = random.sample(range(len(indices)), len(indices))
    ours, theirs = seed_mask(scores, indices, 0.25), seed_mask(scores[order], indices[order], 0.25)
    largest = np.sort(np.concatenate([np.full((2, *truth.shape), -1), scores]), axis=0)[-2:]
    unique = largest[0] < largest[1]
    np.testing.assert_array_equal(ours[unique], theirs[unique])
