import json
import math
from dataclasses import replace

import numpy as np
import open_clip
import pytest
from PIL import Image
from safetensors.torch import save_file

from semples_cli.artifacts.contact_sheet import GAP, HEADING, colour_mask
from semples_cli.artifacts.mask_png import find_masks, read_mask
from semples_cli.config import (
    CamSettings,
    CrfSettings,
    EngineSettings,
    GeneratorSettings,
    PromptSettings,
    WorldSettings,
)
from semples_cli.demo.captions import known_words
from semples_cli.demo.names import OBJECTS
from semples_cli.engine.build import build_engine
from semples_cli.errors import SettingsError
from semples_cli.steps.demo_leakage import measure_leakage
from semples_cli.steps.demo_stages import DemoSettings
from semples_cli.steps.progress import silent
from semples_cli.steps.run_demo import DemoStage, result_as_dict, run_demo
from semples_cli.types import RunSummary, Sample

WORLD = WorldSettings(seed=1, num_images=7, size=32)
CAMS = CamSettings(size=32, affinity_layers="first:1", background_words=("sky", "sea"))
GENERATOR_CAMS = CamSettings(size=32, affinity_layers="none")
SETTINGS = DemoSettings(
    CAMS,
    GeneratorSettings(epochs=1, batch_size=4),
    GENERATOR_CAMS,
    PromptSettings(prompt_length=2, epochs=1, views=1),
    CrfSettings(bilateral_sxy=8.0),
)
NAMES = ["seeds", "generator", "matched", "seeds+prompts", "refined", "crf"]
RANDOM_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    import torch

    folder = tmp_path_factory.mktemp("random-clip")
    torch.manual_seed(0)
    model = open_clip.CLIP(**RANDOM_CLIP)
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": RANDOM_CLIP, "preprocess_cfg": {}}))
    return build_engine(EngineSettings(weights=str(folder), device="cpu", precision="fp32"))


