import pickle
import urllib.error

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError
from safetensors.torch import save_file
from tiny_clip import save_archive

from semples_cli.engine import weights
from semples_cli.engine.weights import (
    check_fit,
    find_cached,
    hash_file,
    hub_files,
    is_torchscript,
    licence_of_tag,
    not_cached_message,
    pull_weights,
    read_state_dict,
)
from semples_cli.errors import EngineError

TAG = {"hf_hub": "org/repo/", "quick_gelu": True}
STATE = {"a.weight": torch.arange(4.0), "b": torch.tensor(1)}


class Scripted(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


class Hostile:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was executed",))


@pytest.fixture
def archive(tmp_path):
    return save_archive(Scripted(), torch.ones(2), tmp_path / "archive.pt")


@pytest.mark.parametrize(
    ("tag", "licence"),
    [
        ("openai", "MIT"),
        ("laion2b_s34b_b88k", "MIT"),
        ("laion400m-e32", "MIT"),
        ("datacomp_xl_s13b_b90k", "MIT"),
        ("metaclip_fullcc", "CC-BY-NC"),
        ("dfn2b", "Apple"),
        ("something_new", "unknown: check the source"),
    ],
)
def test_licences(tag, licence):
    assert licence in licence_of_tag(tag)


def test_every_tag_of_a_supported_model_is_on_the_hub_and_its_licence_is_known():
    from open_clip import get_pretrained_cfg

    from semples_cli.engine.build import model_names, model_tags

    pairs = [(name, tag) for name in model_names() for tag in model_tags(name)]
    assert len(pairs) > 60
    assert all(get_pretrained_cfg(name, tag)["hf_hub"].count("/") >= 2 for name, tag in pairs)
    assert not [tag for _, tag in pairs if licence_of_tag(tag).startswith("unknown")]


def test_hub_files_prefer_safetensors():
    assert hub_files(TAG) == ("org/repo", ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"))
    assert hub_files({"hf_hub": "org/repo/w.bin"}) == ("org/repo", ("w.safetensors", "w.bin"))
    assert hub_files({"hf_hub": "org/repo/w.safetensors"}) == ("org/repo", ("w.safetensors",))


def test_the_cache_is_looked_at_without_a_network(hub_cache, no_network):
    assert find_cached(TAG) is None
    path = hub_cache("org/repo", "open_clip_pytorch_model.bin", lambda path: path.touch())
    assert find_cached(TAG) == path
    (path.parent / "open_clip_model.safetensors").touch()
    assert find_cached(TAG) == path.parent / "open_clip_model.safetensors"


def test_the_message_names_the_file_and_both_cures(hub_cache):
    message = not_cached_message("ViT-B-16", "openai", TAG)
    assert "\n" not in message
    assert "semples models pull --model ViT-B-16 --weights openai" in message
    assert "https://huggingface.co/org/repo/resolve/main/open_clip_model.safetensors" in message
    assert "--weights PATH --quick-gelu" in message
    assert str(hub_cache.root) in message
    assert "--quick-gelu" not in not_cached_message("ViT-B-16", "x", {"hf_hub": "org/repo/"})


def test_pull_keeps_what_is_cached(hub_cache, no_network):
    path = hub_cache("org/repo", "open_clip_model.safetensors", lambda path: path.touch())
    assert pull_weights("ViT-B-16", "openai", TAG) == path


def test_pull_tries_the_other_name_where_the_first_does_not_exist(hub_cache, monkeypatch):
    def download(repo, name):
        if name.endswith(".safetensors"):
            raise EntryNotFoundError("404")
        return f"/cache/{repo}/{name}"

    monkeypatch.setattr(weights, "_cannot_reach", lambda endpoint: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert str(pull_weights("M", "t", TAG)) == "/cache/org/repo/open_clip_pytorch_model.bin"


def test_pull_without_a_network_says_so_before_any_retry(hub_cache, monkeypatch):
    def unreachable(url, timeout):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a: pytest.fail("retried"))
    with pytest.raises(
        EngineError, match=r"huggingface\.co cannot be reached \(.*not known.*bring https://.*--weights"
    ):
        pull_weights("ViT-B-16", "openai", TAG)


def test_pull_takes_a_refusal_of_the_front_page_for_an_answer(hub_cache, monkeypatch):
    def refuse(url, timeout):
        raise urllib.error.HTTPError(url, 403, "Forbidden", {}, None)

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repo, name: "/cache/w")
    assert str(pull_weights("M", "t", TAG)) == "/cache/w"


def test_pull_names_the_cause_of_a_failed_download_and_tries_nothing_else(hub_cache, monkeypatch):
    tried = []

    def fail(repo, name):
        tried.append(name)
        raise OSError("disk full")

    monkeypatch.setattr(weights, "_cannot_reach", lambda endpoint: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(EngineError, match=r"not downloaded: open_clip_model\.safetensors: OSError: disk full"):
        pull_weights("ViT-B-16", "openai", TAG)
    assert tried == ["open_clip_model.safetensors"]


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.bin", "W.SAFETENSORS"])
def test_state_dicts_are_read(tmp_path, name):
    path = tmp_path / name
    save_file(STATE, path) if "SAFE" in name else torch.save(STATE, path)
    read = read_state_dict(path)
    assert read.keys() == STATE.keys()
    assert all(torch.equal(read[key], STATE[key]) for key in STATE)


def test_training_checkpoints_are_unwrapped(tmp_path):
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": t for name, t in STATE.items()}}, tmp_path / "w.pt")
    assert read_state_dict(tmp_path / "w.pt").keys() == STATE.keys()


def test_a_hostile_pickle_is_refused_and_not_executed(tmp_path):
    torch.save({"a": Hostile()}, tmp_path / "new.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps({"a": Hostile()}))
    for name in ("new.pt", "old.pt"):
        with pytest.raises(EngineError, match=f"{name}: cannot be read as weights"):
            read_state_dict(tmp_path / name)


def test_a_torchscript_archive_is_refused_with_the_command_that_converts_it(archive):
    assert is_torchscript(archive)
    with pytest.raises(EngineError, match=r"TorchScript.*semples models convert .*archive\.pt --out DIR --trust"):
        read_state_dict(archive)


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors", "w.bin"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x02garbage", b"PK\x03\x04garbage"])
def test_garbage_is_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EngineError, match="cannot be read as weights") as caught:
        read_state_dict(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(STATE, path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(EngineError, match="cannot be read as weights"):
        read_state_dict(path)


@pytest.mark.parametrize("content", [[torch.ones(1)], {"a": 3}, {}, torch.ones(2)])
def test_a_file_without_a_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(EngineError, match=r"holds no state dict.*save `model\.state_dict\(\)`"):
        read_state_dict(tmp_path / "w.pt")


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(EngineError, match=r"weights files end in \.safetensors, \.pt"):
        read_state_dict(tmp_path / "w.npz")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"weight": torch.ones(2, 3)}, r"\(1 differences, such as: bias is missing\)"),
        ({"weight": torch.ones(3, 2), "bias": torch.ones(2)}, r"weight is \(3, 2\) instead of \(2, 3\)"),
        ({"weight": torch.ones(2, 3), "bias": torch.ones(2), "x": torch.ones(1)}, "x is unknown"),
        ({}, "2 differences"),
    ],
)
def test_weights_of_another_model_are_refused_with_the_first_difference(state, message):
    with pytest.raises(EngineError, match=f"file: weights of another model.*{message}.*check --model"):
        check_fit(state, torch.nn.Linear(3, 2), "file")


def test_fitting_weights_pass():
    check_fit({"weight": torch.ones(2, 3), "bias": torch.ones(2)}, torch.nn.Linear(3, 2, device="meta"), "file")


def test_hash_by_hand(tmp_path):
    (tmp_path / "w").write_bytes(b"abc")
    assert hash_file(tmp_path / "w") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
