"""Files through tars: reading, stat, threads, processes, tars that change, the bound on indexes."""

import errno
import io
import os
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tar_files import write_tar

from semples_cli.errors import DataError
from semples_cli.tars import members
from semples_cli.tars.members import FileFacts, is_file, open_file, read_tar, split_path, stat_file

CONTENT = bytes(range(256)) * 20


@pytest.fixture
def tar(tmp_path):
    return write_tar(tmp_path / "t.tar", {"a/1.jpg": CONTENT, "a/2.jpg": b"two", "empty": b"", "a/1.jpg2": b"x"})


def read(path):
    with open_file(path) as handle:
        return handle.read()


def test_a_member_is_read_as_a_file_of_its_own(tar):
    assert read(tar / "a/1.jpg") == CONTENT
    assert read(tar / "a/2.jpg") == b"two"
    assert read(tar / "empty") == b""


def test_a_plain_file_is_opened_as_ever(tmp_path):
    (tmp_path / "x.tar").mkdir()  # a folder that is called so
    path = tmp_path / "x.tar/1.jpg"
    path.write_bytes(b"plain")
    os.utime(path, ns=(1, 2))
    assert read(path) == b"plain"
    assert stat_file(path) == FileFacts(5, 2)
    assert is_file(path)
    assert split_path(path) is None


@given(st.lists(st.tuples(st.integers(-9000, 9000), st.sampled_from([0, 1, 2]), st.integers(-1, 3000)), max_size=12))
@settings(max_examples=60, deadline=None)
def test_seeking_is_that_of_bytes_in_memory(tmp_path_factory, moves):
    tar = write_tar(tmp_path_factory.mktemp("seek") / "t.tar", {"before": b"#" * 700, "1": CONTENT, "after": b"#" * 9})
    ours, model = open_file(tar / "1"), io.BytesIO(CONTENT)
    with ours:
        for offset, whence, count in moves:
            base = {0: 0, 1: model.tell(), 2: len(CONTENT)}[whence]
            if base + offset < 0:
                with pytest.raises(OSError, match="Invalid argument"):
                    ours.seek(offset, whence)
                ours.seek(model.tell())
            else:
                assert ours.seek(offset, whence) == model.seek(base + offset)
            assert ours.read(count) == model.read(count)
            assert ours.tell() == model.tell()


def open_handles():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_closing_gives_the_handle_back(tar):
    before = open_handles()
    handles = [open_file(tar / "a/1.jpg") for _ in range(5)]
    assert open_handles() == before + 5
    for handle in handles:
        handle.close()
    with pytest.raises(FileNotFoundError):
        open_file(tar / "a/none.jpg")
    assert open_handles() == before


def test_the_facts_are_the_size_of_the_member_and_the_time_of_the_tar(tar):
    os.utime(tar, ns=(5, 123_456_789))
    assert stat_file(tar / "a/1.jpg") == FileFacts(len(CONTENT), 123_456_789)
    assert stat_file(tar / "a/2.jpg") == FileFacts(3, 123_456_789)


@pytest.mark.parametrize("ask", [open_file, stat_file])
def test_what_is_not_there_is_missing_by_its_whole_path(tar, ask):
    for name in ("none.jpg", "a", "a/1.jpg/deeper", "t.tar/a/1.jpg"):
        with pytest.raises(FileNotFoundError) as caught:
            ask(tar / name)
        assert caught.value.filename == str(tar / name)
        assert caught.value.strerror == "no such member in the tar"
        assert not is_file(tar / name)
    with pytest.raises(FileNotFoundError, match="No such file"):
        ask(tar.with_name("none.tar") / "1.jpg")
    assert not is_file(tar.with_name("none.tar") / "1.jpg")


def test_a_member_in_trouble_says_why(tmp_path):
    tar = write_tar(tmp_path / "t.tar", [("1.jpg", b"a"), ("1.jpg", b"b")])
    with pytest.raises(OSError, match="several members of this name") as caught:
        open_file(tar / "1.jpg")
    assert caught.value.errno == errno.EINVAL
    assert caught.value.filename == str(tar / "1.jpg")
    assert is_file(tar / "1.jpg")  # there, though not to be read


def test_what_is_no_tar_fails_as_a_file_and_as_data(tmp_path):
    broken = tmp_path / "broken.tar"
    broken.write_bytes(b"nothing of that kind")
    with pytest.raises(OSError, match=r"not a tar file .*; get it again"):
        stat_file(broken / "1.jpg")
    assert not is_file(broken / "1.jpg")
    with pytest.raises(DataError, match=r"broken\.tar: not a tar file .*; get it again, or take it out of the folder"):
        read_tar(broken)
    with pytest.raises(DataError, match=r"none\.tar: No such file"):
        read_tar(tmp_path / "none.tar")


