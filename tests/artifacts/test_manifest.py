import hashlib
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tar_files import write_tar

from semples_cli.artifacts.manifest import Manifest
from semples_cli.artifacts.manifest_entries import FileIdentity, ManifestEntry, item_key, read_entries, read_manifest
from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.artifacts.run_lock import is_locked, lock_run
from semples_cli.errors import ArtifactError
from semples_cli.types import Shard

FILE = FileIdentity("/images/1.jpg", 10, 20, "ab")
ENTRY = ManifestEntry("a/1", "ok", "", "key", 0.5, "a/1.png", 0.9, (FILE,))


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "run")


def write_lines(run, *lines, end="\n"):
    run.hidden.mkdir(parents=True, exist_ok=True)
    run.manifest.write_text("\n".join(lines) + end, encoding="utf-8")


def line_of(sample_id, **changes):
    fields = {"id": sample_id, "status": "ok", "reason": "", "key": "k", "seconds": 1.0, "output": "x.png"}
    return json.dumps({**fields, "confidence": None, "files": [], **changes})


def test_round_trip(run):
    odd = ManifestEntry("é/\udcff\n2", "failed", 'a "reason"\r\n', seconds=1.5)
    with Manifest(run) as manifest:
        manifest.append(ENTRY)
        manifest.append(odd)
    assert read_manifest(run.manifest) == {"a/1": ENTRY, odd.id: odd}
    assert run.manifest.read_bytes().count(b"\n") == 2
    with Manifest(run) as manifest:
        assert manifest.entries == {"a/1": ENTRY, odd.id: odd}


def test_each_line_is_on_disk_when_append_returns(run):
    with Manifest(run) as manifest:
        manifest.append(ENTRY)
        assert read_manifest(run.manifest) == {"a/1": ENTRY}


def test_later_lines_win(run):
    write_lines(run, line_of("a", key="old"), line_of("b"), line_of("a", key="new"))
    entries = read_manifest(run.manifest)
    assert entries["a"].key == "new"
    assert len(entries) == 2


def test_no_manifest_is_empty(run):
    assert read_manifest(run.manifest) == {}


@pytest.mark.parametrize("torn", ['{"id": "b", "sta', "{", line_of("b")])
def test_a_torn_last_line_is_dropped_and_the_next_line_is_whole(run, torn):
    write_lines(run, line_of("a"), torn, end="")
    assert list(read_manifest(run.manifest)) == ["a"]
    with Manifest(run) as manifest:
        assert list(manifest.entries) == ["a"]
        manifest.append(ENTRY)
    assert list(read_manifest(run.manifest)) == ["a", "a/1"]


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "null",
        "[]",
        '{"id": 1}',
        "",
        line_of("b", status="done"),
        line_of("b", files=[{"path": 1}]),
        line_of("b", reason=1),
        line_of("b", seconds="long"),
        line_of("b", confidence="high"),
        line_of("b", class_confidence={"1": "high"}),
        line_of("b", output="/etc/passwd"),
        line_of("b", output="a/../../b.png"),
    ],
)
def test_another_damaged_line_is_an_error_with_file_line_and_cure(run, bad):
    write_lines(run, line_of("a"), bad, line_of("c"))
    with pytest.raises(ArtifactError, match=r"manifest\.jsonl:2: damaged line .*delete the line .*--overwrite"):
        Manifest(run)
    with Manifest(run, overwrite=True) as manifest:  # the cure; and the failed attempt gave its lock back
        assert manifest.entries == {}
    assert run.manifest.read_bytes() == b""


def test_overwrite_forgets(run):
    with Manifest(run) as manifest:
        manifest.append(ENTRY)
    with Manifest(run, overwrite=True) as manifest:
        assert not manifest.is_done("a/1", "key")
    assert read_manifest(run.manifest) == {}


def test_done_means_ok_same_key_and_output_there(run):
    output = run.mask_path("a/1")
    output.parent.mkdir(parents=True)
    output.write_bytes(b"mask")
    with Manifest(run) as manifest:
        assert not manifest.is_done("a/1", "key")
        manifest.append(ENTRY)
    with Manifest(run) as manifest:
        assert manifest.is_done("a/1", "key")
        assert not manifest.is_done("a/1", "another key")
        assert not manifest.is_done("a/2", "key")
        output.write_bytes(b"")  # as the end of the machine may leave it
        assert not manifest.is_done("a/1", "key")
        output.unlink()
        assert not manifest.is_done("a/1", "key")


