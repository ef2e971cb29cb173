"""What a wheel must hold: an editable install, as in the tests, finds every file, whether it is packed or not."""

import tomllib
from pathlib import Path

import semples_cli

PACKAGE = Path(semples_cli.__file__).parent


def test_every_file_that_is_no_module_is_packed():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["semples_cli"]
    packed = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert files == packed


def test_every_folder_of_modules_is_a_package():
    assert {path.parent for path in PACKAGE.rglob("*.py")} == {path.parent for path in PACKAGE.rglob("__init__.py")}
