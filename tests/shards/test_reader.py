"""Reading by row, by key and by frame; and what the reader says of a corpus that is damaged or none."""

import json
import os
import pickle
import re
import shutil
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shards.index import RECORDS_FILE, RECORDS_SCHEMA, SAMPLES_FILE, read_index
from shards.manifest import MANIFEST_FILE, SKIPPED_FILE, CorpusError, read_skipped
from shards.media import MediaError
from shards.reader import OPEN_SHARDS, Corpus
from tests.shards.small_corpus import shard_of, still_media, still_record, write_corpus


def test_a_corpus_gives_back_what_was_written(pristine: Path, items):
    found = {record.key: (record, media) for record, media in Corpus.open(pristine)}
    assert len(found) == len(Corpus.open(pristine)) == len(items)
    for record, media in items:
        assert found[record.key] == (record, b"".join(media.chunks()) if media else None)


def test_rows_stand_in_the_order_of_shard_and_offset(pristine: Path):
    records = Corpus.open(pristine).records
    places = list(zip(records["shard"].to_pylist(), records["json_offset"].to_pylist(), strict=True))
    assert places == sorted(places)


def test_samples_stand_in_the_order_of_their_records(pristine: Path):
    corpus = Corpus.open(pristine)
    keys = [sample.key for record, _ in corpus for sample in record.samples]
    assert corpus.samples["sample_key"].to_pylist() == keys


def test_a_sample_is_found_by_its_key(pristine: Path, items):
    corpus = Corpus.open(pristine)
    for record, _ in items:
        for sample in record.samples:
            row, found, same = corpus.sample(sample.key)
            assert (corpus.row(record.key), found, same) == (row, record, sample)


def test_a_key_that_is_not_there_is_named(pristine: Path):
    with pytest.raises(KeyError, match="no sample 'toy/train/x'"):
        Corpus.open(pristine).sample("toy/train/x")
    with pytest.raises(KeyError, match="no record 'x'"):
        Corpus.open(pristine).row("x")


# ------------------------------------------------------------------------------------------- frames


def level(image: np.ndarray) -> int:
    return int(image[5, 5, 0])


def test_frames_of_a_folder_come_in_the_order_asked(pristine: Path):
    corpus = Corpus.open(pristine)
    row, record, _ = corpus.sample("toy/train/folders/dogs/0")
    images = corpus.frames(row, record, [3, 0, 0, 2])
    assert [level(image) for image in images] == pytest.approx([200, 50, 50, 150], abs=4)
    assert images[0].shape == (record.clip.height, record.clip.width, 3)


def test_frames_of_stills_and_videos_are_decoded(pristine: Path):
    corpus = Corpus.open(pristine)
    row, record, _ = corpus.sample("toy/train/pictures/cup/0")
    assert level(corpus.frames(row, record, [0])[0]) == pytest.approx(200, abs=4)
    row, record, _ = corpus.sample("toy/train/videos/door/0")
    assert [level(image) for image in corpus.frames(row, record, [9, 2])] == pytest.approx([180, 40], abs=8)


def test_text_has_no_frames(pristine: Path):
    corpus = Corpus.open(pristine)
    row, record, _ = corpus.sample("toy/train/words/sum/0")
    assert corpus.media(row) is None
    with pytest.raises(ValueError, match="words-sum has no media"):
        corpus.frames(row, record, [0])


@pytest.mark.parametrize("frame", [-1, 4])
def test_a_frame_outside_the_folder_is_refused(pristine: Path, frame):
    corpus = Corpus.open(pristine)
    row, record, _ = corpus.sample("toy/train/folders/dogs/0")
    with pytest.raises(MediaError, match=f"folders-dogs: frame {frame} is not stored; the clip has 4 frames"):
        corpus.frames(row, record, [frame])


