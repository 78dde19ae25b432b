"""VidSTG train on VidOR at its size: entries, and a trajectory file per video of about half a megabyte.

The trajectory files are a hundred, under the names of all videos.
"""

import gzip
import json
import random
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from bench.convert.media import Links
from bench.convert.pool import sentence
from bench.convert.sizes import VIDSTG_SENTENCES, VIDSTG_VIDEOS, scaled
from converters.vidstg import VIDEOS, VIDOR_FOLDER
from converters.world.raw import JsonFile, write_json

SIZES: Final = ((360, 640), (480, 640))
LENGTHS: Final = (300, 600, 900, 1200, 1800, 2400)
RATE: Final = Fraction(30_000, 1_001)
TRACKS: Final = 100
OBJECTS: Final = 5
ENTRIES: Final = 7
"""Entries a video; together they hold some fifteen captions and questions."""

Json = Any


def write_vidstg(root: Path, scale: float) -> None:
    """Train below ``root``."""
    draw, links = random.Random("vidstg"), Links(root / "pool")
    tracks = [_write_tracks(root / "pool", draw, number) for number in range(scaled(TRACKS, min(scale * 10, 1)))]
    count = scaled(VIDSTG_VIDEOS, scale)
    with JsonFile(root / "annotations/train_annotations.json") as file:
        for number in range(count):
            vid, group = str(10_000_000 + number), f"{number % 1000:04}"
            path, size, frames = tracks[number % len(tracks)]
            _link(root, links, "train", group, vid, path, size, frames)
            for k in range(ENTRIES):
                queries = round((number * ENTRIES + k + 1) * VIDSTG_SENTENCES / VIDSTG_VIDEOS / ENTRIES) - round(
                    (number * ENTRIES + k) * VIDSTG_SENTENCES / VIDSTG_VIDEOS / ENTRIES
                )
                file.append(_entry(draw, vid, size, frames, k, queries))


def write_vidstg_from(root: Path, annotations: Path) -> None:
    """The official val and test entries of ``annotations`` below ``root``, on made-up trajectories and videos."""
    draw, links = random.Random("vidstg"), Links(root / "pool")
    for split in ("val", "test"):
        entries = json.loads(gzip.decompress((annotations / f"vidstg_{split}_annotations.json.gz").read_bytes()))
        write_json(root / f"annotations/{split}_annotations.json", entries)
        for number, entry in enumerate({entry["vid"]: entry for entry in entries}.values()):
            size, frames = (entry["height"], entry["width"]), entry["frame_count"]
            path = root / f"pool/{entry['vid']}.json"
            _write(path, draw, size, frames, [thing["tid"] for thing in entry["subject/objects"]])
            lengths = [length for length in (*LENGTHS, 3_600, 6_000) if length >= frames]
            _link(root, links, split, f"{number % 1000:04}", entry["vid"], path, size, lengths[0])


def _link(
    root: Path, links: Links, split: str, group: str, vid: str, tracks: Path, size: tuple[int, int], frames: int
) -> None:
    places = (root / f"vidor/annotation/{VIDOR_FOLDER[split]}/{group}/{vid}.json", root / f"{VIDEOS}/{group}/{vid}.mp4")
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
    links.file(places[0], tracks)
    links.video(places[1], *size, frames, RATE)


def _write_tracks(folder: Path, draw: random.Random, number: int) -> tuple[Path, tuple[int, int], int]:
    size, frames = SIZES[number % len(SIZES)], LENGTHS[number // len(SIZES) % len(LENGTHS)]
    path = folder / f"tracks{number}.json"
    _write(path, draw, size, frames, list(range(OBJECTS)))
    return path, size, frames


def _write(path: Path, draw: random.Random, size: tuple[int, int], frames: int, tids: list[int]) -> None:
    """A VidOR file in which objects 0 and 1 are always visible and the others come and go."""
    height, width = size
    trajectories = [
        [_box(draw, tid, height, width) for tid in tids if tid < 2 or (frame // 90 + tid) % 3]
        for frame in range(frames)
    ]
    things = [{"tid": tid, "category": "adult"} for tid in tids]
    write_json(
        path,
        {
            "version": "VERSION 1.0",
            "video_id": path.stem,
            "video_hash": "0" * 32,
            "video_path": f"0000/{path.stem}.mp4",
            "frame_count": frames,
            "fps": float(RATE),
            "width": width,
            "height": height,
            "subject/objects": things,
            "trajectories": trajectories,
            "relation_instances": [],
        },
    )


def _box(draw: random.Random, tid: int, height: int, width: int) -> Json:
    x, y = draw.randrange(width // 2), draw.randrange(height // 2)
    box = {"xmin": x, "ymin": y, "xmax": x + width // 4, "ymax": y + height // 4}
    return {"tid": tid, "bbox": box, "generated": draw.randrange(2), "tracker": "linear"}


def _entry(draw: random.Random, vid: str, size: tuple[int, int], frames: int, number: int, queries: int) -> Json:
    begin = draw.randrange(frames // 2)
    end = begin + draw.randint(30, frames // 2)
    whole = number % 2 == 0
    segment = {"begin_fid": 0 if whole else max(begin - 20, 0), "end_fid": frames - 1 if whole else end - 1}
    relation = {"subject_tid": 0, "object_tid": 1, "predicate": "watch", "begin_fid": begin, "end_fid": end}
    texts = [_query(draw, k) for k in range(queries)]
    return {
        "vid": vid,
        "fps": float(RATE),
        "frame_count": frames,
        "used_segment": segment,
        "width": size[1],
        "height": size[0],
        "subject/objects": [{"tid": tid, "category": "adult"} for tid in range(OBJECTS)],
        "used_relation": relation,
        "temporal_gt": {"begin_fid": begin, "end_fid": end},
        "captions": texts[::2],
        "questions": texts[1::2],
    }


def _query(draw: random.Random, number: int) -> Json:
    text = sentence(draw, 10)
    return {"description": f"{text}?" if number % 2 else f"{text}.", "type": "person", "target_id": number % 2}
