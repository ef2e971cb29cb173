import pytest

from semples_cli.artifacts.manifest import Manifest
from semples_cli.artifacts.manifest_entries import ManifestEntry, read_manifest
from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.steps.ledger import Ledger


@pytest.fixture
def steps():
    return []


@pytest.fixture
def ledger(tmp_path, steps):
    run = RunFolder(tmp_path)
    with Manifest(run) as manifest:
        yield Ledger(run, manifest, 5, lambda done, total: steps.append((done, total)))


def test_every_item_is_counted_once_and_moves_the_bar(ledger, steps):
    ledger.keep()
    ledger.finish(ManifestEntry("a", "ok", output="a.png"))
    ledger.skip("d", "no mask")
    ledger.fail("c", "no image")
    ledger.fail("b", "damaged")
    summary = ledger.summary()
    assert (summary.written, summary.resumed) == (1, 1)
    assert summary.skipped == (("d", "no mask"),)
    assert summary.failed == (("b", "damaged"), ("c", "no image"))
    assert summary.seconds >= 0
    assert steps == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    entries = read_manifest(ledger.run.manifest)
    assert {item: entry.status for item, entry in entries.items()} == {
        "a": "ok",
        "d": "skipped",
        "c": "failed",
        "b": "failed",
    }
    assert entries["b"].reason == "damaged"


@pytest.mark.parametrize("leave_out", ["skip", "fail"])
def test_what_is_left_out_leaves_no_mask_of_an_earlier_run(ledger, leave_out):
    mask, overlay = ledger.run.mask_path("a/1"), ledger.run.overlay_path("a/1")
    for path in (mask, overlay):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"of other settings")
    getattr(ledger, leave_out)("a/1", "reason")
    assert not mask.exists()
    assert not overlay.exists()


def test_what_is_skipped_again_takes_no_second_line(tmp_path):
    run = RunFolder(tmp_path)
    for reason in ("no mask", "no mask", "another reason"):
        with Manifest(run) as manifest:
            Ledger(run, manifest, 1, lambda done, total: None).skip("a", reason)
    assert run.manifest.read_bytes().count(b"\n") == 2
