import csv
import json
import shutil

import numpy as np
import pytest
from small_world import CLASSES, PHOTOS

from semples_cli.artifacts.manifest import Manifest
from semples_cli.artifacts.manifest_entries import read_entries
from semples_cli.artifacts.mask_png import find_masks, read_mask, write_mask
from semples_cli.artifacts.run_folder import RunFolder, read_class_set, read_run_record
from semples_cli.config import CamSettings
from semples_cli.config.tagging import TagSettings
from semples_cli.data.image_folder import find_images
from semples_cli.data.images import read_image
from semples_cli.engine.region_match import RegionMatcher
from semples_cli.errors import ArtifactError, DataError, SettingsError
from semples_cli.steps.make_cams import make_cams
from semples_cli.steps.progress import silent
from semples_cli.steps.review_masks import find_review, review_masks
from semples_cli.types import ClassSet, Sample, Shard

CLASS_SET = ClassSet(CLASSES)
SETTINGS = TagSettings(background_words=("sky", "water"), batch_size=2)
LABELS = {name: tuple(CLASS_SET.index_of(each) for each in names) for name, (_, names) in PHOTOS.items()}


@pytest.fixture
def root(photos, clip_engine):
    """A folder with `images/` and the run `masks/`, whose masks are drawn by hand: a box for each class."""
    root = photos.parent
    samples = [Sample(name, photos / f"{name}.jpg", classes) for name, classes in LABELS.items()]
    settings = CamSettings(size=40, batch_size=2, background_words=("sky", "water"))
    make_cams(samples, CLASS_SET, clip_engine, root / "masks", settings, inputs=(photos,), progress=silent)
    for name, classes in LABELS.items():
        values = np.zeros(PHOTOS[name][0], np.uint8)
        for i, index in enumerate(classes):
            values[4 : 4 + 8 * (i + 1), 12 * i : 12 * i + 10] = index
        values[0, 0] = 255
        write_mask(root / f"masks/{name}.png", values)
    return root


@pytest.fixture
def review(root, clip_engine):
    def run(masks="masks", out="queue.csv", **options):
        options = {"settings": SETTINGS, "progress": silent, **options}
        class_set = options.pop("class_set", CLASS_SET)
        return review_masks(find_review(root / masks), class_set, clip_engine, root / out, **options)

    return run


def bytes_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.png")}


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


# What is found


def test_every_region_is_queued_least_sure_first(review, root, clip_engine):
    done = review()
    assert (done.images, done.failed, done.ignored) == (len(PHOTOS), (), 0)
    assert {(row.id, row.class_index) for row in done.rows} == {(name, k) for name, ks in LABELS.items() for k in ks}
    assert [row.confidence for row in done.rows] == sorted(row.confidence for row in done.rows)
    matcher = RegionMatcher(clip_engine, CLASS_SET, SETTINGS)
    for row in done.rows:
        mask, image = read_mask(root / f"masks/{row.id}.png"), read_image(root / f"images/{row.id}.jpg")
        (expected,) = matcher.confidences(matcher.regions(image, mask, [row.class_index]), [row.class_index])
        assert row.confidence == pytest.approx(float(expected), rel=1e-3)
        assert row.area == pytest.approx((mask == row.class_index).mean())
        assert row.coverage == pytest.approx(1 - 1 / mask.size)
        assert row.class_name == CLASS_SET.name_of(row.class_index)
    assert done.coverage == pytest.approx(
        1 - len(PHOTOS) / sum(height * width for (height, width), _ in PHOTOS.values())
    )
    written = rows_of(root / "queue.csv")
    assert [(row["image"], row["class"]) for row in written] == [(row.id, row.class_name) for row in done.rows]
    assert all((root / "masks" / f"{row['image']}.png").samefile(row["mask"]) for row in written)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_batches_change_nothing(review, batch_size):
    settings = TagSettings(background_words=("sky", "water"), batch_size=batch_size)
    one, other = review(), review(out="other.csv", settings=settings)
    assert {(r.id, r.class_index): r.confidence for r in one.rows} == pytest.approx(
        {(r.id, r.class_index): r.confidence for r in other.rows}, rel=1e-3
    )


def test_a_class_that_the_label_names_and_the_mask_lacks_comes_first(review, root):
    write_mask(root / "masks/a/2.png", np.full(PHOTOS["a/2"][0], 3, np.uint8))  # dog alone; the CAMs know of a boat
    first = review().rows[0]
    assert (first.id, first.class_name, first.confidence, first.area) == ("a/2", "boat", 0.0, 0.0)


