"""The index: every format of tar, hostile headers, damage; checked against what tarfile itself extracts."""

import gzip
import io
import subprocess
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tar_files import FORMATS, block, header, special, write_tar

from semples_cli.tars.index import MAX_MEMBER_BYTES, Place, TarIndex, read_index

END = bytes(1024)


def index_of(path):
    with path.open("rb", buffering=0) as handle:
        return read_index(handle)


def content_of(path, name):
    place = index_of(path).find(name)
    return path.read_bytes()[place.offset : place.offset + place.size]


@pytest.mark.parametrize("form", FORMATS)
def test_members_of_every_format_are_found_where_they_are(tmp_path, form):
    members = {"a/1.jpg": b"one", "a/1.cls": b"", "b.png": bytes(range(256)) * 5, "a-b.jpg": b"x" * 512}
    path = write_tar(tmp_path / "t.tar", members, form)
    index = index_of(path)
    assert list(index) == ["a-b.jpg", "a/1.cls", "a/1.jpg", "b.png"]  # sorted as bytes
    assert len(index) == 4
    assert index.problems == ()
    for name, content in members.items():
        assert content_of(path, name) == content
        assert index.find(name).trouble == ""


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_long_and_foreign_names_are_read(tmp_path, form):
    long = "/".join(["folder" * 8] * 5) + "/" + "n" * 200 + ".jpg"
    assert len(long) > 400
    path = write_tar(tmp_path / "t.tar", {long: b"long", "Füße/犬.jpg": b"dog", "short.jpg": b"s"}, form)
    assert [content_of(path, name) for name in (long, "Füße/犬.jpg", "short.jpg")] == [b"long", b"dog", b"s"]


def test_names_that_are_no_utf8_are_kept(tmp_path):
    path = tmp_path / "t.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as tar:
        info = tarfile.TarInfo("Füße.jpg")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    (name,) = index_of(path)
    assert name == "F\udcfc\udcdfe.jpg"
    assert content_of(path, name) == b"abc"


def test_names_are_those_that_tar_unpacks(tmp_path):
    path = write_tar(tmp_path / "t.tar", {"./a//1.jpg": b"1", "/abs/2.jpg": b"2", "./": b""})
    index = index_of(path)
    assert list(index) == ["a/1.jpg", "abs/2.jpg"]
    assert index.find("a/1.jpg").trouble == ""


def test_what_is_not_there_is_not_found(tmp_path):
    index = index_of(write_tar(tmp_path / "t.tar", {"b": b"", "d": b""}))
    assert [index.find(name) for name in ("", "a", "c", "e", "dd", "b/", "B")] == [None] * 7
    assert index.find("d") == Place(1024, 0)


def test_a_tar_of_nothing_is_empty(tmp_path):
    path = write_tar(tmp_path / "t.tar", {})
    index = index_of(path)
    assert (len(index), list(index), index.problems, index.find("a")) == (0, [], (), None)


def test_folders_are_no_members(tmp_path):
    path = tmp_path / "t.tar"
    with tarfile.open(path, "w") as tar:
        tar.addfile(special("folder.jpg", tarfile.DIRTYPE))
    assert list(index_of(path)) == []


@given(st.dictionaries(st.text("ab./é", min_size=1, max_size=12), st.binary(max_size=1200), max_size=6))
@settings(max_examples=40, deadline=None)
def test_whatever_tarfile_reads_is_read_alike(tmp_path_factory, members):
    path = tmp_path_factory.mktemp("any") / "t.tar"
    write_tar(path, members)
    index = index_of(path)
    assert index.problems == () or all("no file can have" in problem for problem in index.problems)
    with tarfile.open(path) as tar:
        for info in tar:
            name = "/".join(part for part in info.name.split("/") if part not in ("", ".", ".."))
            place = index.find(name) if name else None
            if place is not None and not place.trouble:
                assert (place.offset, place.size) == (info.offset_data, info.size)


@given(st.dictionaries(st.binary(min_size=1, max_size=5), st.tuples(st.integers(0, 2**62), st.integers(0, 2**62))))
def test_the_table_gives_back_what_went_in(places):
    def text(name):
        return name.decode("latin-1")

    index = TarIndex({text(name).encode(): place for name, place in places.items()}, {})
    assert sorted(index) == sorted(map(text, places))
    assert all(index.find(text(name)) == Place(*place) for name, place in places.items())


