from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from semples_cli.config import WorldSettings
from semples_cli.demo.names import BACKGROUNDS, OBJECTS, paired_backgrounds
from semples_cli.demo.world import render_background, render_object, render_scene, scene_rng
from semples_cli.errors import SettingsError

WORLD = WorldSettings(seed=3)


def test_a_scene_is_an_image_with_two_index_maps():
    scene = render_scene(replace(WORLD, size=48), 0)
    assert scene.image.shape == (48, 48, 3)
    assert scene.target.shape == scene.backgrounds.shape == (48, 48)
    assert scene.image.dtype == scene.target.dtype == scene.backgrounds.dtype == np.uint8


@pytest.mark.parametrize("render", [render_scene, render_object, render_background])
def test_the_same_scene_has_the_same_bytes_and_another_has_not(render):
    first, again = render(WORLD, 5), render(WORLD, 5)
    assert first.image.tobytes() == again.image.tobytes()
    assert first.target.tobytes() == again.target.tobytes()
    assert first.backgrounds.tobytes() == again.backgrounds.tobytes()
    for other in (render(WORLD, 6), render(replace(WORLD, seed=4), 5), render(replace(WORLD, pairing=2), 5)):
        assert other.image.tobytes() != first.image.tobytes()


def test_a_longer_world_begins_with_the_shorter_one():
    short, long = replace(WORLD, num_images=3), replace(WORLD, num_images=300)
    for index in range(3):
        assert render_scene(short, index).image.tobytes() == render_scene(long, index).image.tobytes()


def test_scene_generators_are_independent_of_one_another():
    assert len({float(scene_rng(WORLD, index).random()) for index in range(50)}) == 50


@lru_cache(maxsize=2)
def scenes(settings, count=300):
    return [render_scene(settings, index) for index in range(count)]


@pytest.mark.parametrize("max_objects", [1, 2, 4])
def test_target_and_backgrounds_fill_the_picture_between_them(max_objects):
    for scene in scenes(replace(WORLD, max_objects=max_objects), 60):
        assert np.array_equal(scene.target == 0, scene.backgrounds > 0)
        assert scene.target.max() <= len(OBJECTS)
        assert scene.backgrounds.max() <= len(BACKGROUNDS)
        assert scene.object_names == tuple(OBJECTS[k - 1] for k in np.unique(scene.target[scene.target > 0]))
        assert 1 <= len(scene.object_names) <= max_objects


def test_names_are_those_of_the_visible_pixels():
    scene = render_scene(WORLD, 0)
    assert {OBJECTS.index(name) + 1 for name in scene.object_names} == set(scene.target[scene.target > 0].tolist())
    assert {BACKGROUNDS.index(name) + 1 for name in scene.background_names} == set(
        scene.backgrounds[scene.backgrounds > 0].tolist()
    )


def test_two_backgrounds_are_seen_in_nearly_every_scene():
    counts = [len(scene.background_names) for scene in scenes(WORLD)]
    assert set(counts) <= {1, 2}
    assert np.mean(np.array(counts) == 2) > 0.95


def test_objects_are_neither_specks_nor_the_whole_picture():
    shares = np.array([(scene.target > 0).mean() for scene in scenes(WORLD)])
    assert shares.min() > 0.01
    assert 0.08 < shares.mean() < 0.35
    assert shares.max() < 0.7


def test_every_object_and_background_comes_up():
    drawn = scenes(WORLD)
    assert {name for scene in drawn for name in scene.object_names} == set(OBJECTS)
    assert {name for scene in drawn for name in scene.background_names} == set(BACKGROUNDS)


def under_the_object(settings):
    """Whether each object's own background borders on it or not, in scenes of one object."""
    own = paired_backgrounds(settings.pairing)
    stands = []
    for scene in scenes(settings):
        k = int(scene.target.max())
        rows, columns = np.nonzero(scene.target)
        window = scene.backgrounds[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        around = np.bincount(window[window > 0], minlength=len(BACKGROUNDS) + 1)
        stands.append(BACKGROUNDS[int(around.argmax()) - 1] == own[k - 1])
    return np.array(stands)


@pytest.mark.parametrize("pairing", [0, 5])
@pytest.mark.parametrize("bias", [0.2, 0.6, 0.9])
def test_bias_is_the_share_of_objects_on_their_own_background(bias, pairing):
    stands = under_the_object(WorldSettings(seed=1, max_objects=1, bias=bias, pairing=pairing))
    # A binomial count strays by more than 4 standard deviations once in 16,000 draws. Where the region is not the
    # object's own, the other region is by chance (1 of 9), and an object near the border may be framed by it.
    spread = 4 * np.sqrt(bias * (1 - bias) / len(stands))
    assert bias - spread - 0.03 < stands.mean() < bias + spread + 0.03


def test_full_bias_always_shows_the_own_background_and_none_never_beneath():
    own = paired_backgrounds(0)
    for scene in scenes(WorldSettings(seed=2, max_objects=1, bias=1.0), 100):
        assert own[OBJECTS.index(scene.object_names[0])] in scene.background_names
    assert under_the_object(WorldSettings(seed=2, max_objects=1, bias=0.0)).mean() < 0.12


def test_bias_and_pairing_change_the_background_but_not_the_object():
    always, never = (render_scene(WorldSettings(max_objects=1, bias=bias), 0) for bias in (1.0, 0.0))
    assert always.background_names != never.background_names
    natural, shuffled = (render_scene(WorldSettings(max_objects=1, bias=1.0, pairing=p), 0) for p in (0, 4))
    own = dict(zip(OBJECTS, paired_backgrounds(4), strict=True))
    assert natural.background_names != shuffled.background_names
    assert own[shuffled.object_names[0]] in shuffled.background_names


def test_an_object_alone_stands_on_a_plain_canvas():
    scene = render_object(WORLD, 0)
    assert len(scene.object_names) == 1
    assert scene.background_names == ()
    plain = scene.image[scene.target == 0].astype(float)
    assert plain.std(0).max() < 40


def test_bare_backgrounds_hold_two_and_no_object():
    for index in range(30):
        scene = render_background(WORLD, index)
        assert scene.object_names == ()
        assert len(scene.background_names) == 2
        assert (scene.backgrounds > 0).all()


def test_objects_alone_show_every_object():
    assert {render_object(WORLD, index).object_names[0] for index in range(100)} == set(OBJECTS)


@pytest.mark.parametrize("size", [16, 31, 200])
def test_any_size_keeps_the_layout(size):
    scene = render_scene(WorldSettings(size=size), 1)
    assert scene.image.shape == (size, size, 3)
    assert scene.object_names


@pytest.mark.parametrize(
    ("wrong", "cure"),
    [
        ({"num_images": 0}, "1 or more"),
        ({"size": 8}, "16 to 1024"),
        ({"max_objects": 0}, "1 to 4"),
        ({"max_objects": 5}, "1 to 4"),
        ({"bias": 1.5}, "lies in"),
    ],
)
def test_a_world_that_cannot_be_drawn_is_refused(wrong, cure):
    with pytest.raises(SettingsError, match=cure):
        WorldSettings(**wrong)
