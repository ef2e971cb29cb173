import numpy as np
import pytest
from small_world import CLASSES, PHOTOS

from semples_cli.artifacts.cam_store import find_cams, read_cam
from semples_cli.artifacts.mask_png import read_mask, write_mask
from semples_cli.artifacts.run_folder import read_run_record
from semples_cli.config import CamSettings
from semples_cli.data.images import read_image
from semples_cli.engine.seeds import SeedGenerator
from semples_cli.errors import DataError
from semples_cli.functional.masks import resize_scores, seed_mask
from semples_cli.steps import choose_background
from semples_cli.steps.background_choice import BORDER_CONTRAST, CALIBRATED, Looked, choose_score
from semples_cli.steps.choose_background import BackgroundRule, ScoreChooser, spread_out
from semples_cli.steps.make_cams import make_cams
from semples_cli.steps.progress import silent
from semples_cli.types import ClassSet, Sample

CLASS_SET = ClassSet(CLASSES)
SETTINGS = CamSettings(size=40, batch_size=2, background_words=("sky", "water"))
FACTS = {"size": 40, "background_score": 0.4, "weights_sha256": "ab"}


def samples_of(folder):
    return [
        Sample(sample_id, folder / f"{sample_id}.jpg", tuple(CLASS_SET.index_of(name) for name in names))
        for sample_id, (_, names) in PHOTOS.items()
    ]


@pytest.fixture
def chooser(photos, clip_engine):
    def make(calibrate=None, **changes):
        maker = SeedGenerator(clip_engine, CLASS_SET, SETTINGS)
        values = {"class_set": CLASS_SET, "samples": samples_of(photos), "max_pixels": 10**6, **changes}
        return ScoreChooser(BackgroundRule(calibrate), maker, **values)

    return make


@pytest.fixture
def make(photos, clip_engine):
    def run(out="out", calibrate=None, settings=SETTINGS, **options):
        options = {"progress": silent, "inputs": (photos,), "background": BackgroundRule(calibrate), **options}
        return make_cams(samples_of(photos), CLASS_SET, clip_engine, photos.parent / out, settings, **options)

    run.root, run.photos = photos.parent, photos
    return run


@pytest.fixture
def truth(photos, make):
    """Masks of two photos that are right at 0.7."""
    make("right", background=None, settings=SETTINGS)
    folder = photos.parent / "truth"
    for name in [name for name, (_, names) in PHOTOS.items() if names][:2]:
        cam = read_cam(find_cams(photos.parent / "right")[name], name)
        write_mask(folder / f"{name}.png", seed_mask(resize_scores(cam.scores, cam.image_size), cam.class_indices, 0.7))
    return folder


# Which images decide


def named(count, classes=(1,)):
    return [Sample(f"{i:03}", f"{i}.jpg", classes) for i in range(count)]


def test_the_deciding_images_come_from_all_over_the_list():
    assert [each.id for each in spread_out(named(10), 5)] == ["000", "002", "004", "006", "008"]
    assert spread_out(named(3), 5) == named(3)
    assert spread_out(named(4, ()), 5) == []
    assert [each.id for each in spread_out([*named(2, ()), *named(2)])] == ["000", "001"]


def test_all_labelled_images_with_ground_truth_decide_by_it(chooser, truth):
    chosen, targets = chooser(truth).chosen_samples()
    assert [each.id for each in chosen] == list(targets) == ["a/1", "a/2"]
    assert targets["a/2"] == truth / "a/2.png"


def test_a_folder_of_other_masks_is_refused(chooser, truth):
    for path in truth.rglob("*.png"):
        path.rename(path.with_name(f"x{path.name}"))
    with pytest.raises(DataError, match="name masks as their images"):
        chooser(truth).chosen_samples()


# The choice


def test_the_choice_is_the_rule_s_on_the_cams_of_the_maker(chooser, photos):
    each = chooser()
    choice = each.choose(silent)
    chosen = [sample for sample in samples_of(photos) if sample.class_indices]
    images = [read_image(sample.image_path) for sample in chosen]
    maps = [each.maker.maps([i], [s.class_indices])[0] for i, s in zip(images, chosen, strict=True)]
    looked = [Looked(s.id, i, m, np.array(s.class_indices)) for s, i, m in zip(chosen, images, maps, strict=True)]
    expected = choose_score(looked, len(CLASS_SET) + 1, None)
    assert choice.images == expected.images
    assert choice.score == expected.score
    np.testing.assert_allclose([v for _, v in choice.curve], [v for _, v in expected.curve], atol=1e-3)


