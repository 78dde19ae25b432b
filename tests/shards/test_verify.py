"""Verification: a right corpus has no fault, and every single damage is found and named, never with a traceback."""

import hashlib
import io
import random
import re
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shards.index import RECORDS_FILE, RECORDS_SCHEMA, SAMPLES_FILE, SAMPLES_SCHEMA, Row
from shards.manifest import MANIFEST_FILE, SKIPPED_FILE, CorpusError
from shards.record import Masklet, Record, to_json
from shards.verify import verify
from shards.writer import Media, MediaFile, write_shard
from tests.shards.small_corpus import (
    SKIPPED,
    edit_manifest,
    frames_media,
    frames_record,
    picture,
    shard_of,
    sign_files,
    skipped_line,
    still_media,
    still_record,
    text_record,
    video_record,
    write_corpus,
    write_lines,
)


def faults(corpus: Path) -> str:
    """Every fault, a line each, without the folder that the corpus lies in."""
    found = verify(corpus).faults
    assert all("\n" not in fault for fault in found)
    return "\n".join(found).replace(f"{corpus}/", "")


def test_a_right_corpus_has_no_fault(pristine: Path):
    found = verify(pristine)
    assert found.faults == ()
    assert (found.shards, found.records, found.samples) == (4, 5, 12)
    assert found.bytes == sum(path.stat().st_size for path in (pristine / "shards").iterdir())


def test_an_empty_corpus_has_no_fault(tmp_path: Path):
    assert verify(write_corpus(tmp_path, [])).faults == ()


def test_a_corpus_of_many_shards_has_no_fault(tmp_path: Path):
    media = still_media(tmp_path)
    corpus = write_corpus(tmp_path / "corpus", [(still_record(f"n{i}"), media) for i in range(20)], SKIPPED[1:], 9000)
    assert verify(corpus).faults == ()
    assert verify(corpus).shards > 3


def test_progress_is_told_shard_by_shard(pristine: Path):
    told: list[tuple[int, int]] = []
    verify(pristine, lambda done, total: told.append((done, total)))
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_without_a_manifest_there_is_nothing_to_verify(corpus: Path):
    (corpus / MANIFEST_FILE).unlink()
    with pytest.raises(CorpusError, match="is not a finished corpus"):
        verify(corpus)


# ------------------------------------------------------------------------------------------- bytes of shards


def put(path: Path, at: int, value: int | None = None) -> None:
    """Set one byte, or flip one bit of it."""
    content = bytearray(path.read_bytes())
    content[at] = content[at] ^ 1 if value is None else value
    path.write_bytes(content)


def row_of(corpus: Path, key: str) -> Row:
    return next(row for row in pq.read_table(corpus / RECORDS_FILE).to_pylist() if row["record_key"] == key)


def in_json(row: Row) -> tuple[int, int]:
    return row["json_offset"], ord("[")


def in_media(row: Row) -> tuple[int, int | None]:
    return row["media_offset"] + row["media_size"] // 2, None


def in_magic(row: Row) -> tuple[int, int]:
    return row["media_offset"], 0xEE


def in_frame(row: Row) -> tuple[int, int]:
    return row["frame_offsets"][1], 0xEE


def in_padding(row: Row) -> tuple[int, int]:
    return row["json_offset"] + row["json_size"], 1


@pytest.mark.parametrize(
    ("key", "place", "words"),
    [
        ("pictures-cup", in_json, r"pictures-cup: a record is not strict UTF-8 JSON"),
        ("folders-dogs", in_media, r"with sha256 .*the manifest says"),
        ("pictures-cup", in_magic, r"pictures-cup: cup\.jpg is not a whole JPEG or PNG"),
        ("folders-dogs", in_frame, r"folders-dogs: .*(not a whole JPEG|Bad CRC-32)"),
        ("folders-dogs", in_magic, r"folders-dogs: dogs.* (Bad magic number|corrupt)"),
        ("videos-door", lambda row: (row["media_offset"] + 5, 0), r"videos-door: door\.mp4 is not an MP4"),
        ("pictures-mug", in_padding, r"is not a plain tar: pictures-mug\.json is cut off or badly padded"),
        ("pictures-mug", lambda row: (row["json_offset"] - 512, ord("q")), r"is not a plain tar: bad checksum"),
        ("words-sum", lambda row: (row["json_offset"] - 1, 1), r"is not a plain tar: bad checksum"),
        ("words-sum", lambda row: (-1, 1), r"is not a plain tar: it does not end in two blocks of zeros"),
    ],
    ids=["json", "media", "still", "frame", "zip", "video", "padding", "name", "header", "end"],
)
def test_a_changed_byte_is_found(corpus: Path, key, place, words):
    row = row_of(corpus, key)
    put(corpus / row["shard"], *place(row))
    found = faults(corpus)
    assert re.search(words, found)
    assert f"{row['shard']}: " in found
    assert "with sha256" in found


