"""Turning one raw clip into one record: media found and probed, every item a sample or a counted skip.

Pure: the same raw clip and the same files give the same record, in any process.
"""

from dataclasses import dataclass
from pathlib import Path

from converters.base import Converter, FrameFolder, Item, MediaRef, RawClip, VideoFile
from converters.clip_table import ClipTable
from converters.raw_files import existing, inside
from shards import media as probing
from shards.frame_zip import frame_zip
from shards.keys import record_key
from shards.record import Clip, Record, Sample
from shards.rle import MaskError, SizeMismatch
from shards.skips import SkipItem, Skipped
from shards.writer import Media, MediaFile


@dataclass(frozen=True, slots=True)
class Converted:
    """A clip's record (None if no item was right), its media, and the items that were skipped."""

    record: Record | None
    media: Media | None
    skipped: tuple[Skipped, ...]


def convert_clip(converter: Converter, raw: RawClip, entry: str) -> Converted:
    """The record of ``raw`` in ``entry``: its samples without turns, in the order of the items."""
    try:
        clip, media = _media(converter, raw)
    except SkipItem as skip:
        return Converted(None, None, tuple(Skipped(item.key, skip.reason, skip.detail) for item in raw.items))
    table = ClipTable(clip)
    outcomes = [_sample(converter, raw, item, clip, table) for item in raw.items]
    samples = tuple(outcome for outcome in outcomes if isinstance(outcome, Sample))
    skipped = tuple(outcome for outcome in outcomes if isinstance(outcome, Skipped))
    if not samples:
        return Converted(None, None, skipped)
    record = Record(
        key=record_key(entry, raw.id),
        entry=entry,
        dataset=converter.name,
        split=converter.split,
        license=converter.license,
        clip=clip,
        masklets=tuple(table.masklets.values()),
        tubes=tuple(table.tubes.values()),
        samples=samples,
    )
    return Converted(record, media, skipped)


def _sample(converter: Converter, raw: RawClip, item: Item, clip: Clip, table: ClipTable) -> Sample | Skipped:
    before = table.mark()
    try:
        if ".." in item.key.split("/"):
            raise SkipItem("unsafe_path", "an id of the item holds '..'")
        return converter.facts(raw, item, clip, table)
    except SkipItem as skip:
        reason, detail = skip.reason, skip.detail
    except SizeMismatch as error:
        reason, detail = "size_mismatch", str(error)
    except MaskError as error:
        reason, detail = "bad_mask", str(error)
    table.forget(before)
    return Skipped(item.key, reason, detail)


def _media(converter: Converter, raw: RawClip) -> tuple[Clip, Media | None]:
    ref = converter.media(raw)
    try:
        return _open(converter, ref)
    except probing.MediaError as error:
        raise SkipItem("bad_media", str(error).replace(f"{converter.root}/", "")) from None


def _open(converter: Converter, ref: MediaRef) -> tuple[Clip, Media | None]:
    if ref is None:
        return Clip("none", "", 0, 0, 0, None, None), None
    place = inside(converter.root / ref.folder, ref.path)
    source = ref.path if Path(ref.folder).is_absolute() else f"{ref.folder}/{ref.path}"
    if isinstance(ref, FrameFolder):
        paths = [existing(inside(place, name)) for name in ref.names]
        if not paths:
            raise SkipItem("missing_media", f"{source} holds no frames")
        return _clip(probing.probe_frames(paths), source), frame_zip(paths)
    path = existing(place)
    found = probing.probe_video(path) if isinstance(ref, VideoFile) else probing.probe_still(path)
    return _clip(found, source), MediaFile(path, path.suffix.lower(), path.stat().st_size)


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
