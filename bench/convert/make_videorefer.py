"""The three files of VideoRefer-700K at their sizes, all masks compressed RLE at 720p."""

import random
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from bench.convert.media import Links
from bench.convert.pool import Mask, masks, segmentation, sentence
from bench.convert.sizes import VIDEOREFER, Subset, scaled
from converters.videorefer import SUBSETS
from converters.world.raw import JsonFile

SIZE: Final = (720, 1280)
LENGTH: Final = 240
"""Frames of a video: eight seconds."""


def write_videorefer(root: Path, subset: str, scale: float) -> None:
    """The subset's file and its videos below ``root``."""
    size, draw, links = VIDEOREFER[subset], random.Random(subset), Links(root / "pool")
    pool, folder = masks(*SIZE, seed=2), root / "VideoRefer-700K/videos"
    folder.mkdir(parents=True)
    with JsonFile(root / SUBSETS[subset].file) as file:
        for number in range(scaled(size.items, scale)):
            video = f"{number // size.per_video:011}_0:00:00.000_0:00:08.000.mp4"
            if number % size.per_video == 0:
                links.video(folder / video, *SIZE, LENGTH, Fraction(30))
            file.append(_item(draw, pool, size, number, f"videos/{video}"))


def _item(draw: random.Random, pool: list[Mask], size: Subset, number: int, video: str) -> dict[str, Any]:
    """Half of the items with several frames have one all the same (SOURCES: detailed and QA)."""
    count = 1 if number % 2 else draw.randint(1, size.frames)
    frames = sorted(draw.sample(range(LENGTH), count))
    objects = [_object(draw, pool, frames) for _ in range(size.objects)]
    return {"id": number, "video": video, "conversations": _turns(draw, size), "annotation": objects}


def _object(draw: random.Random, pool: list[Mask], frames: list[int]) -> dict[str, Any]:
    return {str(frame): {"segmentation": segmentation(draw, pool, *SIZE)} for frame in frames}


def _turns(draw: random.Random, size: Subset) -> list[dict[str, str]]:
    regions = " and ".join(["<region>"] * size.objects)
    questions = [f"<video>\nWhat is {regions} doing?", *(f"And {sentence(draw, 8)}?" for _ in range(size.turns - 1))]
    turns: list[dict[str, str]] = []
    for question in questions:
        turns.append({"from": "human", "value": question})
        turns.append({"from": "gpt", "value": f"{sentence(draw, size.words)}."})
    return turns
