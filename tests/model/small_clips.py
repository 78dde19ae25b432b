"""Clips that are painted, not stored: every frame and every mask says which it is.

Frames are noise from a hash of (corpus, record, frame); the mask of object o on frame f is a block whose corner is
at (6 o, f).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from shards import rle
from shards.index import (
    RECORDS_FILE,
    RECORDS_SCHEMA,
    SAMPLES_FILE,
    SAMPLES_SCHEMA,
    record_row,
    sample_rows,
)
from shards.keys import hash64
from shards.manifest import CorpusError
from shards.reader import Corpus
from shards.record import Clip, ClipKind, Masklet, Record, Region, Sample, Source, Turn, Turns
from shards.stream import Draw
from shards.writer import Placed

WIDTH, HEIGHT, FRAMES = 40, 24, 20
NUM_OBJECTS = 4
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


# ---------------------------------------------------------------------------------------------- records


def block(number: int, frame: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The mask of an object on a frame."""
    bitmap = np.zeros((HEIGHT, WIDTH), bool)
    bitmap[6 * number : 6 * number + 5, frame : frame + 8] = True
    return bitmap


def masklet(number: int, frames: Iterable[int], hidden: Iterable[int] = ()) -> Masklet:
    """An object annotated on ``frames``, and on ``hidden`` as not visible."""
    shown = {frame: rle.encode(block(number, frame)) for frame in frames}
    return Masklet(f"object {number}", shown | {frame: rle.empty(HEIGHT, WIDTH) for frame in hidden})


EVERYWHERE = tuple(masklet(number, range(FRAMES)) for number in range(NUM_OBJECTS))


def talk(*texts: str) -> Turns:
    """``texts`` as turns of user and assistant by turns."""
    return tuple(Turn("assistant" if i % 2 else "user", text) for i, text in enumerate(texts))


def sample(*texts: str, name: str = "0", **facts: Any) -> Sample:
    return Sample(f"toy/train/{name}", "global_qa", Source("a.json", name), turns=talk(*texts), **facts)


def regions(*frames: Sequence[int]) -> tuple[Region, ...]:
    """Object 0 shown on the first of ``frames``, object 1 on the second, …"""
    return tuple(Region(number, tuple(shown)) for number, shown in enumerate(frames))


def clip(kind: ClipKind = "frames", **facts: Any) -> Clip:
    if kind == "none":
        return Clip("none", "", 0, 0, 0, None, None)
    return replace(Clip(kind, "clip", WIDTH, HEIGHT, 1 if kind == "still" else FRAMES, None, None), **facts)


def record(
    *samples: Sample,
    name: str = "clip",
    shows: Clip | None = None,
    masklets: Sequence[Masklet] = EVERYWHERE,
) -> Record:
    """A record of ``samples``, whose keys get its name; a frame folder with four objects unless told otherwise."""
    named = tuple(replace(one, key=one.key.replace("toy/train/", f"toy/train/{name}/")) for one in samples)
    return Record(
        f"toy-{name}", "toy", "toy", "train", "unknown", shows or clip(), masklets=tuple(masklets), samples=named
    )


# ---------------------------------------------------------------------------------------------- corpora


class Painted(Corpus):
    """A corpus that was never written; ``broken`` holds the keys of records whose frames cannot be read."""

    def __init__(self, *told: Record, root: str = "painted", broken: Iterable[str] = ()) -> None:
        place = Placed("", 0, 0, 0, None, None, None, [])
        records = pa.Table.from_pylist([record_row(one, "shards/x.tar", place) for one in told], RECORDS_SCHEMA)
        samples = pa.Table.from_pylist([row for one in told for row in sample_rows(one)], SAMPLES_SCHEMA)
        files = {RECORDS_FILE: "aa", SAMPLES_FILE: "bb"}
        super().__init__(Path(root), {"name": root, "files": files}, records, samples)
        self.told, self.broken = told, frozenset(broken)

    def record(self, row: int) -> Record:
        return self.told[row]

    def frames(self, row: int, record: Record, frames: Sequence[int]) -> list[Pixels]:
        if record.key in self.broken:
            raise CorpusError("its media does not match its checksum")
        return [painted(record, frame, str(self.root)) for frame in frames]


def painted(record: Record, frame: int, root: str = "painted") -> Pixels:
    """What is seen on a frame."""
    noise = np.random.default_rng(hash64(f"{root}/{record.key}/{frame}"))
    return noise.integers(0, 256, (record.clip.height, record.clip.width, 3), np.uint8)


def bicubic(picture: Pixels, side: int) -> Pixels:
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))


def draw(
    drawn: Record | Painted,
    number: int = 0,
    *,
    row: int = 0,
    epoch: int = 0,
    repetition: int = 0,
    root: str = "painted",
) -> Draw:
    """Sample ``number`` of a record (of row ``row`` of a corpus) as a stream draws it."""
    corpus = drawn if isinstance(drawn, Painted) else Painted(drawn, root=root)
    found = corpus.record(row)
    return Draw(epoch, 0, 0, repetition, found, found.samples[number], corpus, row)
