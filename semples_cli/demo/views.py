"""Training views of the built-in world: whole scenes and partial ones, with what is still visible in each.

Two thirds of what the tiny CLIP sees is partial: objects on a plain canvas, bare backgrounds, and scenes of which a
rectangle is kept or blanked. Without them it would never learn where things are.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from semples_cli.config import WorldSettings
from semples_cli.demo.captions import CONCEPTS
from semples_cli.demo.names import OBJECTS
from semples_cli.demo.world import Scene, render_background, render_object, render_scene
from semples_cli.types import Progress

Rng = np.random.Generator
Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

# A concept counts as present if this share of its pixels is left, or this share of the view is covered by it, and as
# absent below the second pair; what lies between teaches nothing.
PRESENT_SHARE, PRESENT_PIXELS, LARGE_PIXELS = 0.4, 24 / 4096, 160 / 4096
ABSENT_SHARE, ABSENT_PIXELS = 0.1, 8 / 4096


@dataclass(frozen=True)
class Views:
    """One batch of views.

    Attributes:
        images: (B, S, S, 3) uint8.
        kept: (B, S, S) bool: False where the view is blanked.
        present: (B, 20) bool: concept c can be seen.
        absent: (B, 20) bool: concept c cannot be seen; where neither is true, it is undecided.
    """

    images: Bytes
    kept: Flags
    present: Flags
    absent: Flags


class ViewPool:
    """Scenes rendered once, from which views are drawn."""

    def __init__(
        self, world: WorldSettings, num_objects: int, num_backgrounds: int, progress: Progress | None = None
    ) -> None:
        """Render the pool.

        Args:
            world: The scenes; `num_images` of them.
            num_objects: Objects alone on a plain canvas, of seed + 1.
            num_backgrounds: Bare backgrounds, of seed + 2.
            progress: Called with (rendered, to render).
        """
        total = world.num_images + num_objects + num_backgrounds
        self._images = np.empty((total, world.size, world.size, 3), np.uint8)
        self._concepts = np.empty((total, world.size, world.size), np.uint8)
        objects = WorldSettings(seed=world.seed + 1, size=world.size, pairing=world.pairing)
        backgrounds = WorldSettings(seed=world.seed + 2, size=world.size, pairing=world.pairing)
        for n in range(total):
            if n < world.num_images:
                scene = render_scene(world, n)
            elif n < world.num_images + num_objects:
                scene = render_object(objects, n)
            else:
                scene = render_background(backgrounds, n)
            self._images[n], self._concepts[n] = scene.image, _concept_map(scene)
            if progress is not None and (n + 1) % 100 == 0:
                progress(n + 1, total)

    def __len__(self) -> int:
        return len(self._images)

    def draw(self, rng: Rng, batch_size: int, partial_share: float) -> Views:
        """Draw a batch: mirrored half of the time, `partial_share` of it with a rectangle kept or blanked."""
        chosen = rng.choice(len(self), batch_size, replace=False)
        images, concepts = self._images[chosen], self._concepts[chosen]
        mirrored = rng.random(batch_size) < 0.5
        images[mirrored] = images[mirrored][:, :, ::-1]
        concepts[mirrored] = concepts[mirrored][:, :, ::-1]
        kept = np.stack([_draw_window(rng, images.shape[1], partial_share) for _ in range(batch_size)])
        whole, visible = _count(concepts), _count(np.where(kept, concepts, 0))
        present = (whole > 0) & (
            (visible >= np.maximum(PRESENT_SHARE * whole, PRESENT_PIXELS)) | (visible >= LARGE_PIXELS)
        )
        absent = (whole == 0) | (visible <= np.minimum(ABSENT_SHARE * whole, ABSENT_PIXELS))
        return Views(images, kept, present, absent)


def _concept_map(scene: Scene) -> Bytes:
    """(S, S) uint8: 0 nothing, 1..10 objects, 11..20 backgrounds."""
    shown = np.where(scene.backgrounds > 0, scene.backgrounds + len(OBJECTS), 0)
    return np.where(scene.target > 0, scene.target, shown).astype(np.uint8)


def _count(concepts: Bytes) -> npt.NDArray[np.float64]:
    """(B, S, S) concept numbers → (B, 20) share of the view that each concept covers."""
    num_views, num_values = len(concepts), len(CONCEPTS) + 1
    offsets = np.arange(num_views)[:, None] * num_values
    flat = (concepts.reshape(num_views, -1) + offsets).ravel()
    counts = np.bincount(flat, minlength=num_views * num_values).reshape(num_views, num_values)
    shares: npt.NDArray[np.float64] = counts[:, 1:] / concepts[0].size
    return shares


def _draw_window(rng: Rng, size: int, partial_share: float) -> Flags:
    if rng.random() >= partial_share:
        return np.ones((size, size), bool)
    height, width = rng.integers(size // 4, 3 * size // 4 + 1, 2)
    top, left = rng.integers(0, size - height + 1), rng.integers(0, size - width + 1)
    blanked = rng.random() < 0.5
    kept = np.full((size, size), blanked)
    kept[top : top + height, left : left + width] = not blanked
    return kept
