"""Turns OpenAI's TorchScript archive into a model directory that loads without running any code."""

import warnings
from pathlib import Path

import torch

from semples_cli.engine.build import instantiate, model_config, published_archives
from semples_cli.engine.model_dir import UNKNOWN_LICENCE, ModelDir, write_model_dir
from semples_cli.engine.weights import hash_file, is_torchscript
from semples_cli.errors import EngineError, SettingsError

# OpenAI's three extra numbers, and the causal mask that traced open_clip models carry.
ARCHIVE_ONLY = ("input_resolution", "context_length", "vocab_size", "attn_mask")


def convert_archive(archive: Path, model: str, folder: Path, *, trust: bool) -> ModelDir:
    """Open an archive, which runs the code inside it, and write its weights in float32 with QuickGELU recorded.

    Args:
        archive: A TorchScript archive such as OpenAI's ViT-B-16.pt.
        model: open_clip's name of its architecture.
        folder: Model directory to write.
        trust: The user's word that the archive may run code.

    Returns:
        What was written; the licence is known where the archive is one that OpenAI publishes.

    Raises:
        SettingsError: No trust was given.
        EngineError: The file is no TorchScript archive, or of another architecture.
    """
    if not archive.is_file() or not is_torchscript(archive):
        msg = f"{archive}: no TorchScript archive; other weights files need no conversion, give them to `--weights`"
        raise EngineError(msg)
    if not trust:
        msg = f"{archive}: opening a TorchScript archive runs the code inside it; add --trust if you trust its source"
        raise SettingsError(msg)
    config = {**model_config(model.removesuffix("-quickgelu")), "quick_gelu": True}
    state = _read_archive(archive)
    instantiate(config, state, str(archive))  # refuses the weights of another architecture
    licence = "MIT" if hash_file(archive) in published_archives() else UNKNOWN_LICENCE
    contents = ModelDir(folder, config, model=model, licence=licence)
    write_model_dir(contents, state)
    return contents


def _read_archive(archive: Path) -> dict[str, torch.Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit is deprecated, and says so; this format is nothing else
            state = torch.jit.load(archive, map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        msg = f"{archive}: torch cannot open the archive ({str(error).strip().splitlines()[0]}); bring the file again"
        raise EngineError(msg) from None
    return {name: tensor.float() for name, tensor in state.items() if name not in ARCHIVE_ONLY}
