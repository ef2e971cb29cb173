"""Where a CLIP came from, as a later command is told."""

from pathlib import Path

import pytest

from semples_cli.steps.engine_source import engine_source


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ("openai", "openai"),
        ("laion2b_s34b_b88k (huggingface.co/laion/CLIP)", "laion2b_s34b_b88k"),
        ("gone/clip.pt", "gone/clip.pt"),
    ],
)
def test_a_tag_is_said_without_its_page(weights, said):
    assert engine_source({"model": "ViT-B-16", "weights": weights}) == {"model": "ViT-B-16", "weights": said}


def test_a_path_is_said_so_that_it_is_found_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "clip.pt").touch()
    monkeypatch.chdir(tmp_path)
    assert engine_source({"model": "m", "weights": "clip.pt"})["weights"] == str(Path.cwd() / "clip.pt")


def test_the_source_of_a_built_engine_builds_it_again(clip_engine, clip_dir):
    assert engine_source(clip_engine.record) == {"model": "small", "weights": str(clip_dir)}
