"""Paints the ten backgrounds of the built-in world: colour, grain and pattern drawn anew each time."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

Canvas = npt.NDArray[np.float32]
Rng = np.random.Generator


def smooth_noise(rng: Rng, size: int, cells: int) -> Canvas:
    """(size, size) float32 of smooth noise in about [-1, 1] with `cells` bumps a side."""
    grid = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC))


def _colour(rng: Rng, red: float, green: float, blue: float, spread: float = 18) -> Canvas:
    return (np.array([red, green, blue]) + rng.uniform(-spread, spread, 3)).astype(np.float32)


def _grid(size: int) -> tuple[Canvas, Canvas]:
    """Rows and columns in units of 1/64 of the side, so that patterns keep their scale with the size."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (64 / size)
    return np.broadcast_to(axis[:, None], (size, size)), np.broadcast_to(axis[None, :], (size, size))


def _fill(colour: Canvas, shade: Canvas) -> Canvas:
    return colour + shade[..., None]


def paint_sky(rng: Rng, size: int) -> Canvas:
    """Blue gradient with soft white clouds."""
    y, _ = _grid(size)
    canvas = _fill(_colour(rng, 120, 175, 235), 0.7 * (y - 32))
    clouds = np.clip(smooth_noise(rng, size, 5) + 0.4 * smooth_noise(rng, size, 9) - 0.25, 0, 0.7)[..., None]
    return (canvas * (1 - clouds) + 245 * clouds).astype(np.float32)


def paint_tree(rng: Rng, size: int) -> Canvas:
    """Dark foliage in blobs, crossed by brown branches."""
    y, x = _grid(size)
    canvas = _fill(_colour(rng, 45, 90, 40), 32 * np.sign(smooth_noise(rng, size, 16)))
    for _ in range(4):
        slope, offset = rng.uniform(-1.2, 1.2), rng.uniform(0, 64)
        branch = np.abs(y - offset - slope * (x - 32) - 3 * np.sin(x / 9 + offset)) < rng.uniform(1.2, 2.6)
        canvas[branch] = _colour(rng, 90, 60, 35)
    return canvas


def paint_sea(rng: Rng, size: int) -> Canvas:
    """Deep blue with rows of waves."""
    y, x = _grid(size)
    waves = np.sin(y * rng.uniform(0.9, 1.3) + 1.6 * np.sin(x / rng.uniform(4, 7) + rng.uniform(0, 6)))
    return _fill(_colour(rng, 30, 85, 140), 26 * waves + 10 * smooth_noise(rng, size, 6))


def paint_desert(rng: Rng, size: int) -> Canvas:
    """Yellow sand with slanting ripples."""
    y, x = _grid(size)
    slant = rng.uniform(0.3, 0.7) * rng.choice((-1, 1))
    ripples = np.sin((y + slant * x) * 0.75 + 2 * smooth_noise(rng, size, 5))
    return _fill(_colour(rng, 215, 175, 105), 14 * ripples + 10 * smooth_noise(rng, size, 4))


def paint_road(rng: Rng, size: int) -> Canvas:
    """Grey asphalt with light dashes."""
    y, x = _grid(size)
    canvas = _fill(_colour(rng, 95, 95, 100, 12), 9 * rng.standard_normal((size, size)).astype(np.float32))
    phase, gap = rng.uniform(0, 24), rng.uniform(17, 24)
    lines = (np.abs((y + phase) % gap - 8) < 1.2) & ((x + 2 * phase) % 14 < 8)
    canvas[lines] = _colour(rng, 235, 225, 180)
    return canvas


def paint_reef(rng: Rng, size: int) -> Canvas:
    """Turquoise water over pink and orange corals."""
    canvas = _fill(_colour(rng, 40, 165, 165), 12 * smooth_noise(rng, size, 7))
    for red, green, blue in ((225, 95, 130), (235, 150, 60)):
        canvas[smooth_noise(rng, size, 13) > 0.42] = _colour(rng, red, green, blue)
    return canvas


def paint_wall(rng: Rng, size: int) -> Canvas:
    """Red bricks with pale joints."""
    y, x = _grid(size)
    y, x = y + rng.uniform(0, 7), x + rng.uniform(0, 13)
    row = np.floor(y / 7)
    joints = (y % 7 < 1.3) | ((x + 6.5 * (row % 2)) % 13 < 1.3)
    canvas = _fill(_colour(rng, 165, 80, 65), 12 * smooth_noise(rng, size, 10))
    canvas[joints] = _colour(rng, 205, 190, 175)
    return canvas


def paint_snow(rng: Rng, size: int) -> Canvas:
    """Near-white with bluish hollows and sparkles."""
    hollows = np.clip(smooth_noise(rng, size, 6), 0, 1)
    canvas = _fill(_colour(rng, 232, 238, 244, 8), -4 * np.ones((size, size), np.float32))
    canvas -= hollows[..., None] * np.array([70, 50, 18], np.float32)
    return canvas + 6 * rng.standard_normal((size, size, 1)).astype(np.float32)


def paint_grass(rng: Rng, size: int) -> Canvas:
    """Bright green in fine upright blades."""
    y, x = _grid(size)
    blades = np.sin(x * 2.1 + 2.5 * smooth_noise(rng, size, 12) + y / 5)
    return _fill(_colour(rng, 95, 170, 60), 22 * blades + 12 * smooth_noise(rng, size, 6))


def paint_railway(rng: Rng, size: int) -> Canvas:
    """Brown gravel with dark sleepers under bright rails."""
    y, x = _grid(size)
    canvas = _fill(_colour(rng, 130, 115, 100, 14), 22 * rng.standard_normal((size, size)).astype(np.float32))
    phase, period = rng.uniform(0, 20), rng.uniform(19, 25)
    track = (y + phase) % period
    canvas[(track < 13) & ((x + phase) % 8 < 3.2)] = _colour(rng, 70, 48, 35, 8)
    canvas[(np.abs(track - 3) < 0.9) | (np.abs(track - 10) < 0.9)] = _colour(rng, 200, 200, 210, 10)
    return canvas


PAINTERS: dict[str, Callable[[Rng, int], Canvas]] = {
    "sky": paint_sky,
    "tree": paint_tree,
    "sea": paint_sea,
    "desert": paint_desert,
    "road": paint_road,
    "reef": paint_reef,
    "wall": paint_wall,
    "snow": paint_snow,
    "grass": paint_grass,
    "railway": paint_railway,
}
