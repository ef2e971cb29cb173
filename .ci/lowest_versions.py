"""Prints requirements: for each direct dependency, of the package and of its extras, the lowest version allowed.

`make test-oldest` installs these and passes the tests with them, so that the bounds in pyproject.toml are true. What
the dependencies themselves depend on is left to pip.
"""

import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
# Readers of other tools that pin NumPy and Pillow themselves; the tests that use one are skipped without it.
LEFT_OUT = frozenset({"datumaro"})
_BOUND = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*>=\s*(?P<lowest>[^,;\s]+)[^;]*(?P<marker>;.*)?")


def lowest_versions(project: Mapping[str, Any], extras: Sequence[str]) -> list[str]:
    """`name==version`, with its marker, for the dependencies of a project and for those of some of its extras.

    Args:
        project: The table `project` of a pyproject.toml.
        extras: Names of its extras.

    Raises:
        ValueError: A dependency has no lower bound.
    """
    wanted = [*project["dependencies"], *(each for extra in extras for each in project["optional-dependencies"][extra])]
    lowest = [_lowest(each) for each in wanted if not each.startswith(f"{project['name']}[")]
    return [each for each in lowest if each.split("==")[0] not in LEFT_OUT]


def _lowest(dependency: str) -> str:
    found = _BOUND.fullmatch(dependency)
    if not found:
        msg = f"{dependency!r}: no lower bound; give one that is tested"
        raise ValueError(msg)
    return f"{found['name']}=={found['lowest']}{found['marker'] or ''}"


if __name__ == "__main__":
    content = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    sys.stdout.write("".join(f"{line}\n" for line in lowest_versions(content["project"], sys.argv[1:])))
