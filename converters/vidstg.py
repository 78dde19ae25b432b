"""VidSTG on VidOR: when, and where, a sentence or a question holds for one object of a video.

Citation: Zhang et al., Where Does It Exist: Spatio-Temporal Video Grounding for Multi-Form Sentences (CVPR 2020), on
the videos and trajectories of VidOR (Shang et al., ICMR 2019).

The root holds::

    annotations/{train,val,test}_annotations.json          (the *_files.json lists are not needed)
    vidor/annotation/{training,validation}/<group>/<video>.json      vidor/video/<group>/<video>.mp4

VidSTG train and val lie in VidOR training, VidSTG test in VidOR validation. One sample per caption (declarative) and
per question (interrogative): its span is ``temporal_gt`` [begin, end), its tube the trajectory of ``target_id``, its
window the ``used_segment``, whose end is *inclusive*. Frames become seconds with the frame rate of the clip.

Known faults: entries without questions have a twin that repeats their captions (a duplicate); ``frame_count`` may be
off by one; trajectories may be shorter, and an object may be missing in some of their frames (not visible there);
``type`` disagrees with the target's category now and then; double and non-breaking spaces and typos in the text. A box
without area is not visible.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from converters.base import (
    Converter,
    Item,
    MediaRef,
    Option,
    RawClip,
    VideoFile,
    is_int,
    is_number,
    same_size,
    some_words,
)
from converters.clip_table import ClipTable
from converters.raw_files import DatasetError, FileNotRead, inside
from converters.release import Needed
from converters.spans import seconds_at
from shards.clip_time import span_frames
from shards.record import Box, Clip, Sample, Source, Span
from shards.skips import SkipItem, Skipped

VIDEOS = "vidor/video"
FORMS = {"captions": "declarative", "questions": "interrogative"}
VIDOR_FOLDER = {"train": "training", "val": "training", "test": "validation"}
SIDES = ("xmin", "ymin", "xmax", "ymax")
TWICE = object()
"""Stands for a box of which a frame has two."""
Tracks = tuple[int, dict[int, dict[int, Any]]]
"""The number of frames, and the boxes by trajectory id and frame."""
VIDOR_VIDEOS = {"training": 7_000, "validation": 835}


class VidSTG(Converter):
    name = "vidstg"
    title = "VidSTG: when and where does a sentence or question hold"
    citation = (
        "Zhang et al., Where Does It Exist: Spatio-Temporal Video Grounding for Multi-Form Sentences, CVPR 2020, "
        "arXiv:2001.06891"
    )
    homepage = "https://github.com/Guaranteer/VidSTG-Dataset"
    pictures = "vidor"
    tasks = ("spatio_temporal_grounding",)
    splits = ("train", "val", "test")
    options: ClassVar[Mapping[str, Option]] = {
        "queries": Option("captions, questions, or both", ("all", "declarative", "interrogative")),
        "boxes": Option("whether the answer also says boxes, as integers 0-99", ("none", "text")),
    }

    def __init__(self, root: Path, split: str, options: Mapping[str, Any]) -> None:
        super().__init__(root, split, options)
        self._last_tracks: tuple[str, Tracks] = "", (0, {})

    def scan(self) -> Iterator[RawClip | Skipped]:
        file = f"annotations/{self.split}_annotations.json"
        videos = _paths_by_id(self.root, f"{VIDEOS}/*/*.mp4")
        tracks = _paths_by_id(self.root, f"vidor/annotation/{VIDOR_FOLDER[self.split]}/*/*.json")
        for position, entry in enumerate(self.files.elements(file)):
            vid = entry.get("vid") if isinstance(entry, dict) else None
            if not isinstance(entry, dict) or not isinstance(vid, str):
                yield Skipped(self.key(f"@{position}"), "malformed", "the entry names no video")
                continue
            for item in self._items(vid, entry, position):
                if isinstance(item, Skipped):
                    yield item
                else:
                    yield RawClip(vid, (item,), {"video": videos.get(vid), "tracks": tracks.get(vid)})

    def _items(self, vid: str, entry: dict[str, Any], position: int) -> Iterator[Item | Skipped]:
        relation, truth, segment = (entry.get(name) for name in ("used_relation", "temporal_gt", "used_segment"))
        for field, form in FORMS.items():
            if self.chosen["queries"] not in ("all", form):
                continue
            queries = entry.get(field, [])
            for number, query in enumerate(queries if isinstance(queries, list) else [queries]):
                if not isinstance(relation, dict) or not isinstance(query, dict):
                    key = self.key(vid, f"@{position}-{field}-{number}")
                    yield Skipped(key, "malformed", "the entry has no used_relation, or a query is not an object")
                    continue
                digest = hashlib.sha256(_identity(relation, query).encode("utf-8", "surrogatepass")).hexdigest()[:8]
                size = [entry.get("width"), entry.get("height")]
                raw = {"form": form, "query": query, "truth": truth, "segment": segment, "size": size}
                yield Item(self.key(vid, digest), raw)

    def release(self) -> tuple[Needed, ...]:
        part = VIDOR_FOLDER[self.split]
        tracks, queries = f"vidor/annotation/{part}", f"{self.split}_annotations.json"
        return (
            Needed(
                path=f"annotations/{queries}",
                what="sentences, questions and their frames",
                page="https://github.com/Guaranteer/VidSTG-Dataset",
                archive=f"annotations/{queries}",
                also=(queries,),
            ),
            Needed(
                path=tracks,
                what="trajectories, a file for each video of VidOR",
                page="https://huggingface.co/datasets/shangxd/vidor",
                archive=f"{part}-annotation.zip",
                holds="*/*.json",
                per_clip="tracks",
                also=(f"{part}-annotation/{part}", f"annotation/{part}", f"vidor/{part}"),
                count=VIDOR_VIDEOS[part],
            ),
            Needed(
                path=VIDEOS,
                what="the videos of VidOR",
                page="https://huggingface.co/datasets/shangxd/vidor",
                archive="training-video-part*.zip" if part == "training" else "validation-video.zip",
                holds="*/*.mp4",
                media=True,
                also=(f"{part}-video*/video", f"{part}/video", "video"),
                count=VIDOR_VIDEOS[part],
            ),
        )

    def media(self, raw: RawClip) -> MediaRef:
        inside(self.root, raw.id, VIDEOS)  # an id that climbs out is not merely absent
        if raw.shared["video"] is None:
            raise SkipItem("missing_media", f"{VIDEOS}/<group>/{raw.id}.mp4 is not there")
        return VideoFile(VIDEOS, raw.shared["video"].removeprefix(f"{VIDEOS}/"))

    def facts(self, raw: RawClip, item: Item, clip: Clip, table: ClipTable) -> Sample:
        query = item.raw["query"]
        text = some_words(query.get("description"), "the description")
        width, height = item.raw["size"]
        same_size(width, height, clip, "the entry")
        window = _window(item.raw["segment"], table)
        begin, end = _frames(item.raw["truth"])
        span = table.span(seconds_at(begin, clip), seconds_at(end, clip), window)
        target = query.get("target_id")
        if not is_int(target):
            raise SkipItem("malformed", f"target_id is {target!r}, not a trajectory id")
        tube = table.tube(str(target), partial(self._trajectory, raw, table, target))
        boxes = table.tubes[str(target)].value.boxes
        if not any(boxes.get(frame) for frame in range(*span_frames(clip, span))):
            raise SkipItem("empty_tube", f"object {target} has no box in frames {begin} … {end - 1}")
        tags = (item.raw["form"], *([query["type"]] if isinstance(query.get("type"), str) else []))
        return Sample(
            key=item.key,
            task="spatio_temporal_grounding",
            query=text,
            window=window,
            spans=(span,),
            tubes=(tube,),
            tags=(*tags, "box_text") if self.chosen["boxes"] == "text" else tags,
            source=Source(f"annotations/{self.split}_annotations.json", item.key.split("/", 2)[2]),
        )

    def _trajectory(self, raw: RawClip, table: ClipTable, target: int) -> dict[int, Box | None]:
        """The target's boxes on every frame of its trajectory file, None where it is not visible."""
        num_frames, by_target = self._tracks(raw, table.clip)
        boxes = by_target.get(target, {})
        if any(bbox is TWICE for bbox in boxes.values()):
            raise SkipItem("malformed", f"object {target} has two different boxes in one frame")
        return {frame: _box(boxes[frame], table) if frame in boxes else None for frame in range(num_frames)}

    def _tracks(self, raw: RawClip, clip: Clip) -> Tracks:
        """The clip's trajectories: read and sorted once for its many queries."""
        if self._last_tracks[0] != raw.id:
            frames = self._frames_of(raw, clip)[: clip.num_frames]
            self._last_tracks = raw.id, (len(frames), _by_target(frames))
        return self._last_tracks[1]

    def _frames_of(self, raw: RawClip, clip: Clip) -> list[Any]:
        path = raw.shared["tracks"]
        if path is None:
            folder = VIDOR_FOLDER[self.split]
            raise SkipItem("missing_annotation", f"vidor/annotation/{folder}/<group>/{raw.id}.json is not there")
        folder = f"vidor/annotation/{VIDOR_FOLDER[self.split]}"
        inside(self.root, path.removeprefix(f"{folder}/"), folder)
        try:
            vidor = self.files.json(path)
        except DatasetError as error:  # one clip's file, so its items are skipped and the others go on
            reason = "missing_annotation" if isinstance(error, FileNotRead) else "malformed"
            raise SkipItem(reason, str(error).replace(f"{self.root}/", "")) from None
        frames = vidor.get("trajectories") if isinstance(vidor, dict) else None
        if not isinstance(frames, list):
            raise SkipItem("malformed", f"{path} has no list 'trajectories'")
        same_size(vidor.get("width"), vidor.get("height"), clip, path)
        return frames