# ------------------------------------------------------------------------------------------- damage


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("member", ["json", "media"])
@pytest.mark.parametrize("entry", ["pictures", "folders", "videos"])
def test_a_flipped_byte_is_named_by_shard_and_key(corpus: Path, entry, member):
    found = Corpus.open(corpus)
    row = found.records["entry"].to_pylist().index(entry)
    cells = found.records.slice(row, 1).to_pylist()[0]
    flip(corpus / cells["shard"], cells[f"{member}_offset"] + cells[f"{member}_size"] // 2)
    words = f"{re.escape(cells['shard'])}: the {member} of {cells['record_key']} does not match its checksum"
    with pytest.raises(CorpusError, match=words):
        (found.record if member == "json" else found.media)(row)


def test_a_shard_that_ends_early_is_named_with_the_key(corpus: Path):
    shard = shard_of(corpus, "folders")
    os.truncate(shard, shard.stat().st_size - 2048)
    found = Corpus.open(corpus)
    row = found.row("folders-dogs")
    record = found.record(row)
    with pytest.raises(CorpusError, match=rf"{shard.name} ends early: \d+ of \d+ bytes of folders-dogs"):
        found.media(row)
    os.truncate(shard, 1000)
    for read in (lambda: found.record(row), lambda: found.frames(row, record, [3])):
        with pytest.raises(CorpusError, match=f"{shard.name} ends early: .* of folders-dogs"):
            read()


def test_a_shard_that_is_not_there_is_named(corpus: Path):
    shard_of(corpus, "words").unlink()
    with pytest.raises(CorpusError, match=r"words-00000-.*\.tar cannot be read: .*multigrain verify"):
        Corpus.open(corpus).sample("toy/train/words/sum/0")


def test_an_index_that_promises_a_sample_too_many_is_named(corpus: Path):
    table = pq.read_table(corpus / SAMPLES_FILE).to_pylist()
    table[0]["sample_key"] = "toy/train/made/up"
    pq.write_table(pa.Table.from_pylist(table, pq.read_schema(corpus / SAMPLES_FILE)), corpus / SAMPLES_FILE)
    with pytest.raises(CorpusError, match=r"samples\.parquet says that .* holds toy/train/made/up"):
        Corpus.open(corpus).sample("toy/train/made/up")


# ------------------------------------------------------------------------------------------- not a corpus


def refusal(path: Path) -> str:
    """The one line that says why ``path`` is no corpus, and what to do."""
    with pytest.raises(CorpusError) as refused:
        Corpus.open(path)
    words = str(refused.value)
    assert "\n" not in words
    assert str(path) in words
    return words


def test_a_place_without_a_corpus_is_refused_with_a_remedy(tmp_path: Path):
    assert refusal(tmp_path).endswith("build it to its end, or correct the path")
    assert refusal(tmp_path / "absent").endswith("is not a finished corpus: correct the path")
    (tmp_path / "file.tar").write_bytes(b"")
    assert refusal(tmp_path / "file.tar").endswith("is not a finished corpus: correct the path")
    with pytest.raises(CorpusError, match="copy it to a folder first"):
        Corpus.open("s3://bucket/corpus")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a manifest"),
        (b"\xff\xfe", "is not a manifest"),
        (b"[" * 100_000, "is not a manifest"),
        (b"[]", "has format None"),
        (b"{}", "has format None"),
        (b'{"format": 2}', "has format 2, this version reads 1"),
        (b'{"format": 1, "name": "x"}', "lacks entries, files, shards, totals"),
    ],
)
def test_a_manifest_that_is_none_is_refused_with_a_remedy(corpus: Path, content, words):
    (corpus / MANIFEST_FILE).write_bytes(content)
    said = refusal(corpus)
    assert words in said
    assert "build the corpus again" in said


@pytest.mark.parametrize("name", [RECORDS_FILE, SAMPLES_FILE])
@pytest.mark.parametrize("content", [None, b"", b"PAR1", b"garbage" * 100])
def test_an_index_that_is_none_is_refused_with_a_remedy(corpus: Path, name, content):
    if content is None:
        (corpus / name).unlink()
    else:
        (corpus / name).write_bytes(content)
    said = refusal(corpus)
    assert f"{name} is not an index of this format" in said
    assert said.endswith("build the corpus again")


