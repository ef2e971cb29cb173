"""Masks and CAMs against ground truth: figures, matching by id, and every refusal."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from semples_cli.artifacts.cam_store import read_cam, write_cam
from semples_cli.artifacts.mask_png import write_mask
from semples_cli.artifacts.run_folder import class_record, write_run_record
from semples_cli.errors import ArtifactError, DataError, SettingsError
from semples_cli.functional.masks import resize_scores, seed_mask
from semples_cli.steps.evaluate_masks import evaluate_cams, evaluate_masks
from semples_cli.steps.progress import silent
from semples_cli.types import Cam, ClassSet

CLASSES = ClassSet(("cat", "dog", "emu"))
SIZES = {"a/1": (17, 31), "a/2": (1, 1), "b": (20, 9)}


@pytest.fixture
def truth(tmp_path):
    rng = np.random.default_rng(0)
    masks = {}
    for sample_id, size in SIZES.items():
        masks[sample_id] = rng.choice(np.array([0, 1, 2, 255], np.uint8), size)
        write_mask(tmp_path / "truth" / f"{sample_id}.png", masks[sample_id])
    return masks


@pytest.fixture
def guess(tmp_path, truth):
    rng = np.random.default_rng(1)
    masks = {}
    for sample_id, target in truth.items():
        noise = rng.choice(np.array([0, 1, 2, 255], np.uint8), target.shape)
        masks[sample_id] = np.where((rng.random(target.shape) < 0.7) & (target < 255), target, noise).astype(np.uint8)
        write_mask(tmp_path / "masks" / f"{sample_id}.png", masks[sample_id], "L")
    return masks


@pytest.fixture
def cams(tmp_path, truth):
    """CAMs in a run folder, on coarse grids; one image has no class."""
    rng = np.random.default_rng(2)
    indices = {"a/1": [1, 2], "a/2": [], "b": [3, 1]}
    written = {}
    for sample_id, target in truth.items():
        scores = rng.integers(0, 21, (len(indices[sample_id]), 4, 5)).astype(np.float32) / 20
        cam = Cam(sample_id, np.array(indices[sample_id], np.int64), scores, target.shape)
        path = write_cam(tmp_path / "run" / ".semples" / "cams", cam, {})
        written[sample_id] = read_cam(path, sample_id)
    write_run_record(tmp_path / "run", {"command": "cams", "classes": class_record(CLASSES)})
    return written


def plain_confusion(truth, guess, num_classes=4):
    confusion = np.zeros((num_classes, num_classes + 1), np.float64)
    for sample_id, target in truth.items():
        for t, p in zip(target.ravel().tolist(), guess[sample_id].ravel().tolist(), strict=True):
            if t != 255:
                confusion[t, num_classes if p == 255 else p] += 1
    return confusion


class TestMasks:
    def test_equals_the_plain_count(self, tmp_path, truth, guess):
        report = evaluate_masks(tmp_path / "masks", tmp_path / "truth", CLASSES, progress=silent)
        confusion = plain_confusion(truth, guess)
        np.testing.assert_array_equal(report.confusion, confusion)
        union = confusion.sum(1) + confusion[:, :4].sum(0) - confusion.diagonal()
        assert union[3] == 0
        np.testing.assert_array_equal(report.iou[:3], confusion.diagonal()[:3] / union[:3])
        assert math.isnan(report.iou[3])
        assert report.miou == np.mean(confusion.diagonal()[:3] / union[:3])
        assert report.num_classes_averaged == 3
        assert report.class_names == ("background", "cat", "dog", "emu")
        assert report.num_images == 3
        assert report.missing == ()
        assert report.pixel_accuracy == confusion.trace() / confusion.sum()
        assert report.coverage == confusion[:, :4].sum() / confusion.sum()
        assert report.background_score is None
        assert report.curve == ()

    def test_the_counts_of_each_image_can_be_observed_and_add_up(self, tmp_path, truth, guess):
        seen = {}
        report = evaluate_masks(
            tmp_path / "masks", tmp_path / "truth", CLASSES, progress=silent, observe=seen.__setitem__
        )
        assert list(seen) == sorted(truth)
        np.testing.assert_array_equal(seen["b"], plain_confusion({"b": truth["b"]}, guess))
        np.testing.assert_array_equal(sum(seen.values()), report.confusion)

    def test_the_counts_of_each_image_at_a_given_background_score(self, tmp_path, truth, cams):
        seen = {}
        at = {"background_score": 0.45, "progress": silent, "observe": seen.__setitem__}
        report = evaluate_cams(tmp_path / "run", tmp_path / "truth", **at)
        assert list(seen) == sorted(truth)
        np.testing.assert_array_equal(sum(seen.values()), report.confusion)

    def test_perfect_masks(self, tmp_path, truth):
        report = evaluate_masks(tmp_path / "truth", tmp_path / "truth", CLASSES, progress=silent)
        assert report.miou == 1
        assert report.pixel_accuracy == 1

    def test_all_ignore(self, tmp_path):
        write_mask(tmp_path / "t" / "x.png", np.full((17, 31), 255, np.uint8))
        report = evaluate_masks(tmp_path / "t", tmp_path / "t", CLASSES, progress=silent)
        assert math.isnan(report.miou)
        assert report.num_classes_averaged == 0
        assert report.num_images == 1

    def test_missing_masks_are_left_out_and_listed(self, tmp_path, truth, guess):
        (tmp_path / "masks" / "a" / "2.png").unlink()
        (tmp_path / "masks" / "b.png").unlink()
        report = evaluate_masks(tmp_path / "masks", tmp_path / "truth", CLASSES, progress=silent)
        assert report.missing == ("a/2", "b")
        assert report.num_images == 1
        np.testing.assert_array_equal(report.confusion, plain_confusion({"a/1": truth["a/1"]}, guess))

    def test_masks_without_ground_truth_are_counted_and_said(self, tmp_path, truth, guess):
        (tmp_path / "truth" / "b.png").unlink()
        said = []
        report = evaluate_masks(tmp_path / "masks", tmp_path / "truth", CLASSES, progress=silent, note=said.append)
        assert said == ["1 of 3 masks have no ground truth and are not counted"]
        assert report.num_images == 2
        assert report.missing == ()

    def test_progress_ends_at_the_total(self, tmp_path, truth, guess):
        seen = []
        evaluate_masks(tmp_path / "masks", tmp_path / "truth", CLASSES, progress=lambda *step: seen.append(step))
        assert seen == [(1, 3), (2, 3), (3, 3)]

    def test_tqdm_is_the_default_progress(self, tmp_path, truth, guess, capsys):
        evaluate_masks(tmp_path / "masks", tmp_path / "truth", CLASSES)
        captured = capsys.readouterr()
        assert "evaluate" in captured.err
        assert captured.out == ""

    def test_classes_of_a_run_folder(self, tmp_path, truth, guess):
        write_run_record(tmp_path / "masks", {"command": "cams", "classes": class_record(CLASSES)})
        write_mask(tmp_path / "masks" / "overlays" / "b.png", guess["b"])
        report = evaluate_masks(tmp_path / "masks", tmp_path / "truth", progress=silent)
        assert report.class_names == ("background", "cat", "dog", "emu")
        assert report.num_images == 3

    def test_no_classes_known(self, tmp_path, truth, guess):
        with pytest.raises(SettingsError, match=r"does not say its classes .*add --classes classes\.txt"):
            evaluate_masks(tmp_path / "masks", tmp_path / "truth", progress=silent)


class TestGroundTruth:
    @pytest.mark.parametrize(
        ("folders", "expected"),
        [(["SegmentationClass"], 1), (["SegmentationClassAug"], 1), (["SegmentationClass", "SegmentationClassAug"], 0)],
    )
    def test_a_voc_devkit(self, tmp_path, folders, expected):
        # Where both exist, Aug is read, and holds another truth here.
        mask = np.array([[0, 1]], np.uint8)
        for folder in folders:
            other = folder.endswith("Aug") and len(folders) == 2
            write_mask(tmp_path / "voc" / folder / "x.png", 1 - mask if other else mask)
        write_mask(tmp_path / "voc" / "SegmentationObject" / "y.png", mask)
        write_mask(tmp_path / "masks" / "x.png", mask)
        report = evaluate_masks(tmp_path / "masks", tmp_path / "voc", ClassSet(("cat",)), progress=silent)
        assert report.miou == expected
        assert report.missing == ()

    def test_nothing_matches(self, tmp_path, truth, guess):
        with pytest.raises(
            DataError, match=r"masks are called '1' .*truth 'a/1' and so on.*same file name and subfolder"
        ):
            evaluate_masks(tmp_path / "masks" / "a", tmp_path / "truth", CLASSES, progress=silent)

    def test_no_mask_at_all(self, tmp_path, truth):
        (tmp_path / "masks").mkdir()
        with pytest.raises(DataError, match="there are no masks"):
            evaluate_masks(tmp_path / "masks", tmp_path / "truth", CLASSES, progress=silent)

    def test_no_ground_truth(self, tmp_path, truth, guess):
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match="no PNG in it; give the folder of ground-truth masks"):
            evaluate_masks(tmp_path / "masks", tmp_path / "empty", CLASSES, progress=silent)
        with pytest.raises(DataError, match=r"ground truth .*nowhere: no such folder"):
            evaluate_masks(tmp_path / "masks", tmp_path / "nowhere", CLASSES, progress=silent)

    def test_no_mask_folder(self, tmp_path, truth):
        with pytest.raises(ArtifactError, match="nowhere: no such folder"):
            evaluate_masks(tmp_path / "nowhere", tmp_path / "truth", CLASSES, progress=silent)

    def test_sizes_that_differ_are_both_named_with_the_paths(self, tmp_path, truth, guess):
        write_mask(tmp_path / "masks" / "b.png", np.zeros((9, 20), np.uint8))
        message = r"masks/b\.png is 9 x 20 pixels .*truth/b\.png is 20 x 9: evaluate what was made from"
        with pytest.raises(DataError, match=message):
            evaluate_masks(tmp_path / "masks", tmp_path / "truth", CLASSES, progress=silent)

    def test_a_value_that_is_no_class_is_named_with_the_path(self, tmp_path, truth, guess):
        with pytest.raises(
            DataError, match=r"masks/a/1\.png against .*truth/a/1\.png: .*value 2, but there are 2 classes"
        ):
            evaluate_masks(tmp_path / "masks", tmp_path / "truth", ClassSet(("cat",)), progress=silent)

    def test_damaged_ground_truth_is_the_users_and_a_damaged_mask_ours(self, tmp_path, truth, guess):
        for folder, error, message in (
            ("masks", ArtifactError, r"masks/b\.png: this PNG is damaged"),
            ("truth", DataError, r"ground truth .*truth/b\.png: this PNG is damaged"),
        ):
            path = tmp_path / folder / "b.png"
            whole = path.read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
            with pytest.raises(error, match=message):
                evaluate_masks(tmp_path / "masks", tmp_path / "truth", CLASSES, progress=silent)
            path.write_bytes(whole)

    def test_ground_truth_in_colours_is_refused_with_the_cure(self, tmp_path, truth, guess):
        Image.new("RGB", (9, 20)).save(tmp_path / "truth" / "b.png")
        with pytest.raises(DataError, match=r"RGB PNG.*save the mask as palette"):
            evaluate_masks(tmp_path / "masks", tmp_path / "truth", CLASSES, progress=silent)


class TestSplitList:
    def evaluate(self, tmp_path, text, encoding="utf-8"):
        (tmp_path / "val.txt").write_text(text, encoding=encoding)
        return evaluate_masks(
            tmp_path / "masks", tmp_path / "truth", CLASSES, split_list=tmp_path / "val.txt", progress=silent
        )

    @pytest.mark.parametrize(
        "text",
        [
            "b\na/1\n",
            "a/1 0 3\n\n  b 1\nb\n",
            "\ufeffb\r\na/1\r\n",
            "/JPEGImages/a/1.jpg /SegmentationClassAug/a/1.png\n/JPEGImages/b.jpg /SegmentationClassAug/b.png\n",
        ],
    )
    def test_counts_only_what_is_listed(self, tmp_path, truth, guess, text):
        report = self.evaluate(tmp_path, text)
        wanted = {sample_id: truth[sample_id] for sample_id in ("a/1", "b")}
        np.testing.assert_array_equal(report.confusion, plain_confusion(wanted, guess))
        assert report.num_images == 2

    def test_only_listed_masks_can_be_missing(self, tmp_path, truth, guess):
        for name in ("a/2", "b"):
            (tmp_path / "masks" / f"{name}.png").unlink()
        assert self.evaluate(tmp_path, "a/1\nb\n").missing == ("b",)

    def test_an_id_with_spaces(self, tmp_path, truth, guess):
        for folder in ("masks", "truth"):
            write_mask(tmp_path / folder / "my cat.png", np.ones((2, 2), np.uint8))
        assert self.evaluate(tmp_path, "my cat\n").miou == 1

    def test_an_id_that_looks_like_a_file(self, tmp_path, truth, guess):
        for folder in ("masks", "truth"):
            write_mask(tmp_path / folder / "cat.jpg.png", np.ones((2, 2), np.uint8))
        assert self.evaluate(tmp_path, "cat.jpg 1\n").miou == 1

    def test_an_unknown_id_is_named_with_its_line(self, tmp_path, truth, guess):
        with pytest.raises(DataError, match=r"val\.txt:2: no ground truth for 'c'; ids there look like 'a/1'"):
            self.evaluate(tmp_path, "b\nc\n")

    def test_an_empty_list(self, tmp_path, truth, guess):
        with pytest.raises(DataError, match="no id in this split list: write one id a line"):
            self.evaluate(tmp_path, "\n\n")

    def test_a_list_that_cannot_be_read(self, tmp_path, truth, guess):
        with pytest.raises(DataError, match=r"cannot read this split list .*UTF-8 text file"):
            self.evaluate(tmp_path, "\u20ac", "utf-16")
        with pytest.raises(DataError, match=r"cannot read this split list .*No such file"):
            evaluate_masks(tmp_path / "masks", tmp_path / "truth", CLASSES, split_list=tmp_path / "x", progress=silent)


class TestCams:
    def masks_at(self, cams, score):
        return {
            sample_id: seed_mask(resize_scores(cam.scores, cam.image_size), cam.class_indices, score)
            for sample_id, cam in cams.items()
        }

    def test_every_point_of_the_curve_is_what_masks_cut_there_would_get(self, tmp_path, truth, cams):
        report = evaluate_cams(tmp_path / "run", tmp_path / "truth", progress=silent)
        assert [score for score, _ in report.curve] == [i / 100 for i in range(101)]
        for score, miou in report.curve[::7]:
            for sample_id, mask in self.masks_at(cams, score).items():
                write_mask(tmp_path / "cut" / f"{sample_id}.png", mask)
            assert evaluate_masks(tmp_path / "cut", tmp_path / "truth", CLASSES, progress=silent).miou == miou

    def test_reports_at_the_true_maximum(self, tmp_path, truth, cams):
        report = evaluate_cams(tmp_path / "run", tmp_path / "truth", progress=silent)
        scores, mious = zip(*report.curve, strict=True)
        assert report.miou == max(mious)
        assert report.background_score == scores[mious.index(max(mious))]
        confusion = plain_confusion(truth, self.masks_at(cams, report.background_score))
        np.testing.assert_array_equal(report.confusion, confusion)
        assert report.coverage == 1

    @pytest.mark.parametrize("score", [0, 0.35, 0.4, 0.123456, 1])
    def test_at_a_given_score(self, tmp_path, truth, cams, score):
        report = evaluate_cams(tmp_path / "run", tmp_path / "truth", background_score=score, progress=silent)
        assert report.background_score == score
        np.testing.assert_array_equal(report.confusion, plain_confusion(truth, self.masks_at(cams, score)))
        if score in dict(report.curve):
            assert report.miou == dict(report.curve)[score]
        assert len(report.curve) == 101

    def test_the_folder_of_cams_itself_and_given_classes(self, tmp_path, truth, cams):
        whole = evaluate_cams(tmp_path / "run", tmp_path / "truth", progress=silent)
        inner = evaluate_cams(tmp_path / "run" / ".semples" / "cams", tmp_path / "truth", progress=silent)
        given = evaluate_cams(tmp_path / "run", tmp_path / "truth", CLASSES, progress=silent)
        assert whole.curve == inner.curve == given.curve

    def test_missing_cams_and_notes(self, tmp_path, truth, cams):
        (tmp_path / "run" / ".semples" / "cams" / "a" / "1.npz").unlink()
        (tmp_path / "truth" / "b.png").unlink()
        said = []
        report = evaluate_cams(tmp_path / "run", tmp_path / "truth", progress=silent, note=said.append)
        assert report.missing == ("a/1",)
        assert said == ["1 of 2 CAMs have no ground truth and are not counted"]

    @pytest.mark.parametrize("score", [-0.1, 1.1, math.nan])
    def test_a_score_out_of_range(self, tmp_path, truth, cams, score):
        with pytest.raises(SettingsError, match=r"background score .*lies in \[0, 1\]"):
            evaluate_cams(tmp_path / "run", tmp_path / "truth", background_score=score, progress=silent)

    def test_sizes_that_differ(self, tmp_path, truth, cams):
        write_mask(tmp_path / "truth" / "b.png", np.zeros((21, 9), np.uint8))
        with pytest.raises(DataError, match=r"b\.npz is 20 x 9 pixels .*b\.png is 21 x 9"):
            evaluate_cams(tmp_path / "run", tmp_path / "truth", progress=silent)

    def test_fewer_classes_than_the_cams_have(self, tmp_path, truth, cams):
        with pytest.raises(DataError, match=r"b\.npz against .*class index 3, but the classes are 1\.\.2"):
            evaluate_cams(tmp_path / "run", tmp_path / "truth", ClassSet(("cat", "dog")), progress=silent)

    def test_a_run_record_without_classes(self, tmp_path, truth, cams):
        record = tmp_path / "run" / ".semples" / "run.json"
        document = json.loads(record.read_text())
        del document["classes"]
        record.write_text(json.dumps(document))
        with pytest.raises(SettingsError, match="add --classes"):
            evaluate_cams(tmp_path / "run", tmp_path / "truth", progress=silent)
