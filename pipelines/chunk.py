"""One chunk of work: raw clips → rendered, validated records on disk. The same function in this process and on Ray.

The output is two files named by the chunk's digest: the records' JSON end to end, and a JSON index that is renamed
into place last. The index also states every media file's size and time, so that a later run redoes the chunk if the
media changed and reuses it otherwise.
"""

import hashlib
import json
import os
import zlib
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from converters.convert import Converted, convert_clip
from pipelines.needs import CONVERSION, require
from pipelines.plan import Chunk, raw_clips
from shards.frame_zip import FrameZip
from shards.manifest import InputFile
from shards.record import Record, Sample, to_json
from shards.skips import Skipped
from shards.validate import sample_problems, table_problems
from shards.writer import Media, MediaFile, record_size, write_atomically
from templates import TemplateError, render

MENDABLE: Final = ("missing_media", "bad_media", "missing_annotation", "unsafe_path")
"""Skips of files that were not read, so that no change of them would be noticed: a chunk with one is converted anew by
the next run."""


@dataclass(frozen=True, slots=True)
class Written:
    """A record in a chunk's file, and the media that goes with it."""

    key: str
    offset: int
    size: int
    samples: int
    media: Media | None

    def tar_bytes(self) -> int:
        return record_size(self.size, self.media.size if self.media else None)


@dataclass(frozen=True, slots=True)
class ChunkResult:
    records_file: Path
    records: list[Written]
    skipped: list[Skipped]
    inputs: list[InputFile]
    items: int
    adjusted: dict[str, int]
    """Kind of adjustment → number of samples (``shards.skips.ADJUSTMENTS``)."""
    stamp: str
    """Changes whenever a record or the identity of a media file does."""


def run_chunk(chunk: Chunk, folder: Path, name: str) -> ChunkResult:
    """Convert, render, validate and write the chunk's records, or take them from an earlier run."""
    index = folder / f"{name}.json"
    if (known := _known(index)) is not None:
        return known
    require(*CONVERSION)
    folder.mkdir(parents=True, exist_ok=True)
    converter = chunk.entry.open()
    records, skipped, items = bytearray(), [], 0
    written: list[Written] = []
    adjusted: Counter[str] = Counter()
    media_seen: dict[str, list[int] | None] = {}
    for raw in raw_clips(chunk.payload):
        items += len(raw.items)
        found = _rendered(convert_clip(converter, raw, chunk.entry.name), chunk)
        skipped += found.skipped
        media_seen |= _media_identities(found.media)
        if found.record is not None:
            text = to_json(found.record)
            adjusted.update(kind for sample in found.record.samples for kind in found.adjusted.get(sample.key, ()))
            written.append(Written(found.record.key, len(records), len(text), len(found.record.samples), found.media))
            records += text
    inputs = converter.files.inputs
    media_seen |= {str(path): _identity(path) for path in (converter.root / file.path for file in inputs)}
    stamp = hashlib.sha256(records + json.dumps(media_seen).encode("ascii")).hexdigest()[:32]
    result = ChunkResult(folder / f"{name}.records", written, skipped, inputs, items, dict(adjusted), stamp)
    write_atomically(result.records_file, bytes(records), durable=False)  # the index knows its checksum
    if not any(skip.reason in MENDABLE for skip in skipped):
        write_atomically(index, _index_json(result, media_seen), durable=False)
    return result


def _rendered(found: Converted, chunk: Chunk) -> Converted:
    """The record with turns; a sample that breaks an invariant all the same is skipped, and says which."""
    if found.record is None:
        return found
    record, skipped = found.record, list(found.skipped)
    samples: list[Sample] = []
    for sample in record.samples:
        full = _with_turns(record, sample, chunk)
        if isinstance(full, Sample):
            samples.append(full)
        else:
            skipped.append(full)
    record = replace(record, samples=tuple(samples))
    if not samples:
        return Converted(None, found.media, tuple(skipped))
    record = without_unused(record)
    if problems := table_problems(record):
        skipped += [Skipped(sample.key, "invalid", problems[0]) for sample in samples]
        return Converted(None, found.media, tuple(skipped))
    return Converted(record, found.media, tuple(skipped), found.adjusted)


