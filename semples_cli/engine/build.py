"""Builds a ClipEngine from a name and weights. The only module that imports open_clip, and only inside functions.

Three of open_clip's own conveniences are left out on purpose: its downloads (which stall without a network), its
fallback to random weights, and its resizing of weights that do not fit. What is loaded is what was named, or an error.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import nn

from semples_cli.config import EngineSettings
from semples_cli.engine.allocation import keep_freed_memory
from semples_cli.engine.clip import ClipEngine, Preprocess
from semples_cli.engine.compact import expand_token_table, seeded_token_table
from semples_cli.engine.device import resolve_device, resolve_precision
from semples_cli.engine.located import LocatedModel, locate_dir, locate_file, locate_tag
from semples_cli.engine.model_dir import CLIP_MEAN, CLIP_STD
from semples_cli.engine.supported import CLIP_VOCABULARY, check_supported, reasons_against
from semples_cli.engine.weights import SUFFIXES, check_fit, pull_weights, read_state_dict
from semples_cli.errors import EngineError

Tokenizer = Callable[[list[str]], torch.Tensor]


def build_engine(settings: EngineSettings) -> ClipEngine:
    """Load a CLIP, frozen and in evaluation mode; touches no network.

    On the CPU it also has the process keep the memory that tensors give back; see `allocation`.

    Args:
        settings: Model, weights, device, precision.

    Raises:
        EngineError: The model is unknown or unsupported, or its weights are missing, damaged or of another model.
        SettingsError: The precision does not go with the device.
    """
    device = resolve_device(settings.device)
    dtype = resolve_precision(settings.precision, device)
    located = locate_model(settings)
    model = instantiate(located.config, read_state_dict(located.path), str(located.path))
    if device.type == "cpu":
        keep_freed_memory()  # not what loading took
    return ClipEngine(
        model.to(device),
        _tokenizer(located.config),
        preprocess=_preprocess(located),
        device=device,
        dtype=dtype,
        record=located.record(device, dtype),
    )


def locate_model(settings: EngineSettings) -> LocatedModel:
    """Find config and weights: a tag of the model, else a directory, else a file.

    Raises:
        EngineError: There is no such model, tag or path, or the tag's weights are not in the cache.
    """
    if tag_config := _tag_config(settings.model, settings.weights):
        return locate_tag(settings, model_config(settings.model), tag_config)
    path = Path(settings.weights)
    if path.is_dir():
        return locate_dir(settings, path)
    config = model_config(settings.model)
    if path.is_file():
        return locate_file(settings, config, path)
    meant_as_path = path.suffix in SUFFIXES or len(path.parts) > 1
    cure = "check the path" if meant_as_path else f"and {_no_such_tag(settings.model, settings.weights)}"
    msg = f"weights {settings.weights!r}: no such file or directory, {cure}"
    raise EngineError(msg)


def model_names() -> tuple[str, ...]:
    """The built-in architectures that are supported."""
    import open_clip

    return tuple(name for name in open_clip.list_models() if not reasons_against(open_clip.get_model_config(name)))


def model_tags(name: str) -> tuple[str, ...]:
    """The pretrained tags of an architecture."""
    import open_clip

    return tuple(open_clip.list_pretrained_tags_by_model(name))


def model_config(name: str) -> dict[str, Any]:
    """open_clip's config of a built-in, supported architecture.

    Raises:
        EngineError: The name is unknown, or the model cannot be used.
    """
    import open_clip

    if name not in open_clip.list_models():
        near = get_close_matches(name, open_clip.list_models(), n=1)
        cure = f"did you mean {near[0]!r}?" if near else "`semples models list` shows all"
        msg = f"unknown model {name!r}; {cure}"
        raise EngineError(msg)
    config: dict[str, Any] = open_clip.get_model_config(name)
    check_supported(name, config)
    return config


def pull_model(name: str, tag: str) -> Path:
    """Download the weights of a tag into the cache, and return where they lie.

    Raises:
        EngineError: Unknown model or tag, or the download failed.
    """
    model_config(name)
    tag_config = _tag_config(name, tag)
    if not tag_config:
        msg = f"weights {tag!r}: {_no_such_tag(name, tag)}"
        raise EngineError(msg)
    return pull_weights(name, tag, tag_config)


def published_archives() -> dict[str, str]:
    """SHA-256 of each TorchScript archive that OpenAI publishes → its architecture, where it is a supported one."""
    import open_clip

    urls = {name: open_clip.get_pretrained_url(name, "openai") for name in model_names() if "quickgelu" not in name}
    return {url.split("/")[-2]: name for name, url in urls.items() if "openaipublic" in url}


def instantiate(config: Mapping[str, Any], state: Mapping[str, torch.Tensor], what: str) -> nn.Module:
    """Make the model around given weights, float32, frozen, in evaluation mode.

    It is made without memory first, so that no random weights are drawn and no tensor is copied. Blocks are open_clip's
    'custom' ones: the same names and results, and in bf16 on the CPU many times faster.

    Args:
        config: open_clip's model config.
        state: State dict; `text.` before the text tower's names (open_clip's CustomTextCLIP) is dropped.
        what: Where the weights come from, for the message.

    Raises:
        EngineError: The config is none of this open_clip's, or the weights do not fit it.
    """
    import open_clip

    config = {name: value for name, value in deepcopy(dict(config)).items() if name != "custom_text"}
    for tower in ("vision_cfg", "text_cfg"):
        config[tower]["block_type"] = "custom"
    try:
        with torch.device("meta"):
            model: nn.Module = open_clip.CLIP(**config)
    except Exception as error:  # whatever a wrong config raises deep inside
        msg = (
            f"{what}: its config makes no model in open_clip {open_clip.__version__} ({type(error).__name__}: {error})"
        )
        raise EngineError(msg) from None
    tensors = {name.removeprefix("text."): tensor for name, tensor in state.items()}
    tensors = expand_token_table(tensors, config["text_cfg"].get("vocab_size", CLIP_VOCABULARY))
    check_fit(tensors, model, what)
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    window: int = model.context_length  # type: ignore[assignment]
    model.attn_mask = torch.full((window, window), float("-inf")).triu_(1)  # the one tensor that is not stored
    return model.eval().requires_grad_(False)


def make_untrained(config: Mapping[str, Any], seed: int, patch_dropout: float) -> tuple[nn.Module, Tokenizer]:
    """A CLIP with seeded random weights, to be trained, and its tokenizer.

    Its token table is `compact.seeded_token_table`, so a compact directory of it comes back whole if it stays frozen.

    Args:
        config: open_clip's model config.
        seed: Seeds the weights.
        patch_dropout: Share of the patches left out while training.
    """
    import open_clip

    config = deepcopy(dict(config))
    for tower in ("vision_cfg", "text_cfg"):
        config[tower]["block_type"] = "custom"
    config["vision_cfg"]["patch_dropout"] = patch_dropout
    torch.manual_seed(seed)
    model: nn.Module = open_clip.CLIP(**config)
    with torch.no_grad():
        table = model.get_parameter("token_embedding.weight")
        table.copy_(seeded_token_table(*table.shape))
    return model, _tokenizer(config)


def _tag_config(name: str, tag: str) -> dict[str, Any]:
    import open_clip

    return dict(open_clip.get_pretrained_cfg(name, tag))


def _no_such_tag(name: str, tag: str) -> str:
    tags = model_tags(name)
    near = get_close_matches(tag, tags, n=1)
    return f"no tag of {name}; " + (f"did you mean {near[0]!r}?" if near else f"its tags: {', '.join(tags) or 'none'}")


def _tokenizer(config: Mapping[str, Any]) -> Any:  # noqa: ANN401  # open_clip is untyped
    from open_clip.tokenizer import SimpleTokenizer

    text = config["text_cfg"]
    return SimpleTokenizer(context_length=text.get("context_length", 77), **(text.get("tokenizer_kwargs") or {}))


def _preprocess(located: LocatedModel) -> Preprocess:
    from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict

    size = located.config["vision_cfg"].get("image_size", 224)
    whole = merge_preprocess_dict(PreprocessCfg(), {**located.preprocess, "size": size})
    return Preprocess(
        mean=tuple(located.preprocess.get("mean", CLIP_MEAN)),
        std=tuple(located.preprocess.get("std", CLIP_STD)),
        whole_image=image_transform_v2(PreprocessCfg(**whole), is_train=False),
    )
