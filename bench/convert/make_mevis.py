"""MeViS train at its size: expressions, a mask list per object in a ``mask_dict.json`` of 411 MB, frame folders."""

import random
from pathlib import Path
from typing import Any, Final

from bench.convert.media import Links
from bench.convert.pool import Mask, masks, segmentation, sentence
from bench.convert.sizes import MEVIS_EXPRESSIONS, MEVIS_FRAMES, MEVIS_OBJECTS, MEVIS_VIDEOS, scaled
from converters.world.raw import JsonFile, write_json

SIZES: Final = ((720, 1280), (720, 1280), (720, 1280), (720, 1280), (1080, 1920))
HIDDEN: Final = 0.1
"""The share of frames on which an object is not visible."""


def write_mevis(root: Path, scale: float) -> None:
    """``train/`` below ``root``."""
    draw, links, videos = random.Random("mevis"), Links(root / "pool"), {}
    pools = {size: masks(*size, seed=1) for size in set(SIZES)}
    count = scaled(MEVIS_VIDEOS, scale)
    with JsonFile(root / "train/mask_dict.json", "{}") as mask_dict:
        for number in range(count):
            size, frames = SIZES[number % len(SIZES)], draw.randint(MEVIS_FRAMES // 2, MEVIS_FRAMES * 3 // 2)
            name = f"{number:012x}"
            _link_frames(root / "train/JPEGImages" / name, links, size, frames)
            annos = range(number * MEVIS_OBJECTS, (number + 1) * MEVIS_OBJECTS)
            for anno in annos:
                mask_dict.put(str(anno), [_mask(draw, pools[size], size) for _ in range(frames)])
            expressions = round((number + 1) * MEVIS_EXPRESSIONS / MEVIS_VIDEOS) - round(
                number * MEVIS_EXPRESSIONS / MEVIS_VIDEOS
            )
            videos[name] = {
                "vid_id": number,
                "frames": [f"{k:05}" for k in range(frames)],
                "expressions": {str(k): _expression(draw, annos) for k in range(expressions)},
            }
    write_json(root / "train/meta_expressions.json", {"videos": videos})


def _link_frames(folder: Path, links: Links, size: tuple[int, int], frames: int) -> None:
    folder.mkdir(parents=True)
    for k in range(frames):
        links.still(folder / f"{k:05}.jpg", *size)


def _mask(draw: random.Random, pool: list[Mask], size: tuple[int, int]) -> dict[str, Any] | None:
    return None if draw.random() < HIDDEN else segmentation(draw, pool, *size)


def _expression(draw: random.Random, annos: range) -> dict[str, Any]:
    chosen = sorted(draw.sample(annos, draw.choice((1, 1, 1, 2, 3))))
    return {"exp": sentence(draw, 7), "obj_id": [anno - annos[0] for anno in chosen], "anno_id": chosen}
