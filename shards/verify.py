"""Verifying a corpus: everything is read again, and everything that was said about it is checked.

Checksums and structure of every shard, every record's schema and invariants, every mask, every media header, and
that both indexes, the manifest and ``skipped.jsonl`` say what the shards hold.
"""

import hashlib
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from shards.frame_zip import FrameSpan, frame_spans
from shards.index import (
    RECORDS_FILE,
    RECORDS_SCHEMA,
    SAMPLES_FILE,
    SAMPLES_SCHEMA,
    Row,
    present_columns,
    read_index,
    record_row,
    sample_rows,
)
from shards.manifest import MANIFEST_FILE, SKIPPED_FILE, CorpusError, read_manifest, read_skipped, sha256_of
from shards.media import VIDEO_SUFFIXES, MediaError, check_header
from shards.record import FormatError, Record, from_json
from shards.skips import REASONS
from shards.validate import record_problems
from shards.writer import BLOCK, Placed

SUFFIXES: Final[dict[str, tuple[str, ...]]] = {
    "video": VIDEO_SUFFIXES,
    "still": (".jpg", ".png"),
    "frames": (".zip",),
    "none": (),
}
SHARD_PATH: Final = re.compile(r"shards/[A-Za-z0-9_-]+-[0-9]{5}-[0-9a-f]{8}\.tar")


@dataclass(frozen=True, slots=True)
class Verified:
    """What was read, and every fault found, one line each; no fault means the corpus is right."""

    shards: int
    records: int
    samples: int
    bytes: int
    faults: tuple[str, ...]


def verify(corpus: Path, tell: Callable[[int, int], None] = lambda shards, total: None) -> Verified:
    """Read the whole corpus again. Raises CorpusError only where there is no manifest to hold it against."""
    try:
        return _Verification(corpus).run(tell)
    except (KeyError, TypeError, AttributeError) as error:
        raise CorpusError(f"{corpus / MANIFEST_FILE} has not the documented shape ({error!r})") from None


