import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semples_cli.data.braces import MAX_NAMES, expand_braces
from semples_cli.errors import SettingsError


def expand(text):
    return [str(path) for path in expand_braces([Path(text)])]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("s/train-{000..002}.tar", ["s/train-000.tar", "s/train-001.tar", "s/train-002.tar"]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{08..11}", ["08", "09", "10", "11"]),
        ("{8..011}", ["008", "009", "010", "011"]),
        ("{0..1}", ["0", "1"]),
        ("{2..0}.tar", ["2.tar", "1.tar", "0.tar"]),
        ("{7..7}", ["7"]),
        ("{a,b}-{0..1}.tar", ["a-0.tar", "a-1.tar", "b-0.tar", "b-1.tar"]),
        ("x{,-old}.tar", ["x.tar", "x-old.tar"]),
        ("plain.tar", ["plain.tar"]),
        ("{single}.tar", ["{single}.tar"]),
        ("{a..c}", ["{a..c}"]),
        ("{-1..1}", ["{-1..1}"]),
        ("{}", ["{}"]),
        ("open{.tar", ["open{.tar"]),
    ],
)
def test_a_pattern_stands_for_its_names(pattern, expected):
    assert expand(pattern) == expected


@pytest.mark.skipif(shutil.which("bash") is None, reason="compared with bash")
@given(first=st.sampled_from(["0", "3", "00", "007", "12"]), last=st.sampled_from(["0", "5", "09", "014", "20"]))
@settings(max_examples=25, deadline=None)
def test_ranges_are_those_of_bash(first, last):
    pattern = f"t-{{{first}..{last}}}-{{x,y}}.tar"
    shell = subprocess.run(["bash", "-c", f"echo {pattern}"], check=True, capture_output=True, text=True)
    assert expand(pattern) == shell.stdout.split()


def test_several_paths_keep_their_order():
    found = expand_braces([Path("b{0..1}"), Path("a")])
    assert found == [Path("b0"), Path("b1"), Path("a")]
    assert expand_braces([]) == []


def test_a_file_that_is_called_so_is_itself(tmp_path):
    path = tmp_path / "a{0..1}.jpg"
    path.touch()
    assert expand_braces([path]) == [path]


@pytest.mark.parametrize("pattern", ["{0..99999999999}", "{0..999}{0..999}{0..999}", "{0..9999999}-{a,b}"])
def test_a_pattern_without_end_is_refused_before_it_takes_the_memory(pattern):
    with pytest.raises(SettingsError, match=f"more than {MAX_NAMES}; give the folder that they lie in"):
        expand_braces([Path(pattern)])
