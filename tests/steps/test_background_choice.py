import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from semples_cli.artifacts.mask_png import write_mask
from semples_cli.config import DEFAULT_BACKGROUND_SCORE
from semples_cli.errors import DataError
from semples_cli.functional.background_curve import BackgroundCurve
from semples_cli.functional.border_contrast import BorderContrast
from semples_cli.steps.background_choice import (
    BORDER_CONTRAST,
    CALIBRATED,
    DEFAULT,
    LONGEST,
    Looked,
    choose_score,
    find_calibration,
    working_luma,
)

ONE = np.array([1])


def looked(sample_id="a", edge=20, size=(24, 40)):
    """An image with an edge at a column, and a CAM that falls off across the columns."""
    image = np.full((*size, 3), 30, np.uint8)
    image[:, :edge] = 220
    scores = np.broadcast_to(np.linspace(1, 0, size[1], dtype=np.float32), (1, *size))
    return Looked(sample_id, image, scores, ONE)


def truth(folder, sample_id="a", edge=20, size=(24, 40), value=1):
    values = np.zeros(size, np.uint8)
    values[:, :edge] = value
    write_mask(folder / f"{sample_id}.png", values)
    return folder / f"{sample_id}.png"


# Border contrast


@pytest.mark.parametrize("edge", [10, 20, 30])
def test_the_score_at_which_the_border_lies_on_the_edge(edge):
    choice = choose_score([looked(edge=edge)] * 3, 2, None)
    assert choice.rule == BORDER_CONTRAST
    assert choice.score == pytest.approx(1 - edge / 40, abs=0.06)
    assert choice.images == ("a", "a", "a")
    assert choice.score == max(choice.curve, key=lambda point: point[1])[0]
    assert "where mask borders lie best on edges, by 3 images" in choice.sentence


def test_images_are_looked_at_small_and_maps_at_their_size():
    image = np.random.default_rng(0).integers(0, 256, (LONGEST, 2 * LONGEST, 3), np.uint8)
    luma = working_luma(image)
    assert luma.shape == (LONGEST // 2, LONGEST)
    assert luma.dtype == np.float32
    grey = np.asarray(Image.fromarray(image).convert("L"), np.float32)
    boxes = grey.reshape(LONGEST // 2, 2, LONGEST, 2).mean((1, 3))
    np.testing.assert_allclose(luma, boxes, atol=1)
    assert working_luma(image[:50, :70]).shape == (50, 70)  # nothing is enlarged
    assert working_luma(np.zeros((1, 4000, 3), np.uint8)).shape == (1, LONGEST)
    choice = choose_score([Looked("a", image, np.ones((1, 3, 6), np.float32), ONE)], 2, None)
    assert choice.images == ("a",)


def test_the_curve_is_that_of_the_rule():
    choice = choose_score([looked()], 2, None)
    contrast = BorderContrast()
    contrast.update(working_luma(looked().image), looked().scores)
    np.testing.assert_allclose([value for _, value in choice.curve], contrast.curve())


def test_without_any_image_the_default_is_kept_and_said():
    choice = choose_score([], 2, None)
    assert (choice.rule, choice.score, choice.curve) == (DEFAULT, DEFAULT_BACKGROUND_SCORE, ())
    assert choice.sentence == f"background score {DEFAULT_BACKGROUND_SCORE:g}: no image has a class to choose it by"


# Labelled masks


def test_the_score_that_is_best_by_labelled_masks(tmp_path):
    targets = {name: truth(tmp_path, name, edge=12) for name in ("a", "b")}
    choice = choose_score([looked("a"), looked("b")], 2, targets)
    assert choice.rule == CALIBRATED
    curve = BackgroundCurve(2)
    curve.update(np.uint8([[1] * 12 + [0] * 28] * 24), looked().scores, ONE)
    assert choice.score == curve.thresholds[curve.best()]
    assert choice.calibration.held_out_miou == choice.calibration.miou == 1
    assert choice.sentence == (
        f"background score {choice.score:.2f}, the best of 2 images with ground truth (90 % of resamples: "
        f"{choice.score:.2f} to {choice.score:.2f}); mIoU on them 100.0; left out in turn, 100.0; do not count them "
        "when you evaluate"
    )


def test_one_labelled_mask_has_nothing_held_out(tmp_path):
    choice = choose_score([looked()], 2, {"a": truth(tmp_path)})
    assert "by 1 image" not in choice.sentence
    assert "the best of 1 image with ground truth" in choice.sentence
    assert "left out" not in choice.sentence
    assert choice.as_record()["calibration"]["held_out_miou"] is None


def test_255_in_the_ground_truth_is_not_counted(tmp_path):
    path = truth(tmp_path, edge=12)
    values = np.uint8([[1] * 12 + [255] * 28] * 24)
    write_mask(path, values)
    assert choose_score([looked()], 2, {"a": path}).score == 0  # nothing is wrong with calling all of it class


def test_ground_truth_that_is_all_255_is_refused(tmp_path):
    path = truth(tmp_path)
    write_mask(path, np.full((24, 40), 255, np.uint8))
    with pytest.raises(DataError, match="not one pixel counts in the ground truth of a: all is 255; give masks"):
        choose_score([looked()], 2, {"a": path})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:40]), "a.png"),
        (lambda path: truth(path.parent, size=(24, 41)), "resize the maps first|41"),
        (lambda path: truth(path.parent, value=7), "7"),
    ],
)
def test_ground_truth_that_cannot_be_used_is_named_with_the_cure(tmp_path, spoil, said):
    path = truth(tmp_path)
    spoil(path)
    with pytest.raises(DataError, match=said) as caught:
        choose_score([looked()], 2, {"a": path})
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).endswith("it is to calibrate the background score: correct it, or take it away")


