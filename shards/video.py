"""Video files: the exact probe, and frames by index. Alone in importing PyAV and decord, and only when asked.

Frame i is the i-th frame that a sequential FFmpeg decode yields, after edit lists; PyAV gives exactly that. decord
seeks, which is faster for a few frames of a long clip, and returns wrong frames for open groups of pictures, frames
cut by an edit list, AVI and MPEG-4: ``_decord_is_exact`` names the files where it cannot go wrong.

Measured with ``read_frames`` (2 cores shared with other work, PyAV 18.1, decord 0.6, best of 3, ms):

    clip                                     1 frame   4 frames   8 frames   32 frames    (PyAV / decord)
    640x360, 855 frames, keys every second    147/20     234/49     268/83     300/273
    640x480, 485 frames, keys every second     89/16     146/50     156/87     183/218
    640x360, 332 frames, keys every second     48/19      78/46      94/69     116/133
    480x270, 300 frames, two keys              27/36      45/55      52/58       69/76
    1280x720, 150 frames, one key              75/96    116/134    140/169     197/433

The bytes were the same in all of them; hence ``SPARSE``. Colours differ for 10-bit and interlaced video and for odd
sides, and pictures differ in damaged VP8, so decord is kept off those.
"""

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal

import numpy as np

from shards.container import Container, MediaError, check_whole
from shards.record import Clip, Seconds

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream
    from av.container import InputContainer

Backend = Literal["auto", "decord", "pyav"]

SPARSE: Final = 40
"""decord is tried where a clip has at least this many frames for each one asked for."""

MAX_THREADS: Final = 4
"""Decoder threads of one call; more only fight with the other workers of a build."""

DEMUXERS: Final[dict[Container, str]] = {"mp4": "mov", "matroska": "matroska", "avi": "avi"}
"""FFmpeg's demuxer for each container: named, so that a playlist called .mp4 cannot make it open other files."""

PLAIN_PIXELS: Final = frozenset({"yuv420p", "yuvj420p"})
"""Pixel formats that decord's old FFmpeg turns into the same RGB as PyAV's."""

