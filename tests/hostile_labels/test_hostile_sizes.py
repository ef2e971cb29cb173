"""Label files, lists, patterns and tars that are larger, or of another kind, than anything that was meant."""

import io
import os
import resource
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from hostile_case import WIDE, check, partly, refused, taken
from tar_files import block, header, special, write_tar
from typer.testing import CliRunner

from semples_cli.cli.app import app
from semples_cli.data.braces import expand_braces
from semples_cli.data.class_list import read_class_list
from semples_cli.data.dataset import load_dataset
from semples_cli.errors import DataError, SettingsError

ROWS = 200_000
ONE = {"a": ("cat",)}


def inspect(*arguments: str, code: int) -> str:
    done = CliRunner().invoke(app, ["labels", "inspect", *arguments], env=WIDE)
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert done.exit_code == code, done.stderr
    return done.stderr


LARGE = {
    "a-line-of-5-mb": refused("image,labels\n" + "a.jpg," * 900_000, "labels.csv:2: a line of 5400000 characters"),
    "a-header-of-5-mb": refused("," * 5_000_000, "labels.csv:1: a line of 5000000 characters"),
    "a-quoted-cell-of-lines": refused(
        'image,labels\n"' + "x\n" * 1_000_000, "labels.csv:2: field larger than field limit"
    ),
    "a-line-of-json-of-5-mb": refused(
        '{"file_name": "a.jpg", "labels": "' + "c|" * 2_500_000 + '"}', "l.jsonl:1: a line of 5000", name="l.jsonl"
    ),
    "a-class-name-of-5-mb": refused(
        "image,labels\na.jpg,cat\n", "classes.txt:1: class 'xxxxx", classes="x" * 5_000_000
    ),
    "classes-10000": refused(
        "image,labels\na.jpg,cat\n",
        "classes.txt:255: more than 254 classes do not fit a mask; split the list",
        classes="".join(f"class {k}\n" for k in range(10_000)),
    ),
    "blank-lines-500000": taken("image,labels\n" + "\n" * 500_000 + "a.jpg,cat\n", ONE),
    "unknown-names-5000": partly(
        "image,labels\na.jpg,cat\n" + "".join(f"{k}.jpg,zebra {k}\n" for k in range(5_000)),
        ONE,
        "… and 4980 more problem",
        classes="cat\ndog\n",
    ),
}


