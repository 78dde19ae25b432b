"""What is true of two shapes, and in which frames: above, beneath, next to, on the way towards."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from converters.world.scene import Boxes, Scene, Shape

SHORTEST: Final = 4
"""A relation holds for this many frames or more."""


@dataclass(frozen=True, slots=True)
class Relation:
    """``subject`` and ``object`` are indices of shapes and VidOR's tids; frames are half-open."""

    subject: int
    predicate: str
    object: int
    begin: int
    end: int


Holds = Callable[[Shape, Shape, int], bool]


def _above(subject: Shape, other: Shape, frame: int) -> bool:
    return subject.centre(frame)[1] + subject.radius < other.centre(frame)[1] - other.radius // 2


def _next_to(subject: Shape, other: Shape, frame: int) -> bool:
    (x0, y0), (x1, y1) = subject.centre(frame), other.centre(frame)
    reach = subject.radius + other.radius
    return abs(y0 - y1) * 2 < reach and reach < abs(x0 - x1) < 5 * reach


def _towards(subject: Shape, other: Shape, frame: int) -> bool:
    """The subject moves, the other one does not, and they come closer by the next frame."""
    still = other.act in ("stay", "blink") and subject.begin <= frame < subject.end
    return still and _distance(subject, other, frame + 1) < _distance(subject, other, frame)


def _distance(subject: Shape, other: Shape, frame: int) -> float:
    (x0, y0), (x1, y1) = subject.centre(frame), other.centre(frame)
    return float(np.hypot(x0 - x1, y0 - y1))


PREDICATES: Final[tuple[tuple[str, str, Holds], ...]] = (
    ("above", "beneath", _above),
    ("beneath", "above", lambda subject, other, frame: _above(other, subject, frame)),
    ("next_to", "next to", _next_to),
    ("towards", "approached by", _towards),
)
"""(name, how the other one is to the subject, whether it holds in a frame)."""


def relations_of(scene: Scene, boxes: Boxes) -> Iterator[Relation]:
    """At most four: the runs of frames in which a predicate holds between two shapes that are both seen."""
    found = 0
    for name, _, holds in PREDICATES:
        for a, b in ((0, 1), (1, 0)) if name == "towards" else ((0, 1),):
            subject, other = scene.shapes[a], scene.shapes[b]
            seen = (boxes[a, :, 2] >= 0) & (boxes[b, :, 2] >= 0)
            true = [bool(seen[f]) and holds(subject, other, f) for f in range(scene.num_frames)]
            for begin, end in _runs(true):
                if end - begin >= SHORTEST and found < 4:
                    found += 1
                    yield Relation(a, name, b, begin, end)


def _runs(values: list[bool]) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff([0, *map(int, values), 0]))
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
