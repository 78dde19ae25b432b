"""MeViS: motion expressions for objects in videos, given as frame folders.

Citation: Ding et al., MeViS: A Large-scale Benchmark for Video Segmentation with Motion Expressions (ICCV 2023).

The root is the release's folder::

    {train,valid_u}/{JPEGImages/<video>/00000.jpg…, meta_expressions.json, mask_dict.json}
    valid/{JPEGImages/…, meta_expressions.json}                 (no masks: unlabelled)

The target of an expression is the union over its ``anno_id`` list; an empty list means that no object fits. Position
k of ``mask_dict["<anno_id>"]`` belongs to the k-th name of the *sorted* frame list. There is no frame rate.

Known faults: ``null`` and an all-zero mask both mean "not visible" (both become an empty mask); ``anno_id`` is a
number here and text there; expressions have capitals, double and trailing spaces; videos differ in size.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, Final, TypeGuard

from converters.base import Converter, FrameFolder, Item, MediaRef, RawClip, is_int, some_words
from converters.clip_table import ClipTable
from converters.release import Needed
from shards.record import Clip, Sample, Source
from shards.rle import empty, from_coco, look_at_coco
from shards.skips import SkipItem, Skipped

PAGE: Final = "https://henghuiding.github.io/MeViS/"
NUM_VIDEOS: Final = {"train": 1_662, "valid_u": 50, "valid": 140}
MASK_SUMS: Final = {
    "train": "sha256:f9d9b01a2a6d7a004e2e7a664ce2b9b1576218e975030f8e4df4f66111fb253f",
    "valid_u": "sha256:6e711a3f713cd95a825f536323e434b4d80f85a8e4e66d0cd662408e8779db50",
}
"""Of mask_dict.json, as the owners gave them (henghuiding/MeViS, issue 4)."""
MASK_BYTES: Final = {"train": 100_000_000, "valid_u": 1_000_000}
"""Far below the published size of mask_dict.json (train: 411 MB)."""


class MeViS(Converter):
    name = "mevis"
    title = "MeViS: motion expressions, masks of one or several objects"
    citation = "Ding et al., MeViS: A Large-scale Benchmark for Video Segmentation with Motion Expressions, ICCV 2023"
    license = "CC BY-NC-SA 4.0"
    homepage = "https://github.com/henghuiding/MeViS"
    pictures = "mevis"
    tasks = ("referring_segmentation",)
    splits = ("train", "valid_u", "valid")

    def scan(self) -> Iterator[RawClip | Skipped]:
        file = f"{self.split}/meta_expressions.json"
        meta = self.files.json(file)
        videos = meta.get("videos") if isinstance(meta, dict) else None
        if not isinstance(videos, dict):
            raise self.files.unreadable(file, "has no object 'videos'")
        for video, entry in videos.items():
            yield from self._video(video, entry)
        if self.split != "valid":
            yield from self._masks(_videos_by_anno(videos))

    def _video(self, video: str, entry: Any) -> Iterator[RawClip | Skipped]:
        expressions, frames = _expressions(entry), entry.get("frames") if isinstance(entry, dict) else None
        if expressions is None:
            yield Skipped(self.key(video), "malformed", "the video has no expressions")
        elif not _is_names(frames):
            words = "the video's frames are not a list of names, each once"
            yield from (Skipped(self.key(video, id), "malformed", words) for id in expressions)
        else:
            items = tuple(Item(self.key(video, id), expression) for id, expression in expressions.items())
            yield RawClip(video, items, {"frames": sorted(frames)})

    def _masks(self, videos_by_anno: dict[str, set[str]]) -> Iterator[RawClip]:
        """The masks of every annotation that an expression names: the file is 1 GB, so it is read past once."""
        for anno, masks in self.files.members(f"{self.split}/mask_dict.json"):
            for video in sorted(videos_by_anno.get(anno, ())):
                yield RawClip(video, (), {f"anno {anno}": masks})

    def release(self) -> tuple[Needed, ...]:
        expressions = Needed(
            path=f"{self.split}/meta_expressions.json",
            what="expressions and frame names",
            page=PAGE,
            archive="MeViS_release.zip",
            also=(f"{self.split}/meta_expressions_v2.json",),  # the name in the edition of 2025, FudanCVL/MeViSv2
        )
        masks = Needed(
            path=f"{self.split}/mask_dict.json",
            what="masks by anno_id",
            page=PAGE,
            archive="MeViS_release.zip",
            checksum=MASK_SUMS.get(self.split, ""),
            least_bytes=MASK_BYTES.get(self.split, 0),
        )
        frames = Needed(
            path=f"{self.split}/JPEGImages",
            what="frames, a folder for each video",
            page=PAGE,
            archive="MeViS_release.zip",
            holds="*/",
            media=True,
            count=NUM_VIDEOS[self.split],
        )
        return (expressions, frames) if self.split == "valid" else (expressions, masks, frames)

    def media(self, raw: RawClip) -> MediaRef:
        names = tuple(f"{name}.jpg" for name in raw.shared["frames"])
        return FrameFolder(f"{self.split}/JPEGImages", raw.id, names)

    def facts(self, raw: RawClip, item: Item, clip: Clip, table: ClipTable) -> Sample:
        if not isinstance(item.raw, dict):
            raise SkipItem("malformed", "the expression is not an object")
        return Sample(
            key=item.key,
            task="referring_segmentation",
            query=some_words(item.raw.get("exp"), "the expression"),
            targets=None if self.split == "valid" else (self._target(raw, item, clip, table),),
            source=Source(f"{self.split}/meta_expressions.json", item.key.split("/", 2)[2]),
        )

    def _target(self, raw: RawClip, item: Item, clip: Clip, table: ClipTable) -> tuple[int, ...]:
        ids = _anno_ids(item.raw)
        if ids is None:
            raise SkipItem("malformed", f"anno_id is {item.raw.get('anno_id')!r}, not a list of ids")
        indices = [table.masklet(str(id), partial(_masks, raw, str(id), clip)) for id in ids]
        return tuple(dict.fromkeys(indices))


def _masks(raw: RawClip, anno: str, clip: Clip) -> dict[int, str]:
    masks = raw.shared.get(f"anno {anno}")
    if masks is None:
        raise SkipItem("missing_annotation", f"mask_dict.json has no anno_id {anno}")
    if not isinstance(masks, list) or len(masks) != clip.num_frames:
        number = len(masks) if isinstance(masks, list) else "no list of"
        raise SkipItem("bad_mask", f"anno_id {anno} has {number} masks for {clip.num_frames} frames")
    nothing = empty(clip.height, clip.width)
    look_at_coco(masks, clip.height, clip.width)
    return {
        frame: nothing if mask is None else from_coco(mask, clip.height, clip.width) for frame, mask in enumerate(masks)
    }


def _expressions(entry: Any) -> dict[str, Any] | None:
    expressions = entry.get("expressions") if isinstance(entry, dict) else None
    return expressions if isinstance(expressions, dict) else None


def _videos_by_anno(videos: dict[str, Any]) -> dict[str, set[str]]:
    """``anno_id`` as text → the videos with an expression that names it: one, unless the release is wrong."""
    found: dict[str, set[str]] = {}
    for video, entry in videos.items():
        for expression in (_expressions(entry) or {}).values():
            for anno in _anno_ids(expression) or ():
                found.setdefault(str(anno), set()).add(video)
    return found


def _anno_ids(raw: Any) -> list[int | str] | None:
    ids = raw.get("anno_id") if isinstance(raw, dict) else None
    if not isinstance(ids, list) or not all(is_int(id) or isinstance(id, str) for id in ids):
        return None
    return ids


def _is_names(value: Any) -> TypeGuard[list[str]]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        return False
    return len(set(value)) == len(value)