def _identity(relation: Any, query: Any) -> str:
    """What a query's key is the hash of (FORMAT: the table of converters)."""
    parts = [relation.get(name) for name in ("subject_tid", "predicate", "object_tid", "begin_fid", "end_fid")]
    return ",".join(str(part) for part in [*parts, *(query.get(n) for n in ("type", "target_id", "description"))])


def _paths_by_id(root: Path, pattern: str) -> dict[str, str]:
    """File name without suffix → path relative to the root; the first in order where a name occurs twice."""
    found: dict[str, str] = {}
    for path in sorted(root.glob(pattern)):
        found.setdefault(path.stem, path.relative_to(root).as_posix())
    return found


def _frames(interval: Any) -> tuple[int, int]:
    if not isinstance(interval, dict):
        raise SkipItem("malformed", f"temporal_gt or used_segment is {interval!r}, not an interval of frames")
    return _frame(interval.get("begin_fid")), _frame(interval.get("end_fid"))


def _frame(value: Any) -> int:
    if not is_number(value):
        raise SkipItem("malformed", f"{value!r} is not a frame number")
    if not math.isfinite(value) or value != int(value) or value < 0:
        raise SkipItem("bad_span", f"{value} is not a frame of the clip")
    return int(value)


def _window(segment: Any, table: ClipTable) -> Span | None:
    """The used segment in seconds, its inclusive end made exclusive; None where it is the whole clip."""
    begin, last = _frames(segment)
    return table.window(seconds_at(begin, table.clip), seconds_at(last + 1, table.clip))


