"""A shard is a plain tar that anybody reads, the same bytes for the same records, and whole or not there at all."""

import hashlib
import io
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shards.frame_zip import MediaChanged, frame_spans, frame_zip
from shards.record import to_json
from shards.writer import Media, MediaFile, WrittenShard, record_size, write_atomically, write_shard
from tests.shards.small_corpus import Item, frames_media, picture, still_media, still_record


def written(corpus: Path, items: list[Item]) -> WrittenShard:
    content = [(record.key, to_json(record), media) for record, media in items]
    return write_shard(corpus, "mixed", 7, content, corpus / ".work")


def test_the_same_records_give_the_same_bytes(tmp_path: Path, items):
    first, second = written(tmp_path / "a", items), written(tmp_path / "b", items)
    assert first == second
    assert (tmp_path / "a" / first.path).read_bytes() == (tmp_path / "b" / second.path).read_bytes()


def test_the_order_of_the_records_is_the_order_in_the_shard(tmp_path: Path, items):
    turned = written(tmp_path, items[::-1])
    assert [placed.key for placed in turned.placed] == [record.key for record, _ in items[::-1]]


def test_the_name_holds_entry_number_and_hash(tmp_path: Path, items):
    shard = written(tmp_path, items)
    content = (tmp_path / shard.path).read_bytes()
    assert shard.sha256 == hashlib.sha256(content).hexdigest()
    assert shard.bytes == len(content)
    assert shard.path == f"shards/mixed-00007-{shard.sha256[:8]}.tar"


def test_tarfile_reads_two_adjacent_members_a_record(tmp_path: Path, items):
    with tarfile.open(tmp_path / written(tmp_path, items).path, "r:") as tar:
        names = tar.getnames()
        contents = {name: tar.extractfile(name).read() for name in names}  # type: ignore[union-attr]
    expected = [(f"{record.key}.json", *([f"{record.key}{media.suffix}"] if media else [])) for record, media in items]
    assert names == [name for pair in expected for name in pair]
    for record, media in items:
        assert contents[f"{record.key}.json"] == to_json(record)
        if media:
            assert contents[f"{record.key}{media.suffix}"] == b"".join(media.chunks())


def test_headers_are_plain_and_say_nothing_of_this_machine(tmp_path: Path, items):
    path = tmp_path / written(tmp_path, items).path
    with tarfile.open(path) as tar:
        for member in tar:
            assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
            assert (member.mode, member.type, member.linkname, member.pax_headers) == (0o644, tarfile.REGTYPE, "", {})
            assert member.offset_data == member.offset + 512, "an extension header stands between"
    content = path.read_bytes()
    assert content[257:265] == b"ustar\x0000"
    assert content.endswith(bytes(1024))
    assert len(content) % 512 == 0


def test_there_are_exactly_two_blocks_of_zeros_at_the_end(tmp_path: Path, items):
    shard = written(tmp_path, items)
    sizes = [record_size(placed.json_size, placed.media_size) for placed in shard.placed]
    assert shard.bytes == sum(sizes) + 1024


def test_offsets_sizes_and_checksums_are_those_of_the_bytes(tmp_path: Path, items):
    shard = written(tmp_path, items)
    content = (tmp_path / shard.path).read_bytes()
    for (record, media), placed in zip(items, shard.placed, strict=True):
        text = content[placed.json_offset :][: placed.json_size]
        assert (text, zlib.crc32(text)) == (to_json(record), placed.json_crc32)
        if media is None:
            assert (placed.media_offset, placed.media_size, placed.media_crc32) == (None, None, None)
        else:
            found = content[placed.media_offset :][: placed.media_size]
            assert (found, zlib.crc32(found)) == (b"".join(media.chunks()), placed.media_crc32)


def test_every_frame_of_a_folder_has_a_byte_range(tmp_path: Path, items):
    shard = written(tmp_path, items)
    content = (tmp_path / shard.path).read_bytes()
    (frames,) = [placed.frames for placed in shard.placed if placed.frames]
    found = [content[frame.offset : frame.offset + frame.size] for frame in frames]
    assert [frame.crc32 for frame in frames] == [zlib.crc32(data) for data in found]
    assert found == [picture(level) for level in (50, 100, 150, 200)]


def test_a_shard_may_be_empty(tmp_path: Path):
    shard = written(tmp_path, [])
    assert (tmp_path / shard.path).read_bytes() == bytes(1024)


# ------------------------------------------------------------------------------------------- the frame zip