def test_ground_truth_is_found_by_id(tmp_path):
    for name in ("a", "sub/b", "other"):
        truth(tmp_path, name)
    found = find_calibration(tmp_path, ["sub/b", "a", "c"])
    assert found == {"sub/b": tmp_path / "sub/b.png", "a": tmp_path / "a.png"}


def test_a_folder_without_a_mask_of_these_images_is_refused_with_both_names(tmp_path):
    truth(tmp_path, "x1")
    with pytest.raises(DataError, match="no mask of these images; in it are 'x1' and so on, the images 'a' and so on"):
        find_calibration(tmp_path, ["a"])
    with pytest.raises(DataError, match="in it are 'x1' and so on: name masks as their images"):
        find_calibration(tmp_path, [])
    (tmp_path / "x1.png").unlink()
    with pytest.raises(DataError, match=f"^--calibrate {tmp_path}: "):
        find_calibration(tmp_path, ["a"])
    with pytest.raises(DataError, match=r"^--calibrate .*none"):
        find_calibration(tmp_path / "none", ["a"])


# Records


def test_records_are_json_and_say_all(tmp_path):
    by_borders = choose_score([looked()], 2, None)
    record = json.loads(json.dumps(by_borders.as_record(), allow_nan=False))
    assert set(record) == {"rule", "score", "curve", "images"}
    assert (record["rule"], record["score"], record["images"]) == (BORDER_CONTRAST, by_borders.score, ["a"])
    assert len(record["curve"]) == len(by_borders.curve)
    calibrated = choose_score([looked("a"), looked("b")], 2, {"a": truth(tmp_path), "b": truth(tmp_path, "b")})
    record = json.loads(json.dumps(calibrated.as_record(), allow_nan=False))
    assert set(record["calibration"]) == {"miou", "held_out_miou", "score_interval"}
    assert record["calibration"]["score_interval"] == [calibrated.calibration.low, calibrated.calibration.high]


def test_choosing_needs_no_torch():
    code = "import sys; import semples_cli.steps.background_choice; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
