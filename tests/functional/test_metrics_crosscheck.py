"""Counts and scores against scikit-learn and torchmetrics, which know nothing of each other nor of us.

Conventions that they do not share are ours to arrange: pixels whose ground truth is 255 are taken away for scikit-learn
and are `ignore_index` for torchmetrics; a predicted 255 is a label that nobody asks scikit-learn about and one class
more for torchmetrics. Either way it is a miss of the ground truth's class and a false positive of none. Both call an
absent class 0 where we say NaN.
"""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, precision_score, recall_score
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassJaccardIndex,
    MulticlassPrecision,
    MulticlassRecall,
)

from semples_cli.functional.background_curve import BackgroundCurve
from semples_cli.functional.metrics import confusion_counts, dataset_scores

IGNORED = -1  # in torchmetrics 255 would be the class of that number, of which 255 classes and undecided have one
SIZES = [(17, 31), (40, 23), (1, 64), (31, 17), (5, 5)]


def pair(truth, guess):
    return np.array(truth, np.uint8), np.array(guess, np.uint8)


def drawn(num_classes, *, present=None, right=0.6, ignored=0.1, undecided=0.0, sizes=SIZES):
    """Images of random pixels: of all classes or of those that are present, most of them right."""
    rng = np.random.default_rng(num_classes)
    classes = np.arange(num_classes) if present is None else np.array(present)
    images = []
    for size in sizes:
        truth, other = (rng.choice(classes, size).astype(np.uint8) for _ in range(2))
        guess = np.where(rng.random(size) < right, truth, other)
        truth[rng.random(size) < ignored] = 255
        guess[rng.random(size) < undecided] = 255
        images.append((truth, guess))
    return images


def blob(num_classes):
    """A large object whose border is ignored, as in VOC, and a mask that is shifted against it."""
    truth, guess = np.zeros((2, 17, 31), np.uint8)
    truth[3:14, 5:25] = 255
    truth[4:13, 6:24] = num_classes - 1
    guess[5:14, 9:27] = num_classes - 1
    return [(truth, guess)]


DATASETS = {
    **{f"random, {c} classes": (c, drawn(c)) for c in (2, 3, 21, 81, 255)},
    **{f"with undecided pixels, {c} classes": (c, drawn(c, undecided=0.2)) for c in (2, 21, 81, 255)},
    **{f"an object with ignored border, {c} classes": (c, blob(c)) for c in (2, 21, 255)},
    "absent classes": (81, drawn(81, present=[0, 7, 80], undecided=0.1)),
    "nothing but one class": (21, drawn(21, present=[5])),
    "nothing but background": (21, drawn(21, present=[0])),
    "perfect": (21, drawn(21, right=1)),
    "disjoint": (4, [pair([[0, 1, 2], [3, 0, 1]], [[1, 2, 3], [0, 3, 2]])]),
    "a class that is only predicted": (3, [pair([[0, 0, 1]], [[0, 2, 1]])]),
    "a class that is never found": (3, [pair([[0, 2, 2]], [[0, 0, 0]])]),
    "one pixel, right": (3, [pair([[2]], [[2]])]),
    "one pixel, wrong": (3, [pair([[2]], [[1]])]),
    "one pixel, undecided": (3, [pair([[2]], [[255]])]),
    "nothing but undecided": (3, [pair([[0, 1], [2, 2]], np.full((2, 2), 255))]),
    "one of the images is all ignored": (3, [pair([[255, 255]], [[0, 1]]), pair([[0, 1, 2]], [[0, 1, 1]])]),
    "many images of different sizes": (
        21,
        drawn(21, undecided=0.05, sizes=[(h, w) for h in range(1, 24, 3) for w in range(1, 30, 4)]),
    ),
}


@pytest.fixture(params=DATASETS.values(), ids=DATASETS.keys())
def dataset(request):
    return request.param


def counted(images, num_classes):
    return sum(confusion_counts(truth, guess, num_classes) for truth, guess in images)


def flat(images):
    """The counted pixels of all images, one after the other."""
    truth, guess = (np.concatenate([image[i].ravel() for image in images]) for i in (0, 1))
    return truth[truth != 255], guess[truth != 255]


def without_absent(per_class, scores):
    """What the libraries say of each class, with NaN for the absent ones, of which they say 0."""
    assert (per_class[np.isnan(scores.iou)] == 0).all()
    return np.where(np.isnan(scores.iou), np.nan, per_class)


def test_scikit_learn_agrees(dataset):
    num_classes, images = dataset
    truth, guess = flat(images)
    confusion = counted(images, num_classes)
    scores = dataset_scores(confusion)
    classes = np.arange(num_classes)
    theirs = confusion_matrix(truth, guess, labels=[*classes, 255])
    np.testing.assert_array_equal(confusion, theirs[:-1])
    options = {"labels": classes, "average": None, "zero_division": 0}
    iou = without_absent(jaccard_score(truth, guess, **options), scores)
    np.testing.assert_allclose(scores.iou, iou, rtol=1e-14)
    assert scores.miou == pytest.approx(np.nanmean(iou), rel=1e-14)
    assert scores.num_classes_averaged == len(np.union1d(truth, guess[guess != 255]))
    options["zero_division"] = np.nan
    np.testing.assert_allclose(scores.precision, precision_score(truth, guess, **options), rtol=1e-14)
    np.testing.assert_allclose(scores.recall, recall_score(truth, guess, **options), rtol=1e-14)
    assert scores.pixel_accuracy == pytest.approx(accuracy_score(truth, guess), rel=1e-14)
    assert scores.coverage == pytest.approx(np.mean(guess != 255), rel=1e-14)