def test_images_that_cannot_be_read_decide_nothing(chooser, photos):
    (photos / "b.jpg").write_bytes(b"no image")
    assert "b" not in chooser().choose(silent).images


def test_progress_counts_the_deciding_images(chooser):
    seen = []
    labelled = [names for _, names in PHOTOS.values() if names]
    chooser().choose(lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(labelled), len(labelled))


def test_deciding_images_do_not_count_as_looked_for(chooser):
    each = chooser()
    each.choose(silent)
    assert each.maker.never_found == {}
    assert not each.maker._looked_for


# What a later run needs to know


def test_the_fingerprint_does_not_depend_on_the_score_that_it_replaces(chooser):
    assert chooser().fingerprint(FACTS) == chooser().fingerprint({**FACTS, "background_score": 0.9})


def test_the_fingerprint_follows_what_the_choice_follows_from(chooser, photos, truth, monkeypatch):
    samples = samples_of(photos)
    prints = [
        chooser().fingerprint(FACTS),
        chooser().fingerprint({**FACTS, "size": 41}),
        chooser(samples=samples[1:]).fingerprint(FACTS),
        chooser(samples=[Sample(samples[0].id, samples[0].image_path, (3,)), *samples[1:]]).fingerprint(FACTS),
        chooser(class_set=ClassSet(CLASSES, tuple(f"{name}x" for name in CLASSES))).fingerprint(FACTS),
        chooser(truth).fingerprint(FACTS),
    ]
    path = next(truth.rglob("*.png"))
    write_mask(path, np.zeros_like(read_mask(path)))
    prints.append(chooser(truth).fingerprint(FACTS))
    monkeypatch.setattr(choose_background, "RULE_VERSION", 99)
    prints.append(chooser().fingerprint(FACTS))
    assert len(set(prints)) == len(prints)


def test_a_run_cuts_its_masks_at_the_chosen_score_and_records_the_choice(make):
    notes = []
    make(note=notes.append)
    record = read_run_record(make.root / "out")
    score = record["background_choice"]["score"]
    assert record["background_choice"]["rule"] == BORDER_CONTRAST
    assert record["settings"]["background_score"] == score
    count = len([names for _, names in PHOTOS.values() if names])
    assert notes == [f"background score {score:.2f}, where mask borders lie best on edges, by {count} images"]
    for name, path in find_cams(make.root / "out").items():
        cam = read_cam(path, name)
        expected = seed_mask(resize_scores(cam.scores, cam.image_size), cam.class_indices, score)
        np.testing.assert_array_equal(read_mask(make.root / f"out/{name}.png"), expected)


def test_a_run_that_goes_on_keeps_the_choice_and_looks_no_more(make, monkeypatch):
    make()
    monkeypatch.setattr(ScoreChooser, "choose", lambda *_: pytest.fail("chosen again"))
    assert make().resumed == len(PHOTOS)


def test_overwriting_chooses_again(make, monkeypatch):
    make()
    chosen, real = [], ScoreChooser.choose
    monkeypatch.setattr(ScoreChooser, "choose", lambda *args: chosen.append(1) or real(*args))
    make(overwrite=True)
    assert chosen == [1]


def test_labelled_masks_choose_and_other_ones_choose_again(make, truth):
    make(calibrate=truth)
    record = read_run_record(make.root / "out")["background_choice"]
    assert record["rule"] == CALIBRATED
    assert record["calibration"]["miou"] > 0.99  # they were cut at 0.7
    assert record["score"] == pytest.approx(0.7, abs=0.1)
    notes = []
    make(note=notes.append)  # and back to borders
    assert read_run_record(make.root / "out")["background_choice"]["rule"] == BORDER_CONTRAST
    assert notes
    assert notes[0].startswith("background score")


def test_a_given_score_forgets_the_choice(make):
    make()
    make(background=None)
    assert "background_choice" not in read_run_record(make.root / "out")
