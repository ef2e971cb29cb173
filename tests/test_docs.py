"""Links in the documentation lead somewhere, and what it calls a command or an option is one."""

import re
from pathlib import Path

import pytest
import typer.main

from semples_cli.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "benchmarks/*.md") for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?<![\w/.-])semples(?:_cli)? ([a-z][a-z-]*(?: [a-z][a-z-]*)?)((?:\\\n|[^\n`])*)")
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*)")


def known_options():
    """Options by command, such as 'labels convert'."""

    def walk(command, name):
        if hasattr(command, "commands"):
            for key, each in command.commands.items():
                yield from walk(each, f"{name} {key}".strip())
        else:
            yield name, {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}

    return {**dict(walk(typer.main.get_command(app), ""))}


OPTIONS = known_options()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link or link.startswith(("#", "mailto:")):
            continue
        assert (page.parent / link.split("#")[0]).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_have_the_options_that_are_said_of_them(page):
    for words, rest in COMMAND.findall(page.read_text(encoding="utf-8")):
        name = next((each for each in (words, words.split()[0]) if each in OPTIONS), None)
        if name is None:
            continue
        unknown = {option for option in OPTION.findall(rest.split("#")[0]) if option not in OPTIONS[name]}
        assert not unknown, f"semples {name}: {unknown}"


def test_there_are_pages_and_commands_to_look_at():
    found = [words.split()[0] for page in PAGES for words, _ in COMMAND.findall(page.read_text(encoding="utf-8"))]
    assert {"cams", "crf", "evaluate", "learn-prompts", "refine", "export", "run"} <= set(found)
    assert len(PAGES) > 30
    assert "labels convert" in OPTIONS
    assert "--labels" in OPTIONS["cams"]
