"""An evaluation that is cut into shards gives what one process gives; what does not belong together is refused."""

import json
import multiprocessing
import os

import numpy as np
import pytest

from semples_cli.artifacts.cam_store import write_cam
from semples_cli.artifacts.count_files import counts_path, read_counts
from semples_cli.artifacts.mask_png import write_mask
from semples_cli.artifacts.report_files import report_as_dict, write_report
from semples_cli.errors import ArtifactError, DataError, SettingsError
from semples_cli.functional.image_scores import image_score
from semples_cli.steps.evaluate_masks import compare_cams, compare_masks, evaluate_cams, evaluate_masks
from semples_cli.steps.evaluate_shards import count_shard, shards_report
from semples_cli.steps.progress import silent
from semples_cli.types import Cam, ClassSet, Shard

CLASSES = ClassSet(("cat", "dog", "emu"))
IDS = ("a/1", "a/2", "b", "c", "d/e/1", "f")
MISSING = ("a/0", "c1", "zebra")


@pytest.fixture
def world(tmp_path):
    """truth/, masks/ and cams/ of six images; three more ground truths have neither mask nor CAM."""
    rng = np.random.default_rng(0)
    for number, sample_id in enumerate((*IDS, *MISSING)):
        size = (5 + number, 9)
        write_mask(tmp_path / f"truth/{sample_id}.png", rng.choice(np.array([0, 1, 2, 255], np.uint8), size))
        if sample_id in IDS:
            write_mask(tmp_path / f"masks/{sample_id}.png", rng.choice(np.array([0, 1, 3, 255], np.uint8), size))
            indices = np.array([1, 2, 3][: number % 3 + 1])
            cam = Cam(sample_id, indices, rng.random((len(indices), 3, 4), np.float32), size)
            write_cam(tmp_path / "cams", cam, {})
    return tmp_path


def compare(world, kind="masks", classes=CLASSES, truth="truth", **options):
    how = compare_masks if kind == "masks" else compare_cams
    return how(world / kind, world / truth, classes, **options)


def do(world, shard, comparison=None, out="report", **options):
    """Do one shard as the command does; what it found."""
    comparison = comparison or compare(world)
    count_shard(comparison, shard, world / out, progress=silent, **options)
    with shards_report(comparison, shard.count, world / out) as found:
        if found.report is not None:
            write_report(world / out, found.report)
        return found


