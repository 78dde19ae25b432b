"""Charades-STA at its size: lines of text, videos of half a minute."""

import random
from fractions import Fraction
from pathlib import Path
from typing import Final

from bench.convert.media import Links
from bench.convert.pool import sentence
from bench.convert.sizes import CHARADES, scaled
from converters.charades_sta import VIDEOS

FRAMES: Final = (600, 750, 900, 1050)
RATE: Final = Fraction(30)


def write_charades(root: Path, scale: float, annotations: Path | None = None) -> None:
    """Both splits below ``root``; the lines are those of ``annotations`` where it has them (all of them, then)."""
    (root / VIDEOS).mkdir(parents=True)
    links, videos = Links(root / "pool"), set[str]()
    for split, (lines, count) in CHARADES.items():
        name = f"charades_sta_{split}.txt"
        made = _lines(split, scaled(lines, scale), scaled(count, scale))
        text = (annotations / name).read_text("utf-8") if annotations else "\n".join(made) + "\n"
        (root / name).write_text(text, encoding="utf-8")
        videos |= {line.split()[0] for line in text.splitlines() if line.strip()}
    for number, video in enumerate(sorted(videos)):
        links.video(root / VIDEOS / f"{video}.mp4", 270, 480, FRAMES[number % len(FRAMES)], RATE)


def _lines(split: str, lines: int, videos: int) -> list[str]:
    draw = random.Random(split)
    out = []
    for _ in range(lines):
        start = round(draw.uniform(0, 12), 1)
        end = round(start + draw.uniform(2, 10), 1)  # 22 s at most: beyond some of the videos of 20 s
        out.append(f"{split[:2].upper()}{draw.randrange(videos):05} {start} {end}##{sentence(draw, 6)}.")
    return out