def tensors(images, num_classes):
    for truth, guess in images:
        target = torch.from_numpy(np.where(truth == 255, IGNORED, truth.astype(np.int64)))
        yield torch.from_numpy(np.where(guess == 255, num_classes, guess.astype(np.int64))), target


def by_torchmetrics(metric, images, num_classes):
    """A metric that sees one image after the other; the class after the last one is 'undecided'."""
    for guess, target in tensors(images, num_classes):
        metric.update(guess, target)
    return metric.compute().double().numpy()


def test_torchmetrics_agrees(dataset):
    num_classes, images = dataset
    confusion = counted(images, num_classes)
    scores = dataset_scores(confusion)
    common = {"num_classes": num_classes + 1, "ignore_index": IGNORED}
    theirs = by_torchmetrics(MulticlassConfusionMatrix(**common), images, num_classes)
    np.testing.assert_array_equal(confusion, theirs[:-1])
    iou = by_torchmetrics(MulticlassJaccardIndex(average=None, **common), images, num_classes)[:-1]
    iou = without_absent(iou, scores)
    np.testing.assert_allclose(scores.iou, iou, rtol=1e-6)  # theirs is float32
    for ours, metric in ((scores.precision, MulticlassPrecision), (scores.recall, MulticlassRecall)):
        per_class = by_torchmetrics(metric(average=None, **common), images, num_classes)[:-1]
        np.testing.assert_allclose(np.nan_to_num(ours), per_class, rtol=1e-6)
    accuracy = by_torchmetrics(MulticlassAccuracy(average="micro", **common), images, num_classes)
    assert scores.pixel_accuracy == pytest.approx(float(accuracy), rel=1e-6)


@pytest.mark.parametrize(
    "name", [name for name, (_, images) in DATASETS.items() if not any((guess == 255).any() for _, guess in images)]
)
def test_torchmetrics_averages_over_the_same_classes(name):
    """Its macro average leaves out absent classes too; only where nothing is undecided, which it would count."""
    num_classes, images = DATASETS[name]
    macro = MulticlassJaccardIndex(num_classes=num_classes, average="macro", ignore_index=IGNORED)
    theirs = by_torchmetrics(macro, images, num_classes)
    assert dataset_scores(counted(images, num_classes)).miou == pytest.approx(float(theirs), rel=1e-6)


def test_all_ignored_is_no_pixel_for_torchmetrics_too():
    """Scikit-learn refuses to score nothing."""
    images = [pair(np.full((17, 31), 255), np.zeros((17, 31)))]
    confusion = counted(images, 3)
    theirs = by_torchmetrics(MulticlassConfusionMatrix(num_classes=4, ignore_index=IGNORED), images, 3)
    np.testing.assert_array_equal(confusion, theirs[:-1])
    assert confusion.sum() == 0
    assert np.isnan([*dataset_scores(confusion).iou, dataset_scores(confusion).miou]).all()


def maps_of(num_classes, truths, seed):
    """For each image up to four maps of classes, one of them in the image: (K, H, W) and class indices."""
    rng = np.random.default_rng(seed)
    for truth in truths:
        count = min(int(rng.integers(0, 5)), num_classes - 1)
        indices = np.sort(rng.permutation(np.arange(1, num_classes))[:count])
        scores = rng.random((count, *truth.shape), np.float32).round(2)  # many scores lie on a threshold
        for k, index in enumerate(indices):
            scores[k][truth == index] = np.sqrt(scores[k][truth == index])
        yield scores, indices


def cut(scores, indices, threshold):
    """Argmax over background and maps, written plainly."""
    stacked = np.concatenate([np.full((1, *scores.shape[1:]), threshold, np.float32), scores])
    return np.array([0, *indices], np.uint8)[stacked.argmax(0)]


@pytest.mark.parametrize("num_classes", [2, 3, 21, 81, 255])
def test_the_whole_curve_is_what_scikit_learn_says_at_each_score(num_classes):
    truths = [truth for truth, _ in drawn(num_classes, sizes=[(17, 31), (9, 40), (1, 1), (1, 7)])]
    images = list(zip(truths, maps_of(num_classes, truths, num_classes), strict=True))
    curve = BackgroundCurve(num_classes, np.arange(0, 101, 5) / 100)
    for truth, (scores, indices) in images:
        curve.update(truth, scores, indices)
    expected = []
    for index, threshold in enumerate(curve.thresholds):
        truth, guess = flat([(truth, cut(*maps, threshold)) for truth, maps in images])
        theirs = confusion_matrix(truth, guess, labels=np.arange(num_classes))
        np.testing.assert_array_equal(curve.confusion(index)[:, :-1], theirs)
        seen = np.union1d(truth, guess)
        expected.append(jaccard_score(truth, guess, labels=seen, average="macro"))
    np.testing.assert_allclose(curve.miou(), expected, rtol=1e-13)
    assert expected[curve.best()] == pytest.approx(max(expected), rel=1e-13)