def test_a_frame_zip_is_stored_and_timeless(tmp_path: Path):
    media = frames_media(tmp_path)
    content = b"".join(media.chunks())
    assert len(content) == media.size
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["00000.jpg", "00001.jpg", "00002.jpg", "00003.jpg"]
        for member in archive.infolist():
            assert (member.compress_type, member.date_time) == (zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0))
            assert (member.extra, member.comment, member.external_attr >> 16) == (b"", b"", 0o644)
    assert [content[at : at + size] for at, size, _ in frame_spans(content)] == [
        picture(level) for level in (50, 100, 150, 200)
    ]
    assert [at for at, _, _ in frame_spans(content, 1000)] == [1000 + at for at, _, _ in frame_spans(content)]


def test_frames_are_named_by_their_index_in_the_source(tmp_path: Path):
    paths = []
    for name in ("a.JPG", "b.png", "c.jpeg"):
        paths.append(tmp_path / name)
        paths[-1].write_bytes(name.encode())
    media = frame_zip(paths, (3, 99_999, 100_000))
    content = b"".join(media.chunks())
    assert zipfile.ZipFile(io.BytesIO(content)).namelist() == ["00003.jpg", "99999.png", "100000.jpeg"]
    assert [content[at : at + size] for at, size, _ in frame_spans(content)] == [b"a.JPG", b"b.png", b"c.jpeg"]
    assert [crc32 for _, _, crc32 in frame_spans(content)] == [
        zlib.crc32(name) for name in (b"a.JPG", b"b.png", b"c.jpeg")
    ]


@pytest.mark.parametrize("content", [b"", b"PK", b"\x00" * 100, b"PK\x05\x06" + b"\xff" * 18])
def test_bytes_that_are_no_zip_have_no_frames(content):
    with pytest.raises(ValueError, match="not a zip of frames"):
        frame_spans(content)


# ------------------------------------------------------------------------------------------- failures


def still(folder: Path) -> tuple[Media, Path, Path]:
    """Media, the file to change, and what is named then."""
    media = still_media(folder)
    return media, media.path, media.path


def folder(folder: Path) -> tuple[Media, Path, Path]:
    return frames_media(folder), folder / "frame100.jpg", folder


@pytest.mark.parametrize("make", [still, folder])
@pytest.mark.parametrize("change", [-10_000, -1, 1, 3 << 20])
def test_media_that_changed_its_size_stops_the_shard_and_names_the_file(tmp_path: Path, make, change):
    media, changed, named = make(tmp_path)
    content = changed.read_bytes()
    changed.write_bytes(content[:change] if change < 0 else content + bytes(change))
    with pytest.raises(MediaChanged, match=f"{re.escape(str(named))}.*build again"):
        written(tmp_path / "corpus", [(still_record(), media)])
    assert left_in(tmp_path / "corpus") == []


def left_in(corpus: Path) -> list[Path]:
    return [path for path in corpus.rglob("*") if path.is_file()]


@pytest.mark.parametrize("size", [99, 101])
def test_media_of_another_size_than_announced_are_refused(tmp_path: Path, size):
    class Liar:
        suffix, size = ".jpg", 100

        def chunks(self) -> Iterator[bytes]:
            yield bytes(size)

        def frames(self) -> tuple[list[int], list[int]]:
            return [], []

    liar: Any = Liar()
    with pytest.raises(MediaChanged, match=rf"pictures-cup\.jpg: {size} bytes came, 100 were announced"):
        written(tmp_path, [(still_record("cup"), liar)])
    assert left_in(tmp_path) == []


def test_media_that_vanished_leave_nothing_behind(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg"):
        written(tmp_path, [(still_record(), MediaFile(tmp_path / "gone.jpg", ".jpg", 5))])
    assert left_in(tmp_path) == []


def test_a_failure_of_the_source_leaves_nothing_behind_and_earlier_shards_alone(tmp_path: Path, items):
    shard = written(tmp_path, items)

    def failing() -> Iterator[tuple[str, bytes, None]]:
        yield "mixed-a", b"{}", None
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        write_shard(tmp_path, "mixed", 7, failing(), tmp_path / ".work")
    assert left_in(tmp_path) == [tmp_path / shard.path]


def test_a_key_too_long_for_a_plain_header_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="name is too long"):
        write_shard(tmp_path, "mixed", 0, [("k" * 100, b"{}", None)], tmp_path / ".work")
    assert left_in(tmp_path) == []


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch):
    path = tmp_path / "manifest.json"
    write_atomically(path, b"old")

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert (path.read_bytes(), left_in(tmp_path)) == (b"old", [path])
