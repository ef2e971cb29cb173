"""Says which config and weights file a setting means, by tag, directory or file, before anything is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from semples_cli.config import EngineSettings
from semples_cli.engine.model_dir import UNKNOWN_LICENCE, read_model_dir
from semples_cli.engine.supported import check_supported
from semples_cli.engine.weights import find_cached, hash_file, licence_of_tag, not_cached_message
from semples_cli.errors import EngineError

PRECISION_NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


@dataclass(frozen=True)
class LocatedModel:
    """A model whose weights are found but not yet read.

    Attributes:
        model: Name for the record.
        source: Where the weights come from, for the record.
        path: The weights file.
        config: open_clip's model config, its `quick_gelu` settled.
        quick_gelu_from: 'tag', 'directory', 'option', or 'assumed' where a plain file leaves it open.
        licence: Licence of the weights, as far as it is known.
        preprocess: Mean, std, interpolation and resize mode for whole images; {} for CLIP's own.
    """

    model: str
    source: str
    path: Path
    config: dict[str, Any]
    quick_gelu_from: str
    licence: str = UNKNOWN_LICENCE
    preprocess: Mapping[str, Any] = field(default_factory=dict)

    def record(self, device: torch.device, dtype: torch.dtype) -> dict[str, str | bool]:
        """What a run writes down about its model; hashes the weights file."""
        return {
            "model": self.model,
            "weights": self.source,
            "weights_sha256": hash_file(self.path),
            "licence": self.licence,
            "quick_gelu": bool(self.config["quick_gelu"]),
            "quick_gelu_from": self.quick_gelu_from,
            "device": str(device),
            "precision": PRECISION_NAMES[dtype],
            "open_clip": version("open_clip_torch"),
            "torch": torch.__version__,
        }


def locate_tag(settings: EngineSettings, config: Mapping[str, Any], tag_config: Mapping[str, Any]) -> LocatedModel:
    """A pretrained tag, looked up in the Hugging Face cache.

    Args:
        settings: Model and tag.
        config: open_clip's model config.
        tag_config: open_clip's pretrained config.

    Raises:
        EngineError: The weights are not in the cache.
    """
    path = find_cached(tag_config)
    if path is None:
        raise EngineError(not_cached_message(settings.model, settings.weights, tag_config))
    return LocatedModel(
        model=settings.model,
        source=f"{settings.weights} (huggingface.co/{tag_config['hf_hub'].rstrip('/')})",
        path=path,
        licence=licence_of_tag(settings.weights),
        preprocess=tag_config,
        **_settle_quick_gelu(config, settings.quick_gelu, bool(tag_config.get("quick_gelu")), "tag"),
    )


def locate_dir(settings: EngineSettings, folder: Path) -> LocatedModel:
    """A model directory, which knows its own architecture; `settings.model` is not looked at.

    Raises:
        EngineError: No config, no weights, or an unsupported model.
    """
    found = read_model_dir(folder)
    check_supported(str(folder), found.model_config)
    known = bool(found.model_config.get("quick_gelu"))
    return LocatedModel(
        model=found.model,
        source=str(folder),
        path=found.weights_path,
        licence=found.licence,
        preprocess=found.preprocess,
        **_settle_quick_gelu(found.model_config, settings.quick_gelu, known, "directory"),
    )


def locate_file(settings: EngineSettings, config: Mapping[str, Any], path: Path) -> LocatedModel:
    """A plain weights file of a built-in architecture; what its activation was, the file cannot tell."""
    assumed = bool(config.get("quick_gelu"))
    return LocatedModel(
        model=settings.model,
        source=str(path),
        path=path,
        **_settle_quick_gelu(config, settings.quick_gelu, assumed, "assumed"),
    )


def _settle_quick_gelu(config: Mapping[str, Any], wanted: bool | None, known: bool, known_from: str) -> dict[str, Any]:
    """open_clip would run 27 name-tag pairs, ViT-B-16 with openai among them, with the wrong activation."""
    quick_gelu, origin = (known, known_from) if wanted is None else (wanted, "option")
    return {"config": {**config, "quick_gelu": quick_gelu}, "quick_gelu_from": origin}
