"""Training views: what is said to be visible is visible."""

import numpy as np
import pytest

from semples_cli.config import WorldSettings
from semples_cli.demo.captions import CONCEPTS
from semples_cli.demo.names import OBJECTS
from semples_cli.demo.views import ViewPool
from semples_cli.demo.world import render_scene

WORLD = WorldSettings(seed=3, num_images=12)


@pytest.fixture(scope="module")
def pool():
    return ViewPool(WORLD, 6, 4)


def test_pool_holds_scenes_objects_and_backgrounds(pool):
    assert len(pool) == 22


def test_progress_is_called(tmp_path):
    seen = []
    ViewPool(WorldSettings(seed=1, num_images=98), 1, 1, lambda done, total: seen.append((done, total)))
    assert seen == [(100, 100)]


def test_whole_views_know_exactly_what_the_scene_holds(pool):
    views = pool.draw(np.random.default_rng(0), len(pool), partial_share=0)
    assert views.kept.all()
    scenes = [render_scene(WORLD, n) for n in range(WORLD.num_images)]
    for scene in scenes:
        same = (views.images == scene.image).all((1, 2, 3)) | (views.images == scene.image[:, ::-1]).all((1, 2, 3))
        assert same.sum() == 1
        (row,) = np.flatnonzero(same)
        large = {name for name in scene.object_names if (scene.target == OBJECTS.index(name) + 1).sum() >= 24}
        shown = {CONCEPTS[c] for c in np.flatnonzero(views.present[row])}
        assert large <= shown <= {*scene.object_names, *scene.background_names}
        assert not {CONCEPTS[c] for c in np.flatnonzero(views.absent[row])} & large


def test_present_and_absent_exclude_each_other(pool):
    rng = np.random.default_rng(1)
    for _ in range(20):
        views = pool.draw(rng, 16, partial_share=1)
        assert not (views.present & views.absent).any()


def test_partial_views_are_partial_and_decide_less(pool):
    views = pool.draw(np.random.default_rng(2), 22, partial_share=1)
    assert not views.kept.all((1, 2)).any()
    assert views.kept.any((1, 2)).all()
    whole = pool.draw(np.random.default_rng(2), 22, partial_share=0)
    assert views.present.sum() < whole.present.sum()


def test_draws_follow_the_generator(pool):
    a, b = (pool.draw(np.random.default_rng(7), 8, 0.5) for _ in range(2))
    c = pool.draw(np.random.default_rng(8), 8, 0.5)
    assert (a.images == b.images).all()
    assert (a.kept == b.kept).all()
    assert (a.present == b.present).all()
    assert not (a.images == c.images).all()


def test_drawing_does_not_change_the_pool(pool):
    before = pool._images.copy()
    pool.draw(np.random.default_rng(3), 22, 1)
    assert (pool._images == before).all()
