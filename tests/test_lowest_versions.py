"""The versions that `make test-oldest` installs are the lower bounds of pyproject.toml."""

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / ".ci" / "lowest_versions.py"


@pytest.fixture(scope="module")
def lowest_versions():
    spec = importlib.util.spec_from_file_location("lowest_versions", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.lowest_versions


def test_bounds_become_versions(lowest_versions):
    project = {
        "name": "semples",
        "dependencies": ["numpy>=2.0", "open_clip_torch>=3.3,<4", "pydensecrf2>=1.1; python_version < '3.13'"],
        "optional-dependencies": {"test": ["semples[yolo]", "pytest >= 8.2", "datumaro>=1.13"], "dev": ["ruff>=0.9"]},
    }
    assert lowest_versions(project, ["test"]) == [
        "numpy==2.0",
        "open_clip_torch==3.3",
        "pydensecrf2==1.1; python_version < '3.13'",
        "pytest==8.2",
    ]


@pytest.mark.parametrize("dependency", ["numpy", "numpy<3", "numpy==2.0", "numpy~=2.0"])
def test_a_dependency_without_a_lower_bound_is_refused(lowest_versions, dependency):
    with pytest.raises(ValueError, match="no lower bound; give one that is tested"):
        lowest_versions({"name": "x", "dependencies": [dependency], "optional-dependencies": {}}, [])


def test_the_versions_of_this_project_are_within_its_bounds():
    done = subprocess.run([sys.executable, SCRIPT, "yolo", "test"], capture_output=True, text=True, check=True)
    lowest = {Requirement(line).name: Requirement(line) for line in done.stdout.splitlines()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for each in (*project["dependencies"], *project["optional-dependencies"]["yolo"]):
        wanted = Requirement(each)
        (version,) = lowest[wanted.name].specifier
        assert wanted.specifier.contains(version.version), each
    assert len(lowest) > 20