def test_labels_that_are_given_take_the_place_of_those_of_the_cams(review):
    done = review(labels={"b": (2, 3), "a/2": (1, 3)})
    assert [(row.id, row.class_name) for row in done.rows if row.confidence == 0] == [("b", "cat")]


def test_masks_that_people_corrected_are_as_welcome(review, root, photos):
    for name in ("a/1", "b"):
        (root / f"mine/{name}.png").parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / f"masks/{name}.png", root / f"mine/{name}.png")
    done = review("mine", images=photos)
    assert {row.id for row in done.rows} == {"a/1", "b"}
    assert not (root / "mine/.semples").exists()


def test_progress_counts_masks(review):
    seen = []
    review(progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, len(PHOTOS)) for n in range(1, len(PHOTOS) + 1)]


# The run's own books


def test_confidences_are_entered_once_into_the_manifest_of_the_run(review, root):
    run = RunFolder(root / "masks")
    keys = {name: entry.key for name, entry in read_entries(run).items()}
    done = review()
    entries = read_entries(run)
    for row in done.rows:
        assert entries[row.id].class_confidence[str(row.class_index)] == pytest.approx(row.confidence, abs=1e-6)
        assert entries[row.id].coverage == pytest.approx(row.coverage, abs=1e-6)
    assert entries["a/2"].confidence == min(entries["a/2"].class_confidence.values())
    assert entries["empty"].confidence is None
    assert {name: entry.key for name, entry in entries.items()} == keys
    before = run.manifest.read_bytes()
    review(overwrite=True)
    assert run.manifest.read_bytes() == before  # nothing new, nothing said


def test_a_run_at_work_is_not_reviewed(review, root):
    with Manifest(RunFolder(root / "masks")), pytest.raises(ArtifactError, match="another semples run"):
        review(ignore_below=0.5, masks_out=root / "sure")
    assert not (root / "queue.csv").exists()
    assert not (root / "sure").exists()


def test_confidences_are_entered_where_shards_made_the_masks(review, root):
    run = RunFolder(root / "masks")
    run.manifest.rename(run.manifest_of(Shard(1, 1)))  # as shards leave it
    done = review()
    entries = read_entries(run)
    assert {row.id for row in done.rows} == {name for name, each in entries.items() if each.class_confidence}
    assert entries["one"].class_confidence == {"1": pytest.approx(entries["one"].confidence)}


def test_only_masks_of_the_run_are_entered(review, root):
    shutil.copy(root / "images/b.jpg", root / "images/new.jpg")
    shutil.copy(root / "masks/b.png", root / "masks/new.png")
    assert "new" in {row.id for row in review().rows}
    assert "new" not in read_entries(RunFolder(root / "masks"))


# Masks with what is not sure set to 255


def test_regions_below_a_level_are_ignored_in_copies(review, root):
    before, sure = bytes_of(root / "masks"), sorted(row.confidence for row in review().rows)
    level = (sure[1] + sure[2]) / 2
    done = review(out="again.csv", ignore_below=level, masks_out=root / "sure")
    assert done.ignored == 2
    assert bytes_of(root / "masks") == before
    doubted = {(row.id, row.class_index) for row in done.rows if row.confidence < level}
    assert len(doubted) == 2
    for name, path in find_masks(root / "masks").items():
        ours, theirs = read_mask(root / f"sure/{name}.png"), read_mask(path)
        for k in range(256):
            expected = 255 if (name, k) in doubted else k
            assert (ours[theirs == k] == expected).all()
    counted = np.concatenate([read_mask(path).ravel() for path in find_masks(root / "sure").values()])
    assert done.coverage == pytest.approx((counted != 255).mean())
    record = read_run_record(root / "sure")
    assert (record["command"], record["settings"]) == ("review", {"ignore_below": level})
    assert record["inputs"] == [str(root / "images")]
    assert read_class_set(root / "sure") == CLASS_SET
    assert json.dumps(record["engine"]) == json.dumps(read_run_record(root / "masks")["engine"])


def test_a_copy_that_is_no_longer_true_is_taken_away(review, root):
    options = {"ignore_below": 0.5, "masks_out": root / "sure", "overwrite": True}
    review(**options)
    (root / "masks/b.png").write_bytes(b"no mask")
    assert [name for name, _ in review(**options).failed] == ["b"]
    assert set(find_masks(root / "sure")) == set(PHOTOS) - {"b"}