@pytest.mark.parametrize(
    ("kind", "cure"),
    [
        (tarfile.SYMTYPE, "it is a link; write the tar again with the files"),
        (tarfile.LNKTYPE, "--hard-dereference"),
        (tarfile.FIFOTYPE, "take it out of the tar"),
        (tarfile.CHRTYPE, "take it out of the tar"),
        (b"9", "a kind that is not known"),
    ],
)
def test_what_is_no_file_keeps_its_place_with_the_reason(tmp_path, kind, cure):
    path = tmp_path / "t.tar"
    with tarfile.open(path, "w") as tar:
        tar.addfile(special("odd.jpg", kind, "good.jpg"))
        info = tarfile.TarInfo("good.jpg")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"good"))
    index = index_of(path)
    assert list(index) == ["good.jpg", "odd.jpg"]
    assert cure in index.find("odd.jpg").trouble
    assert content_of(path, "good.jpg") == b"good"


def test_a_name_that_is_there_twice_is_not_guessed(tmp_path):
    index = index_of(write_tar(tmp_path / "t.tar", [("1.jpg", b"old"), ("2.jpg", b"x"), ("./1.jpg", b"new!")]))
    assert list(index) == ["1.jpg", "2.jpg"]
    assert "several members of this name" in index.find("1.jpg").trouble
    assert "write it again with one of them" in index.find("1.jpg").trouble
    assert index.find("2.jpg").trouble == ""


@pytest.mark.parametrize("name", ["../1.jpg", "a/../../1.jpg", "/../1.jpg"])
def test_a_name_that_leads_out_fails_inside(tmp_path, name):
    index = index_of(write_tar(tmp_path / "t.tar", {name: b"x"}))
    (kept,) = index
    assert ".." not in kept
    assert not kept.startswith("/")
    assert "leads out of the tar by '..'; write the tar again" in index.find(kept).trouble


@pytest.mark.parametrize("name", ["n" * 300 + ".jpg", "/".join(["f" * 100] * 15) + "/1.jpg"])
def test_names_that_no_file_can_have_are_problems_of_the_tar(tmp_path, name):
    index = index_of(write_tar(tmp_path / "t.tar", {name: b"x", "1.jpg": b"y"}))
    assert list(index) == ["1.jpg"]
    (problem,) = index.problems
    assert "has a name that no file can have; it is left out" in problem
    assert len(problem) < 200


def test_a_nul_in_a_name_is_a_problem_and_no_crash(tmp_path):
    record = b"path=a\0b.jpg\n"
    record = b"%d %s" % (len(record) + 3, record)
    pax = header("x", len(record), b"x") + block(record)
    path = tmp_path / "t.tar"
    path.write_bytes(pax + header("plain.jpg", 3) + block(b"abc") + header("1.jpg", 1) + block(b"y") + END)
    index = index_of(path)
    assert "1.jpg" in list(index)
    assert all("\0" not in name for name in index)


def test_sparse_files_are_refused_by_name(tmp_path):
    (tmp_path / "holes.jpg").write_bytes(b"")
    with (tmp_path / "holes.jpg").open("r+b") as handle:
        handle.truncate(1 << 20)
        handle.seek(1 << 19)
        handle.write(b"x")
    for form in ("gnu", "pax"):
        path = tmp_path / f"{form}.tar"
        command = ["tar", "--sparse", f"--format={form}", "-cf", path, "-C", tmp_path, "holes.jpg"]
        subprocess.run(command, check=True)  # tarfile cannot write any
        index = index_of(path)
        assert list(index) == ["holes.jpg"]
        assert "stored as a sparse file; write the tar again without --sparse" in index.find("holes.jpg").trouble


def test_a_member_that_is_too_large_is_refused_by_name(tmp_path):
    path = tmp_path / "t.tar"
    size = MAX_MEMBER_BYTES + 1
    with path.open("wb") as handle:
        handle.write(header("big.jpg", size))
        handle.truncate(512 + size + 511 + 1024)  # holes cost no disk
    trouble = index_of(path).find("big.jpg").trouble
    assert trouble.startswith(f"{size} bytes, more than the {MAX_MEMBER_BYTES}")


def cut(data, at):
    return data[:at]


@pytest.fixture
def three(tmp_path):
    """A tar of three members of 600 bytes, each 1536 with its header, and its bytes."""
    path = write_tar(tmp_path / "t.tar", {f"{i}.jpg": bytes([i]) * 600 for i in range(3)}, "ustar")
    data = path.read_bytes()
    assert data[1536:].startswith(b"1.jpg")
    return path, data


