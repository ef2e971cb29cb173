"""The small random CLIP of `tiny_clip`, built once, and stand-ins for open_clip's registry and the hub's cache."""

from copy import deepcopy

import pytest
import torch
from tiny_clip import TINY_CONFIG, make_tiny_model, write_tiny_dir

from semples_cli.config import EngineSettings
from semples_cli.engine.build import build_engine


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_model():
    return make_tiny_model()


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory, tiny_model):
    return write_tiny_dir(tmp_path_factory.mktemp("models") / "tiny", tiny_model)


@pytest.fixture(scope="session")
def tiny_engine(tiny_dir):
    return build_engine(EngineSettings(weights=str(tiny_dir), device="cpu", precision="fp32"))


@pytest.fixture
def tiny_architecture(monkeypatch):
    """The tiny config as a built-in architecture 'ViT-tiny' with the tags 'gelu' and 'quick'."""
    from open_clip import factory, pretrained

    tags = {
        "gelu": pretrained._pcfg(hf_hub="org/tiny-gelu/", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)),
        "quick": pretrained._pcfg(hf_hub="org/tiny-quick/weights.bin", quick_gelu=True),
    }
    monkeypatch.setitem(factory._MODEL_CONFIGS, "ViT-tiny", deepcopy(TINY_CONFIG))
    monkeypatch.setitem(pretrained._PRETRAINED, "ViT-tiny", tags)
    return "ViT-tiny"


@pytest.fixture
def hub_cache(monkeypatch, tmp_path):
    """An empty Hugging Face cache, and a function that puts a file into it as the hub's client does."""
    root = tmp_path / "hub"
    root.mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(root))

    def put(repo, name, write):
        folder = root / f"models--{repo.replace('/', '--')}"
        snapshot = folder / "snapshots" / "abc"
        snapshot.mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("abc")
        write(snapshot / name)
        return snapshot / name

    put.root = root
    return put


@pytest.fixture
def no_network(monkeypatch):
    """Fail the test if anything opens a connection."""

    def refuse(*args, **kwargs):
        pytest.fail("a connection was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
