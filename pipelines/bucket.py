"""One shard of work: records of finished chunks and their media → a tar, and its part of the two indexes."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pipelines.chunk import Written
from shards.index import RECORDS_SCHEMA, SAMPLES_SCHEMA, record_row, sample_rows, write_index
from shards.manifest import sha256_of
from shards.record import from_json
from shards.writer import Media, write_atomically, write_shard


@dataclass(frozen=True, slots=True)
class Member:
    """A record, the chunk file that holds its JSON, and the stamp of that chunk's content."""

    file: Path
    stamp: str
    record: Written

    @property
    def suffix(self) -> str | None:
        return self.record.media.suffix if self.record.media else None


@dataclass(frozen=True, slots=True)
class ShardTask:
    corpus: Path
    scratch: Path
    entry: str
    number: int
    members: tuple[Member, ...]

    def digest(self) -> str:
        """Names the shard's results by the content that goes into it."""
        parts = [f"{self.entry} {self.number}"]
        parts += [f"{member.stamp} {member.record.key} {member.record.offset}" for member in self.members]
        return hashlib.sha256("\n".join(parts).encode("utf-8")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class ShardResult:
    """A finished shard, as the manifest states it, and the two files that hold its index rows."""

    path: str
    bytes: int
    sha256: str
    records: int
    samples: int
    records_index: Path
    samples_index: Path


def run_shard(task: ShardTask) -> ShardResult:
    """Write the shard and its index rows, or take them from an earlier run whose shard is still there."""
    stem = task.scratch / task.digest()
    done = stem.with_suffix(".json")
    if (known := _known(done, task.corpus)) is not None:
        return known
    shard = write_shard(task.corpus, task.entry, task.number, _records(task.members), task.scratch)
    record_rows, all_sample_rows = [], []
    for (_, text, _), placed in zip(_records(task.members), shard.placed, strict=True):
        record = from_json(text)
        record_rows.append(record_row(record, shard.path, placed))
        all_sample_rows += sample_rows(record)
    result = ShardResult(
        path=shard.path,
        bytes=shard.bytes,
        sha256=shard.sha256,
        records=len(record_rows),
        samples=len(all_sample_rows),
        records_index=stem.with_suffix(".records.parquet"),
        samples_index=stem.with_suffix(".samples.parquet"),
    )
    write_index(result.records_index, record_rows, RECORDS_SCHEMA)
    write_index(result.samples_index, all_sample_rows, SAMPLES_SCHEMA)
    write_atomically(done, json.dumps(asdict(result), default=str).encode("utf-8"))
    return result


def _records(members: tuple[Member, ...]) -> Iterator[tuple[str, bytes, Media | None]]:
    for member in members:
        with member.file.open("rb") as file:
            file.seek(member.record.offset)
            yield member.record.key, file.read(member.record.size), member.record.media


def _known(done: Path, corpus: Path) -> ShardResult | None:
    try:
        raw = json.loads(done.read_bytes())
        indexes = {name: Path(raw[name]) for name in ("records_index", "samples_index")}
        if sha256_of(corpus / raw["path"]) != raw["sha256"] or not all(path.is_file() for path in indexes.values()):
            return None
    except (OSError, ValueError, KeyError):
        return None
    return ShardResult(**raw | indexes)
