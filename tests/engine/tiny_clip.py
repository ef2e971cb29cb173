"""A small random CLIP that the engine tests look through."""

import json
import math
import warnings
from copy import deepcopy

import torch
from safetensors.torch import save_file

TINY_CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "patch_size": 8, "layers": 3, "width": 64, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 2},
}


def make_tiny_model(**vision):
    """An open_clip CLIP of the tiny config, default blocks, with a logit scale of 100 as OpenAI's has."""
    import open_clip

    torch.manual_seed(0)
    config = deepcopy(TINY_CONFIG)
    config["vision_cfg"] |= vision
    model = open_clip.CLIP(**config)
    with torch.no_grad():
        model.logit_scale.fill_(math.log(100))
    return model.eval()


def write_tiny_dir(folder, model, **config):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": {**deepcopy(TINY_CONFIG), **config}}))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def save_archive(module, example, path):
    """A TorchScript archive, as OpenAI publishes its weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(module, example).save(path)
    return path


class Archived(torch.nn.Module):
    """CLIP's tensors and OpenAI's three extra ones, in half precision, with a forward pass that can be traced."""

    def __init__(self, model):
        super().__init__()
        for name, child in model.named_children():
            self.add_module(name, child)
        for name in ("positional_embedding", "text_projection", "logit_scale"):
            self.register_parameter(name, getattr(model, name))
        for name, value in {"input_resolution": 64, "context_length": 16, "vocab_size": 49408}.items():
            self.register_buffer(name, torch.tensor(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.logit_scale


def make_archive(path):
    """The tiny model as OpenAI would have published it."""
    return save_archive(Archived(make_tiny_model().half()), torch.ones(1).half(), path)
