import numpy as np
import pytest
from PIL import Image, ImageDraw

from semples_cli.demo.names import OBJECTS
from semples_cli.demo.objects import DRAWERS, USUAL_COLOURS, USUAL_SHARE, Pencil

SIZE = 64
PLAIN = (1, 2, 3)  # a colour that no object has: all of theirs are 10 or more


def draw(name, seed, radius=20.0):
    picture, target = Image.new("RGB", (SIZE, SIZE), PLAIN), Image.new("L", (SIZE, SIZE), 0)
    surfaces = ((ImageDraw.Draw(picture), None), (ImageDraw.Draw(target), 9))
    DRAWERS[name](Pencil(np.random.default_rng(seed), surfaces, (SIZE / 2, SIZE / 2), radius, name))
    return np.asarray(picture), np.asarray(target)


def test_every_object_has_a_drawer():
    assert tuple(DRAWERS) == OBJECTS


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("seed", range(5))
def test_the_ground_truth_is_exactly_where_the_picture_changed(name, seed):
    picture, target = draw(name, seed)
    assert np.array_equal((picture != PLAIN).any(-1), target == 9)
    assert set(np.unique(target)) == {0, 9}


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_has_its_size_and_stays_near_its_box(name):
    _, target = draw(name, 0, radius=20)
    rows, columns = np.nonzero(target)
    assert 0.15 < (target > 0).sum() / 40**2 < 0.9
    assert max(np.abs(rows - 31.5).max(), np.abs(columns - 31.5).max()) < 1.6 * 20


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_varies_in_colour_and_pose(name):
    pictures, targets = zip(*(draw(name, seed) for seed in range(4)), strict=True)
    assert len({picture.tobytes() for picture in pictures}) == 4
    assert len({target.tobytes() for target in targets}) == 4


def test_bodies_often_have_a_usual_colour_of_their_class_and_sometimes_another():
    surfaces = ((ImageDraw.Draw(Image.new("RGB", (SIZE, SIZE))), None),)
    bodies, _ = USUAL_COLOURS["sheep"]
    drawn = [Pencil(np.random.default_rng(seed), surfaces, (0, 0), 1, "sheep").body for seed in range(400)]
    near = [min(np.abs(np.array(body) - usual).max() for usual in bodies) <= 30 for body in drawn]
    assert np.mean(near) == pytest.approx(USUAL_SHARE, abs=0.06)


def test_objects_differ_in_shape():
    targets = np.stack([draw(name, 0)[1] > 0 for name in OBJECTS])
    both = np.logical_and(targets[:, None], targets[None]).sum((-2, -1))
    either = np.logical_or(targets[:, None], targets[None]).sum((-2, -1))
    iou = both / either
    assert iou[~np.eye(len(OBJECTS), dtype=bool)].max() < 0.85


def test_a_bigger_radius_draws_a_bigger_object():
    areas = [(draw("car", 0, radius)[1] > 0).sum() for radius in (5, 10, 20)]
    assert areas[0] < areas[1] < areas[2]
    assert areas[2] / areas[1] == pytest.approx(4, rel=0.25)