@pytest.mark.parametrize("column", ["record_key", "frame_offsets", "fps"])
def test_an_index_without_a_column_is_refused(corpus: Path, column):
    pq.write_table(pq.read_table(corpus / RECORDS_FILE).drop_columns(column), corpus / RECORDS_FILE)
    assert f"records.parquet is not an index of this format: it lacks the columns {column};" in refusal(corpus)


def test_an_index_may_have_further_columns(corpus: Path):
    table = pq.read_table(corpus / RECORDS_FILE)
    later = table.append_column("later", pa.array(range(table.num_rows)))
    pq.write_table(later.select(later.column_names[::-1]), corpus / RECORDS_FILE)
    assert read_index(corpus / RECORDS_FILE, RECORDS_SCHEMA).equals(table.cast(RECORDS_SCHEMA))


@pytest.mark.parametrize("line", [b"{", b"[]", b'"x"', b'{"key": "k"}', b"", b"\xff", b"[" * 100_000])
def test_a_skipped_line_that_is_none_is_named(corpus: Path, line):
    good = json.dumps({"key": "k", "entry": "e", "reason": "bad_mask", "detail": ""}).encode()
    (corpus / SKIPPED_FILE).write_bytes(good + b"\n" + line + b"\n" + good + b"\n")
    with pytest.raises(CorpusError, match=r"skipped\.jsonl, line 2 (is not JSON|has not the texts)"):
        read_skipped(corpus)


# ------------------------------------------------------------------------------------------- sharing


@pytest.fixture(scope="module")
def scattered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of more shards than the reader keeps open."""
    folder = tmp_path_factory.mktemp("many")
    media = still_media(folder)
    return write_corpus(folder / "corpus", [(still_record(f"n{i}"), media) for i in range(OPEN_SHARDS + 9)], (), 1)


def test_no_more_than_a_few_shards_are_open_at_once(scattered: Path):
    corpus = Corpus.open(scattered)
    for _ in range(2):
        assert len({record.key for record, _ in corpus}) == OPEN_SHARDS + 9
    if Path("/proc/self/fd").exists():
        assert 0 < len(open_files(scattered / "shards")) <= OPEN_SHARDS
    del corpus


def open_files(folder: Path) -> list[str]:
    """What this process has open below ``folder``."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one that lists the folder
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return [path for path in found if path.startswith(str(folder.resolve()))]


def test_threads_may_share_a_corpus(scattered: Path):
    corpus, faults = Corpus.open(scattered), []

    def read(start: int) -> None:
        try:
            for i in range(len(corpus)):
                row = (i * 7 + start) % len(corpus)
                assert corpus.record(row).key == corpus.records["record_key"][row].as_py()
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=read, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_a_corpus_travels_to_another_process(pristine: Path):
    corpus = Corpus.open(pristine)
    corpus.record(0)
    assert pickle.loads(pickle.dumps(corpus)).record(0) == corpus.record(0)


def test_a_corpus_may_be_moved(pristine: Path, tmp_path: Path):
    moved = Path(shutil.copytree(pristine, tmp_path / "elsewhere"))
    assert [record for record, _ in Corpus.open(moved)] == [record for record, _ in Corpus.open(pristine)]


def test_a_flipped_bit_inside_one_frame_is_found_when_that_frame_is_read(corpus: Path):
    found = Corpus.open(corpus)
    row = found.row("folders-dogs")
    record = found.record(row)
    shard = corpus / found.records.column("shard")[row].as_py()
    data = bytearray(shard.read_bytes())
    data[found.records.column("frame_offsets")[row].as_py()[2] + 300] ^= 1
    shard.write_bytes(data)
    found = Corpus.open(corpus)
    assert len(found.frames(row, record, [0, 1, 3])) == 3
    with pytest.raises(CorpusError, match="stored frame 2 of folders-dogs does not match its checksum"):
        found.frames(row, record, [2])
