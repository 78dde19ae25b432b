"""VideoRefer-700K and VideoRefer-Bench: captions and questions about objects that are shown by their masks.

Citation: Yuan et al., VideoRefer Suite: Advancing Spatial-Temporal Object Understanding with Video LLM (CVPR 2025).

The root holds::

    VideoRefer-700K/{videorefer-short-caption-500k,videorefer-detailed-caption-125k,videorefer-qa-75k}.json
    VideoRefer-700K/videos/…                    videos, or folders of frames
    VideoRefer-Bench-D/{VideoRefer-Bench-D.json, Panda-70M-part/*.mp4}
    VideoRefer-Bench-Q/{VideoRefer-Bench-Q.json, MeViS/…, DAVIS/…}     folders of frames

An item has ``conversations`` and one ``annotation`` per object: frame index (as text, in the decoded video or the
sorted folder) → segmentation. The k-th ``<region>`` of the human turns is the k-th object.

Known faults: ids start at 0 in every file; ``<video>`` stands before or after the first question; a segmentation is
compressed or uncompressed RLE, polygons (sized by the item or the video), or null for "not visible"; a single object
may come without its list; some copies drop ``videos/`` from the paths; containers declare more frames than decode.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

from converters.base import (
    DIALOGUE_ROLES,
    Converter,
    FrameFolder,
    Item,
    MediaRef,
    Option,
    RawClip,
    VideoFile,
    is_int,
    same_size,
    some_words,
    words,
)
from converters.clip_table import ClipTable
from converters.raw_files import inside
from converters.release import Needed
from shards.media import STILL_SUFFIXES
from shards.record import Clip, Region, Sample, Source, Task
from shards.rle import checked_area, empty, from_coco, look_at_coco
from shards.skips import SkipItem, Skipped
from shards.tokens import REGION, VIDEO


class Part(NamedTuple):
    """One JSON file of the release: where it is, where its videos are, and what its items are for."""

    file: str
    videos: str
    task: Task


SUBSETS: Final[dict[str, Part]] = {
    "short_caption": Part(
        "VideoRefer-700K/videorefer-short-caption-500k.json", "VideoRefer-700K", "referring_description"
    ),
    "detailed_caption": Part(
        "VideoRefer-700K/videorefer-detailed-caption-125k.json", "VideoRefer-700K", "referring_description"
    ),
    "qa": Part("VideoRefer-700K/videorefer-qa-75k.json", "VideoRefer-700K", "referring_qa"),
}
BENCHES: Final[dict[str, Part]] = {
    "bench_d": Part(
        "VideoRefer-Bench-D/VideoRefer-Bench-D.json", "VideoRefer-Bench-D/Panda-70M-part", "referring_description"
    ),
    "bench_q": Part("VideoRefer-Bench-Q/VideoRefer-Bench-Q.json", "VideoRefer-Bench-Q", "referring_qa"),
}
FRAME: Final = re.compile(r"[0-9]{1,9}")
PLACEHOLDER: Final = re.compile(rf"^\s*{VIDEO}|{VIDEO}\s*$")

PAGE_700K: Final = "https://huggingface.co/datasets/DAMO-NLP-SG/VideoRefer-700K"
PAGE_BENCH: Final = "https://huggingface.co/datasets/DAMO-NLP-SG/VideoRefer-Bench"
PANDA_VIDEOS: Final = Needed(
    path="VideoRefer-700K/videos",
    what="the videos, from Panda-70M",
    page=PAGE_700K,
    archive="panda_70m_split.tar.gz.*",
    holds="*",
    media=True,
    also=("VideoRefer-700K/panda_videos_part/videos", "VideoRefer-700K/Panda-70M", "VideoRefer-700K/panda_70m"),
)
BENCH_D_VIDEOS: Final = Needed(
    path="VideoRefer-Bench-D/Panda-70M-part",
    what="the videos of Bench-D",
    page=PAGE_BENCH,
    archive="Panda-70M-part.zip",
    holds="*.mp4",
    media=True,
    also=("VideoRefer-Bench/Panda-70M-part", "Panda-70M-part"),
)
BENCH_Q_FRAMES: Final = (
    Needed(
        path="VideoRefer-Bench-Q/MeViS/valid_u/JPEGImages",
        what="frames of MeViS, a folder for each video",
        page="https://henghuiding.github.io/MeViS/",
        archive="valid_u/JPEGImages",
        holds="*/",
        media=True,
    ),
    Needed(
        path="VideoRefer-Bench-Q/DAVIS/JPEGImages/480p",
        what="frames of DAVIS 2017, a folder for each video",
        page="https://davischallenge.org/davis2017/code.html",
        archive="DAVIS-2017-trainval-480p.zip",
        holds="*/",
        media=True,
    ),
)

Masks = dict[int, str]


class VideoRefer(Converter):
    name = "videorefer"
    title = "VideoRefer-700K: captions and questions about masked objects; VideoRefer-Bench-D and -Q"
    citation = (
        "Yuan et al., VideoRefer Suite: Advancing Spatial-Temporal Object Understanding with Video LLM, CVPR 2025, "
        "arXiv:2501.00599"
    )
    license = "Apache-2.0"  # as its owners' dataset cards say
    homepage = "https://github.com/DAMO-NLP-SG/VideoRefer"
    pictures = "panda"
    tasks = ("referring_description", "referring_qa")
    splits = ("train", "bench_d", "bench_q")
    options: ClassVar[Mapping[str, Option]] = {
        "subset": Option("which files of VideoRefer-700K (train only)", tuple(SUBSETS), many=True),
        "frames": Option(
            "the frames a region is shown on: all that are annotated; a single one (the bench's frame_idx, else the "
            "frame on which most of the objects are visible); or only items annotated on several frames",
            ("as_annotated", "single", "multi"),
        ),
    }

    def scan(self) -> Iterator[RawClip | Skipped]:
        if self.split in BENCHES:
            yield from self._scan_part(BENCHES[self.split], ())
            return
        chosen = self.chosen["subset"]
        for subset in [chosen] if isinstance(chosen, str) else chosen:
            yield from self._scan_part(SUBSETS[subset], (subset,))

    def _scan_part(self, part: Part, subset: tuple[str, ...]) -> Iterator[RawClip | Skipped]:
        for position, element in enumerate(self.files.elements(part.file)):
            id = element.get("id") if isinstance(element, dict) else None
            if not isinstance(element, dict) or not (is_int(id) or isinstance(id, str)):
                yield Skipped(self.key(*subset, f"@{position}"), "malformed", "the item has no id")
                continue
            key = self.key(*subset, id)
            if not isinstance(element.get("video"), str):
                yield Skipped(key, "malformed", "the item names no video")
            elif self.chosen["frames"] != "multi" or len(_annotated_frames(element)) != 1:  # none at all is a fault
                raw = {"part": part.file, "subset": list(subset), "frames": self.chosen["frames"], "element": element}
                yield RawClip(element["video"].rstrip("/"), (Item(key, raw),), {"videos": part.videos})

    def release(self) -> tuple[Needed, ...]:
        if self.split == "train":
            subsets = [self.chosen["subset"]] if isinstance(self.chosen["subset"], str) else self.chosen["subset"]
            return (*(_items_file(SUBSETS[subset].file, PAGE_700K) for subset in subsets), PANDA_VIDEOS)
        items = _items_file(BENCHES[self.split].file, PAGE_BENCH)
        return (items, BENCH_D_VIDEOS) if self.split == "bench_d" else (items, *BENCH_Q_FRAMES)

    def media(self, raw: RawClip) -> MediaRef:
        videos = raw.shared["videos"]
        place = inside(self.root, raw.id, videos)
        if not _exists(place) and _exists(self.root / videos / "videos" / raw.id):
            videos = f"{videos}/videos"  # a copy whose paths lack the folder
            place = inside(self.root, raw.id, videos)
        if _exists(place) and place.is_dir():
            names = sorted(file.name for file in place.iterdir() if _is_frame(file))
            return FrameFolder(videos, raw.id, tuple(names))
        return VideoFile(videos, raw.id)

    def facts(self, raw: RawClip, item: Item, clip: Clip, table: ClipTable) -> Sample:
        element, subset = item.raw["element"], tuple(item.raw["subset"])
        talk = _talk(element, self.split)
        objects = [_masks(masks, element, clip) for masks in _objects(element)]
        count = sum(question.count(REGION) for question in talk.questions())
        if count != len(objects) and (talk.query or count):
            raise SkipItem("region_count", f"{count} {REGION} in the text, {len(objects)} annotated objects")
        frames = _shown(objects, element, item.raw["frames"], clip)
        regions = tuple(
            Region(table.masklet("/".join([*subset, str(element["id"]), str(k)]), masks), shown)
            for k, (masks, shown) in enumerate(zip(objects, frames, strict=True))
        )
        return Sample(
            key=item.key,
            task=(BENCHES | SUBSETS)[subset[0] if subset else self.split].task,
            query=talk.query,
            answer=talk.answer,
            dialogue=talk.dialogue,
            choices=talk.choices,
            correct=talk.correct,
            regions=regions,
            tags=subset + talk.tags,
            source=Source(item.raw["part"], str(element["id"])),
        )


def _items_file(path: str, page: str) -> Needed:
    """A JSON of the release; its Bench repository holds both benches in one folder."""
    name = path.rpartition("/")[2]
    other = name.removesuffix(".json")
    return Needed(
        path=path,
        what="items, with the masks of their objects",
        page=page,
        archive=name,
        also=(f"VideoRefer-Bench/{name}", name),
        unlike=(
            (f"{other}-wo-masks.json", "a redistribution whose masks lie in files of their own"),
            (f"{other}_new*.json", "another project's edit, with other items"),
        ),
    )


def _is_frame(file: Path) -> bool:
    """Not so for the ``._00000.jpg`` that an unpacked archive of a Mac may hold."""
    return file.suffix.lower() in STILL_SUFFIXES and not file.name.startswith(".")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for the file system
        return False


# ------------------------------------------------------------------------------------------------ the words


class Talk(NamedTuple):
    """What is said about the objects."""

    query: str
    answer: str
    dialogue: tuple[tuple[str, str], ...] = ()
    choices: tuple[str, ...] | None = None
    correct: int | None = None
    tags: tuple[str, ...] = ()

    def questions(self) -> list[str]:
        """All that the human says, in order."""
        return [self.query, *(self.choices or ()), *(question for question, _ in self.dialogue)]


def _talk(element: dict[str, Any], split: str) -> Talk:
    if split == "bench_d":
        return Talk("", some_words(element.get("caption"), "the caption"))
    if split == "bench_q":
        return _multiple_choice(element)
    turns = element.get("conversations")
    if not isinstance(turns, list) or not turns or len(turns) % 2:
        raise SkipItem("malformed", "conversations is not a list of questions and answers")
    said = [_turn(turn, DIALOGUE_ROLES[i % 2], first=i == 0) for i, turn in enumerate(turns)]
    pairs = list(zip(said[::2], said[1::2], strict=True))
    return Talk(*pairs[0], tuple(pairs[1:]))


def _turn(turn: Any, role: str, first: bool) -> str:
    if not isinstance(turn, dict) or turn.get("from") != role:
        raise SkipItem("malformed", f"a turn of the conversation is not by {role!r}")
    text = turn.get("value")
    if first and isinstance(text, str):
        text = PLACEHOLDER.sub("", text, count=1)
    return some_words(text, f"a turn by {role!r}")


def _multiple_choice(element: dict[str, Any]) -> Talk:
    options = element.get("options")
    if not isinstance(options, list) or not options:
        raise SkipItem("malformed", "the question has no options")
    choices = tuple(some_words(option, "an option") for option in options)
    answer = some_words(element.get("Answer"), "the Answer")
    if answer not in choices:
        raise SkipItem("malformed", f"the Answer {answer!r} is none of the options")
    kind = words(element.get("type", ""), "the type")
    question = some_words(element.get("Question"), "the Question")
    return Talk(question, answer, (), choices, choices.index(answer), (kind,) if kind else ())


# ------------------------------------------------------------------------------------------------ the masks


def _objects(element: dict[str, Any]) -> list[Any]:
    """The annotation of every object, in order; a single object may come without its list."""
    annotation = element.get("annotation")
    if isinstance(annotation, dict):
        annotation = [annotation]
    if not isinstance(annotation, list) or not annotation:
        raise SkipItem("malformed", "the item has no annotation")
    return annotation


def _annotated_frames(element: dict[str, Any]) -> set[str]:
    annotation = element.get("annotation")
    objects = annotation if isinstance(annotation, list) else [annotation]
    return {frame for masks in objects if isinstance(masks, dict) for frame in masks}


def _masks(by_frame: Any, element: dict[str, Any], clip: Clip) -> Masks:
    if not isinstance(by_frame, dict) or not by_frame:
        raise SkipItem("malformed", "an object's annotation is not masks by frame")
    masks: Masks = {}
    look_at_coco((_segmentation(annotated) for annotated in by_frame.values()), clip.height, clip.width)
    for name in by_frame:
        if not FRAME.fullmatch(name):
            raise SkipItem("bad_frame", f"{name!r} is not a frame index")
        frame = int(name)
        if frame >= clip.num_frames or frame in masks:
            raise SkipItem("bad_frame", f"frame {name} of a clip with {clip.num_frames} frames, or given twice")
        masks[frame] = _mask(by_frame[name], element, clip)
    if not any(_area(counts, clip) for counts in masks.values()):
        raise SkipItem("empty_region", f"an object is not visible on any of its frames {sorted(masks)}")
    return dict(sorted(masks.items()))


def _area(counts: str, clip: Clip) -> int:
    return checked_area(counts, clip.height, clip.width)


def _segmentation(annotated: Any) -> Any:
    return annotated.get("segmentation") if isinstance(annotated, dict) else None


def _mask(annotated: Any, element: dict[str, Any], clip: Clip) -> str:
    if annotated is not None and not (isinstance(annotated, dict) and "segmentation" in annotated):
        raise SkipItem("malformed", "a frame's annotation has no segmentation")
    segmentation = None if annotated is None else annotated["segmentation"]
    if segmentation is None:
        return empty(clip.height, clip.width)
    sized = isinstance(segmentation, dict) and "size" in segmentation
    width, height = element.get("width"), element.get("height")
    if not sized and not (width is None and height is None):
        same_size(width, height, clip, "the item")
    if isinstance(segmentation, dict) and not sized:
        segmentation = segmentation | {"size": [clip.height, clip.width]}
    return from_coco(segmentation, clip.height, clip.width)


def _shown(objects: list[Masks], element: dict[str, Any], mode: str, clip: Clip) -> list[tuple[int, ...]]:
    """The frames that each object is shown on."""
    if mode != "single":
        return [tuple(masks) for masks in objects]
    if "frame_idx" in element:
        frame = str(element["frame_idx"])
        if not FRAME.fullmatch(frame) or any(int(frame) not in masks for masks in objects):
            raise SkipItem("bad_frame", f"frame_idx {frame} is not annotated for every object")
        shared = int(frame)
    else:
        shared = _best_frame(objects, clip)
    return [(shared if _visible(masks, shared, clip) else _best_frame([masks], clip),) for masks in objects]


def _best_frame(objects: list[Masks], clip: Clip) -> int:
    """The frame on which most objects are visible, then the largest; the earliest of equals."""

    def merit(frame: int) -> tuple[int, int, int]:
        areas = [_area(masks[frame], clip) for masks in objects if frame in masks]
        return sum(size > 0 for size in areas), sum(areas), -frame

    return max({frame for masks in objects for frame in masks}, key=merit)


def _visible(masks: Masks, frame: int, clip: Clip) -> bool:
    return frame in masks and _area(masks[frame], clip) > 0
