import csv
from typing import ClassVar

import numpy as np
import pytest
import torch

from semples_cli.config.tagging import TagSettings
from semples_cli.data.dataset import load_dataset
from semples_cli.data.image_folder import ImageFile, find_images
from semples_cli.errors import DataError, SettingsError
from semples_cli.steps import tag_images as step
from semples_cli.steps.progress import silent
from semples_cli.steps.tag_images import tag_images
from semples_cli.types import ClassSet

CLASSES = ClassSet(("boat", "cat", "dog"))


class FixedTagger:
    """Scores that are written down by the mean grey of the image, which stands for what it shows."""

    scores_of: ClassVar = {}

    def __init__(self, engine, class_set, settings):
        self.batch_size = settings.batch_size

    def pixels(self, image):
        return torch.tensor(int(image[0, 0, 0]))

    def scores(self, pixels):
        return np.array([self.scores_of[int(p)] for p in pixels], np.float32).reshape(-1, len(CLASSES))


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """images/ with one-colour images and the scores that each shall have; returns a function that tags them."""
    from PIL import Image

    monkeypatch.setattr(step, "ImageTagger", FixedTagger)
    monkeypatch.setattr(FixedTagger, "scores_of", {})
    folder = tmp_path / "images"

    def tag(scores, **options):
        for grey, (name, values) in enumerate(scores.items()):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if values is None:
                path.write_bytes(b"no image")
                continue
            FixedTagger.scores_of[grey] = values
            Image.new("RGB", (3, 2), (grey, grey, grey)).save(path)
        settings = TagSettings(threshold=options.pop("threshold", None), batch_size=options.pop("batch_size", 2))
        out = options.pop("out", tmp_path / "labels.csv")
        return tag_images(find_images([folder]), CLASSES, None, out, settings, progress=silent, **options)

    return tag


SCORES = {
    "a/1.png": [0.5, 0.1, 0.45],
    "a/2.png": [0.0, 0.3, 0.0],
    "b.png": [0.1, 0.19, 0.0],
    "c.png": [-0.3, -0.2, 0.29],
}


def test_classes_from_the_threshold_on_are_proposed_least_certain_image_first(shown, tmp_path):
    done = shown(SCORES, threshold=0.3)
    assert (tmp_path / "labels.csv").read_text() == ("image,labels\na/2.png,cat\nc.png,\nb.png,\na/1.png,boat|dog\n")
    assert (done.threshold, done.separation, done.notes, done.failed) == (0.3, None, (), ())
    assert (done.written, done.empty) == (4, 2)
    assert list(done.proposed.items()) == [("boat", 1), ("cat", 1), ("dog", 1)]


def test_the_scores_lie_beside_in_the_same_order(shown, tmp_path):
    done = shown(SCORES, threshold=0.31)
    with done.scores.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    labels = [line.split(",")[0] for line in done.labels.read_text().splitlines()[1:]]
    assert [row["image"] for row in rows] == labels == ["a/2.png", "c.png", "b.png", "a/1.png"]
    assert rows[-1] == {
        "image": "a/1.png", "proposed": "boat|dog", "certainty": "0.1400", "unsure": "dog",
        "boat": "0.5000", "cat": "0.1000", "dog": "0.4500",
    }  # fmt: skip
    assert [float(row["certainty"]) for row in rows] == sorted(float(row["certainty"]) for row in rows)


def test_the_file_is_read_by_labels_as_it_is(shown, tmp_path):
    done = shown(SCORES, threshold=0.3)
    for classes in (None, tmp_path / "classes.txt"):
        (tmp_path / "classes.txt").write_text("boat\ncat\ndog\n")
        dataset = load_dataset([tmp_path / "images"], labels=done.labels, classes=classes)
        assert {sample.id: sample.class_indices for sample in dataset.samples} == {
            "a/1": (1, 3), "a/2": (2,), "b": (), "c": (),
        }  # fmt: skip
        assert not dataset.problems
        assert not dataset.unmatched_rows
        assert not dataset.unlabelled


def test_without_a_threshold_the_scores_set_it(shown):
    rng = np.random.default_rng(0)
    scores = {f"{n:03}.png": (rng.normal(0, 0.03, 3) + 0.5 * np.eye(3)[n % 3]).tolist() for n in range(90)}
    done = shown(scores)
    assert 0.1 < done.threshold < 0.4
    assert done.separation > 10
    assert (done.notes, done.empty) == ((), 0)
    assert set(done.proposed.values()) == {30}


def test_few_scores_and_scores_of_one_group_are_said_to_be_doubtful(shown):
    done = shown(SCORES)
    assert "from 12 scores only (4 images × 3 classes), and 200 or more are needed" in done.notes[0]
    rng = np.random.default_rng(0)
    done = shown({f"{n:03}.png": rng.normal(size=3).tolist() for n in range(100)}, overwrite=True)
    assert len(done.notes) == 1
    assert "the scores do not fall into classes that are there and classes that are not (separation" in done.notes[0]


