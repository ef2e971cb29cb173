import json

import pytest
import torch

from semples_cli.engine.model_dir import CLIP_MEAN, CLIP_STD, UNKNOWN_LICENCE, ModelDir, read_model_dir, write_model_dir
from semples_cli.engine.weights import read_state_dict
from semples_cli.errors import EngineError

CONFIG = {"embed_dim": 2, "vision_cfg": {}, "text_cfg": {}}


def test_what_is_written_comes_back(tmp_path):
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(3)}
    contents = ModelDir(tmp_path / "new" / "dir", CONFIG, {"mean": [0, 0, 0]}, "name", "Apache-2.0")
    write_model_dir(contents, tensors)
    read = read_model_dir(contents.folder)
    assert (read.model_config, read.model, read.licence) == (CONFIG, "name", "Apache-2.0")
    assert read.preprocess == {"mean": [0, 0, 0], "std": list(CLIP_STD)}
    stored = read_state_dict(read.weights_path)
    assert stored.keys() == tensors.keys()
    assert all(torch.equal(stored[name], tensors[name]) for name in tensors)
    assert sorted(p.name for p in contents.folder.iterdir()) == ["open_clip_config.json", "open_clip_model.safetensors"]


def test_a_directory_of_open_clip_itself_has_defaults(tmp_path):
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG}))
    read = read_model_dir(tmp_path)
    assert (read.model, read.licence) == (tmp_path.name, UNKNOWN_LICENCE)
    assert read.preprocess == {"mean": CLIP_MEAN, "std": CLIP_STD}


def test_other_names_of_the_weights_are_found_safetensors_first(tmp_path):
    contents = ModelDir(tmp_path, CONFIG)
    for name in ("open_clip_pytorch_model.bin", "open_clip_pytorch_model.safetensors", "open_clip_model.safetensors"):
        (tmp_path / name).touch()
        assert contents.weights_path.name == name


def test_a_directory_without_weights_is_refused(tmp_path):
    with pytest.raises(EngineError, match=r"no open_clip_model\.safetensors.*bring it"):
        _ = ModelDir(tmp_path, CONFIG).weights_path


def test_a_directory_without_config_is_refused(tmp_path):
    with pytest.raises(EngineError, match=r"no open_clip_config\.json.*give a weights file"):
        read_model_dir(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "no open_clip config"),
        ('{"model_cfg": {"embed_dim": 2}}', "'model_cfg' with embed_dim, vision_cfg and text_cfg is needed"),
    ],
)
def test_a_damaged_config_is_refused(tmp_path, text, message):
    (tmp_path / "open_clip_config.json").write_text(text)
    with pytest.raises(EngineError, match=message):
        read_model_dir(tmp_path)
