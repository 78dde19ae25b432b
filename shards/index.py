"""The two indexes of a corpus: where every record's bytes lie, and what every sample asks for.

With them a stream is planned, and one record is read, before or without reading a shard through.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from shards.record import Record, Sample
from shards.writer import Placed

RECORDS_FILE: Final = "records.parquet"
SAMPLES_FILE: Final = "samples.parquet"

RECORDS_SCHEMA: Final = pa.schema(
    [
        pa.field("record_key", pa.string(), nullable=False),
        pa.field("entry", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("json_offset", pa.int64(), nullable=False),
        pa.field("json_size", pa.int64(), nullable=False),
        pa.field("json_crc32", pa.int64(), nullable=False),
        pa.field("media_offset", pa.int64()),
        pa.field("media_size", pa.int64()),
        pa.field("media_crc32", pa.int64()),
        pa.field("frame_offsets", pa.list_(pa.int64()), nullable=False),
        pa.field("frame_sizes", pa.list_(pa.int64()), nullable=False),
        pa.field("frame_crc32s", pa.list_(pa.int64()), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("num_frames", pa.int32(), nullable=False),
        pa.field("fps", pa.float64()),
        pa.field("duration", pa.float64()),
        pa.field("source", pa.string()),
    ]
)
LATER_COLUMNS: Final = frozenset({"source"})
"""Columns that an index of the first days lacks; they are read as null there."""

SAMPLES_SCHEMA: Final = pa.schema(
    [
        pa.field("sample_key", pa.string(), nullable=False),
        pa.field("record_key", pa.string(), nullable=False),
        pa.field("entry", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("window_start", pa.float64()),
        pa.field("window_end", pa.float64()),
        pa.field("num_regions", pa.int32(), nullable=False),
        pa.field("num_region_frames", pa.int32(), nullable=False),
        pa.field("num_targets", pa.int32(), nullable=False),
        pa.field("num_spans", pa.int32(), nullable=False),
        pa.field("num_text_bytes", pa.int64(), nullable=False),
        pa.field("num_wordings", pa.int32(), nullable=False),
        pa.field("tags", pa.list_(pa.string()), nullable=False),
    ]
)

Row = dict[str, Any]


def record_row(record: Record, shard: str, placed: Placed) -> Row:
    """The record's row of ``records.parquet``."""
    clip = record.clip
    return {
        "record_key": record.key,
        "entry": record.entry,
        "dataset": record.dataset,
        "split": record.split,
        "shard": shard,
        "json_offset": placed.json_offset,
        "json_size": placed.json_size,
        "json_crc32": placed.json_crc32,
        "media_offset": placed.media_offset,
        "media_size": placed.media_size,
        "media_crc32": placed.media_crc32,
        "frame_offsets": [frame.offset for frame in placed.frames],
        "frame_sizes": [frame.size for frame in placed.frames],
        "frame_crc32s": [frame.crc32 for frame in placed.frames],
        "kind": clip.kind,
        "width": clip.width,
        "height": clip.height,
        "num_frames": clip.num_frames,
        "fps": clip.fps,
        "duration": clip.duration,
        "source": clip.source,
    }


def sample_rows(record: Record) -> list[Row]:
    """The rows of ``samples.parquet`` for the record's samples, in their order."""
    return [_sample_row(record, sample) for sample in record.samples]


def _sample_row(record: Record, sample: Sample) -> Row:
    start, end = sample.window or (None, None)
    return {
        "sample_key": sample.key,
        "record_key": record.key,
        "entry": record.entry,
        "task": sample.task,
        "window_start": start,
        "window_end": end,
        "num_regions": len(sample.regions),
        "num_region_frames": len({frame for region in sample.regions for frame in region.frames}),
        "num_targets": len(sample.targets or ()),
        "num_spans": len(sample.spans),
        "num_text_bytes": max(sum(len(turn.text.encode("utf-8")) for turn in turns) for turns in sample.renderings()),
        "num_wordings": len(sample.renderings()),
        "tags": list(sample.tags),
    }


def write_index(path: Path, rows: Sequence[Row], schema: pa.Schema) -> None:
    """Write ``rows`` as Parquet; the same rows give the same bytes (with one version of pyarrow)."""
    write_table(path, pa.Table.from_pylist(list(rows), schema))


def join_indexes(path: Path, parts: Sequence[Path], schema: pa.Schema) -> None:
    """Write the rows of ``parts``, in order, as one index."""
    tables = [pq.read_table(part, schema=schema) for part in parts]
    write_table(path, pa.concat_tables(tables or [schema.empty_table()]).combine_chunks())


def write_table(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path, compression="zstd", row_group_size=100_000)


def read_index(path: Path, schema: pa.Schema) -> pa.Table:
    """The index at ``path``; later versions may have more columns, never fewer.

    ``LATER_COLUMNS`` that an older index lacks are null. Raises ValueError naming the file for another missing column
    or bytes that are no Parquet.
    """
    try:
        present = present_columns(path, schema)
        if missing := set(schema.names) - set(present) - LATER_COLUMNS:
            raise ValueError(f"it lacks the columns {', '.join(sorted(missing))}")
        table = pq.read_table(path, columns=present)
        for name in set(schema.names) - set(present):
            table = table.append_column(name, pa.nulls(len(table), schema.field(name).type))
        return table.select(schema.names).cast(schema)
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        words = str(error).partition("\n")[0]  # pyarrow adds whole schemas
        raise ValueError(f"{path} is not an index of this format: {words}") from None


def present_columns(path: Path, schema: pa.Schema) -> list[str]:
    """The columns of ``schema`` that the index at ``path`` has."""
    there = set(pq.read_schema(path).names)
    return [name for name in schema.names if name in there]
