import hashlib
import json

import pytest
import torch
from safetensors import safe_open
from tiny_clip import make_archive

from semples_cli.config import EngineSettings
from semples_cli.engine import convert
from semples_cli.engine.build import build_engine, published_archives
from semples_cli.engine.convert import convert_archive
from semples_cli.errors import EngineError, SettingsError


@pytest.fixture
def archive(tmp_path):
    return make_archive(tmp_path / "tiny.pt")


def test_an_archive_becomes_a_directory_that_loads(tmp_path, archive, tiny_architecture, tiny_model):
    written = convert_archive(archive, tiny_architecture, tmp_path / "dir", trust=True)
    assert (written.model, written.licence) == ("ViT-tiny", "unknown: check the source")
    engine = build_engine(EngineSettings(weights=str(tmp_path / "dir"), device="cpu", precision="fp32"))
    assert engine.record["quick_gelu"] is True
    assert engine.record["quick_gelu_from"] == "directory"
    assert engine.record["model"] == "ViT-tiny"
    loaded = engine.model.state_dict()
    assert all(torch.equal(loaded[name], tensor.half().float()) for name, tensor in tiny_model.state_dict().items())


def test_what_is_written_is_float32_without_the_three_extra_keys(tmp_path, archive, tiny_architecture):
    convert_archive(archive, tiny_architecture, tmp_path / "dir", trust=True)
    with safe_open(tmp_path / "dir" / "open_clip_model.safetensors", "pt") as file:
        assert not {"input_resolution", "context_length", "vocab_size"} & set(file.keys())
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float32}  # noqa: SIM118
    config = json.loads((tmp_path / "dir" / "open_clip_config.json").read_text())
    assert config["model_cfg"]["quick_gelu"] is True


def test_the_licence_of_a_published_archive_is_known(tmp_path, archive, tiny_architecture, monkeypatch):
    sha = hashlib.sha256(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(convert, "published_archives", lambda: {sha: "ViT-tiny"})
    assert convert_archive(archive, tiny_architecture, tmp_path / "dir", trust=True).licence == "MIT"


def test_the_published_archives_are_openai_s():
    archives = published_archives()
    assert archives["5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"] == "ViT-B-16"
    assert sorted(archives.values()) == ["ViT-B-16", "ViT-B-32", "ViT-L-14", "ViT-L-14-336"]


def test_without_trust_nothing_is_opened(tmp_path, archive, tiny_architecture, monkeypatch):
    monkeypatch.setattr(torch.jit, "load", lambda *a, **k: pytest.fail("opened"))
    with pytest.raises(SettingsError, match="runs the code inside it; add --trust"):
        convert_archive(archive, tiny_architecture, tmp_path / "dir", trust=False)


def test_the_weights_of_another_architecture_are_refused_and_nothing_is_written(tmp_path, archive):
    with pytest.raises(EngineError, match="weights of another model"):
        convert_archive(archive, "ViT-B-32", tmp_path / "dir", trust=True)
    assert not (tmp_path / "dir").exists()


@pytest.mark.parametrize("content", [None, b"garbage"])
def test_what_is_no_archive_is_refused_with_the_cure(tmp_path, content):
    path = tmp_path / "w.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EngineError, match=r"no TorchScript archive; .* give them to `--weights`"):
        convert_archive(path, "ViT-B-16", tmp_path / "dir", trust=True)


def test_a_damaged_archive_is_refused(tmp_path, archive, tiny_architecture, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("PytorchStreamReader failed\nmore")

    monkeypatch.setattr(torch.jit, "load", fail)
    with pytest.raises(EngineError, match=r"cannot open the archive \(PytorchStreamReader failed\); bring"):
        convert_archive(archive, tiny_architecture, tmp_path / "dir", trust=True)
