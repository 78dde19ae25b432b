"""Masks, outlines and sentences to draw from: random, smooth, of the size in bytes that real ones have."""

import math
import random
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from shards import rle

MASKS: Final = 200
TEXT: Final = (
    "the a person dog child man woman red blue small large left right behind holds walks runs jumps turns toward away "
    "from with under table car ball cup while slowly quickly second other door street water and then looks at"
)
WORDS: Final = TEXT.split()


@dataclass(frozen=True, slots=True)
class Mask:
    """Compressed counts in three parts. From the first run to the last one pixels can be moved: the mask then stands
    elsewhere, and is a mask that no other part of the release holds."""

    first: int
    middle: str
    last: int
    room: int

    def moved(self, by: int) -> str:
        return f"{_number(self.first + by)}{self.middle}{_number(self.last - by)}"


def masks(height: int, width: int, seed: int) -> list[Mask]:
    """``MASKS`` smooth blobs, from a ninth to half of the frame wide."""
    draw = random.Random(f"{seed}/{height}x{width}")
    return [_mask(rle.from_polygons([_blob(draw, height, width)], height, width)) for _ in range(MASKS)]


def _mask(counts: str) -> Mask:
    """Both runs are zeros. The last is stated as the difference to the run two before, which does not change."""
    runs = rle.run_lengths(counts).tolist()
    first, last = _number(runs[0]), _number(runs[-1] - runs[-3])
    assert len(runs) > 3, "a blob is more than two strips"
    assert counts == first + counts[len(first) : len(counts) - len(last)] + last, "the numbers are written otherwise"
    return Mask(runs[0], counts[len(first) : len(counts) - len(last)], runs[-1] - runs[-3], runs[-1])


def _number(value: int) -> str:
    """A number as COCO writes it: five bits a character, the lowest first, until the rest is the sign."""
    out = ""
    while True:
        bits, value = value & 31, value >> 5
        if value == (-1 if bits & 16 else 0):
            return out + chr(bits + 48)
        out += chr(bits + 80)


def _blob(draw: random.Random, height: int, width: int) -> list[float]:
    radius, flat = width * draw.uniform(0.055, 0.25), draw.uniform(0.6, 1.4)
    x, y = width * draw.uniform(0.25, 0.75), height * draw.uniform(0.3, 0.7)
    angle = np.linspace(0, 2 * math.pi, 400, endpoint=False)
    reach = np.ones_like(angle)
    for wave in range(2, 40):
        reach += draw.uniform(-0.35, 0.35) / wave * np.cos(wave * angle + draw.uniform(0, 2 * math.pi))
    points = np.stack([x + radius * reach * np.cos(angle), y + radius * flat * reach * np.sin(angle)], axis=1)
    return points.reshape(-1).tolist()


def polygons(draw: random.Random, height: int, width: int) -> list[list[float]]:
    """One to three outlines of COCO's kind: 12 to 60 points with two decimals, inside the frame."""
    return [_outline(draw, height, width) for _ in range(draw.choice((1, 1, 1, 2, 3)))]


def _outline(draw: random.Random, height: int, width: int) -> list[float]:
    points, radius = draw.randint(12, 60), min(height, width) * draw.uniform(0.05, 0.3)
    x, y = width * draw.uniform(0.3, 0.7), height * draw.uniform(0.3, 0.7)
    out: list[float] = []
    for k in range(points):
        reach, angle = radius * draw.uniform(0.8, 1.2), 2 * math.pi * k / points
        out += [round(x + reach * math.cos(angle), 2), round(y + reach * math.sin(angle), 2)]
    return out


def sentence(draw: random.Random, words: int) -> str:
    """About ``words`` words, and a number that makes two alike sentences rare."""
    count = max(1, round(words * draw.uniform(0.6, 1.4)))
    return " ".join([*draw.choices(WORDS, k=count), str(draw.randrange(10_000))])


def segmentation(draw: random.Random, pool: list[Mask], height: int, width: int) -> dict[str, Any]:
    """A compressed RLE as the releases hold it, of a blob of the pool somewhere else."""
    mask = draw.choice(pool)
    return {"size": [height, width], "counts": mask.moved(draw.randrange(mask.room))}
