"""Indexes of older and later versions: what they lack is null, what they add is ignored, what they need is named."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shards.index import LATER_COLUMNS, RECORDS_FILE, RECORDS_SCHEMA, read_index
from shards.reader import Corpus
from shards.verify import verify
from tests.shards.small_corpus import sign_files


def rewrite(corpus: Path, table: pa.Table) -> None:
    pq.write_table(table, corpus / RECORDS_FILE)
    sign_files(corpus)


def test_the_source_of_every_clip_stands_in_the_index(pristine: Path):
    corpus = Corpus.open(pristine)
    assert corpus.records.column("source").to_pylist() == [record.clip.source for record, _ in corpus]


@pytest.mark.parametrize("column", sorted(LATER_COLUMNS))
def test_an_index_from_before_a_column_reads_and_verifies(corpus: Path, column):
    rewrite(corpus, pq.read_table(corpus / RECORDS_FILE).drop_columns([column]))
    table = read_index(corpus / RECORDS_FILE, RECORDS_SCHEMA)
    assert table.schema == RECORDS_SCHEMA
    assert table.column(column).null_count == len(table)
    assert verify(corpus).faults == ()


def test_a_column_that_is_there_must_be_right(corpus: Path):
    table = pq.read_table(corpus / RECORDS_FILE)
    at = table.schema.get_field_index("source")
    rewrite(corpus, table.set_column(at, "source", pa.nulls(len(table), pa.string())))
    (fault,) = verify(corpus).faults
    assert fault.endswith("differs from the shards in source")


def test_a_later_column_is_ignored(corpus: Path):
    table = pq.read_table(corpus / RECORDS_FILE)
    rewrite(corpus, table.append_column("mood", pa.array(["good"] * len(table))))
    assert read_index(corpus / RECORDS_FILE, RECORDS_SCHEMA).schema == RECORDS_SCHEMA
    assert verify(corpus).faults == ()


def test_a_column_that_was_always_there_must_be(corpus: Path):
    rewrite(corpus, pq.read_table(corpus / RECORDS_FILE).drop_columns(["kind", "source"]))
    with pytest.raises(ValueError, match=r"records\.parquet is not an index of this format: it lacks the columns kind"):
        read_index(corpus / RECORDS_FILE, RECORDS_SCHEMA)
