import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from small_world import PHOTOS
from typer.testing import CliRunner

from semples_cli.artifacts.cam_store import find_cams, read_cam
from semples_cli.artifacts.manifest_entries import read_manifest
from semples_cli.artifacts.mask_png import find_masks, read_mask
from semples_cli.artifacts.run_folder import RunFolder, read_run_record
from semples_cli.cli.app import app
from semples_cli.cli.cams import parse_scales
from semples_cli.errors import SettingsError
from semples_cli.functional.masks import resize_scores, seed_mask

SMALL = ["--device", "cpu", "--precision", "fp32", "--size", "40", "--batch-size", "2"]


@pytest.fixture
def folder(photos, monkeypatch):
    """The tests stand in the folder that holds `images/`."""
    monkeypatch.chdir(photos.parent)
    return photos.parent


@pytest.fixture
def cams(folder, clip_dir):
    def run(*args, weights=clip_dir, small=SMALL):
        return CliRunner().invoke(app, ["cams", *map(str, args), "--weights", str(weights), *small])

    return run


def files_of(out):
    return {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.suffix in (".png", ".npz")}


def label_rows(folder, *rows):
    (folder / "images/labels.csv").write_text("\n".join(["image,labels", *rows]) + "\n")


def test_the_examples_of_the_help_run(cams, folder):
    shown = CliRunner().invoke(app, ["cams", "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    examples = re.findall(r"Example: semples cams (.*?)\s*$", shown.stdout, re.MULTILINE)
    assert examples[:2] == [
        "images/ --labels labels.csv --out masks/",
        "photo.jpg --label boat --out masks/ --overlay",
    ]  # test_cams_learned.py runs the others
    shutil.move(folder / "images/labels.csv", folder / "labels.csv")
    shutil.copy(folder / "images/b.jpg", folder / "photo.jpg")
    done = cams(*examples[0].split())
    assert done.exit_code == 0, done.stderr
    assert set(find_masks(folder / "masks")) == set(PHOTOS)
    shutil.rmtree(folder / "masks")
    done = cams(*examples[1].split())
    assert done.exit_code == 0, done.stderr
    assert set(find_masks(folder / "masks")) == {"photo"}
    assert (folder / "masks/overlays/photo.png").is_file()


def test_masks_have_the_tree_and_the_sizes_of_the_upright_images(cams, folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = folder / "images/a/deep/turned.JPG"
    path.parent.mkdir()
    Image.fromarray(np.zeros((24, 40, 3), np.uint8)).save(path, exif=exif)
    with (folder / "images/labels.csv").open("a") as labels:
        labels.write("a/deep/turned.JPG,cat\n")
    result = cams("images", "--out", "masks")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    sizes = {sample_id: read_mask(path).shape for sample_id, path in find_masks(folder / "masks").items()}
    assert sizes == {**{sample_id: size for sample_id, (size, _) in PHOTOS.items()}, "a/deep/turned": (40, 24)}
    with Image.open(folder / "masks/b.png") as mask:
        assert mask.mode == "P"
    assert not read_mask(folder / "masks/empty.png").any()


def test_what_was_recognised_and_what_happens_is_said_on_stderr(cams):
    result = cams("images", "--out", "masks")
    assert "images/labels.csv: read as list-column CSV: 3 classes, 5 images" in result.stderr
    assert "loading " in result.stderr
    assert re.search(r"5 masks written in \d+\.\d s", result.stderr)


def test_json_is_one_document_on_stdout(cams):
    result = cams("images", "--out", "masks", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document.pop("seconds") > 0
    nothing = {"resumed": 0, "skipped": [], "failed": [], "problems": [], "unmatched_rows": []}
    assert document == {"out": "masks", "classes": ["boat", "cat", "dog"], "written": 5, **nothing}


def test_a_second_run_writes_nothing(cams, folder):
    cams("images", "--out", "masks")
    before = files_of(folder / "masks")
    document = json.loads(cams("images", "--out", "masks", "--json").stdout)
    assert (document["written"], document["resumed"]) == (0, 5)
    assert files_of(folder / "masks") == before
    assert json.loads(cams("images", "--out", "masks", "--overwrite", "--json").stdout)["written"] == 5
    assert files_of(folder / "masks") == before


def test_a_changed_setting_redoes_everything_and_says_so(cams, folder):
    cams("images", "--out", "masks")
    result = cams("images", "--out", "masks", "--background-score", "0.7", "--json")
    assert json.loads(result.stdout)["written"] == 5
    assert "background_score 0.4 → 0.7" in result.stderr
    assert read_run_record(folder / "masks")["settings"]["background_score"] == 0.7


def test_options_reach_the_settings(cams, folder):
    (folder / "words.txt").write_text("sky\nwater\n")
    options = ["--scales", "1.0, 0.5", "--flips", "--background-words", "words.txt", "--background-score", "0.3"]
    options += ["--affinity-layers", "first:1", "--affinity-steps", "2", "--box-threshold", "0.5", "--mask-mode", "L"]
    options += ["--min-confidence", "0.5"]
    result = cams("images", "--out", "masks", *options)
    assert result.exit_code == 0, result.stderr
    record = read_run_record(folder / "masks")
    expected = {
        "size": 40,
        "scales": [1.0, 0.5],
        "flips": True,
        "template": "a clean origami {}.",
        "background_words": ["sky", "water"],
        "background_score": 0.3,
        "affinity_layers": "first:1",
        "affinity_steps": 2,
        "box_threshold": 0.5,
        "batch_size": 2,
        "min_confidence": 0.5,
    }
    assert record["settings"] == expected
    assert record["inputs"] == [str(folder / "images")]
    assert record["engine"]["device"] == "cpu"
    with Image.open(folder / "masks/b.png") as mask:
        assert mask.mode == "L"
    cam = read_cam(find_cams(folder / "masks")["b"], "b")
    seed = seed_mask(resize_scores(cam.scores, cam.image_size), cam.class_indices, 0.3)
    np.testing.assert_array_equal(read_mask(folder / "masks/b.png"), seed)


def test_background_words_that_are_classes_are_left_out_and_said(cams):
    result = cams("images/b.jpg", "--label", "boat,sky,river", "--out", "masks")
    assert result.exit_code == 0
    assert "background words that are classes here are left out: sky, river" in result.stderr


def test_without_background_words_a_run_works_too(cams, folder):
    assert cams("images", "--out", "masks", "--background-words", "none").exit_code == 0
    assert read_run_record(folder / "masks")["settings"]["background_words"] == []


def test_limit_takes_the_first_images(cams, folder):
    assert cams("images", "--out", "masks", "--limit", "2").exit_code == 0
    assert set(find_masks(folder / "masks")) == {"a/1", "a/2"}


def test_unlabelled_images_are_skipped_counted_and_said(cams, folder):
    label_rows(folder, "b.jpg,dog", "one.jpg,boat")
    result = cams("images", "--out", "masks", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["written"] == 2
    assert [entry["id"] for entry in document["skipped"]] == ["a/1", "a/2", "empty"]
    assert "3 skipped" in result.stderr
    assert read_manifest(RunFolder(folder / "masks").manifest)["empty"].status == "skipped"
    assert cams("images", "--out", "masks", "--strict").exit_code == 3


def test_strict_is_content_where_every_image_has_a_label(cams):
    assert cams("images", "--out", "masks", "--strict").exit_code == 0


def test_a_bad_image_is_listed_and_exits_3(cams, folder):
    (folder / "images/b.jpg").write_bytes(b"no image")
    result = cams("images", "--out", "masks", "--json")
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert document["written"] == 4
    assert [entry["id"] for entry in document["failed"]] == ["b"]
    assert "failed: b: " in result.stderr
    assert "Traceback" not in result.output


def test_a_bad_row_is_listed_and_exits_3_and_the_rest_is_done(cams, folder):
    (folder / "classes.txt").write_text("boat\ncat\ndog\n")
    label_rows(folder, "b.jpg,dgo", "one.jpg,boat", "empty.jpg,")
    result = cams("images", "--classes", "classes.txt", "--out", "masks", "--json")
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert document["written"] == 2
    assert len(document["problems"]) == 1
    said = re.sub(r"\s+", " ", result.stderr)
    assert "labels.csv:2" in said
    assert "did you mean 'dog'?" in said
    assert "1 problems in the labels" in said


def test_rows_without_an_image_are_said(cams, folder):
    with (folder / "images/labels.csv").open("a") as labels:
        labels.write("gone.jpg,cat\n")
    result = cams("images", "--out", "masks", "--json")
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)["unmatched_rows"]) == 1
    assert "gone.jpg" in result.stderr


def test_long_lists_are_cut_on_stderr_and_whole_in_json(cams, folder):
    with (folder / "images/labels.csv").open("a") as labels:
        labels.writelines(f"gone{number:02}.jpg,cat\n" for number in range(25))
    result = cams("images", "--out", "masks", "--json")
    assert len(json.loads(result.stdout)["unmatched_rows"]) == 25
    assert "and 5 more of this kind; --json lists all" in result.stderr
    assert "gone24" not in result.stderr


@pytest.mark.parametrize("as_json", [True, False])
def test_a_dry_run_estimates_and_writes_nothing(cams, folder, as_json):
    before = sorted(folder.rglob("*"))
    result = cams("images", "--out", "masks", "--dry-run", *(["--json"] if as_json else []))
    assert result.exit_code == 0, result.stderr
    assert sorted(folder.rglob("*")) == before
    if as_json:
        document = json.loads(result.stdout)
        assert document["num_images"] == 5
        assert document["hours"] == pytest.approx(document["seconds_per_image"] * 5 / 3600)
        assert document["gigabytes"] == pytest.approx(document["bytes_per_image"] * 5 / 1e9)
        assert document["hours"] > 0
    else:
        assert "Nothing is written" in result.stdout
        assert "gigabytes" in result.stdout


def test_a_voc_devkit_is_read_by_data_and_split(cams, folder):
    devkit = folder / "VOC2012"
    (devkit / "ImageSets/Main").mkdir(parents=True)
    (devkit / "ImageSets/Segmentation").mkdir()
    shutil.copytree(folder / "images", devkit / "JPEGImages", ignore=shutil.ignore_patterns("*.csv"))
    for name, present in (("boat", "one"), ("dog", "b")):
        lines = [f"{sample_id} {1 if sample_id == present else -1}" for sample_id in ("one", "b")]
        (devkit / f"ImageSets/Main/{name}_train.txt").write_text("\n".join(lines) + "\n")
    (devkit / "ImageSets/Segmentation/train.txt").write_text("one\nb\n")
    result = cams("--data", "VOC2012", "--split", "train", "--out", "masks")
    assert result.exit_code == 0, result.stderr
    assert set(find_masks(folder / "masks")) == {"b", "one"}
    assert read_run_record(folder / "masks")["inputs"] == [str((devkit / "JPEGImages").absolute())]


def test_crf_and_evaluate_take_the_folder(cams, folder):
    cams("images", "--out", "masks")
    refined = CliRunner().invoke(app, ["crf", "masks", "--out", "refined", "--workers", "1", "--json"])
    assert json.loads(refined.stdout)["written"] == 5
    scored = CliRunner().invoke(app, ["evaluate", "masks", "masks", "--json"])
    assert json.loads(scored.stdout)["miou"] == 1
    same = CliRunner().invoke(app, ["evaluate", "masks", "masks", "--cams", "--background-score", "0.4", "--json"])
    assert json.loads(same.stdout)["miou"] == 1


# Config file


def test_a_config_file_sets_options_and_the_command_line_wins(cams, folder):
    (folder / "run.toml").write_text(
        'images = ["images"]\nout = "masks"\nbackground-score = 0.3\naffinity_steps = 2\nscales = [1.0, 0.5]\n'
        'flips = true\nbackground_words = "none"\njson = true\n'
    )
    result = cams("--config", "run.toml", "--affinity-steps", "0")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["written"] == 5
    settings = read_run_record(folder / "masks")["settings"]
    chosen = {name: settings[name] for name in ("background_score", "affinity_steps", "scales", "flips")}
    assert chosen == {"background_score": 0.3, "affinity_steps": 0, "scales": [1.0, 0.5], "flips": True}
    assert settings["size"] == 40


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("backround-score = 0.3", "unknown key 'backround-score'; did you mean 'background_score'?"),
        ("zzz = 1", "unknown key 'zzz'; there are affinity_layers"),
        ('config = "other.toml"', "unknown key 'config'"),
        ("size = ", "not TOML"),
        ('size = "big"', "Invalid value for '--size'"),
        ("size = true", "size: True came, a text, a number or a list is needed"),
        ("flips = 1", "flips: 1 came, true or false is needed"),
        ("[size]\nsize = 3", "a text, a number or a list is needed"),
        ('mask_mode = "rgb"', "choose one of palette, L"),
        ("background_score = 2", "it lies in [0, 1]"),
    ],
)
def test_a_bad_config_file_is_a_usage_error(cams, folder, text, message):
    (folder / "run.toml").write_text(text + "\n")
    result = CliRunner().invoke(
        app, ["cams", "images", "--out", "masks", "--config", "run.toml"], env={"COLUMNS": "300"}
    )
    assert result.exit_code == 2
    assert message in re.sub(r"[\s│]+", " ", result.stderr)
    assert not (folder / "masks").exists()


def test_a_missing_config_file_is_a_usage_error(cams):
    result = cams("images", "--out", "masks", "--config", "gone.toml")
    assert result.exit_code == 2
    assert "No such file" in result.stderr


# Refusals


def too_many(folder):
    (folder / "classes.txt").write_text("".join(f"class{n}\n" for n in range(255)))


def colliding(folder):
    shutil.copy(folder / "images/b.jpg", folder / "images/b.JPEG")


def nothing(folder):
    del folder


@pytest.mark.parametrize(
    ("prepare", "args", "code", "message"),
    [
        (lambda folder: (folder / "images/labels.csv").unlink(), ["images", "--out", "m"], 2, "--label NAME"),
        (nothing, ["--out", "m"], 2, "--data"),
        (nothing, ["images"], 2, "--out"),
        (nothing, ["images", "--out", "images"], 2, "choose another folder"),
        (nothing, ["images/b.jpg", "--label", "cat", "--out", "images"], 2, "choose another folder"),
        (too_many, ["images", "--out", "m", "--classes", "classes.txt"], 1, "254"),
        (colliding, ["images", "--out", "m"], 1, "rename one"),
        (nothing, ["gone", "--label", "cat", "--out", "m"], 1, "no such file or folder"),
        (nothing, ["images", "--out", "m", "--scales", "1,big"], 2, "such as 1.0,1.2"),
        (nothing, ["images", "--out", "m", "--scales", "0"], 2, "(0, 4]"),
        (nothing, ["images", "--out", "m", "--limit", "0"], 2, "--limit"),
        (nothing, ["images", "--out", "m", "--mask-mode", "rgb"], 2, "choose one of palette, L"),
        (nothing, ["images", "--out", "m", "--precision", "int8"], 2, "choose one of auto, fp32"),
        (nothing, ["images", "--out", "m", "--background-words", "lvis"], 1, "choose"),
        (nothing, ["images", "--out", "m", "--affinity-layers", "9"], 2, "no layer 9"),
        (nothing, ["images", "--out", "m", "--labels-format", "xml"], 2, "list-csv"),
    ],
)
def test_refusals_are_one_line_with_the_right_code(cams, folder, prepare, args, code, message):
    prepare(folder)
    small = [word for word in SMALL if not (word == "fp32" or word == "--precision")]
    result = cams(*args, small=small)
    assert result.exit_code == code, result.output
    assert message in re.sub(r"[\s│]+", " ", result.stderr)
    assert "Traceback" not in result.output
    assert not (folder / "m").exists()
    assert not (folder / "images/b.png").exists()


def test_labels_that_name_no_image_are_an_error_with_the_cure(cams, folder):
    label_rows(folder, "x.jpg,cat")
    result = cams("images", "--out", "masks")
    assert result.exit_code == 1
    assert "5 images and 1 rows do not meet" in result.stderr
    assert "--label NAME" in result.stderr


def test_label_errors_come_before_the_model_is_loaded(cams, folder):
    (folder / "images/labels.csv").unlink()
    result = cams("images", "--out", "masks", weights="gone.safetensors")
    assert result.exit_code == 2
    assert "loading" not in result.stderr


def test_missing_weights_are_one_line(cams):
    result = cams("images", "--out", "masks", weights="gone.safetensors")
    assert result.exit_code == 1
    assert "gone.safetensors" in result.stderr
    assert "Traceback" not in result.output


def test_another_class_list_is_refused_with_the_cure(cams, folder):
    cams("images", "--out", "masks")
    (folder / "classes.txt").write_text("dog\ncat\nboat\n")
    result = cams("images", "--out", "masks", "--classes", "classes.txt")
    assert result.exit_code == 2
    assert "class 1 was 'boat', is 'dog'" in result.stderr
    assert "--overwrite" in result.stderr
    assert cams("images", "--out", "masks", "--classes", "classes.txt", "--overwrite").exit_code == 0


def test_an_interrupt_exits_130_and_the_same_command_goes_on(cams, folder, monkeypatch):
    from semples_cli.steps import make_cams as step

    def interrupted(*args):
        raise KeyboardInterrupt

    cams("images", "--out", "whole")
    monkeypatch.setattr(step, "_enter_others", interrupted)
    result = cams("images", "--out", "masks")
    assert result.exit_code == 130
    assert "run the same command again" in result.stderr
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert cams("images", "--out", "masks").exit_code == 0
    assert files_of(folder / "masks") == files_of(folder / "whole")


def test_an_activation_that_is_assumed_is_warned_about(cams, clip_dir, tmp_path, monkeypatch):
    from open_clip import factory

    config = json.loads((clip_dir / "open_clip_config.json").read_text())["model_cfg"]
    monkeypatch.setitem(factory._MODEL_CONFIGS, "ViT-small", config)
    weights = clip_dir / "open_clip_model.safetensors"
    result = cams("images", "--out", "masks", "--model", "ViT-small", weights=weights)
    assert result.exit_code == 0, result.stderr
    assert "give --quick-gelu (as for OpenAI's weights)" in result.stderr
    told = cams("images", "--out", "told", "--model", "ViT-small", "--no-quick-gelu", weights=weights)
    assert told.exit_code == 0
    assert "quick-gelu" not in told.stderr


def test_parse_scales():
    assert parse_scales("1.0,1.2") == (1.0, 1.2)
    assert parse_scales(" 0.5 ") == (0.5,)
    with pytest.raises(SettingsError, match=r"such as 1\.0,1\.2"):
        parse_scales("1.0,")
