"""Example: expressions that mean objects in an image, and the masks of these objects.

Citation: who made the data set, and where they published it.

The root holds::

    train.json       [{"id": 7, "image": "a.jpg", "text": "the left oven", "masks": [<COCO segmentation>, …]}, …]
    images/a.jpg

A segmentation is polygons, compressed or uncompressed RLE, at the image's size. Several masks are one target, united;
none says that no object is meant. Known faults: what is wrong in the release, and what becomes of it here.
"""

from collections.abc import Iterator

from converters.base import Converter, Item, MediaRef, RawClip, StillFile, some_words
from converters.clip_table import ClipTable
from converters.release import Needed
from shards.record import Clip, Sample, Source
from shards.rle import from_coco
from shards.skips import SkipItem, Skipped

PAGE = "https://the-owners.page"


class Example(Converter):
    name = "example"
    title = "Example: referring expressions on images"
    citation = "The authors, Example, 2026"
    license = "unknown"  # of the annotations, in their owners' words
    tasks = ("referring_segmentation",)
    splits = ("train",)

    def scan(self) -> Iterator[RawClip | Skipped]:
        # Annotation files only. A key comes from ids of the release, never from a position.
        for position, item in enumerate(self.files.elements(f"{self.split}.json")):
            if not isinstance(item, dict) or not isinstance(item.get("id"), int | str):
                yield Skipped(self.key(f"@{position}"), "malformed", "the item has no id")
            elif not isinstance(item.get("image"), str):
                yield Skipped(self.key(item["id"]), "malformed", "the item names no image")
            else:
                # Masks that several items of a clip need go into RawClip.shared, by their ids: they travel once.
                yield RawClip(item["image"], (Item(self.key(item["id"]), item),))

    def media(self, raw: RawClip) -> MediaRef:
        # Or a VideoFile, or a FrameFolder with the names of its frames: then masks are by frame index.
        return StillFile("images", raw.id)

    def facts(self, raw: RawClip, item: Item, clip: Clip, table: ClipTable) -> Sample:
        # A wrong value is a SkipItem: a reason of shards/skips.py, and what was found. `from_coco` finds wrong masks.
        masks = item.raw.get("masks")
        if not isinstance(masks, list):
            raise SkipItem("malformed", "the masks are not a list")
        counts = [from_coco(mask, clip.height, clip.width) for mask in masks]
        target = tuple(table.masklet(f"{item.raw['id']}/{k}", {0: found}) for k, found in enumerate(counts))
        return Sample(
            key=item.key,
            task="referring_segmentation",
            query=some_words(item.raw.get("text"), "the text"),
            targets=(target,),
            source=Source(f"{self.split}.json", str(item.raw["id"])),
        )

    def release(self) -> tuple[Needed, ...]:
        # What `multigrain check` looks for.
        annotation = Needed(path=f"{self.split}.json", what="expressions and masks", page=PAGE)
        return (annotation, Needed(path="images", what="images", page=PAGE, holds="*.jpg", media=True))
