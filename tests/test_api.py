import subprocess
import sys
from dataclasses import replace

import pytest
from small_world import CLASSES, PHOTOS

import semples_cli
from semples_cli.artifacts.mask_png import find_masks
from semples_cli.config import CRF_PRESETS, CamSettings
from semples_cli.data.dataset import load_dataset


def test_there_is_a_function_for_every_stage():
    stages = {"learn_prompts", "make_cams", "refine_cams", "apply_crf", "train_generator", "run_pipeline"}
    assert stages <= set(semples_cli.__all__)
    assert set(semples_cli.__all__) == set(semples_cli._HOMES)  # what is named can be had


@pytest.mark.parametrize("name", semples_cli.__all__)
def test_every_exported_name_is_there_and_documented(name):
    assert len(getattr(semples_cli, name).__doc__) > 50


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'make_coffee'"):
        _ = semples_cli.make_coffee


def test_importing_the_package_imports_neither_torch_nor_the_cli():
    code = "import sys, semples_cli; print([n for n in ('torch', 'typer', 'numpy', 'tqdm') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_steps_do_not_import_the_cli():
    names = ", ".join(semples_cli.__all__)
    code = (
        f"import sys; from semples_cli import {names}; print('typer' in sys.modules, 'semples_cli.cli' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


def test_the_pipeline_runs_from_python_with_progress_callbacks(photos, clip_engine, tmp_path):
    seen = []

    def progress(done, total):
        seen.append((done, total))

    dataset = load_dataset([photos])
    assert dataset.class_set.names == CLASSES
    settings = CamSettings(size=40, background_words=("sky",))
    made = semples_cli.make_cams(
        dataset.samples, dataset.class_set, clip_engine, tmp_path / "masks", settings, progress=progress
    )
    assert (made.written, made.failed) == (5, ())
    assert seen == [(n, 5) for n in range(1, 6)]

    seen.clear()
    preset = replace(CRF_PRESETS["clip-es"], iterations=2)
    refined = semples_cli.apply_crf(
        tmp_path / "masks", photos, tmp_path / "refined", preset, workers=1, progress=progress
    )
    assert (refined.written, seen[-1]) == (5, (5, 5))
    assert set(find_masks(tmp_path / "refined")) == set(PHOTOS)

    seen.clear()
    report = semples_cli.evaluate_masks(tmp_path / "masks", tmp_path / "masks", progress=progress)
    assert (report.miou, report.num_images, seen[-1]) == (1, 5, (5, 5))


def test_without_a_callback_a_bar_is_drawn_on_stderr(photos, clip_engine, tmp_path, capsys):
    dataset = load_dataset([photos])
    semples_cli.make_cams(dataset.samples, dataset.class_set, clip_engine, tmp_path / "masks", CamSettings(size=40))
    drawn = capsys.readouterr()
    assert drawn.out == ""
    assert "cams" in drawn.err
