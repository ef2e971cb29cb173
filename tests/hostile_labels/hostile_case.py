"""One hostile label file: what is brought, and what has to come of it, through the command and from Python."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from typer.testing import CliRunner, Result

from semples_cli.cli.app import app
from semples_cli.data.dataset import load_dataset
from semples_cli.errors import SemplesError

IMAGES = ("a.jpg", "b.jpg", "sub/c.jpg")
# Neither paths nor cells of any length make a message that fills the screen.
LONGEST_LINE = 2000
WIDE = {"COLUMNS": "200", "TERM": "dumb"}


@dataclass(frozen=True)
class Case:
    """A label file beside the images a.jpg, b.jpg and sub/c.jpg.

    Attributes:
        content: The file.
        rows: Classes by image id, of those that have a label in the end; None: refused as a whole.
        code: Exit code of `labels inspect`.
        says: What its messages hold, the place among it.
        name: Name of the file or folder that is given by --labels.
        classes: Lines of the class list; None: there is none.
        args: Further arguments of load_dataset.
        others: More files, by path.
    """

    content: bytes | str = ""
    rows: Mapping[str, tuple[str, ...]] | None = None
    code: int = 1
    says: tuple[str, ...] = ()
    name: str = "labels.csv"
    classes: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, bytes | str] = field(default_factory=dict)


def refused(content: bytes | str, *says: str, **kwargs) -> Case:
    """Exit 1, one line."""
    return Case(content, None, 1, says, **kwargs)


def partly(content: bytes | str, rows: Mapping[str, tuple[str, ...]], *says: str, **kwargs) -> Case:
    """Exit 3: something is listed, the rest is taken."""
    return Case(content, rows, 3, says, **kwargs)


def taken(content: bytes | str, rows: Mapping[str, tuple[str, ...]], *says: str, **kwargs) -> Case:
    """Exit 0, with just these labels."""
    return Case(content, rows, 0, says, **kwargs)


def check(case: Case, folder: Path) -> None:
    """Bring the case into the folder where the process stands, and hold the house to its promises."""
    _write(case, folder)
    before = tree(folder)
    options = _options(case)
    inspected = CliRunner().invoke(app, ["labels", "inspect", "images", *options], env=WIDE)
    _check_border(inspected, case.code)
    for text in case.says:
        assert text in inspected.stderr, inspected.stderr
    assert tree(folder) == before
    assert _read(case) == case.rows
    _check_conversion(case, folder, before)


def tree(folder: Path) -> dict[str, int]:
    """Every file and link below a folder, with its size."""
    return {str(path.relative_to(folder)): path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()}


def _check_border(done: Result, code: int | None = None) -> None:
    """One clear line where nothing could be done, printable text throughout, never a traceback."""
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    if code is not None:
        assert done.exit_code == code, done.stderr
    assert done.exit_code in (0, 1, 2, 3)
    lines = done.stderr.splitlines()
    assert all(line.isprintable() and len(line) <= LONGEST_LINE for line in lines), lines
    if done.exit_code in (1, 2):
        assert len(lines) == 1, lines
        assert re.match(r"error: .*[;:(] *\S", lines[0])  # what is wrong; then the cure
        assert done.stdout == ""
    if done.exit_code == 3:
        assert any(line.startswith("  problem: ") for line in lines)


def _read(case: Case) -> dict[str, tuple[str, ...]] | None:
    classes = "classes.txt" if case.classes is not None else None
    try:
        data = load_dataset([Path("images")], labels=Path(case.name), classes=classes, **case.args)
    except SemplesError:
        return None
    return {sample.id: tuple(map(data.class_set.name_of, sample.class_indices)) for sample in data.samples}


def _check_conversion(case: Case, folder: Path, before: Mapping[str, int]) -> None:
    """What is written is the one file and the class list, and reads back as what was read."""
    out = ["--images", "images", "--to", "jsonl", "--out", "made/labels.jsonl", "--classes-out", "made/classes.txt"]
    source, options = case.name, _options(case)[2:]
    done = CliRunner().invoke(app, ["labels", "convert", source, *out, *options], env=WIDE)
    _check_border(done)
    made = tree(folder).keys() - before.keys()
    if done.exit_code in (1, 2):
        assert not made
        return
    assert made == {"made/labels.jsonl", "made/classes.txt"}
    again = load_dataset([Path("images")], labels=Path("made/labels.jsonl"), classes="made/classes.txt")
    names = again.class_set.name_of
    assert {sample.id: tuple(map(names, sample.class_indices)) for sample in again.samples} == case.rows


def _options(case: Case) -> list[str]:
    given = [] if case.classes is None else ["--classes", "classes.txt"]
    return ["--labels", case.name, *given, *(f"--{key.replace('_', '-')}={value}" for key, value in case.args.items())]


def _write(case: Case, folder: Path) -> None:
    files = {f"images/{name}": b"" for name in IMAGES}
    if case.classes is not None:
        files["classes.txt"] = case.classes
    if case.name not in {path.split("/")[0] for path in case.others}:
        files[case.name] = case.content
    for name, content in (files | dict(case.others)).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
