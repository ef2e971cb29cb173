"""Where the pretrained weights of a plain ViT lie: the Hugging Face cache, under the name that timm gives them."""

from pathlib import Path

import huggingface_hub

from semples_cli.engine.weights import download
from semples_cli.errors import EngineError

FILE_NAME = "model.safetensors"


def locate_vit(name: str) -> Path:
    """The weights that timm has for a ViT, if they are in the cache; touches no network.

    Args:
        name: As timm calls it, such as 'deit_small_patch16_224'.

    Raises:
        EngineError: timm has none, or they are not on this machine; the message says how to bring them.
    """
    repository = _repository(name)
    path = huggingface_hub.try_to_load_from_cache(repository, FILE_NAME)
    if not isinstance(path, str):
        msg = (
            f"pretrained weights of {name} are not on this machine (no {FILE_NAME} of {repository} in "
            f"{huggingface_hub.constants.HF_HUB_CACHE}): run `semples models pull --model {name} --weights timm` with "
            f"a network, or {_how_to_bring(repository)}, or --start scratch"
        )
        raise EngineError(msg)
    return Path(path)


def pull_vit(name: str) -> Path:
    """Download the weights that timm has for a ViT into the Hugging Face cache.

    Raises:
        EngineError: timm has none, or the hub cannot be reached.
    """
    repository = _repository(name)
    if isinstance(path := huggingface_hub.try_to_load_from_cache(repository, FILE_NAME), str):
        return Path(path)
    try:
        return download(repository, (FILE_NAME,))
    except EngineError as error:
        msg = f"pretrained weights of {name} not downloaded: {error}; {_how_to_bring(repository)}"
        raise EngineError(msg) from None


def _repository(name: str) -> str:
    import timm

    config = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if config is None or config.hf_hub_id is None:
        msg = f"there are no pretrained weights of {name}: give a file by --start PATH, or --start scratch"
        raise EngineError(msg)
    return str(config.hf_hub_id)


def _how_to_bring(repository: str) -> str:
    return f"bring {huggingface_hub.constants.ENDPOINT}/{repository}/resolve/main/{FILE_NAME} and give `--start PATH`"
