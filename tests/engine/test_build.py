import json
import logging
from importlib.metadata import version

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tiny_clip import TINY_CONFIG, make_tiny_model, write_tiny_dir

from semples_cli.config import EngineSettings
from semples_cli.engine.build import build_engine, locate_model, pull_model
from semples_cli.engine.weights import hash_file
from semples_cli.errors import EngineError

TEXTS = ["a photo of a boat.", "sea"]


def settings(**fields):
    return EngineSettings(**{"device": "cpu", "precision": "fp32", **fields})


@pytest.fixture
def weights_file(tmp_path, tiny_model):
    save_file(tiny_model.state_dict(), tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)


@pytest.mark.parametrize("quick_gelu", [False, True])
def test_features_equal_those_of_open_clip_itself(tmp_path, tiny_model, image, quick_gelu):
    folder = write_tiny_dir(tmp_path / "dir", tiny_model, quick_gelu=quick_gelu)
    theirs, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    theirs.eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    engine = build_engine(settings(weights=str(folder)))
    with torch.no_grad():
        texts = theirs.encode_text(tokens, normalize=True)
        images = theirs.encode_image(transform(Image.fromarray(image))[None], normalize=True)
    torch.testing.assert_close(engine.encode_texts(TEXTS), texts, rtol=0, atol=2e-6)
    torch.testing.assert_close(engine.encode_images([image]), images, rtol=0, atol=2e-6)


def test_the_model_is_frozen_in_evaluation_mode_and_whole(tiny_engine):
    assert not any(module.training for module in tiny_engine.model.modules())
    assert not any(parameter.requires_grad for parameter in tiny_engine.model.parameters())
    tensors = [*tiny_engine.model.parameters(), *tiny_engine.model.buffers()]
    assert {(t.device.type, t.dtype) for t in tensors} == {("cpu", torch.float32)}
    assert torch.equal(tiny_engine.model.attn_mask, make_tiny_model().attn_mask)


def test_the_record_of_a_directory(tiny_engine, tiny_dir):
    assert tiny_engine.record == {
        "model": "tiny",
        "weights": str(tiny_dir),
        "weights_sha256": hash_file(tiny_dir / "open_clip_model.safetensors"),
        "licence": "unknown: check the source",
        "quick_gelu": False,
        "quick_gelu_from": "directory",
        "device": "cpu",
        "precision": "fp32",
        "open_clip": version("open_clip_torch"),
        "torch": torch.__version__,
    }


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".bin"])
def test_a_plain_file_of_a_named_architecture(tmp_path, tiny_architecture, tiny_model, tiny_engine, suffix):
    path = tmp_path / f"w{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(tiny_model.state_dict(), path)
    engine = build_engine(settings(model=tiny_architecture, weights=str(path)))
    assert torch.equal(engine.encode_texts(TEXTS), tiny_engine.encode_texts(TEXTS))
    assert engine.record["model"] == "ViT-tiny"
    assert engine.record["quick_gelu_from"] == "assumed"
    assert engine.preprocess.mean == open_clip.OPENAI_DATASET_MEAN


def test_half_precision_weights_become_float32(tmp_path, tiny_architecture, tiny_model):
    path = tmp_path / "half.safetensors"
    save_file({name: tensor.half() for name, tensor in tiny_model.state_dict().items()}, path)
    engine = build_engine(settings(model=tiny_architecture, weights=str(path)))
    assert {p.dtype for p in engine.model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("weights", "option", "quick_gelu", "origin"),
    [
        ("gelu", None, False, "tag"),
        ("quick", None, True, "tag"),
        ("quick", False, False, "option"),
        ("file", None, False, "assumed"),
        ("file", True, True, "option"),
    ],
)
def test_quick_gelu_is_settled(
    tiny_architecture, hub_cache, tiny_model, weights_file, weights, option, quick_gelu, origin
):
    hub_cache("org/tiny-gelu", "open_clip_model.safetensors", lambda path: save_file(tiny_model.state_dict(), path))
    hub_cache("org/tiny-quick", "weights.bin", lambda path: torch.save(tiny_model.state_dict(), path))
    weights = str(weights_file) if weights == "file" else weights
    engine = build_engine(settings(model=tiny_architecture, weights=weights, quick_gelu=option))
    assert (engine.record["quick_gelu"], engine.record["quick_gelu_from"]) == (quick_gelu, origin)
    gelus = {type(block.mlp.gelu).__name__ for block in engine.model.visual.transformer.resblocks}
    assert gelus == {"QuickGELU" if quick_gelu else "GELU"}


def test_vit_b_16_with_openai_weights_runs_quick_gelu_though_its_config_does_not(hub_cache):
    name = "open_clip_model.safetensors"
    path = hub_cache("timm/vit_base_patch16_clip_224.openai", name, lambda path: path.touch())
    located = locate_model(EngineSettings())
    assert located.path == path
    assert located.config["quick_gelu"] is True
    assert open_clip.get_model_config("ViT-B-16").get("quick_gelu", False) is False
    assert located.licence == "MIT"
    assert located.source == "openai (huggingface.co/timm/vit_base_patch16_clip_224.openai)"


