"""Writing one shard: a plain POSIX tar, the same bytes for the same records, published atomically.

A record is two adjacent members with one basename, ``<key>.json`` and then its media. The finished file is renamed
to a name that holds the beginning of its sha256, so a name never changes its content.
"""

import hashlib
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from shards.frame_zip import FrameSpan, FrameZip, MediaChanged, frame_spans

BLOCK: Final = 512
MAX_MEMBER_BYTES: Final = 8**11 - 1
"""The largest size that a plain tar header can say: 8 GiB less one byte."""
CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A video or still, copied byte for byte from ``path``; ``size`` and ``mtime_ns`` as they were when it was probed.

    Where the time is None only the size is compared.
    """

    path: Path
    suffix: str
    size: int
    mtime_ns: int | None = None

    def chunks(self) -> Iterator[bytes]:
        left = self.size
        with self.path.open("rb") as file:
            while chunk := file.read(CHUNK):
                left -= len(chunk)
                yield chunk
            now = os.fstat(file.fileno()).st_mtime_ns
        if self.mtime_ns not in (None, now):
            raise MediaChanged(f"{self.path}: it changed while the corpus was built; build again")
        if left:
            raise MediaChanged(
                f"{self.path}: the size changed by {-left} bytes while the corpus was built; build again"
            )


Media = MediaFile | FrameZip
"""The media member of a record: its suffix, its size, its bytes."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a record's bytes lie in its shard; offsets and sizes of contents, not headers."""

    key: str
    json_offset: int
    json_size: int
    json_crc32: int
    media_offset: int | None
    media_size: int | None
    media_crc32: int | None
    frames: list[FrameSpan]


@dataclass(frozen=True, slots=True)
class WrittenShard:
    path: str
    """Relative to the corpus."""
    bytes: int
    sha256: str
    placed: list[Placed]


def record_size(json_size: int, media_size: int | None) -> int:
    """Bytes that a record takes in a tar, headers and padding included."""
    members = [json_size] if media_size is None else [json_size, media_size]
    return sum(BLOCK + _padded(size) for size in members)


def write_shard(
    corpus: Path, entry: str, number: int, records: Iterable[tuple[str, bytes, Media | None]], scratch: Path
) -> WrittenShard:
    """Write ``shards/<entry>-<nnnnn>-<hash>.tar`` of (key, JSON, media) and return where everything lies.

    Built under ``scratch`` (the same file system) and renamed when whole: a shard is never seen half-written.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    (corpus / "shards").mkdir(parents=True, exist_ok=True)
    partial = scratch / f"{entry}-{number:05d}.{os.getpid()}.tar.partial"
    try:
        with partial.open("wb") as file:
            tar = _TarWriter(file)
            placed = [tar.add_record(key, text, media) for key, text, media in records]
            tar.finish()
            file.flush()
            os.fsync(file.fileno())
        digest = tar.sha256.hexdigest()
        name = f"shards/{entry}-{number:05d}-{digest[:8]}.tar"
        partial.replace(corpus / name)
    finally:
        partial.unlink(missing_ok=True)
    return WrittenShard(name, tar.position, digest, placed)


class _TarWriter:
    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.position, self.sha256 = file, 0, hashlib.sha256()

    def add_record(self, key: str, text: bytes, media: Media | None) -> Placed:
        json_at, json_crc = self._member(f"{key}.json", len(text), [text])
        if media is None:
            return Placed(key, json_at, len(text), json_crc, None, None, None, [])
        content = media.content() if isinstance(media, FrameZip) else None
        chunks = media.chunks() if content is None else [content]
        media_at, media_crc = self._member(f"{key}{media.suffix}", media.size, chunks)
        frames = [] if content is None else frame_spans(content, media_at)
        return Placed(key, json_at, len(text), json_crc, media_at, media.size, media_crc, frames)

    def _member(self, name: str, size: int, chunks: Iterable[bytes]) -> tuple[int, int]:
        header = tarfile.TarInfo(name)
        header.size, header.mode = size, 0o644  # mtime, uid and gid are 0 and the names empty by default
        self._write(header.tobuf(tarfile.USTAR_FORMAT))
        start, crc = self.position, 0
        for chunk in chunks:
            crc = zlib.crc32(chunk, crc)
            self._write(chunk)
        if self.position - start != size:
            raise MediaChanged(f"{name}: {self.position - start} bytes came, {size} were announced; build again")
        self._write(b"\0" * (_padded(size) - size))
        return start, crc

    def finish(self) -> None:
        self._write(b"\0" * (2 * BLOCK))

    def _write(self, data: bytes) -> None:
        self.file.write(data)
        self.sha256.update(data)
        self.position += len(data)


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace ``path`` by ``data`` so that a reader sees the old bytes or the new ones, nothing in between.

    Not ``durable`` is right for what is checked before it is used: after a power failure it may be empty.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
