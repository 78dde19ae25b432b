"""The masklets and tubes of one record while its items are converted."""

from collections.abc import Mapping
from typing import TypeVar

from converters.raw_files import utf8
from shards.record import Box, Clip, Masklet, Tube
from shards.skips import SkipItem

T = TypeVar("T", Masklet, Tube)


class ClipTable:
    """Collects masklets and tubes by id, each once, and forgets those of an item that was skipped after all."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self.masklets: dict[str, Masklet] = {}
        self.tubes: dict[str, Tube] = {}

    def masklet(self, id: str, rles: Mapping[int, str]) -> int:
        """The index of the masklet ``id``; the same id must always come with the same masks."""
        if frames := [frame for frame in rles if not 0 <= frame < self.clip.num_frames]:
            raise SkipItem("bad_frame", f"mask {id} is on frame {frames[0]}, the clip has {self.clip.num_frames}")
        return _index(self.masklets, id, Masklet(id, dict(rles)))

    def tube(self, id: str, boxes: Mapping[int, Box | None]) -> int:
        """The index of the tube ``id``; the same id must always come with the same boxes."""
        return _index(self.tubes, id, Tube(id, dict(boxes)))

    def mark(self) -> tuple[int, int]:
        """A point to ``forget`` back to."""
        return len(self.masklets), len(self.tubes)

    def forget(self, mark: tuple[int, int]) -> None:
        """Drop every masklet and tube that came after ``mark``."""
        for table, length in zip((self.masklets, self.tubes), mark, strict=True):
            for id in list(table)[length:]:
                del table[id]


def _index(table: dict[str, T], id: str, value: T) -> int:
    known = table.setdefault(utf8(id, "the id of a mask or box"), value)
    if known != value:
        raise SkipItem("malformed", f"{id} is annotated in two different ways")
    return list(table).index(id)
