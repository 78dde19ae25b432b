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
from typing import Any, TypeGuard

from converters.base import Converter, FrameFolder, Item, MediaRef, RawClip, is_int, some_words
from converters.clip_table import ClipTable
from shards.record import Clip, Sample, Source
from shards.rle import empty, from_coco
from shards.skips import SkipItem, Skipped


class MeViS(Converter):
    name = "mevis"
    title = "MeViS: motion expressions, masks of one or several objects"
    citation = "Ding et al., MeViS: A Large-scale Benchmark for Video Segmentation with Motion Expressions, ICCV 2023"
    license = "CC BY-NC-SA 4.0"
    homepage = "https://github.com/henghuiding/MeViS"
    tasks = ("referring_segmentation",)
    splits = ("train", "valid_u", "valid")

    def scan(self) -> Iterator[RawClip | Skipped]:
        file = f"{self.split}/meta_expressions.json"
        meta = self.files.json(file)
        videos = meta.get("videos") if isinstance(meta, dict) else None
        if not isinstance(videos, dict):
            raise self.files.unreadable(file, "has no object 'videos'")
        masks = {} if self.split == "valid" else self.files.json(f"{self.split}/mask_dict.json")
        if not isinstance(masks, dict):
            raise self.files.unreadable(f"{self.split}/mask_dict.json", "is not an object of masks by anno_id")
        for video, entry in videos.items():
            expressions = entry.get("expressions") if isinstance(entry, dict) else None
            frames = entry.get("frames") if isinstance(entry, dict) else None
            if not isinstance(expressions, dict):
                yield Skipped(self.key(video), "malformed", "the video has no expressions")
            elif not _is_names(frames):
                words = "the video's frames are not a list of names, each once"
                yield from (Skipped(self.key(video, id), "malformed", words) for id in expressions)
            else:
                yield self._clip(video, sorted(frames), expressions, masks)

    def _clip(self, video: str, frames: list[str], expressions: dict[str, Any], masks: dict[str, Any]) -> RawClip:
        items = tuple(Item(self.key(video, id), expression) for id, expression in expressions.items())
        wanted = {str(anno) for item in items for anno in _anno_ids(item.raw) or ()}
        masks_of_clip = {f"anno {anno}": masks[anno] for anno in sorted(wanted) if anno in masks}
        return RawClip(video, items, {"frames": frames} | masks_of_clip)

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
        indices = [table.masklet(str(id), _masks(raw, str(id), clip)) for id in ids]
        return tuple(dict.fromkeys(indices))


def _masks(raw: RawClip, anno: str, clip: Clip) -> dict[int, str]:
    masks = raw.shared.get(f"anno {anno}")
    if masks is None:
        raise SkipItem("missing_annotation", f"mask_dict.json has no anno_id {anno}")
    if not isinstance(masks, list) or len(masks) != clip.num_frames:
        number = len(masks) if isinstance(masks, list) else "no list of"
        raise SkipItem("bad_mask", f"anno_id {anno} has {number} masks for {clip.num_frames} frames")
    nothing = empty(clip.height, clip.width)
    return {
        frame: nothing if mask is None else from_coco(mask, clip.height, clip.width) for frame, mask in enumerate(masks)
    }


def _anno_ids(raw: Any) -> list[int | str] | None:
    ids = raw.get("anno_id") if isinstance(raw, dict) else None
    if not isinstance(ids, list) or not all(is_int(id) or isinstance(id, str) for id in ids):
        return None
    return ids


def _is_names(value: Any) -> TypeGuard[list[str]]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        return False
    return len(set(value)) == len(value)
