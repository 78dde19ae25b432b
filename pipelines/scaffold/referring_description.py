"""Example: captions of objects in a video, shown by their masks on some frames.

Citation: who made the data set, and where they published it.

The root holds::

    train.json       [{"id": 7, "video": "a.mp4", "masks": {"12": <COCO segmentation>, …}, "caption": "An oven."}, …]
    videos/a.mp4

The key of a mask is the index of its frame in the decoded video; null says that the object is not visible there.
Known faults: what is wrong in the release, and what becomes of it here.
"""

import re
from collections.abc import Iterator
from typing import Any

from converters.base import Converter, Item, MediaRef, RawClip, VideoFile, some_words
from converters.clip_table import ClipTable
from converters.release import Needed
from shards.record import Clip, Region, Sample, Source
from shards.rle import empty, from_coco, is_empty
from shards.skips import SkipItem, Skipped

PAGE = "https://the-owners.page"


class Example(Converter):
    name = "example"
    title = "Example: captions of objects in videos"
    citation = "The authors, Example, 2026"
    license = "unknown"  # of the annotations, in their owners' words
    tasks = ("referring_description",)
    splits = ("train",)

    def scan(self) -> Iterator[RawClip | Skipped]:
        # Annotation files only. A key comes from ids of the release, never from a position.
        for position, item in enumerate(self.files.elements(f"{self.split}.json")):
            if not isinstance(item, dict) or not isinstance(item.get("id"), int | str):
                yield Skipped(self.key(f"@{position}"), "malformed", "the item has no id")
            elif not isinstance(item.get("video"), str):
                yield Skipped(self.key(item["id"]), "malformed", "the item names no video")
            else:
                # Masks that several items of a clip need go into RawClip.shared, by their ids: they travel once.
                yield RawClip(item["video"], (Item(self.key(item["id"]), item),))

    def media(self, raw: RawClip) -> MediaRef:
        # Or a StillFile, or a FrameFolder with the names of its frames.
        return VideoFile("videos", raw.id)

    def facts(self, raw: RawClip, item: Item, clip: Clip, table: ClipTable) -> Sample:
        # What is shown is a region; what is to be predicted is a target.
        masks = _masks(item.raw.get("masks"), clip)
        return Sample(
            key=item.key,
            task="referring_description",
            answer=some_words(item.raw.get("caption"), "the caption"),
            regions=(Region(table.masklet(str(item.raw["id"]), masks), tuple(masks)),),
            source=Source(f"{self.split}.json", str(item.raw["id"])),
        )

    def release(self) -> tuple[Needed, ...]:
        # What `multigrain check` looks for.
        annotation = Needed(path=f"{self.split}.json", what="captions and masks", page=PAGE)
        return (annotation, Needed(path="videos", what="videos", page=PAGE, holds="*.mp4", media=True))


def _masks(by_frame: Any, clip: Clip) -> dict[int, str]:
    """Frame index → counts, in order. `from_coco` finds wrong masks, `ClipTable` frames beyond the clip."""
    if not isinstance(by_frame, dict) or not all(re.fullmatch("0|[1-9][0-9]{0,8}", frame) for frame in by_frame):
        raise SkipItem("malformed", "the masks are not an object of masks by frame index")
    nothing = empty(clip.height, clip.width)
    masks = {
        int(frame): nothing if by_frame[frame] is None else from_coco(by_frame[frame], clip.height, clip.width)
        for frame in sorted(by_frame, key=int)
    }
    if all(is_empty(counts) for counts in masks.values()):
        raise SkipItem("empty_region", "the object is not visible on any frame")
    return masks