def test_the_innermost_tar_that_is_a_file_counts(tmp_path):
    outer = tmp_path / "outer.tar"
    outer.mkdir()
    tar = write_tar(outer / "T.TAR", {"sub.tar/1.jpg": b"1"})
    assert split_path(tar / "sub.tar/1.jpg") == (tar, "sub.tar/1.jpg")
    assert split_path(tar) is None
    assert read(tar / "sub.tar/1.jpg") == b"1"


def test_relative_paths_follow_the_working_directory(tar, monkeypatch, tmp_path):
    monkeypatch.chdir(tar.parent)
    assert read(Path("t.tar/a/2.jpg")) == b"two"
    other = tmp_path / "other"
    other.mkdir()
    write_tar(other / "t.tar", {"a/2.jpg": b"another"})
    monkeypatch.chdir(other)
    assert read(Path("t.tar/a/2.jpg")) == b"another"


def test_a_tar_that_changes_is_read_at_its_new_places(tar):
    assert read(tar / "a/2.jpg") == b"two"
    write_tar(tar, {"0": bytes(5000), "a/2.jpg": b"another", "new": b"new"})
    assert read(tar / "a/2.jpg") == b"another"
    assert read(tar / "new") == b"new"
    assert not is_file(tar / "a/1.jpg")


def test_a_tar_that_was_put_in_place_of_another_with_its_time_is_read_anew(tar):
    stat = tar.stat()
    assert read(tar / "a/2.jpg") == b"two"
    other = write_tar(tar.with_name("other.tar"), {"a/2.jpg": b"TWO", "a/1.jpg": CONTENT, "e": b"", "f": b"x"})
    assert other.stat().st_size == stat.st_size
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(tar)
    assert read(tar / "a/2.jpg") == b"TWO"


def test_a_member_that_is_open_stays_the_old_one_when_the_tar_is_replaced(tar):
    with open_file(tar / "a/1.jpg") as handle:
        assert handle.read(10) == CONTENT[:10]
        write_tar(tar.with_name("other.tar"), {"a/1.jpg": b"new"}).replace(tar)
        assert handle.read() == CONTENT[10:]
    assert read(tar / "a/1.jpg") == b"new"


def test_headers_are_read_once(tar, monkeypatch):
    calls = []
    monkeypatch.setattr(members, "read_index", lambda handle: calls.append(1) or READ(handle))
    for _ in range(3):
        read(tar / "a/1.jpg")
        stat_file(tar / "a/2.jpg")
    assert len(calls) == 1


READ = members.read_index


def test_the_least_recently_used_indexes_make_room(tmp_path, monkeypatch):
    monkeypatch.setattr(members, "MAX_INDEXED", 5)
    fresh = members._Indexes()
    monkeypatch.setattr(members, "_indexes", fresh)
    tars = [write_tar(tmp_path / f"{k}.tar", {f"{i}.jpg": b"%d" % k for i in range(2)}) for k in range(3)]
    for k in (0, 1, 0, 2):
        assert read(tars[k] / "1.jpg") == b"%d" % k
    assert [Path(key).name for key in fresh._kept] == ["0.tar", "2.tar"]
    large = write_tar(tmp_path / "large.tar", {f"{i}.jpg": b"L" for i in range(9)})
    assert read(large / "8.jpg") == b"L"  # alone above the bound, it still works
    assert [Path(key).name for key in fresh._kept] == ["large.tar"]


def test_threads_read_side_by_side(tmp_path):
    contents = {f"{i}.jpg": bytes([i]) * (3000 + 17 * i) for i in range(40)}
    tars = [write_tar(tmp_path / f"{k}.tar", contents) for k in range(3)]
    paths = [tar / name for name in contents for tar in tars] * 4
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(read, paths))
    assert found == [contents[path.name] for path in paths]


def test_spawned_processes_read_by_themselves(tar):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(read, tar / "a/1.jpg").result() == CONTENT


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of Python 3.12: forked with threads
def test_a_fork_amid_the_reading_of_another_thread_can_read(tar):
    """The lock that a thread held is renewed in the child, where that thread is not."""
    held, done = threading.Event(), threading.Event()

    def hold():
        with members._indexes.lock:
            held.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(20)
    child = os.fork()
    if not child:
        os._exit(0 if read(tar / "a/2.jpg") == b"two" else 1)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