@pytest.mark.parametrize("length", [0, 1, 512, 1000, 1024, 3000, -1, -512, -1024, -2048])
def test_a_truncated_shard_is_found(corpus: Path, length):
    shard = shard_of(corpus, "pictures")
    shard.write_bytes(shard.read_bytes()[:length])
    found = faults(corpus)
    assert re.search(rf"shards/{shard.name}: \d+ bytes with sha256", found)
    assert re.search(rf"shards/{shard.name}: is not a plain tar", found)


def test_bytes_behind_the_end_are_found(corpus: Path):
    shard = shard_of(corpus, "words")
    shard.write_bytes(shard.read_bytes() + bytes(512))
    assert f"{shard.name}: is not a plain tar: it does not end in two blocks of zeros" in faults(corpus)


def replace_shard(corpus: Path, entry: str, content: bytes) -> None:
    """Put other bytes in the place of a shard, named and signed as if a build had written them."""
    old = shard_of(corpus, entry)
    digest = hashlib.sha256(content).hexdigest()
    old.unlink()
    path = f"shards/{entry}-00000-{digest[:8]}.tar"
    (corpus / path).write_bytes(content)
    facts = {"path": path, "bytes": len(content), "sha256": digest}
    edit_manifest(corpus, lambda m: [s.update(facts) for s in m["shards"] if s["path"].endswith(old.name)])
    rows = pq.read_table(corpus / RECORDS_FILE)
    names = [path if row == f"shards/{old.name}" else row for row in rows["shard"].to_pylist()]
    pq.write_table(rows.set_column(rows.column_names.index("shard"), "shard", pa.array(names)), corpus / RECORDS_FILE)
    sign_files(corpus)
    edit_manifest(corpus, lambda m: m["totals"].update(bytes=sum(shard["bytes"] for shard in m["shards"])))


def test_a_shard_may_be_replaced_by_itself(corpus: Path):
    replace_shard(corpus, "words", shard_of(corpus, "words").read_bytes())
    assert faults(corpus) == ""


@pytest.mark.parametrize(("field", "at", "value"), [("mode", 100, b"0000600\0"), ("uid", 108, b"0001750\0"),
    ("mtime", 136, b"14567135477\0"), ("type", 156, b"5"), ("uname", 265, b"root")])  # fmt: skip
def test_a_header_with_facts_of_a_machine_is_found(corpus: Path, field, at, value):
    content = bytearray(shard_of(corpus, "words").read_bytes())
    content[at : at + len(value)] = value
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    replace_shard(corpus, "words", bytes(content))
    assert "is not a plain tar: the header of words-sum.json has times, owners or modes of its own" in faults(corpus)


