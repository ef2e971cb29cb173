import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import semples_cli
from semples_cli.cli.app import app

WIDE = {"COLUMNS": "200", "TERM": "dumb"}
HEAVY = ("torch", "torchvision", "open_clip", "timm", "huggingface_hub", "pydensecrf", "scipy", "tqdm")


def commands(group, *names):
    """(name, …) of every command below a group."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *names, name)
        else:
            yield (*names, name)


COMMANDS = list(commands(typer.main.get_command(app)))


def test_the_commands_of_the_pipeline_are_there():
    assert {("cams",), ("crf",), ("evaluate",), ("demo",), ("demo-data",)} <= set(COMMANDS)


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_the_help_of_every_command_has_an_example(names):
    shown = CliRunner().invoke(app, [*names, "--help"], env=WIDE)
    assert shown.exit_code == 0
    examples = re.findall(rf"^\s*Example: semples {' '.join(names)} .+$", shown.stdout, re.MULTILINE)
    assert examples, shown.stdout


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_every_option_is_explained(names):
    command = typer.main.get_command(app)
    for name in names:
        command = command.commands[name]
    unexplained = [parameter.name for parameter in command.params if not getattr(parameter, "help", None)]
    assert unexplained == []


@pytest.mark.parametrize(
    "args", [[], *[list(names) for names in COMMANDS]], ids=lambda args: " ".join(args) or "semples"
)
def test_no_help_imports_anything_heavy(args):
    code = f"""
import sys
from typer.testing import CliRunner
from semples_cli.cli.app import app
result = CliRunner().invoke(app, {[*args, "--help"]!r})
assert result.exit_code == 0, result.output
print(sorted(name for name in {HEAVY!r} if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_a_real_process_starts_too():
    done = subprocess.run(
        [sys.executable, "-m", "semples_cli", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, f"semples {semples_cli.__version__}")


def test_an_unknown_option_is_a_usage_error():
    result = CliRunner().invoke(app, ["cams", "--colour"], env=WIDE)
    assert result.exit_code == 2
    assert "--colour" in result.stderr


def test_without_a_command_the_commands_are_shown():
    result = CliRunner().invoke(app, [], env=WIDE)
    assert "cams" in result.output
    assert "evaluate" in result.output
