"""What a learned file says about where its CLIP came from, so that a later command finds it again."""

from collections.abc import Mapping
from pathlib import Path


def engine_source(record: Mapping[str, object]) -> dict[str, object]:
    """What to give as --model and --weights to load the same CLIP again, from any folder.

    Args:
        record: A built engine's record.

    Returns:
        'model' and 'weights': a tag, or the absolute path of a file or model directory.
    """
    source = str(record.get("weights", ""))
    # The record of a tag adds the page that it comes from.
    weights = str(Path(source).absolute()) if Path(source).exists() else source.partition(" (huggingface.co/")[0]
    return {"model": record.get("model"), "weights": weights}