def test_what_a_run_does_anew_is_not_held(run):
    """A million entries would take a gigabyte, and nobody asks for them again."""
    with Manifest(run) as manifest:
        for number in range(100):
            manifest.append(replace(ENTRY, id=str(number)))
        assert manifest.entries == {}
    with Manifest(run) as manifest:
        assert len(manifest.entries) == 100
        manifest.append(replace(ENTRY, id="7", status="failed"))
        assert manifest.entries["7"].status == "failed"


@pytest.mark.parametrize("changes", [{"status": "failed"}, {"status": "skipped"}, {"output": ""}])
def test_nothing_else_is_done(run, changes):
    run.root.mkdir()
    (run.root / "x.png").write_bytes(b"mask")
    write_lines(run, line_of("a", **changes))
    with Manifest(run) as manifest:
        assert not manifest.is_done("a", "k")


def test_identify_hashes_and_resolves(run, tmp_path, monkeypatch):
    path = tmp_path / "1.jpg"
    path.write_bytes(b"pixels")
    monkeypatch.chdir(tmp_path)
    with Manifest(run) as manifest:
        (identity,) = manifest.identify("1", [path.relative_to(tmp_path)])
    assert identity == FileIdentity(str(path), 6, path.stat().st_mtime_ns, hashlib.sha256(b"pixels").hexdigest())


def test_an_unchanged_file_is_not_read_again(run, tmp_path):
    path = tmp_path / "1.jpg"
    path.write_bytes(b"pixels")
    stat = path.stat()
    with Manifest(run) as manifest:
        before = manifest.identify("1", [path])
        manifest.append(ManifestEntry("1", "ok", files=before))
    with Manifest(run) as manifest:
        path.write_bytes(b"PIXELS")  # same size, and the mtime is set back: only reading it would tell
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert manifest.identify("1", [path]) == before


def test_touched_and_moved_files_keep_their_key_changed_ones_do_not(run, tmp_path):
    path, moved = tmp_path / "1.jpg", tmp_path / "2.jpg"
    path.write_bytes(b"pixels")
    moved.write_bytes(b"pixels")
    with Manifest(run) as manifest:
        before = manifest.identify("1", [path])
        manifest.append(ManifestEntry("1", "ok", files=before))
    with Manifest(run) as manifest:
        os.utime(path, ns=(1, 1))
        touched = manifest.identify("1", [path])
        assert touched != before
        assert item_key(touched, {}) == item_key(before, {})
        assert item_key(manifest.identify("1", [moved]), {}) == item_key(before, {})
        path.write_bytes(b"PIXELS")
        assert item_key(manifest.identify("1", [path]), {}) != item_key(before, {})


def test_identify_of_a_member_is_its_size_and_bytes_and_the_time_of_its_tar(run, tmp_path):
    tar = write_tar(tmp_path / "t.tar", {"0.jpg": b"other", "1.jpg": b"pixels"})
    with Manifest(run) as manifest:
        before = manifest.identify("1", [tar / "1.jpg"])
        digest = hashlib.sha256(b"pixels").hexdigest()
        assert before == (FileIdentity(str(tar / "1.jpg"), 6, tar.stat().st_mtime_ns, digest),)
        manifest.append(ManifestEntry("1", "ok", files=before))
        write_tar(tar, {"1.jpg": b"pixels", "0.jpg": b"another"})  # the same bytes elsewhere
        os.utime(tar, ns=(1, 1))
        moved = manifest.identify("1", [tar / "1.jpg"])
        assert moved[0].mtime_ns == 1
        assert item_key(moved, {}) == item_key(before, {})
        write_tar(tar, {"1.jpg": b"PIXELS"})
        assert item_key(manifest.identify("1", [tar / "1.jpg"]), {}) != item_key(before, {})
        with pytest.raises(FileNotFoundError, match="no such member in the tar"):
            manifest.identify("1", [tar / "gone.jpg"])


