"""What once broke a parser, and seeds cut, doubled and flipped: nothing but a SemplesError leaves."""

from pathlib import Path

import numpy as np
import pytest
from parser_targets import TARGETS, seeds_of, try_target

CRASHES = Path(__file__).parent / "crashes"
KEPT = sorted(CRASHES.glob("*/*"))
MUTATIONS = 30


@pytest.mark.parametrize("path", KEPT, ids=[f"{path.parent.name}-{path.name}" for path in KEPT])
def test_what_once_crashed_is_refused(path):
    try_target(path.parent.name, path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_what_becomes_of_them(name):
    rng = np.random.default_rng(7)
    seeds = seeds_of(name)
    assert seeds
    for seed in seeds:
        try_target(name, seed)
    for _ in range(MUTATIONS):
        try_target(name, _mutated(seeds[rng.integers(len(seeds))], rng))


def _mutated(seed: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, a part cut out or doubled."""
    data = bytearray(seed)
    for _ in range(rng.integers(1, 4)):
        at, end = sorted(rng.integers(0, len(data) + 1, 2))
        kind = rng.integers(3)
        if kind == 0:
            del data[at:end]
        elif kind == 1:
            data[at:at] = data[at:end]
        elif data:
            data[min(at, len(data) - 1)] = rng.integers(256)
    return bytes(data)


def test_every_kept_crash_has_a_target():
    assert {path.parent.name for path in KEPT} <= TARGETS.keys()
