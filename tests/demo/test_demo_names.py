import numpy as np
import pytest

from semples_cli.demo.names import BACKGROUNDS, OBJECTS, paired_backgrounds


def test_ten_objects_and_ten_backgrounds_all_different():
    assert len(OBJECTS) == len(BACKGROUNDS) == 10
    assert len(set(OBJECTS) | set(BACKGROUNDS)) == 20


def test_the_natural_pairing_is_what_people_expect():
    own = dict(zip(OBJECTS, paired_backgrounds(0), strict=True))
    assert own["boat"] == "sea"
    assert own["train"] == "railway"
    assert own["bird"] == "tree"
    assert own["aeroplane"] == "sky"
    assert own["car"] == "road"
    assert own["sheep"] == "grass"


@pytest.mark.parametrize("pairing", range(1, 30))
def test_any_other_pairing_is_a_permutation_without_a_natural_pair(pairing):
    own = paired_backgrounds(pairing)
    assert sorted(own) == sorted(BACKGROUNDS)
    assert all(shuffled != natural for shuffled, natural in zip(own, BACKGROUNDS, strict=True))


def test_pairings_are_seeded_and_leave_the_global_generator_alone():
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert paired_backgrounds(7) == paired_backgrounds(7)
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert len({paired_backgrounds(pairing) for pairing in range(12)}) == 12
