"""A run that is cut into shards: together they do what one process does, each image once."""

import json
import multiprocessing
import signal
import time

import pytest
from small_world import CLASSES, PHOTOS

from semples_cli.artifacts.manifest_entries import read_entries
from semples_cli.artifacts.run_folder import RunFolder, read_run_record
from semples_cli.config import CRF_PRESETS, CamSettings, EngineSettings
from semples_cli.engine.build import build_engine
from semples_cli.errors import ArtifactError, SettingsError
from semples_cli.steps.apply_crf import apply_crf
from semples_cli.steps.choose_background import BackgroundRule
from semples_cli.steps.make_cams import make_cams
from semples_cli.steps.progress import silent
from semples_cli.steps.shards import check_same_shards, shard_record
from semples_cli.types import ClassSet, Sample, Shard

CLASS_SET = ClassSet(CLASSES)
SETTINGS = CamSettings(size=40, batch_size=1, background_words=("sky", "water"))


def samples_of(folder):
    return [
        Sample(sample_id, folder / f"{sample_id}.jpg", tuple(CLASS_SET.index_of(name) for name in names))
        for sample_id, (_, names) in PHOTOS.items()
    ]


@pytest.fixture
def make(photos, clip_engine):
    def run(out, shard=None, settings=SETTINGS, samples=None, engine=clip_engine, **options):
        samples = samples_of(photos) if samples is None else samples
        options = {"progress": silent, "inputs": (photos,), "shard": shard, **options}
        return make_cams(samples, CLASS_SET, engine, photos.parent / out, settings, **options)

    run.root = photos.parent
    run.photos = photos
    return run


