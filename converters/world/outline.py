"""The outline of a bitmap as polygons along pixel edges, as COCO stores masks."""

import numpy as np

from converters.world.scene import Bitmap

Corner = tuple[int, int]
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # right, down, left, up: turning clockwise on screen


def polygons_of(mask: Bitmap) -> list[list[float]]:
    """One polygon [x1, y1, x2, y2, …] per connected part (by pixel sides); holes are not kept, as in COCO.

    COCO's rasterisation of these polygons gives the bitmap back, but for holes.
    """
    leaving = _edges(mask)
    parts: list[list[float]] = []
    while leaving:
        loop = _loop(leaving)
        if _signed_area(loop) > 0:
            parts.append([float(value) for corner in loop for value in corner])
    return parts


def _edges(mask: Bitmap) -> dict[Corner, list[int]]:
    """Corner → the directions of the boundary edges that leave it, walking with the inside on the right."""
    padded = np.pad(mask, 1)
    here = padded[1:-1, 1:-1]
    neighbours = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])  # up, right, down, left
    offsets = ((0, 0), (1, 0), (1, 1), (0, 1))  # where the edge of that side begins, clockwise
    leaving: dict[Corner, list[int]] = {}
    for direction, (neighbour, (dx, dy)) in enumerate(zip(neighbours, offsets, strict=True)):
        ys, xs = np.nonzero(here & ~neighbour)
        for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
            leaving.setdefault((x + dx, y + dy), []).append(direction)
    return leaving


def _loop(leaving: dict[Corner, list[int]]) -> list[Corner]:
    """One closed walk, taken out of ``leaving``; only the corners where it turns."""
    corner = first = min(leaving)
    direction = None
    loop: list[Corner] = []
    while direction is None or corner != first:
        turn = _take(leaving, corner, direction)
        if turn != direction:
            loop.append(corner)
        direction = turn
        corner = (corner[0] + _STEPS[turn][0], corner[1] + _STEPS[turn][1])
    return loop


def _take(leaving: dict[Corner, list[int]], corner: Corner, direction: int | None) -> int:
    """The next direction; where two parts touch at a corner, the sharpest right turn keeps them apart."""
    choices = leaving[corner]
    turn = choices[0] if direction is None or len(choices) == 1 else (direction + 1) % 4
    choices.remove(turn)
    if not choices:
        del leaving[corner]
    return turn


def _signed_area(loop: list[Corner]) -> int:
    """Positive for outer outlines (clockwise on screen), negative for the rims of holes."""
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(loop, [*loop[1:], loop[0]], strict=True))
