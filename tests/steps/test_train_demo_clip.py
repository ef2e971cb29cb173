"""The recipe end to end on a handful of scenes, and what its batches say."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from semples_cli.config import EngineSettings, WorldSettings
from semples_cli.demo import recipe as recipes
from semples_cli.demo.captions import CONCEPTS, UNSEEN_CONCEPT
from semples_cli.demo.recipe import DemoClipRecipe
from semples_cli.demo.views import Views
from semples_cli.engine.build import build_engine
from semples_cli.engine.model_dir import CLIP_MEAN
from semples_cli.steps.train_demo_clip import caption_signs, normalised_pixels, train_demo_clip

SMALL = DemoClipRecipe(
    world=WorldSettings(seed=9, num_images=6), num_objects=3, num_backgrounds=3, batch_size=4, steps=2
)


def silent(done, total):
    pass


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    return folder, train_demo_clip(folder, SMALL, progress=silent)


def test_recipe_writes_a_model_that_the_engine_loads(trained):
    folder, losses = trained
    assert len(losses) == SMALL.steps
    assert np.isfinite(losses).all()
    engine = build_engine(EngineSettings(weights=str(folder), device="cpu", precision="fp32"))
    assert engine.patch_size == 4
    assert engine.record["licence"] == "Apache-2.0"
    assert engine.encode_texts(["a photo of a boat."]).shape == (1, 128)


def test_same_recipe_same_weights(trained, tmp_path):
    folder, _ = trained
    train_demo_clip(tmp_path, SMALL, progress=silent)
    name = "open_clip_model.safetensors"
    assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_another_seed_other_weights(trained, tmp_path):
    folder, _ = trained
    train_demo_clip(tmp_path, replace(SMALL, seed=1), progress=silent)
    name = "open_clip_model.safetensors"
    assert (tmp_path / name).read_bytes() != (folder / name).read_bytes()


def test_no_measured_world_is_trained_on():
    assert DemoClipRecipe().world.seed == 10_000
    assert WorldSettings().seed == 0


def make_views(present, absent):
    images = np.full((len(present), 4, 4, 3), 255, np.uint8)
    kept = np.ones((len(present), 4, 4), bool)
    kept[:, 0] = False
    return Views(images, kept, np.array(present), np.array(absent))


def test_a_caption_is_true_only_if_all_it_names_can_be_seen():
    seen, gone, open_ = (True, False), (False, True), (False, False)
    rows = [[seen, seen, gone], [seen, open_, gone], [gone, open_, seen]]
    pad = [(False, True)] * (len(CONCEPTS) - 3)
    views = make_views([[p for p, _ in r + pad] for r in rows], [[a for _, a in r + pad] for r in rows])
    signs = caption_signs(views, [(0,), (0, 1), (0, 2), (1,), (UNSEEN_CONCEPT,)])
    assert signs.tolist() == [[1, 1, -1, 1, -1], [1, 0, -1, 0, -1], [-1, -1, -1, 0, -1]]


def test_blanked_pixels_are_zero_and_the_others_normalised():
    views = make_views([[False] * 20], [[False] * 20])
    pixels = normalised_pixels(views)
    assert pixels.shape == (1, 3, 4, 4)
    assert torch.equal(pixels[:, :, 0], torch.zeros(1, 3, 4))
    assert pixels[0, 0, 1, 0].item() == pytest.approx((1 - CLIP_MEAN[0]) / 0.26862954)


def test_command_trains_by_the_recipe(tmp_path, monkeypatch):
    from semples_cli.cli.app import app

    monkeypatch.setattr(recipes, "DemoClipRecipe", lambda: SMALL)
    result = CliRunner().invoke(app, ["train-demo-clip", "--out", str(tmp_path / "clip"), "--steps", "1"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "clip" / "open_clip_model.safetensors").is_file()
    assert "1 steps" in result.stderr
