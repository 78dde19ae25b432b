"""A frame folder as one member of a shard: an uncompressed zip in which every frame has a byte range of its own."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

MAX_FRAMES: Final = 0xFFFF
MAX_ZIP_BYTES: Final = zipfile.ZIP64_LIMIT
"""Beyond these a zip needs the zip64 extension, whose fields vary between writers."""
LOCAL_HEADER: Final = 30
CENTRAL_ENTRY: Final = 46
END_RECORD: Final = 22
"""Bytes of the parts of a zip, names and comments apart (APPNOTE 4.3.7, 4.3.12, 4.3.16)."""


class MediaChanged(OSError):
    """A media file is no longer the one that was probed."""


@dataclass(frozen=True, slots=True)
class FrameZip:
    """A frame folder as an uncompressed zip: one member per frame, ``<source frame index><extension>``.

    ``size`` is that of the zip, known beforehand from the sizes of the files. Where their times are given, no frame may
    have changed since.
    """

    paths: tuple[Path, ...]
    indices: tuple[int, ...]
    sizes: tuple[int, ...]
    mtimes_ns: tuple[int, ...] = ()
    suffix: str = ".zip"
    size: int = field(init=False)

    def __post_init__(self) -> None:
        names = sum(len(name) for name in self.names())
        headers = (LOCAL_HEADER + CENTRAL_ENTRY) * len(self.paths) + 2 * names + END_RECORD
        object.__setattr__(self, "size", headers + sum(self.sizes))

    def names(self) -> list[str]:
        return [f"{index:05d}{path.suffix.lower()}" for index, path in zip(self.indices, self.paths, strict=True)]

    def content(self) -> bytes:
        """The whole zip; the same bytes whenever the frames are the same."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for name, path in zip(self.names(), self.paths, strict=True):
                member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
                member.create_system, member.external_attr = 3, 0o644 << 16
                archive.writestr(member, path.read_bytes())
        times = tuple(path.stat().st_mtime_ns for path in self.paths) if self.mtimes_ns else ()
        if buffer.tell() != self.size or times != self.mtimes_ns:
            raise MediaChanged(f"{self.paths[0].parent}: frames changed while the corpus was built; build again")
        return buffer.getvalue()

    def chunks(self) -> Iterator[bytes]:
        yield self.content()


class FrameSpan(NamedTuple):
    """Where one frame's bytes lie, and their checksum."""

    offset: int
    size: int
    crc32: int


def frame_zip(paths: Sequence[Path], indices: Sequence[int] | None = None) -> FrameZip:
    """The zip of ``paths`` with their sizes and times as they are now; ``indices`` are 0, 1, 2, … by default."""
    chosen = range(len(paths)) if indices is None else indices
    found = [path.stat() for path in paths]
    sizes, times = tuple(stat.st_size for stat in found), tuple(stat.st_mtime_ns for stat in found)
    return FrameZip(tuple(paths), tuple(chosen), sizes, times)


def frame_spans(media: bytes | memoryview, start: int = 0) -> list[FrameSpan]:
    """Every frame's bytes within a stored zip that begins at ``start``, in order of frame index.

    Raises ValueError for bytes that are no such zip.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(media)) as archive:
            members = sorted(archive.infolist(), key=lambda member: _by_index(member.filename))
            return [FrameSpan(start + _content_offset(media, m), m.file_size, m.CRC) for m in members]
    except (zipfile.BadZipFile, IndexError, RuntimeError) as error:
        raise ValueError(f"not a zip of frames: {error}") from None


def _by_index(name: str) -> tuple[int, str]:
    """Sorts 99999.jpg before 100000.jpg."""
    return len(name.partition(".")[0]), name


def _content_offset(media: bytes | memoryview, member: zipfile.ZipInfo) -> int:
    header = bytes(media[member.header_offset : member.header_offset + LOCAL_HEADER])
    name_size, extra_size = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    return member.header_offset + LOCAL_HEADER + name_size + extra_size