@pytest.mark.parametrize("case", LARGE.values(), ids=LARGE)
def test_large_files(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(case, tmp_path)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS keeps no limit of address space")
def test_many_rows_fit_into_a_gigabyte(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "7.jpg").touch()
    rows = "".join(f"{k}.jpg,class {k % 20}\n" for k in range(ROWS))
    (tmp_path / "labels.csv").write_text(f"image,labels\n{rows}")
    code = (
        "from pathlib import Path; from semples_cli.data.dataset import load_dataset; "
        "data = load_dataset([Path('images')], labels=Path('labels.csv')); "
        "print(len(data.samples), len(data.class_set), len(data.unmatched_rows))"
    )
    limit = 2**30
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["1", "20", str(ROWS - 1)], done.stderr


# What is no file


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero here")
@pytest.mark.parametrize("name", ["labels.csv", "labels.json", "labels.jsonl"])
def test_a_device_without_end_is_not_begun(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    Path("images/a.jpg").touch()
    Path(name).symlink_to("/dev/zero")
    assert f"error: {name}: a device, not a file; correct the path" in inspect("images", "--labels", name, code=1)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("x" * 5000 + ".csv", "cannot be read (File name too long); correct the path"),
        ("gone.csv", "gone.csv: no such file; correct the path"),
        ("images/a.jpg/labels.csv", "cannot be read (Not a directory); correct the path"),
        ("circle.csv", "cannot be read (Too many levels of symbolic links); correct the path"),
        ("nowhere.csv", "nowhere.csv: no such file; correct the path"),
        ("images", "no image lies in a folder named by its class"),
    ],
)
def test_paths_that_lead_nowhere(name, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    Path("images/a.jpg").touch()
    Path("circle.csv").symlink_to("circle.csv")
    Path("nowhere.csv").symlink_to("/nonexistent/labels.csv")
    assert says in inspect("images", "--labels", name, code=1)


def test_a_link_to_labels_elsewhere_is_followed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    Path("images/a.jpg").touch()
    Path("elsewhere.csv").write_text("image,labels\na.jpg,cat\n")
    Path("labels.csv").symlink_to("elsewhere.csv")
    assert "1 class, 1 image" in inspect("images", "--labels", "labels.csv", code=0)


@pytest.mark.parametrize("command", [["cams", "images", "--out", "out", "--dry-run"], ["labels", "inspect", "images"]])
def test_no_model_is_loaded_before_labels_are_refused(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    Path("images/a.jpg").touch()
    Path("labels.csv").write_bytes(b"image,labels\na.jpg,\xff\n")
    done = CliRunner().invoke(app, [*command, "--labels", "labels.csv"], env=WIDE)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: labels.csv:2: cannot be read as UTF-8 text (byte 0xff)")
    assert not Path("out").exists()


# Class lists and word lists

LISTS = {
    "bom": ("\ufeffcat\ndog\n", ("cat", "dog")),
    "crlf": ("cat\r\ndog\r\n", ("cat", "dog")),
    "cr-alone": ("cat\rdog\r", ("cat", "dog")),
    "comments": ("# ours\ncat # wet\n#dog\n", ("cat # wet",)),
    "background-first": ("Background\ncat\n", ("cat",)),
    "form-feed-is-no-line-end": ("cat\x0c\ndog", ("cat", "dog")),
}
NO_LISTS = {
    "empty": ("", "classes.txt: no class at all"),
    "comments-alone": ("# cat\n\n", "classes.txt: no class at all"),
    "background-alone": ("background\n", "classes.txt: no class at all"),
    "background-later": ("cat\nBACKGROUND\n", "classes.txt: 'background' is always class 0"),
    "twice": ("cat\ndog\ncat\n", "classes.txt:3: class 'cat' is listed again, first on line 1; remove one"),
    "twice-in-two-forms": (
        "cafe\u0301\ncaf\u00e9\n",
        "classes.txt:2: class 'caf\u00e9' is listed again, first on line 1",
    ),
    "nul": ("cat\nd\0g\n", "classes.txt:2: holds NUL characters"),
    "escape-sequence": ("cat\n\x1b[31mdog\n", "classes.txt:2: class '\\x1b[31mdog' holds a line end, a tab or another"),
    "line-separator": ("cat\ndo\u2028g\n", "classes.txt:2: class 'do\\u2028g' holds a line end"),
    "next-line": ("ca\x85t\n", "classes.txt:1: class 'ca\\x85t' holds a line end"),
    "tabs-in-the-prompt": ("cat\tkitten\tx\n", "classes.txt:1: class 'kitten\\tx' holds a line end, a tab"),
    "control-in-the-prompt": ("cat\tk\x07t\n", "classes.txt:1: class 'k\\x07t' holds"),
    "utf16": ("cat\n".encode("utf-16"), "classes.txt:1: UTF-16 text"),
    "latin1": ("cat\ncafé\n".encode("latin-1"), "classes.txt:2: cannot be read as UTF-8 text (byte 0xe9)"),
    "too-long": (
        "cat\n" + "x" * 201,
        "classes.txt:2: class 'xxxxxxxxxxxxxxxxxxxx' … has 201 characters, more than 200",
    ),
}


@pytest.mark.parametrize(("content", "names"), LISTS.values(), ids=LISTS)
def test_odd_class_lists_that_can_be_read(content, names, tmp_path):
    (tmp_path / "classes.txt").write_bytes(content.encode())
    assert read_class_list(tmp_path / "classes.txt").names == names


@pytest.mark.parametrize(("content", "says"), NO_LISTS.values(), ids=NO_LISTS)
def test_class_lists_that_are_none(content, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("classes.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    Path("labels.csv").write_text("image,labels\na.jpg,cat\n")
    with pytest.raises(DataError) as raised:
        read_class_list("classes.txt")
    assert says in str(raised.value)
    shown = inspect("--labels", "labels.csv", "--classes", "classes.txt", code=1)
    assert shown.startswith("error: classes.txt")
    assert len(shown.splitlines()) == 1


@pytest.mark.parametrize("name", ["x" * 5000, "gone.txt", ".", "/dev/null", "voc12\n"])
def test_class_lists_that_are_not_there(name):
    with pytest.raises(DataError, match="no such class list; give a file with one class a line"):
        read_class_list(name)


# Patterns

PATTERNS = ["{000000..999999999}", "{0..99999999999999999}", "{0..999}" * 3, "{a,b}" * 40, "{1..2}" * 3000]


@pytest.mark.parametrize("pattern", PATTERNS, ids=range(len(PATTERNS)))
def test_patterns_without_end_are_refused(pattern):
    with pytest.raises(SettingsError, match="more than 1000000; give the folder that they lie in"):
        expand_braces([Path(pattern)])


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("{1..1}" * 5000, 1),
        ("{" * 50_000, 1),
        ("{a,b", 1),
        ("{" + "7" * 5000 + "..1}", 1),
        ("{,}", 2),
        ("{}", 1),
        ("{\u0661..\u0663}", 1),
    ],
    ids=range(7),
)
def test_patterns_that_stand_for_little(pattern, count):
    assert len(expand_braces([Path(pattern)])) == count


# Tars


def test_a_tar_of_hostile_members_labels_the_good_ones_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("t.tar")
    with tarfile.open(path, "w") as tar:
        for info in (
            special("link.cls", tarfile.SYMTYPE, "/etc/passwd"),
            special("hard.cls", tarfile.LNKTYPE, "good.cls"),
            special("device.cls", tarfile.CHRTYPE),
            special("pipe.cls", tarfile.FIFOTYPE),
        ):
            tar.addfile(info)
        for name in ("link", "hard", "device", "pipe", "good", "../outside", "/rooted", "bad"):
            content = {"bad": b"\xff\xfe"}.get(name, b"1")
            for suffix, data in ((".jpg", b""), (".cls", content)):
                if suffix == ".cls" and name in ("link", "hard", "device", "pipe"):
                    continue
                info = tarfile.TarInfo(name + suffix)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    Path("classes.txt").write_text("cat\ndog\n")
    before = sorted(Path.cwd().parent.rglob("*"))
    data = load_dataset([path], classes="classes.txt")
    named = {sample.id: sample.class_indices for sample in data.samples}
    assert named == {"t/good": (2,), "t/rooted": (2,)}
    assert sorted(data.unlabelled) == ["t/bad", "t/device", "t/hard", "t/link", "t/outside", "t/pipe"]
    reasons = dict(data.problems)
    assert "it is a link" in reasons["t.tar/link.cls"]
    assert "it is a link" in reasons["t.tar/hard.cls"]
    assert "device" in reasons["t.tar/device.cls"]
    assert "leads out of the tar" in reasons["t.tar/outside.cls"]
    assert "no UTF-8 text" in reasons["t.tar/bad.cls"]
    assert sorted(Path.cwd().parent.rglob("*")) == before
    assert "  problem: t.tar/link.cls: it is a link" in inspect("t.tar", "--classes", "classes.txt", code=3)


GOOD_MEMBERS = {"a.jpg": b"", "a.cls": b"0"}
TARS = {
    "empty": (b"", 1, "not a tar file"),
    "zeros": (bytes(10240), 1, "no images here"),
    "text": (b"image,labels\n" * 100, 1, "not a tar file"),
    "gzip": (b"\x1f\x8b\x08\0" + bytes(600), 1, "this tar is compressed (gzip)"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(600), 1, "this tar is compressed (zstd)"),
    "giant-member": (header("a.jpg", 2**40) + bytes(1024), 3, "images behind it are not seen"),
    "endless-size": (header("a.jpg", b"\xff" * 12) + bytes(1024), 1, ""),
    "size-in-base-256": (header("a.jpg", b"\x80" + b"\x7f" * 11) + bytes(1024), 1, ""),
    "truncated-member": (header("a.jpg", 5000) + bytes(512), 3, "images behind it are not seen"),
}


@pytest.mark.parametrize(("content", "code", "says"), TARS.values(), ids=TARS)
def test_tars_that_are_none(content, code, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.tar").write_bytes(content)
    Path("labels.csv").write_text("image,labels\nt/a,cat\n")
    done = CliRunner().invoke(app, ["labels", "inspect", "t.tar", "--labels", "labels.csv"], env=WIDE)
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert done.exit_code in {code, 3}
    assert says in done.stderr


def test_what_lies_behind_the_damage_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = header("a.jpg", 0) + header("a.cls", 1) + block(b"0")
    Path("t.tar").write_bytes(good + b"\xff" * 512 + header("b.jpg", 0) + bytes(1024))
    Path("classes.txt").write_text("cat\n")
    data = load_dataset([Path("t.tar")], classes="classes.txt")
    assert [sample.id for sample in data.samples] == ["t/a"]
    assert any("images behind it are not seen" in message for _, message in data.problems)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"7" * 5000, "has 5000 characters, more than 200"),
        (b"-1", "-1 is no class number"),
        (b"\xef\xbb\xbf1", ""),
        (b"[" * 100_000, "has 100000 characters, more than 200"),
        (b"1" * (2**20 + 1), "more than 1048576 bytes, which is no label"),
    ],
    ids=["digits", "negative", "bom", "brackets", "megabyte"],
)
def test_odd_cls_members(text, says, tmp_path):
    path = write_tar(tmp_path / "t.tar", {**GOOD_MEMBERS, "b.jpg": b"", "b.cls": text})
    data = load_dataset([path], classes=_classes(tmp_path))
    assert "t/a" in {sample.id for sample in data.samples}
    assert [says in message for _, message in data.problems] == [True] * bool(says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b'{"label": ' + b"[" * 100_000, "not JSON (brackets within brackets"),
        (b'{"label": ' + b"7" * 5000 + b"}", "not JSON (a number of thousands of digits)"),
        (b'{"label": 1, "label": 0}', "not JSON ('label' stands twice in one object)"),
        (b'{"label": [null]}', "None in 'label' is no class"),
        (b'{"label": {"cat": 1}}', "{'cat': 1} in 'label' is no class"),
        (b'{"label": true}', "True in 'label' is no class"),
        (b'{"label": NaN}', "nan in 'label' is no class"),
        (b'{"label": 0, "cls": 1}', "neither is used, keep one of them"),
        (b'{"label": "c\\u0000t"}', "class 'c\\x00t' holds"),
        (b"[1, 2]", ""),
    ],
    ids=range(10),
)
def test_odd_json_members(text, says, tmp_path):
    path = write_tar(tmp_path / "t.tar", {"a.jpg": b"", "a.json": b'{"label": 0}', "b.jpg": b"", "b.json": text})
    data = load_dataset([path], classes=_classes(tmp_path), labels_format="webdataset-from-0")
    assert [sample.id for sample in data.samples] == ["t/a"]
    assert [says in message for _, message in data.problems] == [True] * bool(says)


def test_an_archive_that_is_called_a_tar(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.tar", "w") as archive:
        archive.writestr("a.jpg", b"")
    with pytest.raises(DataError, match=r"t\.tar: not a tar file"):
        load_dataset([tmp_path / "t.tar"], label="cat")


def _classes(folder: Path) -> Path:
    path = folder / "classes.txt"
    path.write_text("cat\ndog\n")
    return path