def test_a_tag_brings_its_own_mean_and_std(tiny_architecture, hub_cache, tiny_model, no_network):
    hub_cache("org/tiny-gelu", "open_clip_model.safetensors", lambda path: save_file(tiny_model.state_dict(), path))
    engine = build_engine(settings(model=tiny_architecture, weights="gelu"))
    assert (engine.preprocess.mean, engine.preprocess.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    grey = Image.new("RGB", (64, 64), (51, 51, 51))
    torch.testing.assert_close(engine.preprocess.whole_image(grey)[:, 0, 0], torch.tensor([0.25, 0.0, -1 / 6]))


def test_an_uncached_tag_is_one_line_with_no_network_touched(hub_cache, no_network):
    with pytest.raises(EngineError, match=r"semples models pull --model ViT-B-16 --weights openai") as caught:
        build_engine(settings())
    assert "\n" not in str(caught.value)


def test_a_tag_wins_over_a_folder_of_its_name(tmp_path, monkeypatch, hub_cache):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "openai").mkdir()
    with pytest.raises(EngineError, match="not on this machine"):
        build_engine(settings())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weights": "opnai"}, r"weights 'opnai': no such file.* no tag of ViT-B-16; did you mean 'openai'\?"),
        ({"weights": "nothing"}, r"no tag of ViT-B-16; its tags: openai, laion400m_e31"),
        ({"model": "ViT-M-16"}, r"no tag of ViT-M-16; its tags: none"),
        ({"weights": "here/x.pt"}, r"weights 'here/x\.pt': no such file or directory, check the path"),
        ({"model": "ViT-B16"}, r"unknown model 'ViT-B16'; did you mean 'ViT-B-16'\?"),
        ({"model": "zzz"}, r"unknown model 'zzz'; `semples models list`"),
        ({"model": "RN50"}, r"model RN50 is not supported: its image tower is a ResNet"),
    ],
)
def test_names_that_mean_nothing_are_refused_with_the_cure(hub_cache, fields, message):
    with pytest.raises(EngineError, match=message):
        build_engine(settings(**fields))


def test_wrong_size_weights_are_one_line(weights_file):
    with pytest.raises(EngineError, match=r"tiny\.safetensors: weights of another model.*check --model") as caught:
        build_engine(settings(weights=str(weights_file)))
    assert "\n" not in str(caught.value)


def test_weights_of_another_image_size_are_refused_and_not_resized(tmp_path, tiny_architecture):
    save_file(make_tiny_model(image_size=32).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(EngineError, match=r"visual\.positional_embedding is \(17, 64\) instead of \(65, 64\)"):
        build_engine(settings(model=tiny_architecture, weights=str(tmp_path / "w.safetensors")))


@pytest.mark.parametrize(
    "config", [{"vision_cfg": {"no_such_key": 1}}, {"vision_cfg": {"width": "x"}}, {"embed_dim": None}]
)
def test_a_config_that_makes_no_model_is_refused(tmp_path, tiny_model, config):
    folder = write_tiny_dir(tmp_path / "dir", tiny_model, **config)
    with pytest.raises(EngineError, match="its config makes no model in open_clip"):
        build_engine(settings(weights=str(folder)))


def test_an_unsupported_directory_is_refused_by_name(tmp_path, tiny_model):
    text = {**TINY_CONFIG["text_cfg"], "no_causal_mask": True}
    folder = write_tiny_dir(tmp_path / "dir", tiny_model, text_cfg=text)
    with pytest.raises(EngineError, match=r"dir is not supported: its text tower is not causal"):
        build_engine(settings(weights=str(folder)))


def test_a_custom_text_clip_directory_loads(tmp_path, tiny_model, tiny_engine):
    image_names = ("visual.", "logit_scale")
    state = {n if n.startswith(image_names) else f"text.{n}": t for n, t in tiny_model.state_dict().items()}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {**TINY_CONFIG, "custom_text": True}}))
    save_file(state, tmp_path / "open_clip_model.safetensors")
    assert torch.equal(
        build_engine(settings(weights=str(tmp_path))).encode_texts(TEXTS), tiny_engine.encode_texts(TEXTS)
    )


def test_the_root_logger_is_left_alone(tiny_dir):
    root = logging.getLogger()
    before = list(root.handlers), root.level
    build_engine(settings(weights=str(tiny_dir)))
    assert (list(root.handlers), root.level) == before


def test_precision_reaches_the_engine(tiny_dir):
    engine = build_engine(settings(weights=str(tiny_dir), precision="bf16"))
    assert engine.dtype == torch.bfloat16
    assert engine.record["precision"] == "bf16"


def test_pull_checks_the_names_first(hub_cache, no_network):
    with pytest.raises(EngineError, match=r"no tag of ViT-B-16; did you mean 'openai'\?"):
        pull_model("ViT-B-16", "open-ai")
    with pytest.raises(EngineError, match="RN50 is not supported"):
        pull_model("RN50", "openai")


def test_pull_returns_what_is_cached(hub_cache, no_network):
    name = "open_clip_model.safetensors"
    path = hub_cache("timm/vit_base_patch16_clip_224.openai", name, lambda path: path.touch())
    assert pull_model("ViT-B-16", "openai") == path
