"""The border for errors, and what is said at the end of a run."""

import io
import json
import sys

import pytest
import typer
from rich.markup import escape
from rich.table import Table
from typer.testing import CliRunner

from semples_cli.cli import console
from semples_cli.cli.console import (
    error_border,
    list_items,
    print_json,
    print_table,
    progress_bar,
    report_summary,
    say,
    warn,
)
from semples_cli.errors import DataError, SettingsError
from semples_cli.types import RunSummary


def run(error):
    app = typer.Typer()

    @app.command()
    @error_border
    def fail():
        raise error

    return CliRunner().invoke(app, [])


@pytest.mark.parametrize(
    ("error", "code"), [(DataError("labels.csv:3: bad"), 1), (SettingsError("no"), 2), (KeyboardInterrupt(), 130)]
)
def test_errors_become_exit_codes(error, code):
    assert run(error).exit_code == code


def test_an_error_is_one_line_on_stderr_with_its_brackets():
    result = run(DataError("scores lie in [0, 1], not [red]"))
    assert result.stdout == ""
    assert result.stderr == "error: scores lie in [0, 1], not [red]\n"


def test_a_bug_keeps_its_traceback():
    result = run(ZeroDivisionError("bug"))
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.parametrize(("failed", "code"), [((), 0), ((("a", "damaged"),), 3)])
def test_summary_tells_the_truth(failed, code, capsys):
    summary = RunSummary(2, 1, (("b", "no label"),), failed, 4.0)
    assert report_summary(summary, "masks") == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "2 masks written in 4.0 s, 0.5/s; 1 kept from an earlier run; 1 skipped" in captured.err
    assert ("failed: a: damaged" in captured.err) == bool(failed)


def test_long_lists_are_cut_and_counted(capsys):
    list_items("failed", tuple((str(n), "x") for n in range(25)))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 21
    assert lines[-1] == "  … and 5 more failed"


def test_json_is_one_document_and_refuses_nan(capsys):
    print_json({"name": "größe", "miou": 0.5})
    assert json.loads(capsys.readouterr().out) == {"name": "größe", "miou": 0.5}
    with pytest.raises(ValueError, match="JSON compliant"):
        print_json({"miou": float("nan")})


def test_a_log_gets_a_line_now_and_then(capsys, monkeypatch):
    clock = iter([10.0, 40.0, 50.0, 100.0, 150.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with progress_bar("cams") as progress:
        for done in (2, 20, 25, 50, 50):
            progress(done, 100)
    assert capsys.readouterr().err.splitlines() == [
        "cams: 20 of 100, 0.6/s, about 2 min left",
        "cams: 50 of 100, 0.5/s, about 2 min left",
        "cams: 50 of 100, 0.0/s",
    ]


def test_progress_bar_stays_off_stdout(capsys):
    with progress_bar("cams") as progress:
        progress(1, 2)
        progress(2, 2)
    assert capsys.readouterr().out == ""


FORGED = "a\nerror: all is lost\x1b[31m\u202e \udce9"
SHOWN = r"a\nerror: all is lost\x1b[31m\u202e \xe9"


def test_a_name_cannot_forge_lines_colours_or_direction(capsys):
    say(FORGED)
    warn(FORGED)
    list_items("failed", ((FORGED, FORGED),))
    assert capsys.readouterr().err.splitlines() == [SHOWN, f"warning: {SHOWN}", f"  failed: {SHOWN}: {SHOWN}"]
    assert run(DataError(FORGED)).stderr == f"error: {SHOWN}\n"


@pytest.mark.parametrize("name", ["[red]a[/red]", "[/]", "a:dog:b", "back\\", "[b]\\[/b]"])
def test_a_name_that_looks_like_markup_stays(name, capsys):
    say(name)
    warn(name)
    assert capsys.readouterr().err.splitlines() == [name, f"warning: {name}"]


def test_json_holds_names_that_are_no_utf8(capsys):
    print_json({"id": FORGED})
    out = capsys.readouterr().out
    assert json.loads(out) == {"id": FORGED}
    assert out.isascii()


def test_tables_show_names_of_any_kind(capsys):
    table = Table("name")
    table.add_row(escape(FORGED))
    table.add_row("a:dog:b")
    print_table(table)
    out = capsys.readouterr().out
    assert SHOWN in out
    assert "a:dog:b" in out


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_stdout_of_an_older_kind_takes_everything(encoding, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding))
    table = Table("name")
    table.add_row("図")
    print_table(table)
    print_json({"name": "図😀é"})
    sys.stdout.flush()
    lines = raw.getvalue().decode(encoding).splitlines()
    assert any(r"\u56f3" in line for line in lines[:-1])
    assert json.loads(lines[-1]) == {"name": "図😀é"}


def test_what_the_system_refuses_is_one_line_and_a_closed_pipe_is_typers():
    result = run(PermissionError(13, "Permission denied", "images"))
    assert (result.exit_code, result.stderr) == (1, "error: images: Permission denied; mend that, and run it again\n")
    assert "Permission denied" not in run(BrokenPipeError(32, "Broken pipe")).stderr
    assert isinstance(run(OSError("ours")).exception, OSError)