def test_scores_that_do_not_differ_need_a_threshold(shown, tmp_path):
    same = {"a.png": [0.2, 0.2, 0.2]}
    with pytest.raises(SettingsError, match="no threshold can be found from them; give one by --threshold"):
        shown(same)
    assert not (tmp_path / "labels.csv").exists()
    assert shown(same, threshold=0.1).proposed == {"boat": 1, "cat": 1, "dog": 1}


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 100])
def test_every_batch_size_gives_every_image_its_own_scores(shown, batch_size):
    scores = {f"{n}.png": [n / 10, -n / 10, 0.0] for n in range(7)}
    done = shown(scores, threshold=0.05, batch_size=batch_size)
    with done.scores.open(newline="") as handle:
        found = {row["image"]: float(row["boat"]) for row in csv.DictReader(handle)}
    assert found == {name: values[0] for name, values in scores.items()}


def test_a_damaged_image_is_listed_and_the_others_are_done(shown, tmp_path):
    done = shown({"a.png": [0.5, 0, 0], "bad.png": None, "c.png": [0, 0.5, 0], "worse.png": None}, threshold=0.3)
    assert [item for item, _ in done.failed] == ["bad", "worse"]
    assert all("not an image that can be read" in reason for _, reason in done.failed)
    assert done.written == 2
    assert "bad" not in done.labels.read_text() + done.scores.read_text()


def test_images_that_are_too_large_fail_alone(shown):
    assert shown(SCORES, threshold=0.3, max_pixels=6).failed == ()
    with pytest.raises(
        DataError, match=r"no image could be read, so nothing is written; a/1: .*more than the 5 allowed"
    ):
        shown(SCORES, threshold=0.3, max_pixels=5, overwrite=True)


def test_nothing_readable_leaves_no_file(shown, tmp_path):
    with pytest.raises(DataError, match="no image could be read, so nothing is written; a: "):
        shown({"a.png": None}, threshold=0.3)
    assert not list(tmp_path.glob("*.csv*"))
    with pytest.raises(DataError, match="no image: none was given"):
        tag_images([], CLASSES, None, tmp_path / "labels.csv", progress=silent)


def test_what_is_there_is_refused_before_any_image_is_read(shown, tmp_path, monkeypatch):
    shown(SCORES, threshold=0.3)
    before = (tmp_path / "labels.csv").read_bytes()

    def never(*args):
        raise AssertionError

    monkeypatch.setattr(step, "read_image", never)
    with pytest.raises(SettingsError, match=r"labels\.csv is there already"):
        shown(SCORES, threshold=0.1)
    assert (tmp_path / "labels.csv").read_bytes() == before


def test_a_failed_write_leaves_the_old_file(shown, tmp_path, monkeypatch):
    shown(SCORES, threshold=0.3)
    before = (tmp_path / "labels.csv").read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(step, "write_labels", full)
    with pytest.raises(OSError, match="No space left"):
        shown(SCORES, threshold=0.0, overwrite=True)
    assert (tmp_path / "labels.csv").read_bytes() == before


def test_progress_counts_every_image(shown, tmp_path):
    told = []
    shown({"a.png": [0.5, 0, 0], "bad.png": None, "c.png": [0, 0.5, 0]}, threshold=0.3)
    images = find_images([tmp_path / "images"])
    tag_images(
        images, CLASSES, None, tmp_path / "2.csv", TagSettings(threshold=0.3, batch_size=2),
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert told == [(2, 3), (3, 3)]


def test_the_small_clip_tags_images_of_all_shapes(clip_engine, photos, tmp_path):
    images = find_images([photos])
    done = tag_images(images, CLASSES, clip_engine, tmp_path / "out.csv", progress=silent)
    assert done.written == len(images)
    assert any(done.proposed.values())
    assert len(load_dataset([photos], labels=done.labels).samples) == len(images)


def test_a_name_that_cannot_stand_in_the_file_is_refused(clip_engine, photos, tmp_path):
    classes = ClassSet(("boat", "cat|dog"), ("boat", "cat"))
    with pytest.raises(DataError, match=r"class 'cat\|dog' cannot stand in list-csv"):
        tag_images([ImageFile("b", photos / "b.jpg")], classes, clip_engine, tmp_path / "out.csv", progress=silent)
    assert not list(tmp_path.glob("out*"))


def test_an_image_whose_name_no_label_file_can_hold_fails_and_the_rest_is_written(shown):
    done = shown({**SCORES, "\udcff.png": [0.9, 0.9, 0.9]}, threshold=0.3)
    ((sample_id, reason),) = done.failed
    assert (sample_id, reason) == (
        "\udcff",
        "its name is no valid UTF-8, which no label file can hold; rename the image",
    )
    assert (done.written, done.labels.read_text().count("\n")) == (4, 5)
