"""Making scenes: which shapes, where they are, what they do and when, drawn from a seed."""

import random
from fractions import Fraction
from typing import Final

import numpy as np

from converters.world.scene import COLOURS, Act, Kind, Scene, Shape, stamp_of

GROUNDS: Final = ((118, 124, 120), (168, 150, 122), (72, 104, 110), (140, 120, 140))
"""Background colours; none is near the colour of a shape."""

KINDS: Final[tuple[Kind, ...]] = ("circle", "square", "triangle", "star", "diamond")
SIZES: Final = ((192, 144), (240, 180), (320, 240), (144, 192), (256, 144), (176, 144))
"""Width, height in pixels, even as H.264 wants them; the fourth is a portrait."""

RATES: Final = (Fraction(25), Fraction(30000, 1001), Fraction(61, 10), Fraction(24), Fraction(30))
"""Frames per second; 6.1 is what the Charades video 0F7LW has."""

MAX_VIDEO_FRAMES: Final = 72
VISIBLE: Final = 0.3
"""A shape shows this share of its pixels or more in at least three frames of a scene (in the one of a still)."""


def make_scene(seed: str, number: int, *, num_frames: int | None = None) -> Scene:
    """The scene of ``seed``; ``number`` walks through sizes and frame rates, so that a few clips hold them all.

    Without ``num_frames`` it is 2 to 5 seconds long, at most 72 frames; with 1 it is a still.
    """
    for attempt in range(1000):
        scene = _draft(random.Random(f"{seed}/{attempt}"), number, num_frames)
        if _shows_everything(scene):
            return scene
    raise AssertionError(f"no scene for {seed!r} shows all its shapes")


def _draft(rng: random.Random, number: int, num_frames: int | None) -> Scene:
    width, height = SIZES[number % len(SIZES)]
    rate = RATES[number % len(RATES)]
    if num_frames is None:
        num_frames = min(round(float(rate) * rng.uniform(2.0, 4.9)), MAX_VIDEO_FRAMES)
    looks = _looks(rng, rng.choice((2, 3, 3, 4)))
    cells = rng.sample([(x, y) for x in (1, 3) for y in (1, 3)], len(looks))
    homes = [(width * x // 4 + rng.randint(-4, 4), height * y // 4 + rng.randint(-4, 4)) for x, y in cells]
    small = min(width, height)
    shapes = [
        _moving(rng, look, rng.randint(small // 9, small // 7), index, homes, (width, height), num_frames)
        for index, look in enumerate(looks)
    ]
    if num_frames == 1:
        shapes = _still_extras(rng, shapes, number)
    else:
        rng.shuffle(shapes)
    return Scene(width, height, num_frames, rate, rng.choice(GROUNDS), tuple(shapes))


def _looks(rng: random.Random, count: int) -> list[tuple[Kind, str]]:
    """Different (kind, colour) pairs; the first two share their colour every other time."""
    kinds = rng.sample(KINDS, count)
    colours = rng.sample(sorted(COLOURS), count)
    if rng.random() < 0.5:
        colours[1] = colours[0]
    return list(zip(kinds, colours, strict=True))


def _moving(
    rng: random.Random,
    look: tuple[Kind, str],
    radius: int,
    index: int,
    homes: list[tuple[int, int]],
    size: tuple[int, int],
    num_frames: int,
) -> Shape:
    home = homes[index]
    if num_frames < 8:
        return Shape(*look, radius, "stay", home, home)
    acts: tuple[Act, ...] = ("stay", "cross", "cross", "leave", "enter", "blink")
    act: Act = "move" if index == 0 else rng.choice(acts)
    begin, end = rng.randint(num_frames // 6, num_frames // 3), rng.randint(num_frames * 3 // 5, num_frames * 7 // 8)
    if act == "stay":
        return Shape(*look, radius, act, home, home)
    if act == "blink":
        return Shape(*look, radius, act, home, home, absent=(begin, end))
    if act == "cross":
        other = homes[0]
        stop = (2 * other[0] - home[0], 2 * other[1] - home[1])
        stop = (min(max(stop[0], radius), size[0] - radius), min(max(stop[1], radius), size[1] - radius))
        return Shape(*look, radius, act, home, stop, begin, end)
    axis = rng.randrange(2)
    forth = home[axis] * 2 < size[axis]
    if act == "move":
        target = round(size[axis] * (rng.uniform(0.68, 0.8) if forth else rng.uniform(0.2, 0.32)))
        return Shape(*look, radius, act, home, _along(home, axis, target), begin, end)
    outside = _along(home, axis, -radius - 2 if forth else size[axis] + radius + 2)
    if act == "leave":
        return Shape(*look, radius, act, home, outside, begin, end)
    return Shape(*look, radius, act, outside, home, begin, end)


def _along(home: tuple[int, int], axis: int, target: int) -> tuple[int, int]:
    return (target, home[1]) if axis == 0 else (home[0], target)


def _still_extras(rng: random.Random, shapes: list[Shape], number: int) -> list[Shape]:
    """A bar that splits the first shape in two in every second still, a crowd of dots in every third."""
    free = [colour for colour in sorted(COLOURS) if colour not in {shape.colour for shape in shapes}]
    bar, crowd = rng.sample(free, 2)
    first = shapes[0]
    if number % 2 == 0:
        shapes = [*shapes, Shape("bar", bar, first.radius, "stay", first.start, first.start)]
    if number % 3 == 0:
        centre = shapes[1].start
        shapes = [shape for shape in shapes if shape.start != centre]
        shapes = [*shapes, Shape("dots", crowd, first.radius * 4 // 5, "stay", centre, centre)]
    return shapes


def _shows_everything(scene: Scene) -> bool:
    frames = range(0, scene.num_frames, max(scene.num_frames // 12, 1))
    wanted = min(3, len(frames))
    seen = np.zeros(len(scene.shapes), int)
    for frame in frames:
        areas = np.bincount(scene.owners(frame).ravel(), minlength=len(scene.shapes) + 1)[1:]
        whole = np.array([stamp_of(shape.kind, shape.radius).sum() for shape in scene.shapes])
        seen += areas >= VISIBLE * whole
    return bool((seen >= wanted).all())