def test_copies_below_the_images_are_no_images_even_when_interrupted(review, root, monkeypatch):
    def write(path, values):
        write_mask(path, values)
        raise KeyboardInterrupt

    monkeypatch.setattr("semples_cli.steps.review_masks.write_mask", write)
    with pytest.raises(KeyboardInterrupt):
        review(ignore_below=0.5, masks_out=root / "images/sure")
    assert len(find_masks(root / "images/sure")) == 1
    assert {image.id for image in find_images([root / "images"])} == set(PHOTOS)
    assert not (root / "queue.csv").exists()


# What cannot be reviewed


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda root: (root / "masks/b.png").write_bytes(b"\x89PNG no more"), "b.png"),
        (lambda root: write_mask(root / "masks/b.png", np.zeros((5, 5), np.uint8)), "its mask is for 5×5"),
        (lambda root: write_mask(root / "masks/b.png", np.full((40, 24), 9, np.uint8)), "holds 9, but there are 3"),
        (lambda root: (root / "images/b.jpg").unlink(), "no image with this id"),
        (lambda root: (root / "images/b.jpg").write_bytes(b"no image"), "b.jpg"),
    ],
)
def test_a_mask_that_cannot_be_reviewed_stops_nothing(review, root, spoil, reason):
    spoil(root)
    done = review()
    ((name, said),) = done.failed
    assert name == "b"
    assert reason in said
    assert done.images == len(PHOTOS) - 1
    assert {row.id for row in done.rows} == {"a/1", "a/2", "one"}


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"out": "masks"}, SettingsError, "is a folder: name the file"),
        ({"out": "labels.txt"}, SettingsError, "is there already; give --overwrite"),
        ({"ignore_below": 0.5}, SettingsError, "go together: give both, or none"),
        ({"masks_out": "sure"}, SettingsError, "go together: give both, or none"),
        ({"ignore_below": 20, "masks_out": "sure"}, SettingsError, "20: a confidence lies in 0 to 1"),
        ({"ignore_below": float("nan"), "masks_out": "sure"}, SettingsError, "a confidence lies in 0 to 1"),
        ({"ignore_below": 0.5, "masks_out": "full"}, SettingsError, "is not empty; give --overwrite"),
        ({"ignore_below": 0.5, "masks_out": "masks"}, SettingsError, "^--masks-out .* lie inside each other"),
        ({"ignore_below": 0.5, "masks_out": "masks/sure"}, SettingsError, "^--masks-out .* lie inside each other"),
        ({"ignore_below": 0.5, "masks_out": "images"}, SettingsError, "^--masks-out .* is where the images lie"),
    ],
)
def test_refusals_come_before_anything_is_done(review, root, monkeypatch, options, kind, said):
    (root / "labels.txt").write_text("mine")
    (root / "full").mkdir()
    (root / "full/mine.txt").write_text("mine")
    monkeypatch.setattr(RegionMatcher, "confidences", lambda *_: pytest.fail("looked"))
    if "masks_out" in options:
        options = {**options, "masks_out": root / options["masks_out"]}
    before = bytes_of(root)
    with pytest.raises(kind, match=said):
        review(**options)
    assert bytes_of(root) == before
    assert (root / "labels.txt").read_text() == "mine"
    assert not (root / "sure").exists()


def test_no_mask_and_no_image_are_refused_with_the_cure(review, root):
    (root / "nothing").mkdir()
    with pytest.raises(ArtifactError, match=r"no mask PNGs here; give the folder that holds <id>\.png"):
        review("nothing")
    shutil.copytree(root / "masks", root / "plain", ignore=shutil.ignore_patterns(".semples"))
    with pytest.raises(SettingsError, match="where the images are; give them with --images FOLDER"):
        review("plain")
    (root / "others").mkdir()
    shutil.copy(root / "images/b.jpg", root / "others/c.jpg")
    with pytest.raises(DataError, match=r"no image has the id of a mask: .*'c'.*'a/1', 'a/2', 'b', …"):
        review("plain", images=root / "others")


def test_a_run_is_not_reviewed_as_of_other_classes(root):
    with pytest.raises(SettingsError, match="leave --classes out"):
        find_review(root / "masks", ClassSet(("cat", "boat", "dog")))
    assert set(find_review(root / "masks", CLASS_SET).files) == set(PHOTOS)


def test_the_folder_around_stages_names_them(root):
    for name in ("run/seeds", "run/crf"):
        shutil.copytree(root / "masks", root / name)
    with pytest.raises(ArtifactError, match=r"; name one of its stages: \S+run/crf, \S+run/seeds$"):
        find_review(root / "run")
