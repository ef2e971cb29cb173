import math
from pathlib import Path

import numpy as np
import pytest

from semples_cli.artifacts.mask_png import write_mask
from semples_cli.demo.names import BACKGROUNDS, OBJECTS, paired_backgrounds
from semples_cli.steps.demo_leakage import measure_leakage
from semples_cli.types import Sample

BOAT, TRAIN = OBJECTS.index("boat") + 1, OBJECTS.index("train") + 1
SEA, RAILWAY, SKY = (BACKGROUNDS.index(name) + 1 for name in ("sea", "railway", "sky"))


@pytest.fixture
def write(tmp_path):
    def write_one(name, backgrounds, mask, classes):
        write_mask(tmp_path / "world" / "Backgrounds" / f"{name}.png", np.array(backgrounds, np.uint8))
        if mask is not None:
            write_mask(tmp_path / "masks" / f"{name}.png", np.array(mask, np.uint8))
        return Sample(name, Path(f"{name}.png"), classes)

    return write_one


def leakage(tmp_path, samples, pairing=0):
    return measure_leakage(tmp_path / "masks", tmp_path / "world", samples, pairing)


def test_it_is_the_share_of_the_own_background_that_bears_the_objects_name(tmp_path, write):
    sample = write("a", [[SEA, SEA, SEA, SEA, SKY, 0]], [[BOAT, 0, 0, 0, BOAT, BOAT]], (BOAT,))
    assert leakage(tmp_path, [sample]) == 0.25


def test_pixels_add_up_over_images_and_classes_count_alike(tmp_path, write):
    samples = [
        write("a", [[SEA, SEA, SEA, SEA]], [[BOAT, BOAT, BOAT, BOAT]], (BOAT,)),
        write("b", [[SEA, SEA, 0, 0]], [[0, 0, 0, 0]], (BOAT,)),
        write("c", [[RAILWAY, 0, 0, 0]], [[0, 0, 0, 0]], (TRAIN,)),
    ]
    assert leakage(tmp_path, samples) == pytest.approx((4 / 6 + 0) / 2)


def test_another_name_on_it_is_wrong_but_no_leakage(tmp_path, write):
    sample = write("a", [[SEA, SEA, RAILWAY, RAILWAY]], [[TRAIN, TRAIN, 255, 0]], (BOAT, TRAIN))
    assert leakage(tmp_path, [sample]) == 0


def test_only_images_that_hold_the_class_count(tmp_path, write):
    samples = [
        write("a", [[SEA, SEA]], [[BOAT, 0]], (BOAT,)),
        write("b", [[SEA, SEA]], [[BOAT, BOAT]], (TRAIN,)),
    ]
    assert leakage(tmp_path, samples) == 0.5


def test_the_pairing_says_which_background_is_whose_own(tmp_path, write):
    own = BACKGROUNDS.index(paired_backgrounds(3)[BOAT - 1]) + 1
    assert own != SEA
    sample = write("a", [[SEA, SEA, own, own]], [[BOAT, BOAT, BOAT, 0]], (BOAT,))
    assert leakage(tmp_path, [sample], pairing=3) == 0.5
    assert leakage(tmp_path, [sample], pairing=0) == 1


def test_images_without_a_mask_are_left_out(tmp_path, write):
    samples = [write("a", [[SEA, SEA]], [[BOAT, 0]], (BOAT,)), write("b", [[SEA, SEA]], None, (BOAT,))]
    assert leakage(tmp_path, samples) == 0.5


def test_without_own_background_there_is_nothing_to_leak_into(tmp_path, write):
    assert math.isnan(leakage(tmp_path, [write("a", [[SKY]], [[BOAT]], (BOAT,))]))
    assert math.isnan(leakage(tmp_path, []))
