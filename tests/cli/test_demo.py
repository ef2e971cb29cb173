import json

import pytest
from typer.testing import CliRunner

from semples_cli.cli.app import app


@pytest.fixture
def semples():
    def call(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return call


def test_demo_data_renders_a_world_and_says_what_comes_next(semples, tmp_path):
    out = tmp_path / "world"
    result = semples("demo-data", "--out", out, "--num-images", 3, "--size", 32, "--objects-per-image", 1)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "3 images written" in result.stderr
    assert f"semples cams --data {out}" in result.stderr
    assert len(list((out / "JPEGImages").iterdir())) == 3
    record = json.loads((out / "world.json").read_text())
    assert record["settings"]["max_objects"] == 1
    assert record["settings"]["size"] == 32


def test_demo_data_json_is_all_of_stdout(semples, tmp_path):
    out = tmp_path / "world"
    call = ("demo-data", "--out", out, "--num-images", 2, "--size", 16, "--seed", 4, "--pairing", 2, "--json")
    first = semples(*call)
    assert json.loads(first.stdout) == {"out": str(out), "num_images": 2, "written": 2, "resumed": 0}
    assert json.loads(semples(*call).stdout)["resumed"] == 2
    assert (out / "JPEGImages" / "4_2_000001.png").is_file()


def test_demo_data_refuses_another_world_with_exit_2_and_no_traceback(semples, tmp_path):
    semples("demo-data", "--out", tmp_path, "--num-images", 2, "--size", 16)
    result = semples("demo-data", "--out", tmp_path, "--num-images", 2, "--size", 16, "--bias", 0.3)
    assert result.exit_code == 2
    assert "bias 0.9, not 0.3" in result.stderr
    assert "--overwrite" in result.stderr
    assert "Traceback" not in result.stderr
    again = semples("demo-data", "--out", tmp_path, "--num-images", 2, "--size", 16, "--bias", 0.3, "--overwrite")
    assert again.exit_code == 0


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--num-images", 0, "1 or more"),
        ("--bias", 2, "lies in"),
        ("--objects-per-image", 9, "1 to 4"),
        ("--size", 4, "16 to 1024"),
        ("--seed", -1, "seed"),
        ("--pairing", -1, "pairing"),
    ],
)
def test_demo_data_refuses_values_out_of_range(semples, tmp_path, option, value, said):
    result = semples("demo-data", "--out", tmp_path / "world", option, value)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "world").exists()
