import numpy as np
import pytest

from semples_cli.demo.backgrounds import PAINTERS, smooth_noise
from semples_cli.demo.names import BACKGROUNDS


def test_every_background_has_a_painter():
    assert tuple(PAINTERS) == BACKGROUNDS


@pytest.mark.parametrize("name", BACKGROUNDS)
@pytest.mark.parametrize("size", [16, 64, 97])
def test_a_background_fills_the_canvas_with_finite_colours(name, size):
    canvas = PAINTERS[name](np.random.default_rng(0), size)
    assert canvas.shape == (size, size, 3)
    assert np.issubdtype(canvas.dtype, np.floating)
    assert np.isfinite(canvas).all()
    assert np.clip(canvas, 0, 255).std() > 2


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_a_background_varies_with_the_seed_and_with_nothing_else(name):
    first, again, other = (PAINTERS[name](np.random.default_rng(seed), 64) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert np.abs(first - other).mean() > 1


def test_backgrounds_differ_from_one_another_more_than_from_themselves():
    def look(name, seed):
        canvas = np.clip(PAINTERS[name](np.random.default_rng(seed), 64), 0, 255)
        return np.concatenate([canvas.mean((0, 1)), np.abs(np.diff(canvas, axis=0)).mean((0, 1))])

    first = np.stack([look(name, 0) for name in BACKGROUNDS])
    second = np.stack([look(name, 1) for name in BACKGROUNDS])
    distances = np.linalg.norm(first[:, None] - second[None], axis=-1)
    assert (distances.argmin(1) == np.arange(len(BACKGROUNDS))).mean() >= 0.8


def test_smooth_noise_is_smooth_and_bounded():
    noise = smooth_noise(np.random.default_rng(0), 64, 4)
    assert noise.shape == (64, 64)
    assert np.abs(noise).max() < 1.6
    assert np.abs(np.diff(noise, axis=0)).max() < 0.35
