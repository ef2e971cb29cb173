"""CLIP-ES: a dict of `keys`, foreground classes from 0 as they come in the label, and `attn_highres` (K, H, W)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from semples_cli.data.cams.foreign_maps import ForeignMaps, whole_numbers

NAME = "clip-es"
_MAPS = "attn_highres"


def fits_clip_es(content: Mapping[Any, Any]) -> bool:
    """Whether a dict is one of CLIP-ES."""
    return "keys" in content and _MAPS in content


def read_clip_es(path: Path, content: Mapping[Any, Any], wanted: str | None) -> ForeignMaps:
    """The maps after its class-aware affinity, at the size of the image.

    Raises:
        DataError: Keys or maps are of another kind.
    """
    del wanted  # it has one map a class
    return ForeignMaps(path, whole_numbers(path, content["keys"]), np.asarray(content[_MAPS]), at_image_size=True)
