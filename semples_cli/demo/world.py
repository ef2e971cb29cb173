"""Renders scenes of the built-in world with exact ground truth.

A scene has two background regions. Each object stands on a region; with probability `bias` that region is painted with
the object's own background, else with one of the others.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from semples_cli.config import WorldSettings
from semples_cli.demo.backgrounds import PAINTERS, smooth_noise
from semples_cli.demo.names import BACKGROUNDS, OBJECTS, paired_backgrounds
from semples_cli.demo.objects import DRAWERS, Pencil

Rng = np.random.Generator
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """A rendered picture and everything that is true of it.

    Attributes:
        image: (S, S, 3) uint8.
        target: (S, S) uint8: 0 no object, k the k-th of OBJECTS (from 1).
        backgrounds: (S, S) uint8: 0 an object, b the b-th of BACKGROUNDS (from 1).
    """

    image: Bytes
    target: Bytes
    backgrounds: Bytes

    @property
    def object_names(self) -> tuple[str, ...]:
        """Objects with at least one visible pixel."""
        return tuple(OBJECTS[k - 1] for k in np.unique(self.target) if k)

    @property
    def background_names(self) -> tuple[str, ...]:
        """Backgrounds with at least one visible pixel."""
        return tuple(BACKGROUNDS[b - 1] for b in np.unique(self.backgrounds) if b)


def scene_rng(settings: WorldSettings, index: int) -> Rng:
    """The generator of scene `index`: scenes come in any order, and a longer world begins with a shorter one."""
    return np.random.default_rng((settings.seed, settings.pairing, index))


def render_scene(settings: WorldSettings, index: int) -> Scene:
    """Render scene number `index` of a world."""
    rng = scene_rng(settings, index)
    count = int(rng.choice(settings.max_objects, p=_count_odds(settings.max_objects))) + 1
    objects = [int(k) for k in rng.choice(len(OBJECTS), count, replace=False)]
    return _compose(rng, settings.size, objects, _choose_backgrounds(rng, settings, objects))


def render_object(settings: WorldSettings, index: int) -> Scene:
    """Render one object on a plain canvas, a scene of its own kind for training the tiny CLIP."""
    rng = scene_rng(settings, index)
    size = settings.size
    plain = np.broadcast_to(rng.uniform(0, 255, 3).astype(np.float32), (size, size, 3))
    return _finish(rng, plain, np.zeros((size, size), np.uint8), [(int(rng.integers(len(OBJECTS))), (0.5, 0.5))])


def render_background(settings: WorldSettings, index: int) -> Scene:
    """Render two backgrounds with no object on them, a scene of its own kind for training the tiny CLIP."""
    rng = scene_rng(settings, index)
    pair = [int(b) for b in rng.choice(len(BACKGROUNDS), 2, replace=False)]
    return _compose(rng, settings.size, [], pair)


def _count_odds(most: int) -> npt.NDArray[np.float64]:
    odds = 0.5 ** np.arange(most)
    return np.asarray(odds / odds.sum())


def _choose_backgrounds(rng: Rng, settings: WorldSettings, objects: list[int]) -> list[int]:
    """Two different background numbers; region r belongs to object r where there is one."""
    own = paired_backgrounds(settings.pairing)
    chosen: list[int] = []
    for region in range(2):
        wanted = BACKGROUNDS.index(own[objects[region]]) if region < len(objects) else -1
        if wanted < 0 or wanted in chosen or rng.random() >= settings.bias:
            others = [b for b in range(len(BACKGROUNDS)) if b != wanted and b not in chosen]
            wanted = int(rng.choice(others))
        chosen.append(wanted)
    return chosen


def _compose(rng: Rng, size: int, objects: list[int], backgrounds: list[int]) -> Scene:
    first, centres = _split(rng, size)
    canvas = np.where(
        first[..., None],
        PAINTERS[BACKGROUNDS[backgrounds[0]]](rng, size),
        PAINTERS[BACKGROUNDS[backgrounds[1]]](rng, size),
    )
    index = np.where(first, backgrounds[0] + 1, backgrounds[1] + 1).astype(np.uint8)
    placed = [
        (k, centres[n % 2] if n < 2 else (rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8))) for n, k in enumerate(objects)
    ]
    return _finish(rng, canvas, index, placed)


def _split(rng: Rng, size: int) -> tuple[npt.NDArray[np.bool_], list[tuple[float, float]]]:
    """A wavy border across the canvas: where region 0 lies, and a place for an object in each region."""
    axis = (np.arange(size) + 0.5) / size
    share = rng.uniform(0.45, 0.65)
    wave = rng.uniform(-0.15, 0.15) * (axis - 0.5) * 2 + 0.04 * np.sin(axis * rng.uniform(6, 14) + rng.uniform(0, 6))
    upright, swapped = rng.random() < 0.5, rng.random() < 0.5
    first = axis[:, None] < share + wave[None, :]
    along = rng.uniform(0.25, 0.75, 2)
    centres = [(float(along[0]), share / 2), (float(along[1]), (1 + share) / 2)]
    if swapped:
        first = first[::-1]
        centres = [(x, 1 - y) for x, y in centres]
    if upright:
        first = first.T
        centres = [(y, x) for x, y in centres]
    return first, centres


def _finish(
    rng: Rng, canvas: npt.NDArray[np.float32], backgrounds: Bytes, placed: list[tuple[int, tuple[float, float]]]
) -> Scene:
    """Draw the objects, then light the whole scene."""
    size = backgrounds.shape[0]
    picture = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    target = Image.new("L", (size, size), 0)
    room = 0.46 if len(placed) <= 1 else 0.37
    for k, (x, y) in placed:
        surfaces = ((ImageDraw.Draw(picture), None), (ImageDraw.Draw(target), k + 1))
        radius = size * rng.uniform(0.6, 1) * room
        name = OBJECTS[k]
        DRAWERS[name](Pencil(rng, surfaces, (x * size, y * size), radius, name))
    light = 1 + 0.12 * smooth_noise(rng, size, 3) + rng.uniform(-0.12, 0.12)
    grain = 5 * rng.standard_normal((size, size, 3)).astype(np.float32)
    image = np.clip(np.asarray(picture, np.float32) * light[..., None] + grain, 0, 255).astype(np.uint8)
    values = np.array(target)
    return Scene(image, values, np.where(values > 0, 0, backgrounds).astype(np.uint8))
