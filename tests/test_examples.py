import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(script, *arguments):
    """Run a script as a user does, with this Python's commands first on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    command = ["bash", str(script), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    out = tmp_path_factory.mktemp("quickstart") / "out"
    result = run(EXAMPLES / "quickstart" / "run.sh", out, 6)
    assert result.returncode == 0, result.stderr
    return out, result


def test_quickstart_writes_masks_overlays_and_reports(quickstart):
    out, _ = quickstart
    ids = [f"0_0_{index:06d}" for index in range(6)]
    for stage in ("seeds", "crf"):
        assert sorted(path.stem for path in (out / stage).glob("*.png")) == ids
        assert sorted(path.stem for path in (out / stage / "overlays").glob("*.png")) == ids
        report = json.loads((out / f"report-{stage}" / "report.json").read_text())
        assert report["num_images"] == 6
        assert report["missing"] == []
        assert 0 < report["miou"] < 1


def test_quickstart_shows_a_table_for_each_evaluation_and_nothing_else_on_stdout(quickstart):
    _, result = quickstart
    assert len(re.findall(r"^mIoU ", result.stdout, re.MULTILINE)) == 2
    assert "Traceback" not in result.stderr


def test_quickstart_run_again_goes_on_where_it_stopped(quickstart):
    out, _ = quickstart
    mask = out / "crf" / "0_0_000003.png"
    before = mask.stat().st_mtime_ns
    result = run(EXAMPLES / "quickstart" / "run.sh", out, 6)
    assert result.returncode == 0, result.stderr
    assert mask.stat().st_mtime_ns == before
    assert result.stderr.count("6 kept from an earlier run") == 3


def test_quickstart_stops_at_the_first_command_that_fails(tmp_path):
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / "holiday.jpg").write_text("")
    result = run(EXAMPLES / "quickstart" / "run.sh", tmp_path, 6)
    assert result.returncode == 2
    assert "choose another --out" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["world"]


@pytest.fixture(scope="module")
def own_images(tmp_path_factory):
    out = tmp_path_factory.mktemp("own") / "out"
    result = run(EXAMPLES / "own_images" / "run.sh", out, 8, 1)
    assert result.returncode == 0, result.stderr
    return out, result


def test_own_images_have_masks_of_every_stage_without_ground_truth(own_images):
    out, _ = own_images
    ids = [f"0_0_{index:06d}" for index in range(12)]
    for stage in ("refined", "masks"):
        assert sorted(path.stem for path in (out / stage).glob("*.png")) == ids[:8]
        assert sorted(path.stem for path in (out / stage / "overlays").glob("*.png")) == ids[:8]
    assert sorted(path.stem for path in (out / "new").glob("*.png")) == ids[8:]


def test_own_classes_have_the_order_and_the_words_of_the_list(own_images):
    from semples_cli.artifacts.prompts_file import read_prompts

    prompts = read_prompts(own_images[0] / "prompts.safetensors")
    assert (prompts.class_names[-1], prompts.prompt_names[-1]) == ("loco", "train")
    assert len(prompts.class_names) == 10


def test_own_images_show_what_the_prompts_learned_and_say_the_rest_on_stderr(own_images):
    _, result = own_images
    assert result.stdout.count("prompt of") == 1
    assert re.search(r"│ sheep .*(grass|desert|snow|road|wall|tree|sea|sky|reef|railway) -?0\.\d", result.stdout)
    assert "no image here goes with the label" not in result.stderr
    assert "Traceback" not in result.stderr


def test_own_images_run_again_train_nothing_again(own_images):
    out, _ = own_images
    trained = [*out.glob("*.safetensors"), *out.glob("refined/.semples/*.safetensors"), *out.glob("new/*.png")]
    before = {path: path.stat().st_mtime_ns for path in trained}
    assert len(before) == 8
    result = run(EXAMPLES / "own_images" / "run.sh", out, 8, 1)
    assert result.returncode == 0, result.stderr
    changed = {path.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed == set()


@pytest.mark.parametrize("folder", sorted(path for path in EXAMPLES.iterdir() if path.is_dir()), ids=lambda p: p.name)
def test_every_example_is_a_readme_and_a_script_whose_commands_the_readme_names(folder):
    readme = (folder / "README.md").read_text()
    commands = set(re.findall(r"^(?:do_ )?semples ([\w-]+)", (folder / "run.sh").read_text(), re.MULTILINE))
    assert commands
    assert all(f"semples {command}" in readme for command in commands)
