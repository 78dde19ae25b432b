"""Example: sentences, and when they happen in a video.

Citation: who made the data set, and where they published it.

The root holds::

    train.json       [{"id": 7, "video": "a.mp4", "text": "someone opens the oven", "from": 1.5, "to": 4.0}, …]
    videos/a.mp4

Times are seconds from the first frame. Known faults: what is wrong in the release, and what becomes of it here.
"""

from collections.abc import Iterator

from converters.base import Converter, Item, MediaRef, RawClip, VideoFile, is_number, some_words
from converters.clip_table import ClipTable
from converters.release import Needed
from shards.record import Clip, Sample, Source
from shards.skips import SkipItem, Skipped

PAGE = "https://the-owners.page"


class Example(Converter):
    name = "example"
    title = "Example: when does a sentence happen in a video"
    citation = "The authors, Example, 2026"
    license = "unknown"  # of the annotations, in their owners' words
    tasks = ("temporal_grounding",)
    splits = ("train",)

    def scan(self) -> Iterator[RawClip | Skipped]:
        # Annotation files only. A key comes from ids of the release, never from a position.
        for position, item in enumerate(self.files.elements(f"{self.split}.json")):
            if not isinstance(item, dict) or not isinstance(item.get("id"), int | str):
                yield Skipped(self.key(f"@{position}"), "malformed", "the item has no id")
            elif not isinstance(item.get("video"), str):
                yield Skipped(self.key(item["id"]), "malformed", "the item names no video")
            else:
                yield RawClip(item["video"], (Item(self.key(item["id"]), item),))

    def media(self, raw: RawClip) -> MediaRef:
        # Or a StillFile, or a FrameFolder with the names of its frames.
        return VideoFile("videos", raw.id)

    def facts(self, raw: RawClip, item: Item, clip: Clip, table: ClipTable) -> Sample:
        # Every other wrong value is a SkipItem: a reason of shards/skips.py, and what was found.
        start, end = item.raw.get("from"), item.raw.get("to")
        if not is_number(start) or not is_number(end):
            raise SkipItem("malformed", f"from and to are {start!r} and {end!r}, not seconds")
        return Sample(
            key=item.key,
            task="temporal_grounding",
            query=some_words(item.raw.get("text"), "the text"),
            spans=(table.span(start, end),),  # frames become seconds with converters.spans.seconds_at
            source=Source(f"{self.split}.json", str(item.raw["id"])),
        )

    def release(self) -> tuple[Needed, ...]:
        # What `multigrain check` looks for.
        annotation = Needed(path=f"{self.split}.json", what="sentences and times", page=PAGE)
        return (annotation, Needed(path="videos", what="videos", page=PAGE, holds="*.mp4", media=True))