def test_identify_of_a_missing_file_is_an_os_error(run, tmp_path):
    with Manifest(run) as manifest, pytest.raises(FileNotFoundError):
        manifest.identify("1", [tmp_path / "gone.jpg"])


def test_the_key_depends_on_each_part_and_not_on_the_order_of_facts():
    other = FileIdentity("/images/2.jpg", 10, 20, "cd")
    key = item_key([FILE, other], {"a": 1, "b": [2]})
    assert key == item_key([FILE, other], {"b": [2], "a": 1})
    assert len(key) == 64
    assert key != item_key([other, FILE], {"a": 1, "b": [2]})
    assert key != item_key([FILE], {"a": 1, "b": [2]})
    assert key != item_key([FILE, other], {"a": 1, "b": [3]})


def test_a_second_writer_is_refused_and_says_who_is_first(run):
    with Manifest(run), pytest.raises(ArtifactError) as caught:
        Manifest(run)
    assert f"{run.root}: another semples run (process {os.getpid()}) is writing here" in str(caught.value)
    assert "choose another --out" in str(caught.value)
    with Manifest(run):  # given back
        assert run.lock.exists()


HOLD = """
import sys, time
from pathlib import Path
from semples_cli.artifacts.run_lock import lock_run
handle = lock_run(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_another_process_holds_the_lock_until_it_is_killed(run):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(run.lock)], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(ArtifactError, match=rf"process {holder.pid}\) is writing here"):
                Manifest(run)
        finally:
            holder.send_signal(signal.SIGKILL)
    lock_run(run.lock).close()


def test_a_folder_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"file: cannot write here .*choose another --out"):
        Manifest(RunFolder(tmp_path / "file"))


def test_a_full_disk_is_an_error_with_a_cure(run):
    with Manifest(run) as manifest:
        manifest._handle.close()
        with open("/dev/full", "ab", buffering=0) as manifest._handle:  # noqa: PTH123
            with pytest.raises(ArtifactError, match="disk may be full; make room and run the command again"):
                manifest.append(ENTRY)
            assert "a/1" not in manifest.entries


def test_an_output_about_to_be_replaced_is_taken_back(run):
    with Manifest(run) as manifest:
        (run.root / "a.png").write_bytes(b"old")
        manifest.append(ManifestEntry("a", "ok", key="old", output="a.png"))
    with Manifest(run) as manifest:
        manifest.forget("a", "old")
        manifest.forget("unknown", "new")
        assert manifest.is_done("a", "old")
        manifest.forget("a", "new")
    with Manifest(run) as manifest:
        assert not manifest.is_done("a", "old")
    assert read_manifest(run.manifest)["a"].reason == "interrupted while it was made again"


# Shards

FIRST, SECOND = Shard(1, 2), Shard(2, 2)


def entry_of(sample_id, key="k", status="ok"):
    return ManifestEntry(sample_id, status, "" if status == "ok" else "why", key, output=f"{sample_id}.png")


@contextmanager
def shard_of(run, shard, **options):
    with Manifest(run, shard=shard, **options) as manifest:
        manifest.let_others_begin()
        yield manifest


def test_shards_write_side_by_side_and_are_read_as_one(run):
    with shard_of(run, FIRST) as first, shard_of(run, SECOND) as second:
        assert (first.is_alone, second.is_alone) == (True, False)
        first.append(entry_of("a"))
        second.append(entry_of("b"))
        assert set(read_entries(run)) == {"a", "b"}
    assert not run.manifest.exists()
    assert [path.name for path in run.shard_manifests] == ["manifest-1of2.jsonl", "manifest-2of2.jsonl"]


@pytest.mark.parametrize("shard", [None, Shard(1, 2), Shard(3, 5)])
def test_who_begins_alone_takes_in_what_shards_left_and_goes_on(run, shard):
    with shard_of(run, FIRST) as first, shard_of(run, SECOND) as second:
        first.append(entry_of("a"))
        second.append(entry_of("b"))
    with Manifest(run, shard=shard) as manifest:
        assert set(manifest.entries) == {"a", "b"}
        assert set(read_manifest(run.manifest)) == {"a", "b"}
        manifest.append(entry_of("c"))
    assert [path.name for path in run.shard_manifests] == (
        [] if shard is None else [f"manifest-{shard.index}of{shard.count}.jsonl"]
    )
    assert set(read_entries(run)) == {"a", "b", "c"}


def test_lines_of_shards_are_newer_than_those_of_the_run(run):
    with Manifest(run) as manifest:
        manifest.append(entry_of("a", "old"))
    with shard_of(run, FIRST) as first:
        first.append(entry_of("a", "new"))
    assert read_entries(run)["a"].key == "new"
    with Manifest(run) as manifest:
        assert manifest.entries["a"].key == "new"


def test_a_shard_that_begins_beside_others_leaves_their_manifests_alone(run):
    with shard_of(run, FIRST) as first:
        first.append(entry_of("a"))
        with shard_of(run, SECOND) as second:
            assert set(second.entries) == {"a"}
        first.append(entry_of("c"))
    assert set(read_manifest(run.manifest_of(FIRST))) == {"a", "c"}


def test_a_torn_last_line_of_a_shard_is_dropped(run):
    with shard_of(run, FIRST) as first:
        first.append(entry_of("a"))
    with run.manifest_of(FIRST).open("ab") as handle:
        handle.write(b'{"id": "b", "sta')
    assert set(read_entries(run)) == {"a"}
    with shard_of(run, SECOND) as second:
        second.append(entry_of("c"))
    assert set(read_entries(run)) == {"a", "c"}


def test_a_damaged_line_of_a_shard_is_named_and_nothing_is_taken_in(run):
    with shard_of(run, FIRST) as first:
        first.append(entry_of("a"))
    path = run.manifest_of(FIRST)
    path.write_bytes(b"{]\n" + path.read_bytes())
    with pytest.raises(ArtifactError, match=r"manifest-1of2\.jsonl:1: damaged line"):
        Manifest(run)
    assert path.exists()
    assert not run.manifest.exists()
    assert not is_locked(run.lock)


def test_a_manifest_that_was_taken_in_half_way_is_taken_in_again(run, monkeypatch):
    with shard_of(run, FIRST) as first, shard_of(run, SECOND) as second:
        first.append(entry_of("a"))
        second.append(entry_of("b"))
    real = Path.unlink

    def torn(path, missing_ok=False):
        if path == run.manifest_of(SECOND):
            raise KeyboardInterrupt
        real(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", torn)
        with pytest.raises(KeyboardInterrupt):
            Manifest(run)
    assert set(read_entries(run)) == {"a", "b"}
    with Manifest(run) as manifest:
        assert set(manifest.entries) == {"a", "b"}
    assert run.shard_manifests == []


def test_overwriting_forgets_all_in_a_run_and_its_own_in_a_shard(run):
    with shard_of(run, FIRST) as first, shard_of(run, SECOND) as second:
        first.append(entry_of("a"))
        second.append(entry_of("b"))
        first.append(entry_of("c"))
    with shard_of(run, SECOND, overwrite=True) as manifest:
        assert manifest.entries == {}
    assert set(read_entries(run)) == {"a", "b", "c"}  # what it does not write again is as it was
    with Manifest(run, overwrite=True) as manifest:
        assert manifest.entries == {}
    assert read_entries(run) == {}


def test_entries_of_others_are_not_kept_where_they_are_not_asked_for(run):
    with shard_of(run, FIRST) as first, shard_of(run, SECOND) as second:
        for name in ("a", "c"):
            first.append(entry_of(name))
        second.append(entry_of("b"))
    assert set(read_entries(run, {"a", "b", "x"})) == {"a", "b"}
    with Manifest(run, only={"b"}) as manifest:
        assert set(manifest.entries) == {"b"}
        manifest.append(entry_of("b", "new"))
    assert {name: entry.key for name, entry in read_entries(run).items()} == {"a": "k", "b": "new", "c": "k"}


def test_a_damaged_line_is_named_even_where_its_item_is_not_asked_for(run):
    write_lines(run, line_of("a"), "{]", line_of("b"))
    with pytest.raises(ArtifactError, match=r"manifest\.jsonl:2: damaged line"):
        read_entries(run, {"b"})
