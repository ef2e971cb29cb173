import json

import pytest
from small_world import PHOTOS
from typer.testing import CliRunner

from semples_cli.artifacts.mask_png import find_masks
from semples_cli.cli.app import app
from semples_cli.cli.shards import read_shard
from semples_cli.errors import SettingsError
from semples_cli.types import Shard


@pytest.mark.parametrize(("text", "shard"), [(None, None), ("1/1", Shard(1, 1)), ("07/64", Shard(7, 64))])
def test_the_shard_of_a_text(text, shard):
    assert read_shard(text) == shard


@pytest.mark.parametrize("text", ["", "1", "1/", "/2", "1of2", "-1/2", "1/2/3", "a/b", " 1/2", "1/2\n", "²/3"])
def test_other_texts_are_refused(text):
    with pytest.raises(SettingsError, match="give which part of how many, such as 1/64"):
        read_shard(text)


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0"])
def test_shards_are_numbered_from_one(text):
    with pytest.raises(SettingsError, match=f"shard {text}: shards are numbered from 1"):
        read_shard(text)


def test_cams_by_shards(photos, clip_dir, monkeypatch):
    monkeypatch.chdir(photos.parent)
    command = [
        "cams",
        "images",
        "--out",
        "masks",
        "--weights",
        str(clip_dir),
        "--device",
        "cpu",
        "--size",
        "40",
        "--json",
    ]
    done = [CliRunner().invoke(app, [*command, "--shard", f"{i}/2", "--batch-size", "1"]) for i in (1, 2)]
    assert [each.exit_code for each in done] == [0, 0]
    assert sum(json.loads(each.stdout)["written"] for each in done) == len(PHOTOS)
    assert set(find_masks(photos.parent / "masks")) == set(PHOTOS)
    refused = CliRunner().invoke(app, [*command, "--shard", "3/2"])
    assert refused.exit_code == 2
    assert "shard 3/2: shards are numbered from 1, such as 1/2" in refused.stderr
