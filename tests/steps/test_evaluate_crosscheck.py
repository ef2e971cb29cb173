"""`evaluate` from PNG files to report.json against scikit-learn on the arrays that were written."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, precision_score, recall_score

from semples_cli.artifacts.cam_store import write_cam
from semples_cli.artifacts.mask_png import write_mask
from semples_cli.artifacts.report_files import read_report, write_report
from semples_cli.steps.evaluate_masks import evaluate_cams, evaluate_masks
from semples_cli.steps.progress import silent
from semples_cli.types import Cam, ClassSet

SIZES = [(17, 31), (1, 1), (40, 23), (1, 64), (31, 17), (9, 9), (24, 30)]


def class_set(num_classes):
    return ClassSet(tuple(f"class {k}" for k in range(1, num_classes)))


def drawn(num_classes):
    """Random pixels, most of them right; in some images one class alone, some pixels ignored, some undecided."""
    rng = np.random.default_rng(num_classes)
    for number, size in enumerate(SIZES):
        truth, other = (rng.integers(0, 1 if number == 5 else num_classes, size).astype(np.uint8) for _ in range(2))
        guess = np.where(rng.random(size) < 0.7, truth, other)
        truth[rng.random(size) < 0.1] = 255
        guess[rng.random(size) < 0.05] = 255
        yield f"a/{number}", truth, guess


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("num_classes", [2, 21, 255])
def test_the_report_is_what_scikit_learn_says(tmp_path, num_classes, workers):
    pixels = []
    for number, (sample_id, truth, guess) in enumerate(drawn(num_classes)):
        write_mask(tmp_path / "truth" / f"{sample_id}.png", truth, ("palette", "L")[number % 2])
        if number == len(SIZES) - 1:
            continue  # ground truth without a mask: not counted, and said
        write_mask(tmp_path / "masks" / f"{sample_id}.png", guess, ("L", "palette")[number % 2])
        pixels.append((truth.ravel(), guess.ravel()))
    made = evaluate_masks(
        tmp_path / "masks", tmp_path / "truth", class_set(num_classes), progress=silent, workers=workers
    )
    report = read_report(write_report(tmp_path / "report", made))
    truth, guess = (np.concatenate(each) for each in zip(*pixels, strict=True))
    truth, guess = truth[truth != 255], guess[truth != 255]
    classes = np.arange(num_classes)
    np.testing.assert_array_equal(report.confusion, confusion_matrix(truth, guess, labels=[*classes, 255])[:-1])
    options = {"labels": classes, "average": None, "zero_division": 0}
    np.testing.assert_allclose(np.nan_to_num(report.iou), jaccard_score(truth, guess, **options), rtol=1e-14)
    np.testing.assert_allclose(np.nan_to_num(report.precision), precision_score(truth, guess, **options), rtol=1e-14)
    np.testing.assert_allclose(np.nan_to_num(report.recall), recall_score(truth, guess, **options), rtol=1e-14)
    seen = np.setdiff1d(np.union1d(truth, guess), [255])
    assert report.num_classes_averaged == len(seen)
    assert report.miou == pytest.approx(jaccard_score(truth, guess, labels=seen, average="macro"), rel=1e-14)
    assert report.pixel_accuracy == pytest.approx(accuracy_score(truth, guess), rel=1e-14)
    assert report.coverage == pytest.approx(np.mean(guess != 255), rel=1e-14)
    assert (report.num_images, report.missing) == (len(SIZES) - 1, (f"a/{len(SIZES) - 1}",))


def test_cams_of_the_image_s_own_size_are_cut_as_argmax_cuts_them(tmp_path):
    """At every background score of the curve; scores are kept as float16."""
    rng = np.random.default_rng(0)
    images = []
    for sample_id, truth, _ in drawn(21):
        indices = np.sort(rng.permutation(np.arange(1, 21))[:3])
        scores = rng.random((3, *truth.shape), np.float32).astype(np.float16).astype(np.float32)
        write_mask(tmp_path / "truth" / f"{sample_id}.png", truth)
        write_cam(tmp_path / "cams", Cam(sample_id, indices, scores, truth.shape), {})
        images.append((truth, scores, indices))
    report = evaluate_cams(tmp_path / "cams", tmp_path / "truth", class_set(21), progress=silent)
    assert len(report.curve) == 101
    expected = []
    for threshold, _ in report.curve:
        pixels = []
        for truth, scores, indices in images:
            stacked = np.concatenate([np.full((1, *truth.shape), threshold, np.float32), scores])
            pixels.append((truth.ravel(), np.array([0, *indices])[stacked.argmax(0)].ravel()))
        truth, guess = (np.concatenate(each) for each in zip(*pixels, strict=True))
        truth, guess = truth[truth != 255], guess[truth != 255]
        expected.append(jaccard_score(truth, guess, labels=np.union1d(truth, guess), average="macro"))
    np.testing.assert_allclose([miou for _, miou in report.curve], expected, rtol=1e-13)
    assert report.miou == pytest.approx(max(expected), rel=1e-13)
