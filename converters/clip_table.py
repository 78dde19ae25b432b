"""The masklets, tubes and spans of one record while its items are converted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from converters.raw_files import utf8
from converters.spans import span_in_clip
from shards.record import Box, Clip, Masklet, Seconds, Span, Tube
from shards.skips import ADJUSTMENTS, SkipItem

T = TypeVar("T", Masklet, Tube)
V = TypeVar("V")


class ClipTable:
    """Collects masklets and tubes by id, each once, and forgets those of an item that was skipped after all.

    ``adjusted`` says what was changed about the item at hand, to be counted (``shards.skips.ADJUSTMENTS``).
    """

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self.masklets: dict[str, Placed[Masklet]] = {}
        self.tubes: dict[str, Placed[Tube]] = {}
        self.adjusted: set[str] = set()

    def span(self, start: Seconds, end: Seconds, window: Span | None = None) -> Span:
        """[start, end) in seconds, the end cut to the clip; SkipItem ``bad_span`` as ``span_in_clip`` says."""
        span = span_in_clip(start, end, self.clip, window)
        if end > span[1]:
            self.adjust("end_cut")
        return span

    def window(self, start: Seconds, end: Seconds) -> Span | None:
        """The window [start, end), its end cut to the clip; None where it is the whole clip."""
        window = span_in_clip(start, end, self.clip)
        if end > window[1]:
            self.adjust("window_cut")
        return None if window == (0.0, self.clip.duration) else window

    def adjust(self, kind: str) -> None:
        """Note that something of the item at hand was changed."""
        if kind not in ADJUSTMENTS:
            raise ValueError(f"adjustment {kind!r} is not one of {sorted(ADJUSTMENTS)}")
        self.adjusted.add(kind)

    def masklet(self, id: str, rles: Mapping[int, str] | Callable[[], Mapping[int, str]]) -> int:
        """The index of the masklet ``id``; the same id must always come with the same masks.

        Masks that take work to read may be a function: it is asked only where the id is new.
        """
        return _place(self.masklets, utf8(id, "the id of a mask"), rles, self._masklet, self)

    def tube(self, id: str, boxes: Mapping[int, Box | None] | Callable[[], Mapping[int, Box | None]]) -> int:
        """The index of the tube ``id``, like ``masklet``."""
        return _place(self.tubes, utf8(id, "the id of a box"), boxes, lambda id, found: Tube(id, dict(found)), self)

    def _masklet(self, id: str, rles: Mapping[int, str]) -> Masklet:
        if frames := [frame for frame in rles if not 0 <= frame < self.clip.num_frames]:
            raise SkipItem("bad_frame", f"mask {id} is on frame {frames[0]}, the clip has {self.clip.num_frames}")
        return Masklet(id, dict(rles))

    def mark(self) -> tuple[int, int]:
        """A point to ``forget`` back to; the next item begins."""
        self.adjusted.clear()
        return len(self.masklets), len(self.tubes)

    def forget(self, mark: tuple[int, int]) -> None:
        """Drop every masklet and tube that came after ``mark``."""
        for table, length in zip((self.masklets, self.tubes), mark, strict=True):
            while len(table) > length:
                table.popitem()


@dataclass(frozen=True, slots=True)
class Placed(Generic[T]):
    """A masklet or tube, its index, and what was adjusted about it, which counts for every item that names it."""

    value: T
    index: int
    adjusted: frozenset[str]


def _place(
    table: dict[str, Placed[T]],
    id: str,
    given: Mapping[int, V] | Callable[[], Mapping[int, V]],
    make: Callable[[str, Mapping[int, V]], T],
    items: ClipTable,
) -> int:
    known = table.get(id)
    if known is None or isinstance(given, Mapping):
        before, items.adjusted = items.adjusted, set()
        value = make(id, given if isinstance(given, Mapping) else given())
        known = table.setdefault(id, Placed(value, len(table), frozenset(items.adjusted)))
        items.adjusted = before
        if known.value != value:
            raise SkipItem("malformed", f"{id} is annotated in two different ways")
    items.adjusted |= known.adjusted
    return known.index