def test_an_extension_header_is_found(corpus: Path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("words-sum.json")
        member.size, member.pax_headers = 2, {"comment": "x"}
        tar.addfile(member, io.BytesIO(b"{}"))
    replace_shard(corpus, "words", out.getvalue())
    assert "is not a plain tar" in faults(corpus)


def test_a_frame_whose_checksum_fails_is_found_even_when_all_else_agrees(corpus: Path):
    row = row_of(corpus, "folders-dogs")
    content = bytearray((corpus / row["shard"]).read_bytes())
    content[row["frame_offsets"][1] + row["frame_sizes"][1] - 20] ^= 1
    replace_shard(corpus, "folders", bytes(content))
    found = faults(corpus)
    assert "folders-dogs: dogs: the zip of frames is corrupt: Bad CRC-32 for file '00001.jpg'" in found
    assert "records.parquet: row 0 (folders-dogs) differs from the shards in media_crc32" in found


def test_a_codec_that_nobody_knows_is_found(corpus: Path):
    content = bytearray(shard_of(corpus, "videos").read_bytes())
    descriptor = content.index(b"\x04\x80\x80\x80", content.index(b"esds"))  # ISO 14496-1, 7.2.6.6
    content[descriptor + 5] = 1
    replace_shard(corpus, "videos", bytes(content))
    assert "videos-door: door.mp4 does not decode: its codec is unknown" in faults(corpus)


# ------------------------------------------------------------------------------------------- files of the corpus


def test_a_shard_that_is_gone_is_found(corpus: Path):
    shard = shard_of(corpus, "folders")
    shard.unlink()
    found = faults(corpus)
    assert f"shards/{shard.name}: No such file or directory" in found
    assert "records.parquet: has 5 rows, the shards hold 4" in found
    assert "samples.parquet: has 12 rows, the shards hold 9" in found
    assert "entry folders: records is 1 in the manifest, 0 in the corpus" in found


@pytest.mark.parametrize("name", ["words-00000-00000000.tar", ".words.partial", "folder/"])
def test_a_stranger_among_the_shards_is_found(corpus: Path, name):
    path = corpus / "shards" / name
    path.mkdir() if name.endswith("/") else path.touch()
    assert faults(corpus) == f"shards/{path.name}: is not in the manifest; remove it"


def test_a_renamed_shard_is_found_twice(corpus: Path):
    shard = shard_of(corpus, "words")
    shard.rename(shard.with_name("words-00001-00000000.tar"))
    found = faults(corpus)
    assert f"{shard.name}: No such file" in found
    assert "words-00001-00000000.tar: is not in the manifest" in found


def test_files_outside_the_shards_are_welcome(corpus: Path):
    (corpus / "report.html").touch()
    (corpus / "notes").mkdir()
    assert faults(corpus) == ""


@pytest.mark.parametrize("name", [RECORDS_FILE, SAMPLES_FILE, SKIPPED_FILE])
def test_a_file_that_is_gone_changed_or_not_signed_is_found(corpus: Path, name):
    content = (corpus / name).read_bytes()
    (corpus / name).write_bytes(content + b"\n")
    assert f"{name}: does not match the sha256 of the manifest" in faults(corpus)
    (corpus / name).unlink()
    assert f"{name}: is missing" in faults(corpus)
    (corpus / name).write_bytes(content)
    edit_manifest(corpus, lambda manifest: manifest["files"].pop(name))
    assert faults(corpus) == f"{name}: does not match the sha256 of the manifest"


@pytest.mark.parametrize("name", [RECORDS_FILE, SAMPLES_FILE])
def test_an_index_that_is_none_is_found(corpus: Path, name):
    (corpus / name).write_bytes(b"garbage")
    sign_files(corpus)
    assert re.fullmatch(rf"{name} is not an index of this format: .*", faults(corpus))


# ------------------------------------------------------------------------------------------- rows of the indexes


def rewrite(corpus: Path, name: str, edit: Callable[[list[Row]], Any]) -> None:
    schema = pq.read_schema(corpus / name)
    rows = pq.read_table(corpus / name).to_pylist()
    edit(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema), corpus / name)
    sign_files(corpus)


COLUMNS = [(RECORDS_FILE, name) for name in RECORDS_SCHEMA.names]
COLUMNS += [(SAMPLES_FILE, name) for name in SAMPLES_SCHEMA.names]


def edited(value: Any, column: str) -> Any:
    if isinstance(value, list):
        return [*value, "x" if column == "tags" else 7]
    return f"{value}x" if isinstance(value, str) else (value or 0) + 1


@pytest.mark.parametrize(("name", "column"), COLUMNS)
def test_an_edited_cell_is_named_by_row_and_column(corpus: Path, name, column):
    rewrite(corpus, name, lambda rows: rows[1].update({column: edited(rows[1][column], column)}))
    assert re.fullmatch(rf"{name}: row 1 \([^)]+\) differs from the shards in {column}", faults(corpus))


