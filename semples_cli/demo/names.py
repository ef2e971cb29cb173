"""The classes of the built-in world, and which background goes with which object."""

import numpy as np

OBJECTS = ("aeroplane", "bird", "boat", "camel", "car", "fish", "lamp", "penguin", "sheep", "train")
BACKGROUNDS = ("sky", "tree", "sea", "desert", "road", "reef", "wall", "snow", "grass", "railway")


def paired_backgrounds(pairing: int = 0) -> tuple[str, ...]:
    """The own background of each object, in the order of OBJECTS.

    Args:
        pairing: 0 for the natural pairing (boat on sea, …); any other number seeds a permutation in which no object
            keeps its natural background.
    """
    if pairing == 0:
        return BACKGROUNDS
    rng = np.random.default_rng(pairing)
    order = np.arange(len(BACKGROUNDS))
    while (order == np.arange(len(BACKGROUNDS))).any():
        order = rng.permutation(len(BACKGROUNDS))
    return tuple(BACKGROUNDS[k] for k in order)
