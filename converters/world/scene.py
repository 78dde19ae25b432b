"""Scenes of moving shapes whose every mask, box and time is known exactly.

A shape is a bitmap stamped at whole-pixel positions, so the picture and the masks come from the same arithmetic:
whatever is painted last at a pixel owns it. Pixels have x to the right and y down; frames count from 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Bitmap = NDArray[np.bool_]
Picture = NDArray[np.uint8]
Boxes = NDArray[np.int16]
Kind = Literal["circle", "square", "triangle", "star", "diamond", "bar", "dots"]
Act = Literal["stay", "move", "cross", "leave", "enter", "blink"]

COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (215, 45, 45),
    "green": (40, 165, 70),
    "blue": (50, 80, 215),
    "yellow": (230, 210, 60),
    "purple": (150, 65, 190),
    "orange": (235, 140, 40),
    "white": (238, 238, 238),
    "black": (22, 22, 22),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """One object: at ``start`` before frame ``begin``, at ``stop`` from frame ``end`` on, on a line between.

    ``radius`` in pixels; ``absent`` is the half-open frame range in which it does not exist, or None.
    """

    kind: Kind
    colour: str
    radius: int
    act: Act
    start: tuple[int, int]
    stop: tuple[int, int]
    begin: int = 0
    end: int = 0
    absent: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        return f"{self.colour} {self.kind}"

    def exists(self, frame: int) -> bool:
        return self.absent is None or not self.absent[0] <= frame < self.absent[1]

    def centre(self, frame: int) -> tuple[int, int]:
        """x, y of the centre pixel."""
        if frame < self.begin or self.begin == self.end:
            return self.start
        if frame >= self.end:
            return self.stop
        done, whole = frame - self.begin, self.end - self.begin
        (x0, y0), (x1, y1) = self.start, self.stop
        return x0 + (x1 - x0) * done // whole, y0 + (y1 - y0) * done // whole


@dataclass(frozen=True, slots=True)
class Scene:
    """A clip: its shapes from the back to the front, and its size (pixels), length and frames per second."""

    width: int
    height: int
    num_frames: int
    rate: Fraction
    ground: tuple[int, int, int]
    shapes: tuple[Shape, ...]

    @property
    def fps(self) -> float:
        return float(self.rate)

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.num_frames / self.fps

    def owners(self, frame: int) -> Picture:
        """[height, width]: 0 for the background, else 1 + the index of the shape that is seen at the pixel."""
        canvas = np.zeros((self.height, self.width), np.uint8)
        for index, shape in enumerate(self.shapes):
            _paint(canvas, shape, frame, index + 1)
        return canvas

    def mask(self, index: int, frame: int) -> Bitmap:
        """[height, width]: the visible pixels of shape ``index``: the shape minus what is in front of it."""
        canvas = np.zeros((self.height, self.width), np.bool_)
        _paint(canvas, self.shapes[index], frame, True)
        for shape in self.shapes[index + 1 :]:
            _paint(canvas, shape, frame, False)
        return canvas

    def picture(self, frame: int) -> Picture:
        """[height, width, 3] RGB."""
        canvas = _background(self.width, self.height, self.ground).copy()
        for shape in self.shapes:
            _paint(canvas, shape, frame, COLOURS[shape.colour])
        return canvas

    def boxes(self) -> Boxes:
        """[shape, frame, 4]: xyxy of the visible pixels, x2 and y2 one past the last; all -1 where there are none."""
        out = np.full((len(self.shapes), self.num_frames, 4), -1, np.int16)
        for frame in range(self.num_frames):
            owners = self.owners(frame)
            for index in range(len(self.shapes)):
                own = owners == index + 1
                xs, ys = np.flatnonzero(own.any(0)), np.flatnonzero(own.any(1))
                if xs.size:
                    out[index, frame] = xs[0], ys[0], xs[-1] + 1, ys[-1] + 1
        return out


def _paint(canvas: NDArray[Any], shape: Shape, frame: int, value: Any) -> None:
    if not shape.exists(frame):
        return
    stamp = stamp_of(shape.kind, shape.radius)
    reach = stamp.shape[0] // 2
    height, width = canvas.shape[:2]
    x, y = shape.centre(frame)
    left, top = x - reach, y - reach
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(x + reach + 1, width), min(y + reach + 1, height)
    if x0 < x1 and y0 < y1:
        canvas[y0:y1, x0:x1][stamp[y0 - top : y1 - top, x0 - left : x1 - left]] = value


@lru_cache(maxsize=64)
def _background(width: int, height: int, ground: tuple[int, int, int]) -> Picture:
    """The ground colour with a faint weave of at most ±6, the same in all frames."""
    ys, xs = np.mgrid[:height, :width]
    weave = 4 * np.sin(xs / 9.0) + 2 * np.cos(ys / 7.0)
    return np.clip(np.rint(np.array(ground) + weave[..., None]), 0, 255).astype(np.uint8)


# ---------------------------------------------------------------------------------------------- the shapes


@lru_cache(maxsize=1024)
def stamp_of(kind: Kind, radius: int) -> Bitmap:
    """The pixels of a shape, centred in a square of odd side."""
    reach = radius * 2 if kind in ("bar", "dots") else radius
    side = 2 * reach + 1
    out = np.zeros((side, side), np.bool_)
    for part in _outline(kind, radius):
        out |= _inside(part, side, reach)
    return out


def _outline(kind: Kind, radius: int) -> list[list[tuple[float, float]]]:
    """The polygons of a shape around (0, 0)."""
    if kind == "square":
        side = radius * 0.86
        return [[(-side, -side), (side, -side), (side, side), (-side, side)]]
    if kind == "bar":
        half, tall = max(radius / 4, 3), radius * 1.8
        return [[(-half, -tall), (half, -tall), (half, tall), (-half, tall)]]
    if kind == "dots":
        ring = [_round(5, radius * 1.3, math.pi / 5 * 0.5)[i] for i in range(5)]
        return [[(x + cx, y + cy) for x, y in _round(12, radius * 0.45)] for cx, cy in [(0.0, 0.0), *ring]]
    if kind == "star":
        outer, inner = _round(5, radius, -math.pi / 2), _round(5, radius * 0.5, -math.pi / 2 + math.pi / 5)
        return [[point for pair in zip(outer, inner, strict=True) for point in pair]]
    if kind == "triangle":
        return [_round(3, radius, -math.pi / 2)]
    if kind == "diamond":
        return [[(0, -radius), (radius * 0.7, 0), (0, radius), (-radius * 0.7, 0)]]
    return [_round(40, radius)]


def _round(corners: int, radius: float, turn: float = 0.0) -> list[tuple[float, float]]:
    angles = [turn + 2 * math.pi * i / corners for i in range(corners)]
    return [(radius * math.cos(a), radius * math.sin(a)) for a in angles]


def _inside(polygon: Sequence[tuple[float, float]], side: int, reach: int) -> Bitmap:
    """Pixels whose centre lies inside the polygon, by the even-odd rule."""
    ys, xs = np.mgrid[:side, :side] - reach
    out = np.zeros((side, side), np.bool_)
    for (x0, y0), (x1, y1) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        if y0 != y1:
            crosses = (y0 > ys) != (y1 > ys)
            out ^= crosses & (xs < (x1 - x0) * (ys - y0) / (y1 - y0) + x0)
    return out
