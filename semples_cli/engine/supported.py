"""Which CLIPs serve: native ViT image towers with a causal text tower; others are refused, with the reason."""

from collections.abc import Callable, Mapping
from typing import Any

from semples_cli.errors import EngineError

Config = Mapping[str, Any]
CLIP_VOCABULARY = 49408

_REASONS: tuple[tuple[Callable[[Config, Config, Config], bool], str], ...] = (
    (lambda c, _v, _t: "multimodal_cfg" in c, "it is a CoCa model, whose text tower feeds a captioner"),
    (lambda _c, v, _t: bool(v.get("timm_model_name")), "its image tower is a timm model, not a native ViT"),
    (lambda _c, v, _t: isinstance(v.get("layers"), list | tuple), "its image tower is a ResNet, not a ViT"),
    (lambda _c, v, _t: bool(v.get("attentional_pool")), "its image tower pools by attention"),
    (lambda _c, v, _t: bool(v.get("scaled_cosine_attn")), "its image tower has scaled cosine attention"),
    (lambda _c, _v, t: bool(t.get("hf_model_name")), "its text tower is a Hugging Face model"),
    (
        lambda _c, _v, t: t.get("pool_type", "argmax") not in ("argmax", "eos"),
        "its text tower does not read the end-of-text token (SigLIP and CLIPA pool the last one)",
    ),
    (lambda _c, _v, t: bool(t.get("no_causal_mask")), "its text tower is not causal"),
    (lambda _c, _v, t: bool(t.get("embed_cls")), "its text tower appends a class token"),
    (
        lambda _c, _v, t: bool(t.get("hf_tokenizer_name")) or t.get("vocab_size", CLIP_VOCABULARY) != CLIP_VOCABULARY,
        "it does not use CLIP's tokenizer of 49,408 tokens",
    ),
)


def reasons_against(config: Config) -> tuple[str, ...]:
    """Why an open_clip model config cannot be used; empty if it can."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    return tuple(reason for applies, reason in _REASONS if applies(config, vision, text))


def check_supported(name: str, config: Config) -> None:
    """Refuse a model by name.

    Raises:
        EngineError: The model cannot be used; the message says why.
    """
    if reasons := reasons_against(config):
        msg = (
            f"model {name} is not supported: {'; '.join(reasons)}. "
            "Use a ViT CLIP such as ViT-B-16; `semples models list` shows all"
        )
        raise EngineError(msg)