def reports(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("count", [1, 2, 3, 20])
@pytest.mark.parametrize(
    ("kind", "options"), [("masks", {}), ("cams", {}), ("cams", {"background_score": 0.123456})], ids=str
)
def test_the_last_shard_writes_the_bytes_that_one_process_writes(world, count, kind, options):
    how = {"masks": evaluate_masks, "cams": evaluate_cams}[kind]
    write_report(world / "whole", how(world / kind, world / "truth", CLASSES, progress=silent, **options))
    order = np.random.default_rng(count).permutation(count) + 1
    done = [do(world, Shard(int(i), count), compare(world, kind, **options)) for i in order]
    assert [each.report is None for each in done] == [True] * (count - 1) + [False]
    assert reports(world / "report") == reports(world / "whole")
    assert done[-1].report.missing == MISSING


def test_those_that_end_before_know_who_is_missing(world):
    assert do(world, Shard(3, 4)).missing_shards == (Shard(1, 4), Shard(2, 4), Shard(4, 4))
    assert do(world, Shard(1, 4)).missing_shards == (Shard(2, 4), Shard(4, 4))
    assert do(world, Shard(4, 4)).missing_shards == (Shard(2, 4),)
    assert not (world / "report/report.json").exists()
    assert do(world, Shard(2, 4)).missing_shards == ()


def test_a_shard_counts_its_own_part_alone(world):
    seen = []
    comparison = compare(world)
    assert count_shard(comparison, Shard(2, 4), world / "report", progress=lambda *step: seen.append(step)) == 2
    assert seen == [(1, 2), (2, 2)]
    counts = read_counts(counts_path(world / "report", Shard(2, 4)))
    assert list(counts.image_scores) == ["a/2", "f"]
    assert counts.missing == ("c1",)
    assert counts.num_images == 2


def test_a_shard_without_images_counts_zero(world):
    assert count_shard(compare(world), Shard(7, 9), world / "report", progress=silent) == 0
    counts = read_counts(counts_path(world / "report", Shard(7, 9)))
    assert (counts.num_images, counts.missing, counts.image_scores) == (0, (), {})
    assert not counts.confusion.any()


def test_scores_of_images_are_those_of_one_process(world):
    scores = {}
    comparison = compare(world)
    comparison.count(progress=silent, observe=lambda key, counts: scores.__setitem__(key, image_score(counts)))
    do(world, Shard(2, 2))
    found = do(world, Shard(1, 2))
    assert list(found.image_scores) == list(scores)
    np.testing.assert_array_equal(list(found.image_scores.values()), list(scores.values()))


def test_a_shard_that_is_done_is_not_counted_again(world):
    def never(done, total):
        raise AssertionError

    do(world, Shard(1, 2))
    path = counts_path(world / "report", Shard(1, 2))
    before = path.stat()
    assert count_shard(compare(world), Shard(1, 2), world / "report", progress=never) == 3
    assert path.stat() == before
    count_shard(compare(world), Shard(1, 2), world / "report", progress=silent, overwrite=True)
    assert path.stat().st_ino != before.st_ino


def test_another_number_of_shards_starts_anew(world):
    do(world, Shard(1, 2))
    assert do(world, Shard(1, 3)).missing_shards == (Shard(2, 3), Shard(3, 3))
    do(world, Shard(2, 3))
    write_report(world / "whole", evaluate_masks(world / "masks", world / "truth", CLASSES, progress=silent))
    assert report_as_dict(do(world, Shard(3, 3)).report) == json.loads((world / "whole/report.json").read_bytes())


def touch_mask(world):
    os.utime(world / "masks/f.png", ns=(1, 1))
    return {}


def touch_truth(world):
    os.utime(world / "truth/a/1.png", ns=(1, 1))
    return {}


def remove_mask(world):
    (world / "masks/f.png").unlink()
    return {}


def remove_missing_truth(world):
    (world / "truth/zebra.png").unlink()
    return {}


def split(world):
    (world / "split.txt").write_text("a/1\nb\n")
    return {"split_list": world / "split.txt"}


OTHERS = [
    touch_mask,
    touch_truth,
    remove_mask,
    remove_missing_truth,
    split,
    lambda world: {"classes": ClassSet(("cat", "rex", "emu"))},
    lambda world: {"kind": "cams"},
    lambda world: {"kind": "cams", "background_score": 0.4},
]


@pytest.mark.parametrize("change", OTHERS)
@pytest.mark.parametrize("shard", [Shard(1, 2), Shard(2, 2)])
def test_counts_of_something_else_are_refused_by_name_or_overwritten(world, change, shard):
    do(world, Shard(1, 2))
    options = change(world)
    message = r"\.semples/counts-1of2\.npz counts other masks.*start all shards alike, with --overwrite, or choose an"
    with pytest.raises(SettingsError, match=message):
        do(world, shard, compare(world, **options))
    assert not counts_path(world / "report", Shard(2, 2)).exists()
    other = Shard(3 - shard.index, 2)
    assert do(world, shard, compare(world, **options), overwrite=True).missing_shards == (other,)
    assert do(world, other, compare(world, **options)).report is not None


def test_a_background_score_is_another_count(world):
    do(world, Shard(1, 2), compare(world, "cams", background_score=0.4))
    with pytest.raises(SettingsError, match="or background score than this shard"):
        do(world, Shard(2, 2), compare(world, "cams", background_score=0.5))


def test_shards_of_something_else_that_end_in_between_are_refused(world):
    comparison = compare(world)
    other = compare(world, classes=ClassSet(("cat", "rex", "emu")))

    def progress(done, total):
        if done == total:
            count_shard(other, Shard(2, 2), world / "report", progress=silent)

    count_shard(comparison, Shard(1, 2), world / "report", progress=progress)
    with pytest.raises(SettingsError, match="counts-2of2"), shards_report(comparison, 2, world / "report"):
        pass


def test_damaged_counts_are_refused_or_overwritten(world):
    do(world, Shard(1, 2))
    counts_path(world / "report", Shard(1, 2)).write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"counts-1of2\.npz: not readable counts .*with --overwrite"):
        do(world, Shard(2, 2))
    assert do(world, Shard(2, 2), overwrite=True).missing_shards == (Shard(1, 2),)


def test_a_bad_image_stops_its_shard_alone_and_leaves_no_counts(world):
    (world / "masks/b.png").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"b\.png: this file is empty"):
        do(world, Shard(3, 3))
    assert not counts_path(world / "report", Shard(3, 3)).exists()
    assert do(world, Shard(1, 3)).missing_shards == (Shard(2, 3), Shard(3, 3))


def test_nothing_to_compare_is_refused_in_every_shard(world):
    for shard in (Shard(1, 2), Shard(2, 2)):
        with pytest.raises(DataError, match="nothing to compare"):
            do(world, shard, compare(world, truth="masks/a"))


# Processes


def shard_process(world, shard):
    do(world, shard)


def test_shards_that_run_at_once_leave_the_report_of_one_process(world):
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=shard_process, args=(world, Shard(i, 3))) for i in (1, 2, 3)]
    for each in running:
        each.start()
    for each in running:
        each.join()
    assert [each.exitcode for each in running] == [0, 0, 0]
    write_report(world / "whole", evaluate_masks(world / "masks", world / "truth", CLASSES, progress=silent))
    assert reports(world / "report") == reports(world / "whole")
    assert not list((world / "report").rglob("*.partial"))
