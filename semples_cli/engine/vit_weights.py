"""Where the pretrained weights of a plain ViT lie: the Hugging Face cache, under the name that timm gives them."""

from pathlib import Path

import huggingface_hub

from semples_cli.errors import EngineError

FILE_NAME = "model.safetensors"


def locate_vit(name: str) -> Path:
    """The weights that timm has for a ViT, if they are in the cache; touches no network.

    Args:
        name: As timm calls it, such as 'deit_small_patch16_224'.

    Raises:
        EngineError: timm has none, or they are not on this machine; the message says how to bring them.
    """
    import timm

    config = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    repository = config.hf_hub_id if config is not None else None
    if repository is None:
        msg = f"there are no pretrained weights of {name}: give a file by --start PATH, or --start scratch"
        raise EngineError(msg)
    path = huggingface_hub.try_to_load_from_cache(repository, FILE_NAME)
    if not isinstance(path, str):
        url = f"{huggingface_hub.constants.ENDPOINT}/{repository}/resolve/main/{FILE_NAME}"
        msg = (
            f"pretrained weights of {name} are not on this machine (no {FILE_NAME} of {repository} in "
            f"{huggingface_hub.constants.HF_HUB_CACHE}): bring {url} and give it by --start PATH, or --start scratch"
        )
        raise EngineError(msg)
    return Path(path)