class _Verification:
    def __init__(self, corpus: Path) -> None:
        self.corpus = corpus
        self.manifest = read_manifest(corpus)
        self.faults: list[str] = []
        self.record_rows: list[Row] = []
        self.sample_rows: list[Row] = []
        self.keys: Counter[str] = Counter()
        self.bytes = 0

    def run(self, tell: Callable[[int, int], None]) -> Verified:
        shards = sorted(self.manifest["shards"], key=lambda shard: shard["path"])
        for done, shard in enumerate(shards):
            tell(done, len(shards))
            self.faults += self._shard(shard)
        tell(len(shards), len(shards))
        self._strangers({shard["path"] for shard in shards})
        self._files()
        self._indexes()
        self._entries()
        self._counts()
        self.faults += [f"{key}: the key stands {n} times in the corpus" for key, n in self.keys.items() if n > 1]
        return Verified(len(shards), len(self.record_rows), len(self.sample_rows), self.bytes, tuple(self.faults))

    # ------------------------------------------------------------------------------------------ shards

    def _shard(self, stated: dict[str, Any]) -> Iterator[str]:
        path = self.corpus / stated["path"]
        if not SHARD_PATH.fullmatch(stated["path"]):
            yield f"{path}: the name is not shards/<entry>-<nnnnn>-<8 hex digits>.tar"
            return
        try:
            data = path.read_bytes()
        except OSError as error:
            yield f"{path}: {error.strerror}"
            return
        self.bytes += len(data)
        digest = hashlib.sha256(data).hexdigest()
        if digest != stated["sha256"] or len(data) != stated["bytes"]:
            said = f"{stated['bytes']} and {stated['sha256'][:8]}…"
            yield f"{path}: {len(data)} bytes with sha256 {digest[:8]}…, the manifest says {said}"
        if not path.stem.endswith(f"-{stated['sha256'][:8]}"):
            yield f"{path}: the name does not end in the beginning of its sha256"
        before = len(self.record_rows), len(self.sample_rows)
        try:
            yield from self._members(path, data, stated["path"])
        except (tarfile.TarError, ValueError) as error:
            yield f"{path}: is not a plain tar: {error}"
        found = len(self.record_rows) - before[0], len(self.sample_rows) - before[1]
        if found != (stated["records"], stated["samples"]):
            said = f"{stated['records']} and {stated['samples']}"
            yield f"{path}: {found[0]} records and {found[1]} samples, the manifest says {said}"

    def _members(self, path: Path, data: bytes, shard: str) -> Iterator[str]:
        members = list(_tar_members(data))
        at = 0
        while at < len(members):
            name, offset, size = members[at]
            key, dot, suffix = name.partition(".")
            if dot + suffix != ".json":
                yield f"{path}: {name} is not the JSON of a record"
                at += 1
                continue
            media = members[at + 1] if at + 1 < len(members) and members[at + 1][0].startswith(f"{key}.") else None
            at += 1 if media is None else 2
            for words in self._record(data, shard, key, (offset, size), media):
                yield f"{path}: {words}"

    def _record(
        self, data: bytes, shard: str, key: str, text_at: tuple[int, int], media_at: tuple[str, int, int] | None
    ) -> Iterator[str]:
        text = data[text_at[0] : sum(text_at)]
        try:
            record = from_json(text)
        except FormatError as error:
            yield f"{key}: {error}"
            return
        if record.key != key:
            yield f"{key}: the record inside calls itself {record.key}"
        if not shard.startswith(f"shards/{record.entry}-"):
            yield f"{key}: a record of entry {record.entry} stands in this shard"
        self.keys[record.key] += 1
        self.keys.update(sample.key for sample in record.samples)
        yield from record_problems(record)
        media, frames = None, []
        if media_at is not None:
            name, offset, size = media_at
            media = memoryview(data)[offset : offset + size]
            yield from _media_problems(record, name, media)
            frames = _frames_in(record, media, offset)
        elif record.clip.kind != "none":
            yield f"{key}: the media member is missing"
        placed = Placed(
            key=record.key,
            json_offset=text_at[0],
            json_size=text_at[1],
            json_crc32=zlib.crc32(text),
            media_offset=media_at[1] if media_at else None,
            media_size=media_at[2] if media_at else None,
            media_crc32=None if media is None else zlib.crc32(media),
            frames=frames,
        )
        self.record_rows.append(record_row(record, shard, placed))
        self.sample_rows += sample_rows(record)

    def _strangers(self, known: set[str]) -> None:
        for path in sorted((self.corpus / "shards").glob("*")):
            if path.relative_to(self.corpus).as_posix() not in known:
                self.faults.append(f"{path}: is not in the manifest; remove it")

    # --------------------------------------------------------------------------- indexes, manifest, skips

    def _files(self) -> None:
        stated = self.manifest["files"]
        for name in (RECORDS_FILE, SAMPLES_FILE, SKIPPED_FILE):
            path, digest = self.corpus / name, stated.get(name)
            if not path.is_file():
                self.faults.append(f"{path}: is missing")
            elif sha256_of(path) != digest:
                self.faults.append(f"{path}: does not match the sha256 of the manifest")

    def _indexes(self) -> None:
        for name, schema, rows, key in (
            (RECORDS_FILE, RECORDS_SCHEMA, self.record_rows, "record_key"),
            (SAMPLES_FILE, SAMPLES_SCHEMA, self.sample_rows, "sample_key"),
        ):
            path = self.corpus / name
            try:
                table = read_index(path, schema)
            except ValueError as error:
                self.faults.append(str(error))
                continue
            present = present_columns(path, schema)
            stated = table.select(present).to_pylist()
            expected = pa.Table.from_pylist(rows, schema).select(present).to_pylist()
            if stated != expected:
                self.faults.append(f"{path}: {_first_difference(stated, expected, key)}")

    def _counts(self) -> None:
        try:
            skipped = read_skipped(self.corpus)
        except CorpusError as error:
            self.faults.append(str(error))
            return
        self._skipped(skipped)
        reasons = Counter((line["entry"], line["reason"]) for line in skipped)
        records = Counter(row["entry"] for row in self.record_rows)
        samples = Counter(row["entry"] for row in self.sample_rows)
        for entry in self.manifest["entries"]:
            name = entry["entry"]
            counted = {reason: n for (where, reason), n in sorted(reasons.items()) if where == name}
            items = samples[name] + sum(counted.values())
            found = {"items": items, "records": records[name], "samples": samples[name], "skipped": counted}
            self._compare(f"entry {name}", entry, found)
        totals = {"records": records.total(), "samples": samples.total(), "skipped": len(skipped), "bytes": self.bytes}
        totals |= {"items": samples.total() + len(skipped), "shards": len(self.manifest["shards"])}
        stated = self.manifest["totals"]
        self._compare("totals", stated, {name: count for name, count in totals.items() if name in stated})

    def _compare(self, what: str, stated: dict[str, Any], found: dict[str, Any]) -> None:
        for field, value in found.items():
            if stated[field] != value:
                self.faults.append(f"{what}: {field} is {stated[field]} in the manifest, {value} in the corpus")

    def _entries(self) -> None:
        """Every record and every skipped line belongs to an entry of the manifest, which stands there once."""
        entries = self.manifest["entries"]
        names = Counter(entry["entry"] for entry in entries)
        self.faults += [f"entry {name}: stands {n} times in the manifest" for name, n in names.items() if n > 1]
        found = {(row["entry"], row["dataset"], row["split"]) for row in self.record_rows}
        for entry, dataset, split in sorted(found - {(e["entry"], e["dataset"], e["split"]) for e in entries}):
            self.faults.append(f"entry {entry}: its {dataset}, split {split} is not in the manifest")

    def _skipped(self, skipped: list[dict[str, str]]) -> None:
        path = self.corpus / SKIPPED_FILE
        if skipped != sorted(skipped, key=lambda line: (line["entry"], line["key"])):
            self.faults.append(f"{path}: is not in order of entry, then key")
        if unknown := {line["reason"] for line in skipped} - REASONS.keys():
            self.faults.append(f"{path}: unknown reasons {sorted(unknown)}")
        if unknown := {line["entry"] for line in skipped} - {entry["entry"] for entry in self.manifest["entries"]}:
            self.faults.append(f"{path}: unknown entries {sorted(unknown)}")