def _by_target(frames: list[Any]) -> dict[int, dict[int, Any]]:
    """Trajectory id → frame → its box as annotated, or ``TWICE``."""
    found: dict[int, dict[int, Any]] = {}
    for frame, boxes in enumerate(frames):
        if not isinstance(boxes, list):
            raise SkipItem("malformed", "a frame of the trajectories is not a list of boxes")
        for annotated in boxes:
            if not isinstance(annotated, dict):
                raise SkipItem("malformed", "a frame of the trajectories holds something that is not a box")
            if is_int(target := annotated.get("tid")):
                of_target, bbox = found.setdefault(target, {}), annotated.get("bbox")
                if of_target.setdefault(frame, bbox) != bbox:
                    of_target[frame] = TWICE
    return found


def _box(bbox: Any, table: ClipTable) -> Box | None:
    """The part of the box inside the frame; None where nothing of it is."""
    sides: tuple[Any, ...] = tuple(map(bbox.get, SIDES)) if isinstance(bbox, dict) else (None,) * 4
    x1, y1, x2, y2 = sides
    if type(x1) is type(y1) is type(x2) is type(y2) is int and (  # nearly all are plain, and there are millions
        0 <= x1 < x2 <= table.clip.width and 0 <= y1 < y2 <= table.clip.height
    ):
        return float(x1), float(y1), float(x2), float(y2)
    return _odd_box(bbox, table)


def _odd_box(bbox: Any, table: ClipTable) -> Box | None:
    """The same of a box that reaches beyond the frame, has fractions, or is none."""
    sides = [bbox.get(name) for name in SIDES] if isinstance(bbox, dict) else []
    numbers = [float(side) for side in sides if is_number(side) and math.isfinite(side)]
    if len(numbers) != 4:
        raise SkipItem("bad_box", f"{bbox!r} is not a box of four numbers")
    x1, y1, x2, y2 = numbers
    if x1 > x2 or y1 > y2:
        raise SkipItem("bad_box", f"{[x1, y1, x2, y2]} is not in order")
    box = (max(x1, 0.0), max(y1, 0.0), min(x2, float(table.clip.width)), min(y2, float(table.clip.height)))
    if box != (x1, y1, x2, y2):
        table.adjust("box_cut")
    return box if box[0] < box[2] and box[1] < box[3] else None