@pytest.mark.parametrize("name", [RECORDS_FILE, SAMPLES_FILE])
@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda rows: rows.pop(), "has {less} rows, the shards hold {n}"),
        (lambda rows: rows.append(rows[0]), "has {more} rows, the shards hold {n}"),
        (lambda rows: rows.clear(), "has 0 rows, the shards hold {n}"),
        (lambda rows: rows.reverse(), r"row 0 \(.*\) differs from the shards in .*_key, .*"),
    ],
    ids=["a row less", "a row more", "no rows", "another order"],
)
def test_other_rows_are_found(corpus: Path, name, edit, words):
    n = pq.read_table(corpus / name).num_rows
    rewrite(corpus, name, edit)
    assert re.fullmatch(f"{name}: {words.format(n=n, less=n - 1, more=n + 1)}", faults(corpus))


# ------------------------------------------------------------------------------------------- the manifest


def test_edited_facts_of_a_shard_are_found(corpus: Path):
    edit_manifest(corpus, lambda manifest: manifest["shards"][0].update(records=7))
    assert re.fullmatch(r"shards/.*: 1 records and 3 samples, the manifest says 7 and 3", faults(corpus))


@pytest.mark.parametrize("field", ["sha256", "bytes"])
def test_an_edited_hash_or_size_of_a_shard_is_found(corpus: Path, field):
    edit_manifest(corpus, lambda m: m["shards"][0].update({field: "0" * 64 if field == "sha256" else 1}))
    assert re.search(r"shards/folders-.*: \d+ bytes with sha256 .*, the manifest says ", faults(corpus))


@pytest.mark.parametrize("path", ["../corpus/shards/x.tar", "/etc/passwd", "shards", "shards/a\0b.tar", "", "x.tar"])
def test_a_shard_must_be_named_like_one(corpus: Path, path):
    edit_manifest(corpus, lambda manifest: manifest["shards"][0].update(path=path))
    assert "the name is not shards/<entry>-<nnnnn>-<8 hex digits>.tar" in faults(corpus)


def test_a_shard_that_the_manifest_forgot_is_found(corpus: Path):
    edit_manifest(corpus, lambda manifest: manifest["shards"].pop())
    found = faults(corpus)
    assert re.search(r"shards/words-.*\.tar: is not in the manifest; remove it", found)
    assert "entry words: records is 1 in the manifest, 0 in the corpus" in found


@pytest.mark.parametrize("field", ["items", "records", "samples"])
def test_an_edited_count_of_an_entry_is_found(corpus: Path, field):
    edit_manifest(corpus, lambda manifest: manifest["entries"][0].update({field: 99}))
    assert re.fullmatch(rf"entry pictures: {field} is 99 in the manifest, \d+ in the corpus", faults(corpus))


@pytest.mark.parametrize("skipped", [{}, {"bad_mask": 2, "bad_box": 1}, {"bad_mask": 2}])
def test_edited_reasons_of_an_entry_are_found(corpus: Path, skipped):
    edit_manifest(corpus, lambda manifest: manifest["entries"][0].update(skipped=skipped))
    assert faults(corpus).startswith(f"entry pictures: skipped is {skipped} in the manifest")


@pytest.mark.parametrize("field", ["items", "records", "samples", "skipped", "shards", "bytes"])
def test_an_edited_total_is_found(corpus: Path, field):
    edit_manifest(corpus, lambda manifest: manifest["totals"].update({field: 99}))
    assert re.fullmatch(rf"totals: {field} is 99 in the manifest, \d+ in the corpus", faults(corpus))


@pytest.mark.parametrize("field", ["dataset", "split"])
def test_an_edited_origin_of_an_entry_is_found(corpus: Path, field):
    edit_manifest(corpus, lambda manifest: manifest["entries"][0].update({field: "other"}))
    assert faults(corpus) == "entry pictures: its toy, split train is not in the manifest"


def test_an_entry_that_the_manifest_forgot_or_repeats_is_found(corpus: Path):
    edit_manifest(corpus, lambda manifest: manifest["entries"].append(manifest["entries"][0]))
    assert faults(corpus) == "entry pictures: stands 2 times in the manifest"
    edit_manifest(corpus, lambda manifest: manifest.update(entries=manifest["entries"][1:-1]))
    found = faults(corpus)
    assert "entry pictures: its toy, split train is not in the manifest" in found
    assert "skipped.jsonl: unknown entries ['pictures']" in found


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.update(shards=5),
        lambda m: m.update(shards=[1]),
        lambda m: m["shards"][0].pop("sha256"),
        lambda m: m["shards"][0].update(sha256=None),
        lambda m: m["shards"][0].update(path=5),
        lambda m: m.update(entries={"a": 1}),
        lambda m: m["entries"][0].pop("skipped"),
        lambda m: m["entries"][0].pop("dataset"),
        lambda m: m.update(files=[]),
        lambda m: m.update(totals=None),
    ],
)
def test_a_manifest_of_another_shape_is_named(corpus: Path, edit):
    edit_manifest(corpus, edit)
    with pytest.raises(CorpusError, match=r"manifest\.json has not the documented shape"):
        verify(corpus)