@pytest.mark.parametrize(
    ("at", "names", "troubled"),
    [
        (2 * 1536 + 700, ["0.jpg", "1.jpg", "2.jpg"], ["2.jpg"]),  # within its bytes
        (2 * 1536 + 300, ["0.jpg", "1.jpg"], []),  # within its header
        (2 * 1536, ["0.jpg", "1.jpg"], []),  # between two
        (3 * 1536, ["0.jpg", "1.jpg", "2.jpg"], []),  # before the end mark
        (3 * 1536 + 100, ["0.jpg", "1.jpg", "2.jpg"], []),  # within it
    ],
)
def test_a_tar_that_was_cut_off_says_so_wherever_it_was(three, at, names, troubled):
    path, data = three
    path.write_bytes(data[:at])
    index = index_of(path)
    assert list(index) == names
    assert [name for name in names if index.find(name).trouble] == troubled
    (problem,) = index.problems
    assert "damaged from byte" in problem
    assert "get the tar again" in problem
    assert all("the tar ends before it does" in index.find(name).trouble for name in troubled)


def test_a_damaged_header_ends_the_tar_with_a_word(three):
    path, data = three
    path.write_bytes(data[:1536] + b"garbage!" * 64 + data[1536 + 512 :])
    index = index_of(path)
    assert list(index) == ["0.jpg"]
    assert "damaged from byte 1536 on (no header where one should be)" in index.problems[0]


def test_archives_behind_one_another_are_not_half_read_in_silence(three):
    path, data = three
    path.write_bytes(data + data)
    index = index_of(path)
    assert len(index) == 3
    assert "a second archive follows; take them apart" in index.problems[0]


@pytest.mark.parametrize("size", [b"\xff" * 12, b"\xff" * 10 + b"\xfe\x00", b"\x80" + b"\xff" * 11])
@pytest.mark.parametrize("kind", [b"0", b"L", b"x", b"g", b"K"])
def test_sizes_that_lead_backwards_or_nowhere_end_the_tar(tmp_path, size, kind):
    path = tmp_path / "t.tar"
    path.write_bytes(header("1.jpg", 3) + block(b"abc") + header("2.jpg", size, kind) + block(b"z" * 40) + END)
    index = index_of(path)
    assert index.find("1.jpg").trouble == ""
    assert index.problems
    assert all(index.find(name).trouble for name in index if name != "1.jpg")


def test_headers_that_nest_without_end_are_damage(tmp_path):
    record = b"12 path=abc\n"
    path = tmp_path / "t.tar"
    path.write_bytes(header("1.jpg", 0) + (header("x", len(record), b"x") + block(record)) * 3000 + END)
    index = index_of(path)
    assert list(index) == ["1.jpg"]
    assert "damaged from byte" in index.problems[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"not a tar file \(empty file\); get it again"),
        (b"\xff\xd8\xff\xe0 a photo" * 100, "not a tar file"),
        (b"short", "not a tar file"),
        (gzip.compress(b"x" * 600), r"compressed \(gzip\), so its members cannot be reached at random: decompress it"),
        (b"BZh91AY" + bytes(600), r"compressed \(bzip2\)"),
        (b"\xfd7zXZ\0" + bytes(600), r"compressed \(xz\)"),
        (b"\x28\xb5\x2f\xfd" + bytes(600), r"compressed \(zstd\).* or unpack it"),
    ],
)
def test_what_is_no_plain_tar_is_refused_with_the_cure(tmp_path, content, said):
    path = tmp_path / "t.tar"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        index_of(path)


@given(st.integers(0, 4000), st.binary(min_size=1, max_size=40))
@settings(max_examples=150, deadline=None)
def test_no_damage_crashes_or_hangs(tmp_path_factory, at, patch):
    path = tmp_path_factory.mktemp("damaged") / "t.tar"
    write_tar(path, {f"{i}/{'n' * 120}.jpg": bytes([i]) * 300 for i in range(3)}, "pax")
    data = bytearray(path.read_bytes())
    data[at : at + len(patch)] = patch
    path.write_bytes(data)
    try:
        index = index_of(path)
    except ValueError as error:
        assert "tar" in str(error)  # noqa: PT017
        return
    for name in index:
        place = index.find(name)
        assert 0 <= place.offset <= place.offset + place.size <= len(data)