def _with_turns(record: Record, sample: Sample, chunk: Chunk) -> Sample | Skipped:
    try:
        full = render(sample, record.clip, seed=chunk.seed, wordings=chunk.wordings, tubes=record.tubes)
    except TemplateError as error:
        return Skipped(sample.key, "invalid", str(error).removeprefix(f"{sample.key}: "))
    problems = sample_problems(record, full)
    return Skipped(sample.key, "invalid", problems[0].removeprefix(f"{sample.key}: ")) if problems else full


def without_unused(record: Record) -> Record:
    """The record without masklets and tubes that no sample points to any more."""
    masklets = sorted(
        {region.masklet for sample in record.samples for region in sample.regions}
        | {index for sample in record.samples for target in sample.targets or () for index in target}
    )
    tubes = sorted({index for sample in record.samples for index in sample.tubes})
    if len(masklets) == len(record.masklets) and len(tubes) == len(record.tubes):
        return record
    mask_at = {old: new for new, old in enumerate(masklets)}
    tube_at = {old: new for new, old in enumerate(tubes)}
    samples = tuple(
        replace(
            sample,
            regions=tuple(replace(region, masklet=mask_at[region.masklet]) for region in sample.regions),
            targets=None
            if sample.targets is None
            else tuple(tuple(mask_at[index] for index in target) for target in sample.targets),
            tubes=tuple(tube_at[index] for index in sample.tubes),
        )
        for sample in record.samples
    )
    return replace(
        record,
        masklets=tuple(record.masklets[old] for old in masklets),
        tubes=tuple(record.tubes[old] for old in tubes),
        samples=samples,
    )


# -------------------------------------------------------------------------------- the output of a chunk on disk


def _media_identities(media: Media | None) -> dict[str, list[int] | None]:
    """Path → what ``_identity`` gave when the file was probed; of frames also their folder, which may get another."""
    if isinstance(media, FrameZip):
        frames = zip(media.paths, media.sizes, media.mtimes_ns, strict=True)
        folders = {str(folder): _identity(folder) for folder in {path.parent for path in media.paths}}
        return folders | {str(path): [size, time] for path, size, time in frames}
    if isinstance(media, MediaFile) and media.mtime_ns is not None:
        return {str(media.path): [media.size, media.mtime_ns]}
    return {}


def _identity(path: Path) -> list[int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _media_json(media: Media | None) -> dict[str, Any] | None:
    if isinstance(media, FrameZip):
        paths = [str(path) for path in media.paths]
        return {"paths": paths, "indices": media.indices, "sizes": media.sizes, "mtimes": media.mtimes_ns}
    if isinstance(media, MediaFile):
        return {"path": str(media.path), "suffix": media.suffix, "size": media.size, "mtime": media.mtime_ns}
    return None


def _media_from(raw: dict[str, Any] | None) -> Media | None:
    if raw is None:
        return None
    if "paths" in raw:
        paths = tuple(map(Path, raw["paths"]))
        return FrameZip(paths, tuple(raw["indices"]), tuple(raw["sizes"]), tuple(raw["mtimes"]))
    return MediaFile(Path(raw["path"]), raw["suffix"], raw["size"], raw["mtime"])


def _index_json(result: ChunkResult, media_seen: dict[str, list[int] | None]) -> bytes:
    raw = {
        "records_file": str(result.records_file),
        "crc32": zlib.crc32(result.records_file.read_bytes()),
        "records": [[w.key, w.offset, w.size, w.samples, _media_json(w.media)] for w in result.records],
        "skipped": [asdict(skip) for skip in result.skipped],
        "inputs": [asdict(file) for file in result.inputs],
        "items": result.items,
        "adjusted": result.adjusted,
        "stamp": result.stamp,
        "media": media_seen,
    }
    return json.dumps(raw).encode("ascii")


def _known(index: Path) -> ChunkResult | None:
    """The result of an earlier run, if it is whole and its media is still the same."""
    try:
        raw = json.loads(index.read_bytes())
        records_file = Path(raw["records_file"])
        whole = zlib.crc32(records_file.read_bytes()) == raw["crc32"]
    except (OSError, ValueError, KeyError):
        return None
    if not whole or any(_identity(Path(path)) != seen for path, seen in raw["media"].items()):
        return None
    return ChunkResult(
        records_file,
        [
            Written(key, offset, size, samples, _media_from(media))
            for key, offset, size, samples, media in raw["records"]
        ],
        [Skipped(**skip) for skip in raw["skipped"]],
        [InputFile(**file) for file in raw["inputs"]],
        raw["items"],
        raw["adjusted"],
        raw["stamp"],
    )
