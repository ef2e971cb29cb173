"""Draws the ten objects of the built-in world: a plainer body, and the parts that tell what it is.

Shapes are given in a box of [-1, 1] × [-1, 1], x to the right and y down. Every stroke goes onto the picture and onto
the ground truth with the same coordinates and without antialiasing, so the ground truth is exact.
"""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import ImageDraw

Rng = np.random.Generator
Colour = tuple[int, int, int]
Point = tuple[float, float]

DARK: Colour = (35, 35, 40)
LIGHT: Colour = (240, 240, 235)
ORANGE: Colour = (240, 140, 30)
# Share of the colours that are about those of the class; the others are any.
USUAL_SHARE = 0.8
# Of body and trim, by class.
USUAL_COLOURS: dict[str, tuple[tuple[Colour, ...], Colour]] = {
    "aeroplane": (((225, 228, 235), (190, 198, 212)), (45, 80, 190)),
    "bird": (((190, 50, 110), (140, 60, 170)), (90, 40, 130)),
    "boat": (((150, 60, 45), (90, 50, 35)), (215, 40, 50)),
    "camel": (((195, 140, 85), (165, 110, 65)), (105, 65, 40)),
    "car": (((35, 65, 200), (200, 25, 45)), (60, 60, 70)),
    "fish": (((245, 115, 30), (250, 195, 50)), (250, 160, 40)),
    "lamp": (((110, 85, 120), (85, 80, 100)), (200, 60, 140)),
    "penguin": (((25, 30, 50), (45, 50, 75)), (240, 140, 30)),
    "sheep": (((240, 235, 220), (215, 208, 195)), (60, 50, 50)),
    "train": (((30, 125, 80), (20, 95, 100)), (245, 215, 60)),
}
_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 20)), np.sin(np.linspace(0, 2 * np.pi, 20))], axis=1)


