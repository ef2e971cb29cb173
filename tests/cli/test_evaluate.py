"""`semples evaluate`: the table, the JSON document, the report folder, exit codes."""

import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from fake_ray import FakeRay
from PIL import Image
from typer.testing import CliRunner

from semples_cli.artifacts.cam_store import write_cam
from semples_cli.artifacts.mask_png import write_mask
from semples_cli.artifacts.report_files import read_report, report_as_dict
from semples_cli.artifacts.run_folder import class_record, write_run_record
from semples_cli.cli.app import app
from semples_cli.types import Cam, ClassSet

CLASSES = ClassSet(("cat", "dog [wild]", "emu"))
TRUTH = np.array([[0, 0, 1, 1], [0, 0, 1, 255]], np.uint8)
GUESS = np.array([[0, 0, 1, 255], [0, 2, 1, 1]], np.uint8)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """masks/ (a run folder), ground_truth/, classes.txt in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_mask(tmp_path / "ground_truth" / "a" / "1.png", TRUTH)
    write_mask(tmp_path / "masks" / "a" / "1.png", GUESS)
    write_run_record(tmp_path / "masks", {"command": "cams", "classes": class_record(CLASSES)})
    scores = np.array([[[0.1, 0.1, 0.6, 0.6], [0.1, 0.5, 0.6, 0.6]]], np.float32)
    write_cam(tmp_path / "masks" / ".semples" / "cams", Cam("a/1", np.array([1]), scores, (2, 4)), {})
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES.names) + "\n")
    return tmp_path


def run(line):
    return CliRunner().invoke(app, ["evaluate", *shlex.split(line)])


def test_json_prints_one_document_and_nothing_else(world):
    result = run("masks ground_truth --json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["iou"] == {"background": 0.75, "cat": 2 / 3, "dog [wild]": 0.0, "emu": None}
    assert document["miou"] == np.mean([0.75, 2 / 3, 0.0])
    assert document["num_classes_averaged"] == 3
    assert document["precision"] == {"background": 1.0, "cat": 1.0, "dog [wild]": 0.0, "emu": None}
    assert document["recall"] == {"background": 0.75, "cat": 2 / 3, "dog [wild]": None, "emu": None}
    assert document["fp_rate"]["dog [wild]"] == 1.0
    assert document["fn_rate"]["background"] == 0.25
    assert document["pixel_accuracy"] == 5 / 7
    assert document["coverage"] == 6 / 7
    assert document["confusion"] == [[3, 0, 1, 0, 0], [0, 2, 0, 0, 1], [0] * 5, [0] * 5]
    assert document["missing"] == []
    assert document["num_images"] == 1
    assert document["background_score"] is None
    assert document["curve"] == []


def test_the_table_in_percent(world):
    result = run("masks ground_truth")
    assert result.exit_code == 0
    rows = {
        cells[1].strip(): [c.strip() for c in cells[2:-1]]
        for line in result.stdout.splitlines()
        if len(cells := line.split("│")) > 2
    }
    assert rows == {
        "background": ["75.0", "100.0", "75.0", "0.0", "25.0"],
        "cat": ["66.7", "100.0", "66.7", "0.0", "33.3"],
        "dog [wild]": ["0.0", "0.0", "-", "100.0", "0.0"],
        "emu": ["-", "-", "-", "-", "-"],
    }
    assert "mIoU 47.2 over 3 classes" in result.stdout
    assert "pixel accuracy 71.4, coverage 85.7" in result.stdout
    assert "images counted: 1" in result.stdout


def test_the_report_folder_holds_what_json_prints(world):
    result = run("masks ground_truth --out report --json")
    files = ["confusion.csv", "report.csv", "report.html", "report.json"]
    assert sorted(path.name for path in (world / "report").iterdir()) == files
    assert report_as_dict(read_report(world / "report" / "report.json")) == json.loads(result.stdout)
    assert "report written to report/report.json" in result.stderr


def test_the_page_agrees_with_the_report(world):
    assert run("masks ground_truth --out report").exit_code == 0
    page = (world / "report" / "report.html").read_text()
    assert re.search(r"<dt>mIoU</dt><dd>47\.2<small>%</small>", page)
    assert '"id":"a/1"' in page


def test_the_page_of_cams_shows_their_curve(world):
    assert run("masks ground_truth --cams --out report").exit_code == 0
    page = (world / "report" / "report.html").read_text()
    assert 'aria-label="mIoU % over background score"' in page
    assert '"cams":{"1":"data:image/png' in page


def test_no_gallery_and_other_images(world):
    assert run("masks ground_truth --out report --gallery 0").exit_code == 0
    assert '"id":"a/1"' not in (world / "report" / "report.html").read_text()
    (world / "photos" / "a").mkdir(parents=True)
    Image.new("RGB", (4, 2), "red").save(world / "photos" / "a" / "1.png")
    assert run("masks ground_truth --out report --images photos").exit_code == 0
    assert "data:image/webp" in (world / "report" / "report.html").read_text()


def test_classes_may_be_renamed_for_the_report(world):
    (world / "classes.txt").write_text("tom\nrex\nemu\n")
    assert run("masks ground_truth --out report --classes classes.txt").exit_code == 0
    assert '"name":"tom"' in (world / "report" / "report.html").read_text()


def test_without_out_nothing_is_drawn(world):
    code = (
        "import sys; from semples_cli.cli.app import app; "
        "app(['evaluate', 'masks', 'ground_truth'], standalone_mode=False); "
        "print([n for n in ('matplotlib', 'jinja2') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=world)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_example_of_the_help(world):
    help_text = " ".join(run("--help").stdout.split())
    example = "semples evaluate masks/ ground_truth/ --classes classes.txt --out report/"
    assert example in help_text
    (world / "masks" / ".semples" / "run.json").unlink()
    result = run(example.removeprefix("semples evaluate "))
    assert result.exit_code == 0, result.stderr
    assert read_report(world / "report" / "report.json").class_names == ("background", *CLASSES.names)


def test_cams_give_the_curve_and_its_maximum(world):
    result = run("masks ground_truth --cams --json --out report")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert len(document["curve"]) == 101
    assert document["miou"] == max(point["miou"] for point in document["curve"]) == 1.0
    assert document["background_score"] == 0.5  # the pixel of 0.5 is background; a tie goes to background
    assert (world / "report" / "curve.csv").is_file()


def test_cams_at_a_given_score_say_the_best_beside_it(world):
    result = run("masks ground_truth --cams --background-score 0.4")
    assert result.exit_code == 0
    assert "at background score 0.4; best 100.0 at 0.5" in result.stdout


def test_missing_masks_are_listed_and_exit_3(world):
    for number in range(2, 30):
        write_mask(world / "ground_truth" / "a" / f"{number}.png", TRUTH)
    result = run("masks ground_truth --json --out report")
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert len(document["missing"]) == 28
    assert document["num_images"] == 1
    assert read_report(world / "report" / "report.json").missing == tuple(document["missing"])
    assert "missing: a/10: ground truth without a mask, not counted" in result.stderr
    assert "28 ground truths have no mask; the figures are over the other 1" in result.stderr
    assert result.stderr.count("missing: ") == 20


def test_a_split_list_makes_nothing_missing(world):
    write_mask(world / "ground_truth" / "a" / "2.png", TRUTH)
    (world / "val.txt").write_text("a/1\n")
    assert run("masks ground_truth --split-list val.txt").exit_code == 0


def test_masks_without_ground_truth_are_said(world):
    write_mask(world / "masks" / "b.png", GUESS)
    result = run("masks ground_truth --json")
    assert result.exit_code == 0
    assert "1 of 2 masks have no ground truth and are not counted" in result.stderr
    json.loads(result.stdout)


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("masks nowhere", 1, "ground truth nowhere: no such folder"),
        ("nowhere ground_truth", 1, "nowhere: no such folder"),
        ("masks ground_truth --background-score 0.4", 2, "add --cams, or leave it out"),
        ("masks ground_truth --cams --background-score 1.4", 2, "background score 1.4: it lies in [0, 1]"),
        ("ground_truth ground_truth", 2, "add --classes classes.txt"),
        ("masks", 2, "ground_truth"),
        ("masks ground_truth --workers 0", 2, "0 workers: 1 or more"),
        ("masks ground_truth --shard 1/2", 2, "--shard 1/2: the counts of all shards meet in the folder of the report"),
        ("masks ground_truth --shard 3/2 --out report", 2, "shards are numbered from 1, such as 1/2"),
        ("masks ground_truth --out report --overwrite", 2, "--overwrite is about counts of shards"),
        ("masks ground_truth --backend ray", 2, "--backend ray: the counts of all shards meet in the folder"),
        ("masks ground_truth --out report --backend ray --workers 2", 2, "--workers 2 is for --backend local"),
    ],
)
def test_errors_in_one_line_without_a_traceback(world, line, code, message):
    result = run(line)
    assert result.exit_code == code
    assert message.lower() in result.stderr.lower()
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_size_mismatch_writes_no_report(world):
    write_mask(world / "masks" / "a" / "1.png", np.zeros((4, 2), np.uint8))
    result = run("masks ground_truth --out report")
    assert result.exit_code == 1
    assert "4 x 2" in result.stderr
    assert "2 x 4" in result.stderr
    assert not (world / "report").exists()


# Shards


@pytest.fixture
def five(world):
    """Five images, and a ground truth without a mask."""
    for number in range(2, 7):
        write_mask(world / f"ground_truth/b/{number}.png", TRUTH)
        scores = np.full((1, 2, 4), number / 10, np.float32)
        write_cam(world / "masks/.semples/cams", Cam(f"b/{number}", np.array([1]), scores, (2, 4)), {})
        if number < 6:
            write_mask(world / f"masks/b/{number}.png", np.roll(GUESS, number, 1))
    return world


@pytest.mark.parametrize("options", ["", "--cams", "--cams --background-score 0.3"])
def test_shards_write_the_report_and_the_page_of_one_process(five, options):
    whole = run(f"masks ground_truth --out whole --json {options}")
    done = [run(f"masks ground_truth --out report --json --shard {i}/3 {options}") for i in (2, 1, 3)]
    assert [each.exit_code for each in done] == [0, 0, whole.exit_code]
    waiting = [json.loads(each.stdout) for each in done[:2]]
    assert [(each["complete"], each["shard"], each["missing_shards"]) for each in waiting] == [
        (False, "2/3", ["1/3", "3/3"]),
        (False, "1/3", ["3/3"]),
    ]
    assert json.loads(done[2].stdout) == {"complete": True, **json.loads(whole.stdout)}
    assert "and with them all 3 shards" in done[2].stderr
    files = {path.name: path.read_bytes() for path in (five / "whole").iterdir() if path.is_file()}
    assert {name: (five / "report" / name).read_bytes() for name in files} == files
    assert "report.html" in files


def test_a_shard_before_the_last_prints_no_table_and_says_who_is_missing(five):
    done = run("masks ground_truth --out report --shard 1/4")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "shard 1/4: 2 images counted; the report is written when these are too: 2/4, 3/4, 4/4" in done.stderr
    assert not (five / "report/report.json").exists()
    many = run("masks ground_truth --out report --shard 1/40")
    assert many.stderr.rstrip().endswith("20/40, 21/40, …")


def test_the_last_shard_prints_the_table_and_ends_as_one_process_does(five):
    run("masks ground_truth --out report --shard 1/2")
    done = run("masks ground_truth --out report --shard 2/2")
    whole = run("masks ground_truth")
    assert (done.exit_code, done.stdout) == (whole.exit_code, whole.stdout) == (3, whole.stdout)
    assert "missing: b/6: ground truth without a mask, not counted" in done.stderr


def test_shards_of_something_else_need_overwrite(five):
    run("masks ground_truth --out report --shard 1/2")
    line = "masks ground_truth --out report --shard 2/2 --cams --json"
    refused = run(line)
    assert refused.exit_code == 2
    assert "report/.semples/counts-1of2.npz counts other masks" in refused.stderr
    assert json.loads(run(f"{line} --overwrite").stdout)["missing_shards"] == ["1/2"]


def test_no_torch_is_imported_by_a_shard(world):
    code = (
        "import sys; from semples_cli.cli.app import app; "
        "app(['evaluate', 'masks', 'ground_truth', '--out', 'r', '--shard', '1/1'], standalone_mode=False); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=world)
    assert done.stdout.splitlines()[-1] == "False"


def test_no_torch_is_imported(world):
    code = (
        "import sys; from semples_cli.cli.app import app; "
        "app(['evaluate', 'masks', 'ground_truth'], standalone_mode=False); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=world)
    assert done.stdout.splitlines()[-1] == "False"


# Ray, by a stand-in; tests/cli/test_ray.py has a real one


@pytest.fixture
def ray(monkeypatch):
    fake = FakeRay({"CPU": 2.0})
    monkeypatch.setitem(sys.modules, "ray", fake)
    return fake


@pytest.mark.parametrize("options", ["", "--cams", "--cams --background-score 0.3"])
def test_ray_gives_the_report_and_the_page_of_one_process(five, ray, options):
    whole = run(f"masks ground_truth --out whole --json {options}")
    done = run(f"masks ground_truth --out report --json --backend ray --num-shards 9 --ray-cpus 2 {options}")
    assert (done.exit_code, done.stdout) == (whole.exit_code, whole.stdout)
    assert "9 shards on Ray: 2 CPUs" in done.stderr
    assert ray.asked["num_cpus"] == 2
    assert ray.asked["num_gpus"] == 0
    files = {path.name: path.read_bytes() for path in (five / "whole").iterdir() if path.is_file()}
    assert {name: (five / "report" / name).read_bytes() for name in files} == files
    assert "report.html" in files


def test_ray_counts_something_else_by_overwrite_alone(five, ray):
    line = "masks ground_truth --out report --backend ray --num-shards 2"
    run(line)
    refused = run(f"{line} --cams")
    assert refused.exit_code == 2
    assert "counts other masks" in refused.stderr
    assert run(f"{line} --cams --overwrite").exit_code == 0


def test_counts_that_vanish_under_ray_are_no_report(five, ray, monkeypatch):
    shutdown = ray.shutdown

    def lose():
        shutdown()
        (five / "report/.semples/counts-2of3.npz").unlink()

    monkeypatch.setattr(ray, "shutdown", lose)
    done = run("masks ground_truth --out report --backend ray --num-shards 3")
    assert done.exit_code == 1
    assert "counts of shards 2/3 are gone" in done.stderr
    assert not (five / "report/report.json").exists()
