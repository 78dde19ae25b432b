"""What a video file's outermost structure says: which container it is, and whether its end is there.

FFmpeg decodes a file that was cut short without a word, as long as the cut falls between two packets. The container
knows better: every MP4 box, Matroska segment and RIFF chunk states its own size. Standard library only, so that
``verify`` can check shards where no decoder is installed.
"""

import io
import os
import struct
from typing import BinaryIO, Final, Literal


class MediaError(ValueError):
    """A media file is missing, truncated, corrupt, or not of a kind that the format knows; names file and fault."""


Container = Literal["mp4", "matroska", "avi"]

BOX_TYPES: Final = frozenset(
    b"ftyp moov mdat moof free skip wide pnot udta meta uuid styp sidx mfra emsg prft pdin".split()
)
"""Top-level boxes of ISO 14496-12 and QuickTime; anything else after the first box is trailing junk."""


CLUSTER: Final = b"\x1f\x43\xb6\x75"


def sniff(head: bytes) -> Container | None:
    """The container whose magic the first 16 bytes of a file show, whatever the file is called."""
    if head[4:8] in BOX_TYPES:
        return "mp4"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if head[:4] == b"RIFF" and head[8:11] == b"AVI":
        return "avi"
    return None


def check_whole(stream: BinaryIO, name: str) -> Container:
    """The container of ``stream``; MediaError if it is none we know, or its declared sizes lead past its end.

    Not seen: a live recording without sizes (Matroska, fragmented MP4) that was cut exactly between two clusters or
    fragments.
    """
    size = stream.seek(0, os.SEEK_END)
    if size == 0:
        raise MediaError(f"{name} is empty (0 bytes)")
    stream.seek(0)
    container = sniff(stream.read(16))
    if container is None:
        raise MediaError(f"{name} is not an MP4, WebM/Matroska or AVI file; convert it with ffmpeg")
    {"mp4": _walk_mp4, "matroska": _walk_matroska, "avi": _walk_avi}[container](stream, size, name)
    stream.seek(0)
    return container


def check_bytes(media: bytes | memoryview, name: str) -> Container:
    return check_whole(io.BytesIO(media), name)


def _cut(name: str, size: int, what: str, end: int) -> MediaError:
    return MediaError(f"{name} is truncated: it has {size} bytes, its {what} ends at byte {end}; fetch it again")


def _walk_mp4(stream: BinaryIO, size: int, name: str) -> None:
    at, seen = 0, set[bytes]()
    while at + 8 <= size:
        stream.seek(at)
        head = stream.read(16)
        length, kind = struct.unpack(">I4s", head[:8])
        if length == 1 and len(head) == 16:
            length = struct.unpack(">Q", head[8:])[0]
        elif length == 0:
            length = size - at
        if kind in BOX_TYPES and at + length > size:
            raise _cut(name, size, f"'{kind.decode()}' box", at + length)
        if length < 8 or at + length > size:
            if b"moof" in seen:
                raise MediaError(f"{name} is corrupt: no box begins at byte {at}; fetch it again")
            break  # junk behind the last box; the sample table knows whether anything is missing
        seen.add(kind)
        at += length
    else:
        stream.seek(at)
        if any(stream.read(8)):
            raise _cut(name, size, "last box header", at + 8)
    if b"moov" not in seen:
        raise MediaError(f"{name} has no 'moov' box: the file is truncated or was never finished; fetch it again")


def _walk_matroska(stream: BinaryIO, size: int, name: str) -> None:
    stream.seek(4)
    header = _vint(stream)
    if header is None:
        raise MediaError(f"{name} has a corrupt EBML header")
    stream.seek(header, os.SEEK_CUR)
    if stream.read(4) != b"\x18\x53\x80\x67":
        raise MediaError(f"{name} has no Matroska segment: the file is truncated or corrupt")
    segment = _vint(stream)
    start = stream.tell()
    if segment is not None and start + segment > size:
        raise _cut(name, size, "segment", start + segment)
    _walk_elements(stream, start, size if segment is None else start + segment, name)


def _walk_elements(stream: BinaryIO, start: int, end: int, name: str, inside: bool = False) -> bool:
    """Step from element to element up to ``end``, into clusters too unless ``inside`` one; False where a size is
    unknown (live streams).

    FFmpeg skips damaged elements in silence, and with them frames: so each must end where its parent allows.
    """
    at = start
    while at < end:
        stream.seek(at)
        ident = _ident(stream)
        length = _vint(stream) if ident else None
        if ident and length is None:
            return False
        body = stream.tell()
        if length is None or body + length > end:
            raise MediaError(f"{name} is truncated or corrupt: no element fits at byte {at}; fetch it again")
        if ident == CLUSTER and not inside and not _walk_elements(stream, body, body + length, name, inside=True):
            return False
        at = body + length
    return True


def _ident(stream: BinaryIO) -> bytes:
    """The EBML element id at the stream's position, b"" where there is none."""
    first = stream.read(1)
    if not first or first[0] < 0x10:
        return b""
    return first + stream.read(8 - first[0].bit_length())


def _vint(stream: BinaryIO) -> int | None:
    """The EBML size at the stream's position; None where it is unknown (all ones) or unreadable."""
    first = stream.read(1)
    if not first or first == b"\0":
        return None
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + stream.read(length - 1), "big") & ((1 << 7 * length) - 1)
    return None if value == (1 << 7 * length) - 1 else value


def _walk_avi(stream: BinaryIO, size: int, name: str) -> None:
    at = 0
    while at + 12 <= size:
        stream.seek(at)
        magic, length, _ = struct.unpack("<4sI4s", stream.read(12))
        if magic != b"RIFF" or length in (0, 0xFFFFFFFF):  # junk at the end, or a size that was never filled in
            return
        if at + 8 + length > size:
            raise _cut(name, size, "RIFF chunk", at + 8 + length)
        at += 8 + length + length % 2