class Pencil:
    """Draws polygons on a picture and on its ground truth, scaled, mirrored and turned as drawn at the start."""

    def __init__(
        self,
        rng: Rng,
        surfaces: Sequence[tuple[ImageDraw.ImageDraw, int | None]],
        centre: Point,
        radius: float,
        name: str,
    ) -> None:
        """Choose this object's colours and its place.

        Args:
            rng: Source of everything that varies.
            surfaces: (draw, value) pairs; value None takes the colour, a number is drawn as it is.
            centre: (x, y) in pixels.
            radius: Half of the object's box in pixels.
            name: The class, one of OBJECTS: its usual colours are likely.
        """
        self._surfaces = surfaces
        turn = rng.uniform(-0.2, 0.2)
        stretch = radius * np.exp(rng.uniform(-0.12, 0.12, 2)) * np.array([rng.choice((-1.0, 1.0)), 1.0])
        rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        self._matrix = stretch[:, None] * rotation
        self._centre = np.asarray(centre)
        bodies, trim = USUAL_COLOURS[name]
        self.body = _draw_colour(rng, bodies)
        self.mark = _shifted(self.body, -45 if sum(self.body) > 300 else 45)
        self.trim = _draw_colour(rng, (trim,))

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill a polygon given in box coordinates."""
        placed = [tuple(p) for p in np.asarray(points) @ self._matrix.T + self._centre]
        for draw, value in self._surfaces:
            draw.polygon(placed, fill=colour if value is None else value)

    def ellipse(self, x: float, y: float, radius_x: float, radius_y: float, colour: Colour) -> None:
        """Fill an ellipse given in box coordinates."""
        self.polygon([(x + radius_x * u, y + radius_y * v) for u, v in _CIRCLE], colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Fill a rectangle given in box coordinates."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)


def _draw_colour(rng: Rng, usual: Sequence[Colour]) -> Colour:
    if rng.random() >= USUAL_SHARE:
        red, green, blue = rng.integers(40, 235, 3).tolist()
    else:
        near = np.array(usual[int(rng.integers(len(usual)))]) + rng.integers(-30, 31, 3)
        red, green, blue = np.clip(near, 10, 250).tolist()
    return red, green, blue


def _shifted(colour: Colour, by: int) -> Colour:
    red, green, blue = np.clip(np.array(colour) + by, 10, 250).tolist()
    return red, green, blue


def draw_aeroplane(pencil: Pencil) -> None:
    """Long fuselage; tells by swept wings and fin."""
    pencil.polygon([(0.05, -0.05), (-0.35, -0.5), (-0.15, -0.5), (0.4, -0.05)], pencil.trim)
    pencil.ellipse(0, 0, 0.98, 0.24, pencil.body)
    pencil.polygon([(-0.98, 0), (-0.6, 0), (-0.85, -0.55), (-1.05, -0.55)], pencil.trim)
    pencil.polygon([(-0.15, 0.05), (0.4, 0.05), (-0.3, 0.7), (-0.6, 0.7)], pencil.trim)
    pencil.box(-0.8, 0.08, 0.9, 0.13, pencil.mark)
    for x in (-0.5, -0.3, -0.1, 0.1, 0.3, 0.5, 0.7):
        pencil.ellipse(x, -0.07, 0.05, 0.06, DARK)


def draw_bird(pencil: Pencil) -> None:
    """Round body; tells by head, beak and raised wing."""
    pencil.polygon([(-0.4, 0.1), (-1, -0.05), (-0.95, 0.35)], pencil.trim)
    pencil.ellipse(-0.05, 0.2, 0.6, 0.42, pencil.body)
    for x, y in ((-0.4, 0.3), (-0.2, 0.45), (0, 0.3), (0.2, 0.45), (0.35, 0.25)):
        pencil.polygon([(x - 0.1, y), (x, y + 0.1), (x + 0.1, y), (x, y + 0.04)], pencil.mark)
    pencil.polygon([(-0.3, 0.2), (0.25, 0.1), (-0.25, -0.85)], pencil.trim)
    pencil.ellipse(0.55, -0.25, 0.26, 0.26, pencil.body)
    pencil.polygon([(0.76, -0.35), (1.1, -0.2), (0.76, -0.1)], ORANGE)
    pencil.ellipse(0.6, -0.3, 0.07, 0.07, DARK)
    pencil.box(-0.15, 0.58, -0.05, 0.95, ORANGE)
    pencil.box(0.1, 0.58, 0.2, 0.95, ORANGE)


def draw_boat(pencil: Pencil) -> None:
    """Plain hull; tells by mast and sails."""
    pencil.polygon([(-1, 0.25), (1, 0.25), (0.7, 0.9), (-0.7, 0.9)], pencil.body)
    pencil.box(-0.85, 0.42, 0.85, 0.49, pencil.mark)
    pencil.box(-0.76, 0.65, 0.76, 0.72, pencil.mark)
    pencil.box(-0.06, -1, 0.06, 0.25, DARK)
    pencil.polygon([(0.12, -0.95), (0.85, 0.12), (0.12, 0.12)], LIGHT)
    pencil.polygon([(-0.12, -0.7), (-0.65, 0.12), (-0.12, 0.12)], pencil.trim)


def draw_camel(pencil: Pencil) -> None:
    """Heavy body on legs; tells by hump, neck and head."""
    for x in (-0.6, -0.3, 0.2, 0.45):
        pencil.box(x, 0.3, x + 0.14, 1, pencil.body)
    pencil.ellipse(-0.05, 0.15, 0.68, 0.34, pencil.body)
    for x, y in ((-0.45, 0.2), (-0.15, 0.3), (0.15, 0.2), (0.4, 0.3)):
        pencil.ellipse(x, y, 0.09, 0.07, pencil.mark)
    pencil.polygon([(-0.55, 0), (-0.3, -0.65), (-0.05, 0)], pencil.trim)
    pencil.polygon([(0, 0), (0.2, -0.6), (0.4, 0)], pencil.trim)
    pencil.polygon([(0.45, 0.15), (0.68, -0.6), (0.86, -0.6), (0.65, 0.3)], pencil.body)
    pencil.ellipse(0.85, -0.62, 0.24, 0.14, pencil.body)
    pencil.ellipse(0.82, -0.66, 0.06, 0.06, DARK)


def draw_car(pencil: Pencil) -> None:
    """Boxy body; tells by wheels and windows."""
    pencil.polygon([(-0.6, 0), (-0.35, -0.5), (0.35, -0.5), (0.65, 0)], pencil.body)
    pencil.box(-1, -0.02, 1, 0.45, pencil.body)
    pencil.polygon([(-0.45, -0.02), (-0.27, -0.38), (0, -0.38), (0, -0.02)], (190, 220, 235))
    pencil.polygon([(0.08, -0.02), (0.08, -0.38), (0.3, -0.38), (0.48, -0.02)], (190, 220, 235))
    pencil.box(-1, 0.17, 1, 0.23, pencil.mark)
    pencil.box(0.02, 0, 0.07, 0.43, pencil.mark)
    pencil.box(0.88, 0.02, 1, 0.15, (250, 240, 150))
    pencil.box(-1, 0.02, -0.88, 0.15, (220, 40, 30))
    for x in (-0.55, 0.55):
        pencil.ellipse(x, 0.45, 0.28, 0.28, DARK)
        pencil.ellipse(x, 0.45, 0.11, 0.11, LIGHT)


def draw_fish(pencil: Pencil) -> None:
    """Oval body; tells by forked tail, stripes and eye."""
    pencil.polygon([(-0.45, 0), (-1, -0.55), (-0.8, 0), (-1, 0.55)], pencil.trim)
    pencil.polygon([(-0.2, -0.3), (0.1, -0.75), (0.35, -0.3)], pencil.trim)
    pencil.ellipse(0.15, 0, 0.75, 0.48, pencil.body)
    for x, y in ((-0.35, 0.1), (-0.3, -0.12), (0.08, 0.2), (0.1, -0.15), (0.43, 0.15), (0.5, -0.25), (0.6, 0.2)):
        pencil.ellipse(x, y, 0.06, 0.06, pencil.mark)
    pencil.box(-0.15, -0.4, -0.02, 0.4, LIGHT)
    pencil.box(0.2, -0.45, 0.33, 0.45, LIGHT)
    pencil.ellipse(0.62, -0.12, 0.13, 0.13, LIGHT)
    pencil.ellipse(0.65, -0.12, 0.07, 0.07, DARK)


def draw_lamp(pencil: Pencil) -> None:
    """Plain stand; tells by its bright shade."""
    pencil.box(-0.17, -0.1, 0.17, 0.8, pencil.body)
    for y in (0.05, 0.3, 0.55):
        pencil.box(-0.22, y, 0.22, y + 0.09, pencil.mark)
    pencil.ellipse(0, 0.8, 0.6, 0.2, pencil.body)
    pencil.polygon([(-0.35, -1), (0.35, -1), (0.75, -0.1), (-0.75, -0.1)], (250, 225, 110))
    pencil.box(-0.75, -0.2, 0.75, -0.08, pencil.trim)


def draw_penguin(pencil: Pencil) -> None:
    """Upright body; tells by white belly, beak and feet."""
    pencil.polygon([(-0.35, -0.3), (-0.85, 0.4), (-0.3, 0.3)], pencil.body)
    pencil.polygon([(0.35, -0.3), (0.85, 0.4), (0.3, 0.3)], pencil.body)
    pencil.ellipse(0, 0.2, 0.52, 0.75, pencil.body)
    pencil.ellipse(0, -0.65, 0.34, 0.34, pencil.body)
    pencil.ellipse(0.05, 0.3, 0.3, 0.52, LIGHT)
    pencil.polygon([(0.2, -0.72), (0.62, -0.6), (0.2, -0.5)], ORANGE)
    pencil.ellipse(-0.25, 0.95, 0.2, 0.1, ORANGE)
    pencil.ellipse(0.25, 0.95, 0.2, 0.1, ORANGE)


def draw_sheep(pencil: Pencil) -> None:
    """Woolly body; tells by dark head and legs."""
    for x in (-0.55, -0.25, 0.15, 0.4):
        pencil.box(x, 0.4, x + 0.13, 0.95, DARK)
    for x, y, r in ((-0.5, 0, 0.4), (-0.1, -0.15, 0.45), (0.35, -0.05, 0.4), (-0.2, 0.25, 0.42), (0.25, 0.28, 0.36)):
        pencil.ellipse(x, y, r, r * 0.85, pencil.body)
    for x, y in ((-0.6, -0.1), (-0.35, 0.15), (-0.1, -0.2), (0.1, 0.1), (0.35, -0.2), (0.4, 0.25), (-0.1, 0.4)):
        pencil.ellipse(x, y, 0.12, 0.1, pencil.mark)
        pencil.ellipse(x + 0.03, y + 0.02, 0.07, 0.06, pencil.body)
    pencil.ellipse(0.78, -0.25, 0.25, 0.32, DARK)
    pencil.polygon([(0.6, -0.45), (0.4, -0.6), (0.62, -0.3)], DARK)
    pencil.ellipse(0.85, -0.32, 0.06, 0.06, LIGHT)


def draw_train(pencil: Pencil) -> None:
    """Long plain wagon; tells by its row of windows, stripe and bogies."""
    pencil.box(-1.1, -0.5, 1.1, 0.45, pencil.body)
    pencil.polygon([(1.1, -0.5), (1.3, 0.1), (1.3, 0.45), (1.1, 0.45)], pencil.body)
    for x in (-0.58, -0.13, 0.32, 0.77):
        pencil.box(x, -0.45, x + 0.05, 0.42, pencil.mark)
    pencil.box(-1.1, 0.2, 1.3, 0.3, pencil.trim)
    for x in (-0.95, -0.5, -0.05, 0.4, 0.82):
        pencil.box(x, -0.32, x + 0.3, 0.05, (190, 220, 235))
    for x in (-0.8, -0.45, 0.45, 0.8):
        pencil.ellipse(x, 0.5, 0.15, 0.15, DARK)


DRAWERS: dict[str, Callable[[Pencil], None]] = {
    "aeroplane": draw_aeroplane,
    "bird": draw_bird,
    "boat": draw_boat,
    "camel": draw_camel,
    "car": draw_car,
    "fish": draw_fish,
    "lamp": draw_lamp,
    "penguin": draw_penguin,
    "sheep": draw_sheep,
    "train": draw_train,
}
