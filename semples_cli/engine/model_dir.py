"""Reads and writes open_clip model directories: open_clip_config.json beside open_clip_model.safetensors.

The config holds `model_cfg`, `preprocess_cfg` (open_clip's own keys) and, where we wrote it, `semples`: the model's
name and licence for the run's record. open_clip reads such a directory as `local-dir:DIR`.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from semples_cli.errors import EngineError, UnwritableError

CONFIG_NAME = "open_clip_config.json"
WEIGHTS_NAME = "open_clip_model.safetensors"
OTHER_WEIGHTS_NAMES = (
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
UNKNOWN_LICENCE = "unknown: check the source"


@dataclass(frozen=True)
class ModelDir:
    """What a model directory says.

    Attributes:
        folder: The directory.
        model_config: open_clip's `model_cfg`.
        preprocess: open_clip's `preprocess_cfg`, CLIP's mean and std where it names none.
        model: Name for the record; the folder's name unless the config has one.
        licence: Licence of the weights, as far as the config says.
    """

    folder: Path
    model_config: dict[str, Any]
    preprocess: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    licence: str = UNKNOWN_LICENCE

    @property
    def weights_path(self) -> Path:
        """The weights file of the directory.

        Raises:
            EngineError: There is none.
        """
        for name in (WEIGHTS_NAME, *OTHER_WEIGHTS_NAMES):
            if (self.folder / name).is_file():
                return self.folder / name
        msg = f"{self.folder}: no {WEIGHTS_NAME} in the model directory; bring it, or give the weights file itself"
        raise EngineError(msg)


def read_model_dir(folder: Path) -> ModelDir:
    """Read the config of a model directory.

    Raises:
        EngineError: The config is missing or is none.
    """
    path = folder / CONFIG_NAME
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        msg = f"{folder}: no {CONFIG_NAME} in the directory; give a weights file, or a directory that has one"
        raise EngineError(msg) from None
    except (OSError, ValueError) as error:
        msg = f"{path}: cannot be read as JSON ({error}); write the directory again"
        raise EngineError(msg) from None
    model_config = config.get("model_cfg") if isinstance(config, dict) else None
    if not isinstance(model_config, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= model_config.keys():
        msg = f"{path}: no open_clip config: 'model_cfg' with embed_dim, vision_cfg and text_cfg is needed"
        raise EngineError(msg)
    preprocess = {"mean": CLIP_MEAN, "std": CLIP_STD, **config.get("preprocess_cfg", {})}
    ours = config.get("semples", {})
    return ModelDir(
        folder, model_config, preprocess, ours.get("model", folder.resolve().name), ours.get("licence", UNKNOWN_LICENCE)
    )


def write_model_dir(
    contents: ModelDir, tensors: Mapping[str, torch.Tensor], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write config and weights, each complete before it bears its name.

    Args:
        contents: What the config says, and the folder; made if missing.
        tensors: State dict.
        metadata: Strings for the safetensors header.

    Raises:
        UnwritableError: The disk is full, or the permission is lost.
    """
    folder = contents.folder
    weights, config = folder / (WEIGHTS_NAME + ".partial"), folder / (CONFIG_NAME + ".partial")
    document = {
        "model_cfg": contents.model_config,
        "preprocess_cfg": {"mean": CLIP_MEAN, "std": CLIP_STD, **contents.preprocess},
        "semples": {"model": contents.model or folder.resolve().name, "licence": contents.licence},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for partial in (weights, config):
            partial.unlink(missing_ok=True)
        save_file({name: t.contiguous() for name, t in tensors.items()}, weights, {"format": "pt", **(metadata or {})})
        config.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        weights.replace(folder / WEIGHTS_NAME)
        config.replace(folder / CONFIG_NAME)
    except (OSError, SafetensorError) as error:  # safetensors says a full disk as an error of its own
        for partial in (weights, config):
            with suppress(OSError):
                partial.unlink(missing_ok=True)
        msg = f"{folder}: the model cannot be written ({error}); make room, and run the same command again"
        raise UnwritableError(msg) from error