# ------------------------------------------------------------------------------------------- skipped.jsonl


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (SKIPPED[::-1], r"skipped\.jsonl: is not in order of entry, then key"),
        (SKIPPED[:2], "entry pictures: items is 6 in the manifest, 5 in the corpus"),
        (
            (*SKIPPED, skipped_line("pictures", "lid")),
            r"entry pictures: skipped is .* in the manifest, .* in the corpus",
        ),
        (
            (*SKIPPED[:2], skipped_line("pictures", "jug", "bad_mood")),
            r"skipped\.jsonl: unknown reasons \['bad_mood'\]",
        ),
        ((*SKIPPED, skipped_line("spoons", "lid")), r"skipped\.jsonl: unknown entries \['spoons'\]"),
        (({"key": "k"},), r"skipped\.jsonl, line 1 has not the texts key, entry, reason, detail"),
        (([],), r"skipped\.jsonl, line 1 has not the texts"),
    ],
)
def test_edited_skips_are_found(corpus: Path, lines, words):
    write_lines(corpus / SKIPPED_FILE, lines)
    sign_files(corpus)
    assert re.search(words, faults(corpus))


# ------------------------------------------------------------------------------------------- wrong from the start


def built(folder: Path, *items: tuple[Record, Media | None]) -> str:
    """The faults of a corpus of ``items``, in which every sum agrees."""
    return faults(write_corpus(folder / "corpus", items))


def test_a_sample_key_that_stands_in_two_records_is_found(tmp_path: Path):
    first, second = still_record("cup"), still_record("mug")
    twice = replace(second, samples=(replace(second.samples[0], key=first.samples[0].key), second.samples[1]))
    media = still_media(tmp_path)
    expected = f"{first.samples[0].key}: the key stands 2 times in the corpus"
    assert built(tmp_path, (first, media), (twice, media)) == expected


def test_a_record_key_that_stands_twice_is_found(tmp_path: Path):
    first, second = still_record("cup"), still_record("mug")
    media = still_media(tmp_path)
    twice = replace(second, key=first.key)
    assert built(tmp_path, (first, media), (twice, media)) == f"{first.key}: the key stands 2 times in the corpus"


def stored_as(folder: Path, suffix: str, content: bytes) -> MediaFile:
    path = folder / f"media{suffix}"
    path.write_bytes(content)
    return MediaFile(path, suffix, len(content))


@pytest.mark.parametrize(
    ("record", "suffix", "content", "words"),
    [
        (still_record(), ".zip", b"", "a clip of kind still is stored as .zip"),
        (still_record(), ".mp4", b"", "a clip of kind still is stored as .mp4"),
        (still_record(), ".txt", b"", "a clip of kind still is stored as .txt"),
        (still_record(), ".x.jpg", picture(9), "a clip of kind still is stored as .x.jpg"),
        (video_record(), ".jpg", picture(9), "a clip of kind video is stored as .jpg"),
        (frames_record(), ".jpg", picture(9), "a clip of kind frames is stored as .jpg"),
        (text_record(), ".jpg", picture(9), "a clip of kind none is stored as .jpg"),
        (still_record(), ".jpg", b"", "is not a whole JPEG or PNG"),
        (still_record(), ".png", picture(9)[:20], "is not a whole JPEG or PNG"),
        (video_record(), ".mp4", picture(9), "is not an MP4"),
        (video_record(), ".mp4", b"", "is empty"),
        (frames_record(), ".zip", b"", "the zip of frames is corrupt"),
    ],
)
def test_media_of_another_kind_are_found(tmp_path: Path, record, suffix, content, words):
    found = built(tmp_path, (record, stored_as(tmp_path, suffix, content)))
    assert record.key in found
    assert words in found