def _tar_members(data: bytes) -> Iterator[tuple[str, int, int]]:
    """(name, offset, size) of every member; ValueError for anything but plain, fixed headers and a proper end."""
    at = 0
    while data[at : at + BLOCK].strip(b"\0"):
        header = tarfile.TarInfo.frombuf(data[at : at + BLOCK], "utf-8", "strict")
        plain = tarfile.TarInfo(header.name)
        plain.size, plain.mode = header.size, 0o644
        if plain.tobuf(tarfile.USTAR_FORMAT) != data[at : at + BLOCK]:
            raise ValueError(f"the header of {header.name} has times, owners or modes of its own")
        start = at + BLOCK
        at = start + -(-header.size // BLOCK) * BLOCK
        if at > len(data) or data[start + header.size : at].strip(b"\0"):
            raise ValueError(f"{header.name} is cut off or badly padded")
        yield header.name, start, header.size
    if data[at:] != b"\0" * (2 * BLOCK):
        raise ValueError("it does not end in two blocks of zeros")


def _media_problems(record: Record, name: str, media: memoryview) -> Iterator[str]:
    suffix = "." + name.partition(".")[2]
    if suffix not in SUFFIXES[record.clip.kind]:
        yield f"{record.key}: a clip of kind {record.clip.kind} is stored as {suffix}"
        return
    try:
        check_header(record.clip.kind, media, record.clip)
    except MediaError as error:
        yield f"{record.key}: {error}"


def _frames_in(record: Record, media: memoryview, offset: int) -> list[FrameSpan]:
    if record.clip.kind != "frames":
        return []
    try:
        return frame_spans(media, offset)
    except ValueError:  # reported by check_header
        return []


def _first_difference(stated: list[Row], expected: list[Row], key: str) -> str:
    if len(stated) != len(expected):
        return f"has {len(stated)} rows, the shards hold {len(expected)}"
    row = next(i for i, (a, b) in enumerate(zip(stated, expected, strict=True)) if a != b)
    fields = [name for name in expected[row] if stated[row].get(name) != expected[row][name]]
    return f"row {row} ({expected[row][key]}) differs from the shards in {', '.join(fields)}"
