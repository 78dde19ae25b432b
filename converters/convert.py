"""Turning one raw clip into one record: media found and probed, every item a sample or a counted skip.

Pure: the same raw clip and the same files give the same record, in any process.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from converters.base import Converter, FrameFolder, Item, MediaRef, RawClip, VideoFile
from converters.clip_table import ClipTable
from converters.raw_files import DatasetError, existing, inside, utf8
from shards import media as probing
from shards.frame_zip import MAX_FRAMES, MAX_ZIP_BYTES, frame_zip
from shards.keys import record_key
from shards.record import Clip, Record, Sample, sample_dict
from shards.rle import MaskError, SizeMismatch
from shards.skips import SkipItem, Skipped
from shards.writer import MAX_MEMBER_BYTES, Media, MediaFile

UNEXPECTED: Final = "unexpected: "
"""How the detail of a skip begins that no converter foresaw: the item is odd, or the converter has a bug."""
NOT_OF_AN_ITEM: Final = (OSError, MemoryError, ImportError, AssertionError, DatasetError)
"""Errors of the machine, the installation, the program or the whole release: no item is to blame, the build stops."""
MAX_DETAIL: Final = 500


@dataclass(frozen=True, slots=True)
class Converted:
    """A clip's record, the media that was looked at for it, the items that were skipped, and what was adjusted of the
    others, by sample key.

    There is no record if no item was right, and no media if it could not be used, or there is none.
    """

    record: Record | None
    media: Media | None
    skipped: tuple[Skipped, ...]
    adjusted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def convert_clip(converter: Converter, raw: RawClip, entry: str) -> Converted:
    """The record of ``raw`` in ``entry``: its samples without turns, in the order of the items."""
    try:
        key = record_key(entry, utf8(raw.id, "the id of the clip"))
        clip, media = _media(converter, raw)
    except Exception as error:
        return Converted(None, None, tuple(_skipped(item, error) for item in raw.items))
    table = ClipTable(clip)
    adjusted: dict[str, tuple[str, ...]] = {}
    outcomes: list[Sample | Skipped] = []
    for item in raw.items:
        outcomes.append(_sample(converter, raw, item, clip, table))
        if isinstance(outcomes[-1], Sample) and table.adjusted:
            adjusted[item.key] = tuple(sorted(table.adjusted))
    samples = tuple(outcome for outcome in outcomes if isinstance(outcome, Sample))
    skipped = tuple(outcome for outcome in outcomes if isinstance(outcome, Skipped))
    if not samples:
        return Converted(None, media, skipped)
    record = Record(
        key=key,
        entry=entry,
        dataset=converter.name,
        split=converter.split,
        license=converter.license,
        clip=clip,
        masklets=tuple(placed.value for placed in table.masklets.values()),
        tubes=tuple(placed.value for placed in table.tubes.values()),
        samples=samples,
    )
    return Converted(record, media, skipped, adjusted)


def _sample(converter: Converter, raw: RawClip, item: Item, clip: Clip, table: ClipTable) -> Sample | Skipped:
    before = table.mark()
    try:
        if ".." in item.key.split("/"):
            raise SkipItem("unsafe_path", "an id of the item holds '..'")
        return _checked(converter.facts(raw, item, clip, table), item)
    except Exception as error:
        table.forget(before)
        return _skipped(item, error)


def _checked(found: Any, item: Item) -> Sample:
    """What ``facts`` gave, which must be the sample of this item, and something that a record can hold."""
    if not isinstance(found, Sample) or found.key != item.key:
        raise TypeError("the converter's facts are not a sample with the item's key")
    utf8(json.dumps(sample_dict(found), ensure_ascii=False, allow_nan=False), "an id or label")
    return found


def _skipped(item: Item, error: Exception) -> Skipped:
    """The skip that an error means.

    One item of a million must not end a build, so an error that nobody foresaw is a skip too: it counts towards
    ``max_skip_share``, and its detail says that it was unexpected.
    """
    if isinstance(error, NOT_OF_AN_ITEM):
        raise error
    reason, detail = "malformed", f"{UNEXPECTED}{type(error).__name__}: {error}"
    if isinstance(error, SkipItem):
        reason, detail = error.reason, error.detail
    elif isinstance(error, MaskError):
        reason, detail = "size_mismatch" if isinstance(error, SizeMismatch) else "bad_mask", str(error)
    return Skipped(item.key, reason, detail if len(detail) <= MAX_DETAIL else f"{detail[:MAX_DETAIL]}…")


def _media(converter: Converter, raw: RawClip) -> tuple[Clip, Media | None]:
    ref = converter.media(raw)
    try:
        return _open(converter, ref)
    except probing.MediaError as error:
        raise SkipItem("bad_media", _without_roots(str(error), converter, ref)) from None


def _without_roots(words: str, converter: Converter, ref: MediaRef) -> str:
    """``words`` without the places of this machine: ``skipped.jsonl`` is the same wherever the release lies."""
    if ref is not None and Path(ref.folder).is_absolute():
        words = words.replace(f"{Path(ref.folder)}/", "")
    return words.replace(f"{converter.root}/", "")


def _open(converter: Converter, ref: MediaRef) -> tuple[Clip, Media | None]:
    if ref is None:
        return Clip("none", "", 0, 0, 0, None, None), None
    place = inside(converter.root, ref.path, ref.folder)
    source = utf8(ref.path if Path(ref.folder).is_absolute() else f"{ref.folder}/{ref.path}", "the path of the clip")
    if isinstance(ref, FrameFolder):
        paths = [existing(_frame(converter, ref, place, name)) for name in ref.names]
        if not paths:
            raise SkipItem("missing_media", f"{source} holds no frames")
        frames = frame_zip(paths)
        if len(paths) > MAX_FRAMES or frames.size > MAX_ZIP_BYTES:
            raise SkipItem("bad_media", f"{source}: {len(paths)} frames, {frames.size} bytes are more than a zip holds")
        return _clip(probing.probe_frames(paths), source), frames
    path = existing(place)
    before = path.stat()
    found = probing.probe_video(path) if isinstance(ref, VideoFile) else probing.probe_still(path)
    if before.st_size > MAX_MEMBER_BYTES:
        raise SkipItem("bad_media", f"{source}: {before.st_size} bytes are more than a plain tar header can say")
    return _clip(found, source), MediaFile(path, _member_suffix(path), before.st_size, before.st_mtime_ns)


def _frame(converter: Converter, ref: FrameFolder, folder: Path, name: str) -> Path:
    """A frame's file: only a plain name that is no link is known to lie in the folder, which was looked at before."""
    path = folder / name
    if "/" not in name and "\\" not in name and "\0" not in name and name.strip(". ") and not path.is_symlink():
        return path
    return inside(converter.root, f"{ref.path}/{name}", ref.folder)


def _member_suffix(path: Path) -> str:
    """The suffix of the media member: the format has one spelling for a JPEG."""
    suffix = path.suffix.lower()
    return ".jpg" if suffix == ".jpeg" else suffix


def _clip(found: probing.Probe, source: str) -> Clip:
    return Clip(
        kind=found.kind,
        source=source,
        width=found.width,
        height=found.height,
        num_frames=found.num_frames,
        fps=found.fps,
        duration=found.duration,
        frame_times=found.frame_times,
    )