@pytest.fixture(scope="module")
def demo(engine, tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    return out, run_demo(out, WORLD, engine, SETTINGS, workers=1, begin=lambda stage: silent)


def test_the_stages_run_in_order_and_write_a_mask_and_an_overlay_for_each_image(demo):
    out, result = demo
    ids = [f"1_0_{index:06d}" for index in range(7)]
    assert [stage.name for stage in result.stages] == NAMES
    for stage in result.stages:
        assert list(find_masks(out / stage.name)) == ids
        assert sorted(path.stem for path in (out / stage.name / "overlays").iterdir()) == ids
        assert (stage.summary.written, stage.summary.resumed, stage.summary.failed) == (7, 0, ())


def plain_miou(masks, ground_truth):
    """Over the dataset, written apart from `functional.metrics`."""
    counts = np.zeros((256, 256))
    for path in ground_truth.iterdir():
        np.add.at(counts, (np.asarray(Image.open(path)), np.asarray(Image.open(masks / path.name))), 1)
    true = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - true
    return (true[union > 0] / union[union > 0]).mean()


def test_miou_is_that_of_the_masks_as_written(demo):
    out, result = demo
    for stage in result.stages:
        expected = plain_miou(out / stage.name, out / "world" / "SegmentationClass")
        assert stage.miou == pytest.approx(expected, abs=1e-12)
        written = json.loads((out / "reports" / stage.name / "report.json").read_text())
        assert written["miou"] == stage.miou
        assert written["num_images"] == 7


def test_the_best_is_never_worse_and_only_cams_have_one(demo):
    *from_cams, crf = demo[1].stages
    for stage in from_cams:
        assert stage.miou <= stage.miou_best <= 1
        assert 0 <= stage.best_background_score <= 1
    assert crf.miou_best is crf.best_background_score is None


def test_leakage_is_measured_on_the_masks_of_each_stage(demo):
    out, result = demo
    samples = []
    for path in sorted((out / "world" / "SegmentationClass").iterdir()):
        present = tuple(int(k) for k in np.unique(read_mask(path)) if k)
        samples.append(Sample(path.stem, path, present))
    for stage in result.stages:
        assert stage.leakage == measure_leakage(out / stage.name, out / "world", samples, 0)
        assert 0 <= stage.leakage <= 1


def test_class_numbers_are_those_of_the_world(demo):
    record = json.loads((demo[0] / "seeds" / ".semples" / "run.json").read_text())
    assert tuple(record["classes"]["names"]) == OBJECTS


def test_the_prompts_are_described_by_words_that_the_built_in_model_knows(demo):
    _, result = demo
    assert [prompt.class_name for prompt in result.prompts] == list(OBJECTS)
    words = set(known_words())
    assert all(len(prompt.nouns) == 3 and {noun for noun, _ in prompt.nouns} <= words for prompt in result.prompts)


def test_the_report_on_disk_is_the_result(demo):
    out, result = demo
    assert result.report == out / "report.json"
    document = json.loads(result.report.read_text())
    assert document == result_as_dict(result.world, result.stages, result.prompts)
    assert document["world"]["num_images"] == 7
    assert "not of VOC" in document["note"]


def test_the_page_shows_every_stage_and_what_the_prompts_learned(demo):
    out, result = demo
    assert result.page == out / "report.html"
    page = result.page.read_text()
    assert all(f"<bdi>{name}</bdi>" in page for name in NAMES)
    assert all(noun in page for prompt in result.prompts for noun, _ in prompt.nouns)
    assert page.count('"id":"1_0_') == 7


def test_the_overview_shows_image_ground_truth_and_masks_of_the_first_images(demo):
    out, result = demo
    sheet = np.asarray(Image.open(result.overview))
    assert sheet.shape == (HEADING + GAP + 6 * (3 * 32 + GAP), GAP + (2 + len(NAMES)) * (3 * 32 + GAP), 3)
    name, top = "1_0_000002.png", HEADING + GAP + 2 * (3 * 32 + GAP)
    expected = [
        np.asarray(Image.open(out / "world" / "JPEGImages" / name)),
        *(colour_mask(read_mask(out / folder / name)) for folder in ("world/SegmentationClass", *NAMES)),
    ]
    for column, picture in enumerate(expected):
        left = GAP + column * (3 * 32 + GAP)
        assert np.array_equal(sheet[top : top + 96 : 3, left : left + 96 : 3], picture)


def test_stages_are_announced_and_counted_and_nothing_is_printed(engine, tmp_path, capfd):
    calls = []

    def begin(stage):
        return lambda done, total: calls.append((stage, done, total))

    run_demo(tmp_path, replace(WORLD, num_images=2), engine, SETTINGS, workers=1, begin=begin)
    assert list(dict.fromkeys(stage for stage, _, _ in calls)) == [
        "world",
        "seeds",
        "training, initial",
        "generator",
        "training, matched",
        "matched",
        "background regions",
        "prompts",
        "seeds+prompts",
        "refining",
        "refined",
        "crf",
    ]
    ended = {stage for stage, done, total in calls if done == total}
    assert ended == {stage for stage, _, _ in calls}
    assert capfd.readouterr() == ("", "")


def files(folder):
    found = (path for path in folder.rglob("*.png"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_a_second_run_keeps_everything_and_finds_the_same(demo, engine):
    out, first = demo
    before = files(out), first.report.read_bytes()
    again = run_demo(out, WORLD, engine, SETTINGS, workers=1, begin=lambda stage: silent)
    assert [(stage.summary.written, stage.summary.resumed) for stage in again.stages] == [(0, 7)] * len(NAMES)
    assert (files(out), again.report.read_bytes()) == before


def test_another_folder_gets_the_same_bytes(demo, engine, tmp_path):
    out, first = demo
    again = run_demo(tmp_path, WORLD, engine, SETTINGS, workers=1, begin=lambda stage: silent)
    assert files(tmp_path) == files(out)
    assert again.report.read_bytes() == first.report.read_bytes()


def test_another_world_is_refused_unless_overwritten(engine, tmp_path):
    small = replace(WORLD, num_images=3)
    run_demo(tmp_path, small, engine, SETTINGS, workers=1, begin=lambda stage: silent)
    other = replace(small, bias=0.2, num_images=2)
    with pytest.raises(SettingsError, match=r"another world .*--overwrite"):
        run_demo(tmp_path, other, engine, SETTINGS, workers=1, begin=lambda stage: silent)
    result = run_demo(tmp_path, other, engine, SETTINGS, workers=1, overwrite=True, begin=lambda stage: silent)
    assert [(stage.summary.written, stage.summary.failed) for stage in result.stages] == [(2, ())] * len(NAMES)
    fresh = run_demo(tmp_path / "fresh", other, engine, SETTINGS, workers=1, begin=lambda stage: silent)
    assert files(tmp_path / "crf") == files(tmp_path / "fresh" / "crf")
    assert result_as_dict(other, result.stages, result.prompts) == result_as_dict(other, fresh.stages, fresh.prompts)


def test_overwrite_leaves_folders_alone_that_are_no_run_of_ours(engine, tmp_path):
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "poppy.txt").write_text("precious")
    small = replace(WORLD, num_images=1)
    run_demo(tmp_path, small, engine, SETTINGS, workers=1, overwrite=True, begin=lambda stage: silent)
    assert (tmp_path / "seeds" / "poppy.txt").read_text() == "precious"


def test_undefined_shares_are_null_in_json():
    stage = DemoStage("seeds", 0.5, None, None, math.nan, RunSummary(1, 0, (), (), 0.1))
    assert result_as_dict(WORLD, (stage,), ())["stages"] == [
        {"name": "seeds", "miou": 0.5, "miou_best": None, "best_background_score": None, "leakage": None}
    ]