def files_of(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.[pn][np][gz]")}


@pytest.mark.parametrize("count", [1, 2, 3, 9])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_shards_together_write_what_one_process_writes(make, count, batch_size):
    settings = CamSettings(size=40, batch_size=batch_size, background_words=("sky", "water"))
    make("whole", settings=settings)
    done = [make("shards", Shard(i, count), settings) for i in range(1, count + 1)]
    assert sum(each.written for each in done) == len(PHOTOS)
    assert all(each.resumed == 0 for each in done)
    assert files_of(make.root / "shards") == files_of(make.root / "whole")
    assert {k: v.key for k, v in read_entries(RunFolder(make.root / "shards")).items()} == {
        k: v.key for k, v in read_entries(RunFolder(make.root / "whole")).items()
    }


def test_a_whole_run_and_another_number_of_shards_go_on_with_what_shards_did(make):
    first = make("out", Shard(1, 2))
    again = [make("out", Shard(i, 3)) for i in (1, 2, 3)]
    assert sum(each.resumed for each in again) == first.written
    assert sum(each.written for each in again) == len(PHOTOS) - first.written
    whole = make("out")
    assert (whole.written, whole.resumed) == (0, len(PHOTOS))
    assert not RunFolder(make.root / "out").shard_manifests


def test_each_skipped_and_each_bad_image_is_counted_by_one_shard(make):
    (make.photos / "bad.jpg").write_bytes(b"no image")
    samples = [*samples_of(make.photos), Sample("bad", make.photos / "bad.jpg", (1,))]
    skipped = [(f"skipped{i}", "no label") for i in range(4)]
    done = [make("out", Shard(i, 3), samples=samples, skipped=skipped) for i in (1, 2, 3)]
    assert sorted(item for each in done for item in each.skipped) == skipped
    assert [item for each in done for item, _ in each.failed] == ["bad"]
    assert len(read_entries(RunFolder(make.root / "out"))) == len(PHOTOS) + 5


def test_progress_ends_at_the_items_of_the_shard(make):
    seen = []
    done = make("out", Shard(1, 2), progress=lambda count, total: seen.append((count, total)))
    assert seen[-1] == (done.written, done.written)
    assert 0 < done.written < len(PHOTOS)


def work_beside(make, shard, call, **first):
    """Call in the middle of another shard's work."""
    caught = []

    def progress(done, total):
        del total
        if done == 1:
            caught.append(call())

    make("out", shard, progress=progress, **first)
    return caught[0]


def test_a_shard_beside_another_does_its_own_part(make):
    beside = work_beside(make, Shard(1, 2), lambda: make("out", Shard(2, 2)))
    assert beside.written > 0
    assert len(files_of(make.root / "out")) == 2 * len(PHOTOS)


@pytest.mark.parametrize(
    ("second", "changes", "said"),
    [
        (Shard(2, 3), {}, "2 shards → 3"),
        (Shard(2, 2), {"settings": CamSettings(size=40, background_words=("sky",), batch_size=1)}, "background_words"),
    ],
)
def test_a_shard_that_does_something_else_is_refused_beside_others(make, second, changes, said):
    def call():
        with pytest.raises(SettingsError, match="wait until they end, or start all alike") as caught:
            make("out", second, **changes)
        return str(caught.value)

    assert said in work_beside(make, Shard(1, 2), call)
    assert read_run_record(make.root / "out")["shards"]["count"] == 2


def test_other_images_are_refused_beside_others(make):
    def call():
        with pytest.raises(SettingsError, match="differ from this one: other images; wait"):
            make("out", Shard(2, 2), samples=samples_of(make.photos)[1:])
        return True

    assert work_beside(make, Shard(1, 2), call)


def test_a_whole_run_beside_shards_is_refused_and_harms_nothing(make):
    def call():
        with pytest.raises(ArtifactError, match=r"1 of the shards of a run are at work here \(1/2\)"):
            make("out", overwrite=True)
        return True

    assert work_beside(make, Shard(1, 2), call)
    make("out", Shard(2, 2))
    assert len(read_entries(RunFolder(make.root / "out"))) == len(PHOTOS)


def test_the_second_shard_takes_over_the_score_that_the_first_chose(make):
    notes = []
    options = {"background": BackgroundRule(), "note": notes.append}
    make("whole", **options)
    make("out", Shard(1, 2), **options)
    make("out", Shard(2, 2), **options)
    assert len([each for each in notes if each.startswith("background score")]) == 2  # one for each folder
    assert files_of(make.root / "out") == files_of(make.root / "whole")
    choices = [read_run_record(make.root / out)["background_choice"] for out in ("out", "whole")]
    assert choices[0] == choices[1]


def test_the_record_says_how_the_run_was_cut(make):
    make("out", Shard(2, 2))
    record = read_run_record(make.root / "out")["shards"]
    assert record == shard_record(Shard(1, 2), reversed(list(PHOTOS)))
    make("out")
    assert "shards" not in read_run_record(make.root / "out")


def test_what_shards_must_agree_about():
    record = {"shards": shard_record(Shard(1, 2), ["a", "b"])}
    check_same_shards(record, {"shards": shard_record(Shard(2, 2), ["b", "a"])})
    with pytest.raises(SettingsError, match="other images"):
        check_same_shards(record, {"shards": shard_record(Shard(2, 2), ["b"])})
    with pytest.raises(SettingsError, match="no shards → 2"):
        check_same_shards(None, record)
    with pytest.raises(SettingsError, match="differ from this one: size; wait"):
        check_same_shards(record, record, ["size"])
    assert json.loads(json.dumps(record)) == record


# The CRF


@pytest.fixture
def crf(make):
    make("masks")

    def run(out, shard=None, settings=CRF_PRESETS["semples-voc"], **options):
        options = {"progress": silent, "kind": "masks", "workers": 1, "shard": shard, **options}
        return apply_crf(make.root / "masks", make.photos, make.root / out, settings, **options)

    return run


@pytest.mark.parametrize("count", [1, 2, 9])
def test_shards_of_a_crf_together_write_what_one_process_writes(make, crf, count):
    crf("whole")
    done = [crf("shards", Shard(i, count)) for i in range(1, count + 1)]
    assert sum(each.written for each in done) == len(PHOTOS)
    assert files_of(make.root / "shards") == files_of(make.root / "whole")
    assert crf("shards").resumed == len(PHOTOS)


def test_shards_of_a_crf_beside_others_must_be_alike(make, crf):
    said = []

    def progress(done, total):
        if done == 1:
            assert crf("out", Shard(2, 2)).written == len(PHOTOS) - total
            for shard, settings in (
                (Shard(2, 3), CRF_PRESETS["semples-voc"]),
                (Shard(2, 2), CRF_PRESETS["semples-coco"]),
            ):
                with pytest.raises(SettingsError, match="start all alike") as caught:
                    crf("out", shard, settings)
                said.append(str(caught.value))

    crf("out", Shard(1, 2), progress=progress)
    assert ["2 shards → 3" in said[0], "settings" in said[1]] == [True, True]
    assert set(files_of(make.root / "out")) == {f"{name}.png" for name in PHOTOS}


# Faults: processes of their own, killed


def shard_process(weights, photos, out, shard, seconds):
    """Do a shard, slowly."""
    engine = build_engine(EngineSettings(weights=weights, device="cpu", precision="fp32"))
    options = {"inputs": (photos,), "shard": shard, "progress": lambda *_: time.sleep(seconds)}
    make_cams(samples_of(photos), CLASS_SET, engine, out, SETTINGS, **options)


def start(make, clip_dir, shard, seconds=0.0):
    context = multiprocessing.get_context("spawn")
    args = (str(clip_dir), make.photos, make.root / "out", shard, seconds)
    process = context.Process(target=shard_process, args=args)
    process.start()
    return process


def test_a_killed_shard_is_done_again_by_another_number_of_processes(make, clip_dir):
    slow, other = start(make, clip_dir, Shard(1, 2), 60.0), start(make, clip_dir, Shard(2, 2))
    run = RunFolder(make.root / "out")
    while not (run.manifest_of(Shard(1, 2)).exists() and run.manifest_of(Shard(1, 2)).stat().st_size):
        assert slow.is_alive()
        time.sleep(0.05)
    slow.kill()
    slow.join()
    other.join()
    assert (slow.exitcode, other.exitcode) == (-signal.SIGKILL, 0)
    done = len(read_entries(run))
    assert 0 < done < len(PHOTOS)
    again = [make("out", Shard(i, 3)) for i in (3, 1, 2)]
    assert sum(each.written for each in again) == len(PHOTOS) - done
    make("whole")
    assert files_of(make.root / "out") == files_of(make.root / "whole")
