"""Example: questions about whole videos, and their answers.

Citation: who made the data set, and where they published it.

The root holds::

    train.json       [{"id": 7, "video": "a.mp4", "question": "who opens the oven?", "answer": "the cook"}, …]
    videos/a.mp4

Known faults: what is wrong in the release, and what becomes of it here.
"""

from collections.abc import Iterator

from converters.base import Converter, Item, MediaRef, RawClip, VideoFile, some_words
from converters.clip_table import ClipTable
from converters.release import Needed
from shards.record import Clip, Sample, Source
from shards.skips import Skipped

PAGE = "https://the-owners.page"


class Example(Converter):
    name = "example"
    title = "Example: questions about videos"
    citation = "The authors, Example, 2026"
    license = "unknown"  # of the annotations, in their owners' words
    tasks = ("global_qa",)
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
        # Or a StillFile, a FrameFolder with the names of its frames, or None for text alone.
        return VideoFile("videos", raw.id)

    def facts(self, raw: RawClip, item: Item, clip: Clip, table: ClipTable) -> Sample:
        # A wrong value is a SkipItem: a reason of shards/skips.py, and what was found. `some_words` raises one itself.
        # Further turns go into `dialogue`, answers to choose from into `choices` and `correct`.
        return Sample(
            key=item.key,
            task="global_qa",
            query=some_words(item.raw.get("question"), "the question"),
            answer=some_words(item.raw.get("answer"), "the answer"),
            source=Source(f"{self.split}.json", str(item.raw["id"])),
        )

    def release(self) -> tuple[Needed, ...]:
        # What `multigrain check` looks for.
        annotation = Needed(path=f"{self.split}.json", what="questions and answers", page=PAGE)
        return (annotation, Needed(path="videos", what="videos", page=PAGE, holds="*.mp4", media=True))