Orientation = tuple[bool, bool, bool]
"""Transpose, then flip left-right, then flip upside down."""
UPRIGHT: Final[Orientation] = (False, False, False)


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a sequential decode of the whole file found; ``frame_times`` only for variable frame rate."""

    width: int
    height: int
    num_frames: int
    fps: float | None
    duration: Seconds | None
    frame_times: tuple[Seconds, ...] | None


# ---------------------------------------------------------------------------------------------- opening


def _import_av(name: str) -> Any:
    try:
        import av
    except ImportError:
        raise MediaError(f"{name} is a video and PyAV is not installed: pip install av") from None
    return av


@contextmanager
def _opened(media: bytes | memoryview | Path, name: str) -> "Iterator[tuple[InputContainer, VideoStream]]":
    """The container and its main video stream, ready to decode. Everything libav says becomes a MediaError."""
    av = _import_av(name)
    try:
        with _stream(media) as source:
            container = check_whole(source, name)
            with av.open(source, format=DEMUXERS[container], metadata_errors="ignore") as opened:
                stream = opened.streams.best("video")
                if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
                    raise MediaError(f"{name} holds no video stream")
                if stream.codec_context is None:
                    raise MediaError(f"{name} does not decode: its codec is unknown")
                stream.thread_type = "AUTO"
                stream.codec_context.thread_count = min(MAX_THREADS, os.cpu_count() or 1)
                yield opened, stream
    except MediaError:
        raise
    except (av.FFmpegError, OSError) as error:
        raise MediaError(f"{name} does not decode: {_reason(error)}") from None
    except (ValueError, IndexError, RuntimeError) as error:  # PyAV: an unknown codec, a stream without a decoder
        raise MediaError(f"{name} does not decode: {error}") from None


def _reason(error: Any) -> str:
    return str(getattr(error, "strerror", None) or error)


def _stream(media: bytes | memoryview | Path) -> BinaryIO:
    return media.open("rb") if isinstance(media, Path) else io.BytesIO(media)


def find_stream(media: bytes, name: str) -> tuple[int, int] | None:
    """Width and height of the video stream as its header states them (before rotation); None without PyAV."""
    try:
        _import_av(name)
    except MediaError:
        return None
    with _opened(media, name) as (_, stream):
        return stream.codec_context.width, stream.codec_context.height


# ---------------------------------------------------------------------------------------------- probing


def probe(path: Path) -> VideoFacts:
    """The facts of a video, from decoding all of it.

    Raises MediaError where the container's sizes lead past the end of the file, a packet or frame is marked
    corrupt, a packet holds nothing but zeros, the decoder reports an error, packets that the sample table promises
    are missing, the frame size changes, or nothing decodes. Damage that the codec cannot notice (VP9 has no
    checksums) stays unnoticed.
    """
    name = str(path)
    with _opened(path, name) as (opened, stream):
        pts: list[int | None] = []
        size, coded, last_duration, packets = (0, 0), (0, 0), 0, 0
        for packet in opened.demux(stream):
            if packet.is_corrupt:
                raise MediaError(f"{name} is truncated or corrupt: packet {packets} is not whole; fetch it again")
            if _is_hole(packet) and stream.codec_context.name != "rawvideo":
                raise MediaError(f"{name} has a hole: packet {packets} is nothing but zeros; fetch it again")
            packets += packet.size > 0
            for frame in packet.decode():
                if not pts:
                    coded, size = (frame.width, frame.height), _shown_size(frame)
                _check_frame(frame, coded, len(pts), name)
                pts.append(frame.pts)
                last_duration = frame.duration or 0
        if not pts:
            raise MediaError(f"{name} yields no frame; the file is corrupt or uses an unknown codec")
        _check_all_read(stream, opened.format.name, packets, name)
        base = stream.time_base or Fraction(1)
        times = None if None in pts else [float((p - pts[0]) * base) for p in pts]  # type: ignore[operator]
        fps, duration, frame_times = timing(len(pts), times, _rates(stream), float(last_duration * base))
        return VideoFacts(*size, len(pts), fps, duration, frame_times)


def _is_hole(packet: "Packet") -> bool:
    """Whether a download that was broken off left zeros there: the decoders of AV1 and MPEG-2 pass over them."""
    return packet.size >= 8 and not any(memoryview(packet)[:8]) and not bytes(packet).strip(b"\0")


def _shown_size(frame: "VideoFrame") -> tuple[int, int]:
    return (frame.height, frame.width) if _orientation(frame)[0] else (frame.width, frame.height)


def _check_frame(frame: "VideoFrame", coded: tuple[int, int], index: int, name: str) -> None:
    """MediaError unless the frame is sound and, before it is turned, of the same size as the first one."""
    if frame.is_corrupt:
        raise MediaError(f"{name} is corrupt: frame {index} does not decode cleanly; fetch it again")
    if (frame.width, frame.height) != coded:
        words = f"from {coded[0]}x{coded[1]} to {frame.width}x{frame.height}"
        raise MediaError(f"{name} changes its size at frame {index}, {words}: re-encode it at one size")


def _check_all_read(stream: "VideoStream", demuxer: str, packets: int, name: str) -> None:
    """Compare the packets read with the sample table of an MP4 (other containers build their index on the way)."""
    if "mp4" not in demuxer:
        return
    promised = sum(entry.size > 0 for entry in stream.index_entries)
    if packets < promised:
        raise MediaError(f"{name} is truncated: {packets} of {promised} packets could be read; fetch it again")


def _rates(stream: "VideoStream") -> list[Fraction]:
    rates = (stream.average_rate, stream.base_rate, stream.guessed_rate)
    return [rate for rate in rates if rate is not None and rate > 0]


def timing(
    num_frames: int, times: Sequence[Seconds] | None, rates: Sequence[Fraction], last_duration: Seconds
) -> tuple[float | None, Seconds | None, tuple[Seconds, ...] | None]:
    """fps, duration and, for variable frame rate only, the time of every frame, all counted from frame 0.

    The rate is *constant* if every frame f lies less than half a frame from f / fps; so time stamps rounded to
    milliseconds (WebM) stay constant. ``rates`` are what the container states, the preferred one first: the first
    that fits as well as the best of them (within 1 ms) is taken exactly; if none fits, (n - 1) / (last - first).
    Otherwise the rate is variable: the duration runs from the first time to the last plus the last frame's own
    duration (the mean gap where that is unknown), and fps is num_frames / duration, so that in every case
    duration = num_frames / fps. Files without usable time stamps get the stated rate, or None for everything.
    """
    usable = times is not None and all(a < b for a, b in pairwise(times))
    if times is None or not usable or num_frames == 1:
        fps = float(rates[0]) if rates else None
        return fps, (num_frames / fps if fps else None), None
    mean = (num_frames - 1) / times[-1]
    for group in (rates, [mean]):
        if (fps := _fitting(times, [float(rate) for rate in group])) is not None:
            return fps, num_frames / fps, None
    duration = times[-1] + (last_duration if last_duration > 0 else 1 / mean)
    return num_frames / duration, duration, tuple(round(t, 6) for t in times)


def _fitting(times: Sequence[Seconds], rates: Sequence[float]) -> float | None:
    """The first of ``rates`` that fits the times within half a frame and within 1 ms of the best; None if none."""
    moments, index = np.asarray(times), np.arange(len(times))
    off = {rate: float(np.abs(moments - index / rate).max()) for rate in rates}
    fits = [rate for rate in rates if off[rate] < 0.5 / rate]
    return next((rate for rate in fits if off[rate] <= min(off[r] for r in fits) + 1e-3), None)


# ---------------------------------------------------------------------------------------------- rotation


def _orientation(frame: "VideoFrame") -> Orientation:
    """How to turn the coded picture so that it stands as a player shows it.

    The display matrix (ISO 14496-12, 6.2.2; nine 32-bit numbers) maps (x, y) to (a x + c y, b x + d y), with
    a, b, c, d at 0, 1, 3, 4; only right angles and mirrors are applied, as every player does.
    """
    sides: Any = frame.side_data  # PyAV's stubs call it a dict
    for side in sides:
        if "DISPLAYMATRIX" in str(side.type):
            matrix = np.frombuffer(bytes(side), "<i4")
            a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
            return (True, c < 0, b < 0) if abs(b) > abs(a) else (False, a < 0, d < 0)
    return UPRIGHT


def oriented(picture_HWC: np.ndarray, orientation: Orientation) -> np.ndarray:
    transpose, mirror, flip = orientation
    out = picture_HWC.transpose(1, 0, 2) if transpose else picture_HWC
    out = out[:, ::-1] if mirror else out
    out = out[::-1] if flip else out
    return np.ascontiguousarray(out)


# ---------------------------------------------------------------------------------------------- frames


def read(clip: Clip, media: bytes | memoryview | Path, frames: Sequence[int], backend: Backend) -> list[np.ndarray]:
    """The frames of the given indices as HWC RGB, in the order asked; repeated indices share one array.

    "auto" lets decord seek where few frames are wanted and its exactness is certain (``_decord_is_exact`` and the
    same frame count and size as the clip), and decodes sequentially up to the last frame wanted otherwise.
    """
    wanted = sorted(set(frames))
    if not wanted:
        return []
    found = None
    if backend == "decord" or (backend == "auto" and len(wanted) * SPARSE <= clip.num_frames):
        found = _read_decord(clip, media, wanted)
        if found is None and backend == "decord":
            raise MediaError(f"{clip.source} cannot be read exactly with decord; use PyAV")
    if found is None:
        found = _read_pyav(clip, media, wanted)
    return [found[index] for index in frames]


def frames_in_order(clip: Clip, path: Path, frames: Sequence[int]) -> Iterator[np.ndarray]:
    """The frames of the given indices, which ascend, as HWC RGB, from one decode of a clip of any length.

    Raises MediaError as ``read`` does, when a frame's turn comes.
    """
    if not frames:
        return
    needed, last, orientation = set(frames), frames[-1], UPRIGHT
    with _opened(path, clip.source) as (opened, stream):
        for index, frame in enumerate(opened.decode(stream)):
            if index == 0:
                orientation = _orientation(frame)
            if index in needed:
                yield oriented(frame.to_ndarray(format="rgb24"), orientation)
            if index == last:
                return
    raise MediaError(f"{clip.source} ends before frame {last}, the record says {clip.num_frames} frames")


def _read_pyav(clip: Clip, media: bytes | memoryview | Path, wanted: Sequence[int]) -> dict[int, np.ndarray]:
    found: dict[int, np.ndarray] = {}
    needed, last = set(wanted), wanted[-1]
    with _opened(media, clip.source) as (opened, stream):
        orientation = UPRIGHT
        for index, frame in enumerate(opened.decode(stream)):
            if index == 0:
                orientation = _orientation(frame)
            if index in needed:
                found[index] = oriented(frame.to_ndarray(format="rgb24"), orientation)
            if index == last:
                return found
    raise MediaError(f"{clip.source} ends before frame {last}, the record says {clip.num_frames} frames")


def _decord_is_exact(media: bytes | memoryview | Path, clip: Clip) -> bool:
    """Whether decord's seeking must be right, judged from the packets (read, but not decoded).

    Every packet is one shown frame, every key frame can be started from whatever came before (an IDR picture in
    H.264, any key frame in VP9: an open group of pictures is where decord goes wrong), the frames follow each other
    at a steady pace (where a packet was lost, two versions of FFmpeg make up different pictures), pixels are 8-bit
    and progressive, the sides are even (the colours of odd ones differ), and the picture needs no turning.
    """
    if clip.width % 2 or clip.height % 2:
        return False
    with _opened(media, clip.source) as (opened, stream):
        codec = stream.codec_context
        if codec.name not in ("h264", "vp9", "libvpx-vp9") or codec.pix_fmt not in PLAIN_PIXELS:
            return False
        packets, first, pts = 0, None, list[int]()
        for packet in opened.demux(stream):
            if first is None:
                first = next(iter(packet.decode()), None)
            if not packet.size:
                continue
            packets += 1
            if packet.pts is not None:
                pts.append(packet.pts)
            fresh = not packet.is_keyframe or codec.name != "h264" or _is_idr(bytes(packet), codec.extradata)
            if packet.is_discard or not fresh or packets > clip.num_frames:
                return False
        plain = first is not None and not first.interlaced_frame and _orientation(first) == UPRIGHT
        return packets == clip.num_frames == len(pts) and plain and _steady(pts)


def _steady(pts: Sequence[int]) -> bool:
    """Whether no gap between two frames is one and a half times as long as most are: nothing is missing there."""
    gaps = np.diff(np.sort(np.asarray(pts)))
    return not gaps.size or bool(gaps.max() < 1.5 * np.median(gaps))


def _is_idr(packet: bytes, extradata: bytes | None) -> bool:
    """Whether an H.264 packet is an IDR picture: NAL unit of type 5 (ISO 14496-10, 7.3.1; 14496-15, 5.3.3)."""
    if not extradata or extradata[0] != 1:  # not length-prefixed as in MP4 and Matroska
        return False
    prefix, at = (extradata[4] & 3) + 1, 0
    while at + prefix < len(packet):
        if packet[at + prefix] & 31 == 5:
            return True
        at += prefix + int.from_bytes(packet[at : at + prefix], "big")
    return False


def _read_decord(clip: Clip, media: bytes | memoryview | Path, wanted: Sequence[int]) -> dict[int, np.ndarray] | None:
    """The wanted frames, or None where decord is missing, fails, or does not see the clip as the record does.

    The reader lives for this call only: one that is reused after a fork hangs, one shared by threads crashes.
    """
    try:
        import decord
    except ImportError:
        return None
    if not _decord_is_exact(media, clip):
        return None
    decord.logging.set_level(decord.logging.QUIET)
    try:
        reader = decord.VideoReader(str(media) if isinstance(media, Path) else io.BytesIO(media), num_threads=2)
        if len(reader) != clip.num_frames:
            return None
        frames_THWC = reader.get_batch(list(wanted)).asnumpy()
    except (decord.DECORDError, RuntimeError):
        return None
    if frames_THWC.shape[1:] != (clip.height, clip.width, 3):
        return None
    return dict(zip(wanted, frames_THWC, strict=True))
