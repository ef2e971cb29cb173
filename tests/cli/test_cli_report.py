"""`semples report`: where the page goes, what is said, exit codes, and what is not imported."""

import json
import shlex
import shutil
import subprocess
import sys

import pytest
from report_world import WORST_FIRST, make_world
from typer.testing import CliRunner

from semples_cli.artifacts.run_folder import RunFolder
from semples_cli.cli.app import app
from semples_cli.config import EngineSettings, PromptSettings


@pytest.fixture
def world(tmp_path, monkeypatch):
    """run/ with seeds/ and crf/, images/ and truth/ in the current folder."""
    make_world(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def report(line):
    return CliRunner().invoke(app, ["report", *shlex.split(line)])


def test_the_page_lies_in_the_run_and_its_size_is_said(world):
    result = report("run")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert "page written to run/report.html (0.0" in result.stderr
    assert (world / "run" / "report.html").read_text().startswith("<!doctype html>")


def test_json_prints_the_document_and_nothing_else(world):
    result = report("run --ground-truth truth --json --out pages/first.html")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert [image["id"] for image in document["images"]] == WORST_FIRST
    assert "pictures" not in document["images"][0]
    assert (world / "pages" / "first.html").is_file()
    assert not (world / "run" / "report.html").exists()


def test_the_example_of_the_help(world):
    shown = " ".join(
        CliRunner().invoke(app, ["report", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).stdout.split()
    )
    example = "semples report run/ --ground-truth ground_truth/"
    assert example in shown
    shutil.move(world / "truth", world / "ground_truth")
    result = report(example.removeprefix("semples report "))
    assert result.exit_code == 0, result.stderr
    assert "mIoU" in (world / "run" / "report.html").read_text()


def test_the_gallery_and_a_split_list(world):
    (world / "val.txt").write_text("b\nc\n")
    result = report("run --ground-truth truth --split-list val.txt --gallery 1 --json")
    document = json.loads(result.stdout)
    assert [image["id"] for image in document["images"]] == ["b"]
    assert document["stages"][-1]["evaluation"]["num_images"] == 2


def test_masks_that_are_missing_end_with_3(world):
    (world / "run" / "crf" / "b.png").unlink()
    result = report("run/crf --ground-truth truth")
    assert result.exit_code == 3
    assert "1 ground truths have no mask, and are not counted" in result.stderr
    assert (world / "run" / "crf" / "report.html").is_file()


def test_a_plain_folder_needs_classes(world):
    shutil.rmtree(RunFolder(world / "run" / "crf").hidden)
    (world / "classes.txt").write_text("cat\ndog\nemu\n")
    assert report("run/crf").exit_code == 2
    assert report("run/crf --classes classes.txt --images images").exit_code == 0


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("nowhere", 1, "nowhere: neither a run nor masks here"),
        ("run --ground-truth nowhere", 1, "ground truth nowhere: no such folder"),
        ("run --images nowhere", 1, "nowhere: no such file or folder"),
        ("run --describe-prompts", 2, "there is no run/prompts.safetensors; leave it out"),
        ("run --classes voc12", 2, "says other classes than --classes; leave --classes out"),
        ("run --gallery -1", 2, "greater than or equal to 0"),
    ],
)
def test_errors_in_one_line_without_a_traceback(world, line, code, message):
    result = report(line)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (world / "run" / "report.html").exists()


def test_a_damaged_run_is_named(world):
    RunFolder(world / "run" / "crf").record.write_text("{")
    result = report("run")
    assert result.exit_code == 1
    assert "run.json: cannot be read as JSON" in result.stderr


def test_no_torch_is_imported_without_prompts(world):
    code = (
        "import sys; from semples_cli.cli.app import app; "
        "app(['report', 'run', '--ground-truth', 'truth'], standalone_mode=False); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=world)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.fixture
def learned(photos, clip_dir, monkeypatch):
    """A folder of a pipeline: seeds/ of the small photos, and prompts that were learned on them."""
    from semples_cli.data.dataset import load_dataset
    from semples_cli.engine.build import build_engine
    from semples_cli.steps.learn_prompts import learn_prompts
    from semples_cli.steps.progress import silent

    monkeypatch.chdir(photos.parent)
    made = CliRunner().invoke(
        app, shlex.split(f"cams images --out run/seeds --weights {clip_dir} --size 32 --device cpu --precision fp32")
    )
    assert made.exit_code == 0, made.stderr
    data = load_dataset([photos])
    engine = build_engine(EngineSettings(weights=str(clip_dir), device="cpu", precision="fp32"))
    settings = PromptSettings(prompt_length=2, epochs=1, views=1, min_images=1)
    given = (data.samples, data.class_set, engine, photos.parent / "run" / "prompts.safetensors", settings)
    learn_prompts(*given, cams=photos.parent / "run" / "seeds", begin=lambda part: silent)
    return photos.parent


def test_prompts_are_described_where_it_is_asked_for(learned):
    plain = json.loads(report("run --json").stdout)["prompts"]
    assert (plain["described"], len(plain["loss_by_epoch"])) == (False, 1)
    result = report("run --json --describe-prompts")
    assert result.exit_code == 0, result.stderr
    prompts = json.loads(result.stdout)["prompts"]
    assert prompts["described"]
    assert all(len(each["nouns"]) == 5 for each in prompts["classes"])
    page = (learned / "run" / "report.html").read_text()
    assert prompts["classes"][0]["nouns"][0]["noun"] in page


def test_a_clip_that_is_gone_is_named(learned, clip_dir):
    from semples_cli.artifacts.prompts_file import read_prompts, write_prompts

    path = learned / "run" / "prompts.safetensors"
    prompts = read_prompts(path)
    prompts.settings["engine"]["weights"] = str(learned / "gone")
    write_prompts(path, prompts)
    result = report("run --describe-prompts")
    assert result.exit_code == 1
    assert "the CLIP that it was learned with" in result.stderr
    assert not (learned / "run" / "report.html").exists()
