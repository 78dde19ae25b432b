"""Reading a corpus: in order, or one record or sample by its key, every byte checked against the index."""

import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from shards.index import RECORDS_FILE, RECORDS_SCHEMA, SAMPLES_FILE, SAMPLES_SCHEMA, read_index
from shards.manifest import CorpusError, read_manifest
from shards.media import MediaError, decode_image, read_frames
from shards.record import Record, Sample, from_json

Image = np.ndarray[Any, np.dtype[np.uint8]]

OPEN_SHARDS: Final = 64


class Corpus:
    """A finished corpus on disk.

    Rows are positions in ``records`` (sorted by shard and offset), the order of sequential reading. Reads use
    ``pread``, so one Corpus may be shared by threads and survives a fork.
    """

    def __init__(self, root: Path, manifest: dict[str, Any], records: pa.Table, samples: pa.Table) -> None:
        self.root, self.manifest, self.records, self.samples = root, manifest, records, samples
        self._files = _OpenShards(root)

    @classmethod
    def open(cls, root: str | os.PathLike[str]) -> "Corpus":
        """Raises CorpusError, in one line with a remedy, for anything that is not a finished corpus."""
        if "://" in str(root):
            raise CorpusError(f"{root}: this version reads corpora from local disk only; copy it to a folder first")
        path = Path(root)
        manifest = read_manifest(path)
        try:
            records = read_index(path / RECORDS_FILE, RECORDS_SCHEMA)
            samples = read_index(path / SAMPLES_FILE, SAMPLES_SCHEMA)
        except ValueError as error:
            raise CorpusError(f"{error}; build the corpus again") from None
        return cls(path, manifest, records, samples)

    def __len__(self) -> int:
        return self.records.num_rows

    def __iter__(self) -> Iterator[tuple[Record, bytes | None]]:
        """Every record with its media, sequentially over the shards."""
        for row in range(len(self)):
            yield self.record(row), self.media(row)

    # ------------------------------------------------------------------------------------------- by key

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.records.column("record_key").to_pylist())}

    @cached_property
    def _sample_rows(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.samples.column("sample_key").to_pylist())}

    def row(self, record_key: str) -> int:
        """The row of a record; KeyError with the nearest word of help if there is none."""
        try:
            return self._rows[record_key]
        except KeyError:
            raise KeyError(f"no record {record_key!r} in {self.root}") from None

    def sample(self, sample_key: str) -> tuple[int, Record, Sample]:
        """(row of its record, record, sample) of one sample key."""
        try:
            at = self._sample_rows[sample_key]
        except KeyError:
            raise KeyError(f"no sample {sample_key!r} in {self.root}") from None
        row = self.row(self.samples.column("record_key")[at].as_py())
        record = self.record(row)
        for sample in record.samples:
            if sample.key == sample_key:
                return row, record, sample
        raise CorpusError(f"{self.root / SAMPLES_FILE} says that {record.key} holds {sample_key}, which it does not")

    # -------------------------------------------------------------------------------------------- by row

    def record(self, row: int) -> Record:
        return from_json(self._checked(row, "json"))

    def media(self, row: int) -> bytes | None:
        """The media member's bytes; None for a record without media."""
        return None if self._cell("media_offset", row) is None else self._checked(row, "media")

    def frames(self, row: int, record: Record, frames: Sequence[int]) -> list[Image]:
        """Decoded frames [height, width, 3] of the record in ``row``, by source frame index.

        Of a frame folder only the bytes of the frames asked for are read.
        """
        if record.clip.kind != "frames":
            media = self.media(row)
            if media is None:
                raise ValueError(f"{record.key} has no media")
            return read_frames(record.clip, media, frames)
        stored = record.clip.stored_frames or range(record.clip.num_frames)
        place = {frame: i for i, frame in enumerate(stored)}
        images: dict[int, Image] = {}
        for frame in set(frames):
            if frame not in place:
                raise MediaError(f"{record.key}: frame {frame} is not stored; the clip has {len(place)} frames")
            images[frame] = decode_image(self._frame(row, place[frame]), f"{record.key}, frame {frame}")
        return [images[frame] for frame in frames]

    def _frame(self, row: int, place: int) -> bytes:
        """The bytes of the stored frame number ``place`` of a frame folder."""
        offset, size, crc32 = (self._cell(f"frame_{name}", row)[place] for name in ("offsets", "sizes", "crc32s"))
        return self._read(row, f"stored frame {place}", offset, size, crc32)

    def _checked(self, row: int, member: str) -> bytes:
        return self._read(row, member, *(self._cell(f"{member}_{name}", row) for name in ("offset", "size", "crc32")))

    def _read(self, row: int, what: str, offset: int, size: int, crc32: int) -> bytes:
        shard, key = self._cell("shard", row), self._cell("record_key", row)
        data = self._files.read(shard, offset, size, key)
        if zlib.crc32(data) != crc32:
            raise CorpusError(f"{self.root / shard}: the {what} of {key} does not match its checksum; fetch it again")
        return data

    def _cell(self, column: str, row: int) -> Any:
        return self.records.column(column)[row].as_py()


class _OpenShards:
    """The most recently used shard files, kept open."""

    def __init__(self, root: Path) -> None:
        self.root, self.lock = root, threading.Lock()
        self.open: OrderedDict[str, int] = OrderedDict()

    def read(self, shard: str, offset: int, size: int, key: str) -> bytes:
        """The ``size`` bytes at ``offset``; ``key`` is the record that an error is about."""
        with self.lock:
            fd = self._descriptor(shard)
            duplicate = os.dup(fd)  # another thread may close the original meanwhile
        try:
            data = os.pread(duplicate, size, offset)
        finally:
            os.close(duplicate)
        if len(data) != size:
            raise CorpusError(f"{self.root / shard} ends early: {len(data)} of {size} bytes of {key}; fetch it again")
        return data

    def _descriptor(self, shard: str) -> int:
        if shard in self.open:
            self.open.move_to_end(shard)
            return self.open[shard]
        try:
            fd = os.open(self.root / shard, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise CorpusError(
                f"{self.root / shard} cannot be read: {error.strerror}; run `multigrain verify`"
            ) from None
        self.open[shard] = fd
        if len(self.open) > OPEN_SHARDS:
            os.close(self.open.popitem(last=False)[1])
        return fd

    def __del__(self) -> None:
        for fd in self.open.values():
            os.close(fd)

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["root"])