@pytest.mark.parametrize("record", [still_record(), frames_record(), video_record()], ids=lambda r: r.clip.kind)
def test_media_that_are_not_there_are_found(tmp_path: Path, record):
    assert f"{record.key}: the media member is missing" in built(tmp_path, (record, None))


def test_a_third_member_is_found(corpus: Path):
    shard = shard_of(corpus, "pictures").read_bytes()
    row = row_of(corpus, "pictures-cup")
    media = shard[row["media_offset"] - 512 :][: 512 - (-row["media_size"] // 512) * 512]
    replace_shard(corpus, "pictures", shard[:-1024] + media + shard[-1024:])
    assert "pictures-cup.jpg is not the JSON of a record" in faults(corpus)


def test_frames_that_the_record_does_not_have_are_found(tmp_path: Path):
    record = frames_record()
    assert "the zip holds 3 frames, not the 4 of the record" in built(
        tmp_path, (record, frames_media(tmp_path, (1, 2, 3)))
    )


def test_frames_of_another_size_are_found(tmp_path: Path):
    record = frames_record()
    clip = replace(record.clip, width=record.clip.height, height=record.clip.width)
    found = built(tmp_path, (replace(record, clip=clip), frames_media(tmp_path)))
    assert "dogs/00000.jpg is 32x24, the record says 24x32" in found


def test_compressed_frames_are_found(tmp_path: Path):
    path = tmp_path / "frames.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(4):
            archive.writestr(f"{i:05d}.jpg", picture(9))
    found = built(tmp_path, (frames_record(), MediaFile(path, ".zip", path.stat().st_size)))
    assert "zip member 00000.jpg is compressed; frames must be stored" in found


def test_a_record_in_the_shard_of_another_entry_is_found(tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus", [(text_record(), None)])
    shard = shard_of(corpus, "words")
    shard.rename(shard.with_name(shard.name.replace("words", "verses")))
    edit_manifest(corpus, lambda m: m["shards"][0].update(path=m["shards"][0]["path"].replace("words", "verses")))
    assert "words-sum: a record of entry words stands in this shard" in faults(corpus)


def test_a_record_that_breaks_an_invariant_is_found(tmp_path: Path):
    record = replace(still_record(), masklets=(Masklet("cup", {0: "garbage!"}),))
    found = built(tmp_path, (record, still_media(tmp_path)))
    assert f"{record.key}: masklet cup, frame 0: the RLE counts" in found


def test_a_record_of_another_format_is_found(tmp_path: Path):
    found = built(tmp_path, (replace(text_record(), format=2), None))
    assert "words-sum: record.format is 2, this version reads 1" in found


def test_a_number_larger_than_any_index_holds_is_found(corpus: Path, tmp_path: Path):
    text = to_json(text_record()).replace(b'"width":0', b'"width":9999999999')
    shard = write_shard(tmp_path, "words", 0, [("words-sum", text, None)], tmp_path)
    replace_shard(corpus, "words", (tmp_path / shard.path).read_bytes())
    assert "words-sum: record.clip.width is an integer of more than 31 bits" in faults(corpus)


# ------------------------------------------------------------------------------------------- anything at all


@pytest.mark.parametrize("seed", range(60))
def test_random_damage_is_found_and_never_ends_in_a_traceback(corpus: Path, seed):
    rng = random.Random(seed)
    path = rng.choice(sorted(path for path in corpus.rglob("*") if path.is_file() and path.name != MANIFEST_FILE))
    content = bytearray(path.read_bytes())
    at = rng.randrange(len(content))
    content[at : at + rng.choice((0, 1, 30))] = rng.randbytes(rng.choice((1, 30)))
    if bytes(content) != path.read_bytes():
        path.write_bytes(content)
        assert path.name in faults(corpus)


@pytest.mark.parametrize("seed", range(30))
def test_a_manifest_with_random_damage_is_judged_without_a_traceback(corpus: Path, seed):
    rng = random.Random(seed)
    content = bytearray((corpus / MANIFEST_FILE).read_bytes())
    content[rng.randrange(len(content))] = rng.choice(b'0"{}[],:x\xff')
    (corpus / MANIFEST_FILE).write_bytes(content)
    try:
        verify(corpus)
    except CorpusError as error:
        named = str(error)
    else:
        named = MANIFEST_FILE
    assert MANIFEST_FILE in named
