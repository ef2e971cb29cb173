"""WeakTr, SemPLeS' own code and MCTformer: a dict of foreground class, counted from 0, → map at the image's size."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from semples_cli.data.cams.foreign_maps import ForeignMaps, stack_maps

NAME = "weaktr"


def fits_weaktr(content: Mapping[Any, Any]) -> bool:
    """Whether a dict has numbers as its keys."""
    return bool(content) and all(isinstance(key, int | np.integer) and not isinstance(key, bool) for key in content)


def read_weaktr(path: Path, content: Mapping[Any, Any], wanted: str | None) -> ForeignMaps:
    """Its maps in the order of the dict; an image without classes has an empty dict.

    Raises:
        DataError: The maps are of several sizes, or no maps.
    """
    del wanted  # it has one map a class
    keys = tuple(int(key) for key in content)
    return ForeignMaps(path, keys, stack_maps(path, list(content.values())), at_image_size=bool(keys))
