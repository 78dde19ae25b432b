"""Media behind one door: what a clip is (probe), its frames by index (read), and whether a shard's media is sound.

Stills and frame folders need Pillow alone; video needs PyAV (``shards.video``), and says so where it is missing.
"""

import io
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageOps

from shards import video
from shards.container import MediaError, check_bytes
from shards.record import Clip, ClipKind, Seconds
from shards.video import Backend

__all__ = [
    "STILL_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Backend",
    "MediaError",
    "Probe",
    "check_header",
    "decode_image",
    "probe_frames",
    "probe_still",
    "probe_video",
    "read_frames",
]

VIDEO_SUFFIXES: Final = (".mp4", ".webm", ".mkv", ".avi")
STILL_SUFFIXES: Final = (".jpg", ".jpeg", ".png")

Media = bytes | memoryview | Path

PNG_END: Final = b"IEND\xaeB`\x82"
MARKER: Final = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
RESTART_INTERVAL: Final = b"\xff\xdd"
END_OF_IMAGE, START_OF_SCAN = 0xD9, 0xDA
RESTARTS: Final = frozenset(range(0xD0, 0xD8))
SEGMENTS: Final = frozenset({*range(0xC0, 0xD0), *range(0xDA, 0xF0), 0xFE} - {0xC8})
BETWEEN_SCANS: Final = frozenset({0xC4, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE})
"""Second bytes of a JPEG's markers (ITU T.81, table B.1); all but restarts and the end are followed by a length."""
_FRAME_NAME: Final = re.compile(r"(\d{5,})(\.[A-Za-z]+)")
_ORIENTATION_TAG: Final = 0x0112
_SIDEWAYS: Final = (5, 6, 7, 8)
"""EXIF orientations that swap width and height (Exif 2.32, 4.6.4)."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a clip is, in the words of ``shards.record.Clip``; sizes after rotation metadata.

    ``fps`` and ``duration`` are None for stills and frame folders, ``frame_times`` is given for variable frame rate
    only. See ``shards.video.timing`` for how a rate is found constant.
    """

    kind: ClipKind
    width: int
    height: int
    num_frames: int
    fps: float | None
    duration: Seconds | None
    frame_times: tuple[Seconds, ...] | None = None


# ---------------------------------------------------------------------------------------------- probing


def probe_video(path: Path) -> Probe:
    """The facts of a video, by decoding all of it: the count is exact and the file is known to be whole.

    Raises MediaError for files that are missing, empty, truncated, corrupt, without video, or of a suffix or
    container that the format does not hold. The content may be any of the containers, whatever the suffix.
    """
    _check_suffix(path, VIDEO_SUFFIXES, "a video", f"ffmpeg -i {path.name} -c copy {path.stem}.mp4")
    facts = video.probe(path)
    return Probe("video", facts.width, facts.height, facts.num_frames, facts.fps, facts.duration, facts.frame_times)


def probe_still(path: Path) -> Probe:
    """The facts of a JPEG or PNG; all of its data is read, so a truncated file raises MediaError."""
    _check_suffix(path, STILL_SUFFIXES, "a still", f"magick {path.name} {path.stem}.png")
    width, height = _probe_image(path)
    return Probe("still", width, height, 1, None, None)


def probe_frames(paths: Sequence[Path]) -> Probe:
    """The facts of a frame folder, ``paths`` in frame order; every file is read in full.

    Raises MediaError, naming the file, for a bad frame or one whose size differs from the first frame's.
    """
    if not paths:
        raise MediaError("a frame folder holds no frames")
    first = probe_still(paths[0])
    for path in paths[1:]:
        probe = probe_still(path)
        if (probe.width, probe.height) != (first.width, first.height):
            raise MediaError(
                f"{path} is {probe.width}x{probe.height}, the first frame {paths[0].name} is "
                f"{first.width}x{first.height}; the frames of a clip must have one size"
            )
    return Probe("frames", first.width, first.height, len(paths), None, None)


def _check_suffix(path: Path, allowed: Sequence[str], what: str, remedy: str) -> None:
    if path.suffix.lower() not in allowed:
        raise MediaError(f"{path} has not the suffix of {what} ({', '.join(allowed)}); convert it, as with: {remedy}")


def _probe_image(path: Path) -> tuple[int, int]:
    """Width and height after EXIF orientation. A JPEG is entropy-decoded in full, but drawn at 1/8 scale."""
    with _image(path, str(path)) as picture:
        size = _upright_size(picture)
        picture.draft("RGB", (max(picture.width // 8, 1), max(picture.height // 8, 1)))
        picture.load()
        content = path.read_bytes()
        if picture.format == "PNG" and PNG_END not in content:  # Pillow forgives a missing end
            raise MediaError(f"{path} is truncated: its IEND chunk is missing; fetch it again")
        if picture.format != "PNG":
            _check_markers(content, str(path))
    return size


def _check_markers(jpeg: bytes, name: str) -> None:
    """MediaError for a marker that cannot stand where it does, as garbage brings in, and for a JPEG without its end.

    Pillow takes a picture up to such a place, and grey or smeared blocks behind it. Within a scan, FF is followed by 00
    or begins a marker (ITU T.81, B.1.1.2): a restart where the header defines them, tables, a comment, another scan,
    or the end.
    """
    at, allowed = 2, SEGMENTS
    while found := MARKER.search(jpeg, at):
        at, kind = found.start(), jpeg[found.end() - 1]
        if kind == END_OF_IMAGE:
            return
        if kind not in allowed:
            raise MediaError(f"{name} is corrupt: byte {at} begins no marker that may stand there; fetch it again")
        if kind == START_OF_SCAN:
            allowed = BETWEEN_SCANS | (RESTARTS if RESTART_INTERVAL in jpeg[:at] else set())
        length = 0 if kind in RESTARTS else max(int.from_bytes(jpeg[found.end() : found.end() + 2], "big"), 2)
        at = found.end() + length
    raise MediaError(f"{name} is truncated: its end marker is missing; fetch it again")


# ---------------------------------------------------------------------------------------------- frames


def read_frames(clip: Clip, media: Media, frames: Sequence[int], backend: Backend = "auto") -> list[np.ndarray]:
    """HWC uint8 RGB arrays of the given source frame indices, in the order given (repeats share an array).

    ``media`` is what the shard holds, as bytes or as a path: the video, the image, or the zip of a frame folder.
    Raises MediaError for an index that is outside the clip or not stored, for media that do not decode, and for
    frames whose size is not the clip's. ``backend`` chooses the video decoder; see ``shards.video``.
    """
    _check_indices(clip, frames)
    if clip.kind == "video":
        pictures = video.read(clip, media, frames, backend)
    elif clip.kind == "frames":
        pictures = _read_zip(clip, media, frames)
    elif clip.kind == "still":
        pictures = [decode_image(media, clip.source)] * len(frames) if frames else []
    else:
        raise MediaError(f"{clip.source or 'the clip'} is text only and has no frames")
    for index, picture in zip(frames, pictures, strict=True):
        if picture.shape != (clip.height, clip.width, 3):
            height, width = picture.shape[:2]
            raise MediaError(
                f"{clip.source}: frame {index} is {width}x{height}, the record says {clip.width}x{clip.height}"
            )
    return pictures


def _check_indices(clip: Clip, frames: Sequence[int]) -> None:
    stored = None if clip.stored_frames is None else set(clip.stored_frames)
    for index in frames:
        if not 0 <= index < clip.num_frames:
            raise MediaError(f"{clip.source}: frame {index} is not in 0…{clip.num_frames - 1}")
        if stored is not None and index not in stored:
            raise MediaError(f"{clip.source}: frame {index} is not stored; the shard holds {len(stored)} frames")


def _read_zip(clip: Clip, media: Media, frames: Sequence[int]) -> list[np.ndarray]:
    with _zip(media, clip.source) as archive:
        members = _members(archive, clip.source)
        if missing := [index for index in frames if index not in members]:
            raise MediaError(f"{clip.source}: the zip has no frame {missing[0]}")
        found = {i: decode_image(archive.read(members[i]), f"{clip.source}/{members[i]}") for i in set(frames)}
    return [found[index] for index in frames]


@contextmanager
def _zip(media: Media, name: str) -> Iterator[zipfile.ZipFile]:
    """The zip of a frame folder; whatever is wrong with it becomes a MediaError."""
    try:
        with zipfile.ZipFile(media if isinstance(media, Path) else io.BytesIO(media)) as archive:
            yield archive
    except MediaError:
        raise
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        EOFError,  # a member that ends behind the zip
        OSError,
        ValueError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise MediaError(f"{name}: the zip of frames is corrupt: {str(error) or type(error).__name__}") from None


def _members(archive: zipfile.ZipFile, name: str) -> dict[int, str]:
    """Source frame index → member. Raises MediaError for compressed members and names that are no frame index."""
    members: dict[int, str] = {}
    for member in archive.infolist():
        match = _FRAME_NAME.fullmatch(member.filename)
        if not match or match[1] != f"{int(match[1]):05d}" or match[2].lower() not in STILL_SUFFIXES:
            raise MediaError(f"{name}: zip member {member.filename!r} is not named like 00000.jpg")
        if member.compress_type != zipfile.ZIP_STORED:
            raise MediaError(f"{name}: zip member {member.filename} is compressed; frames must be stored")
        if int(match[1]) in members:
            raise MediaError(f"{name}: the zip holds frame {int(match[1])} twice")
        members[int(match[1])] = member.filename
    return members


# ---------------------------------------------------------------------------------------------- images


@contextmanager
def _image(media: Media, name: str) -> Iterator[Image.Image]:
    """An opened JPEG or PNG, judged by content; everything that goes wrong inside becomes a MediaError.

    Pictures above Pillow's bomb limit (89 million pixels) are refused before any pixel is decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            source = media if isinstance(media, Path) else io.BytesIO(media)
            with Image.open(source, formats=("JPEG", "PNG")) as picture:
                yield picture
    except MediaError:
        raise
    except Exception as error:  # Pillow's plugins raise nearly anything on hostile bytes, SyntaxError included
        raise MediaError(f"{name} is not a whole JPEG or PNG: {str(error) or type(error).__name__}") from None


def _upright_size(picture: Image.Image) -> tuple[int, int]:
    width, height = picture.size
    sideways = picture.getexif().get(_ORIENTATION_TAG) in _SIDEWAYS
    return (height, width) if sideways else (width, height)


def decode_image(media: Media, name: str) -> np.ndarray:
    """The picture as HWC uint8 RGB, upright. Alpha is dropped, 16-bit grey is scaled down, not clipped."""
    with _image(media, name) as picture:
        upright: Image.Image = ImageOps.exif_transpose(picture)
        if upright.mode.startswith("I"):
            grey: Any = (np.asarray(upright).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
            return np.repeat(grey[:, :, None], 3, axis=2)
        return np.array(upright.convert("RGB"))


# ---------------------------------------------------------------------------------------------- headers


def check_header(kind: ClipKind, media: bytes | memoryview, clip: Clip | None = None) -> None:
    """Raise MediaError unless ``media`` opens as ``kind``; nothing is decoded in full.

    A video's container must be whole by its own sizes and, where PyAV is installed, hold a video stream; an image's
    header must parse, for every member of a zip. With ``clip``, sizes and stored frames must agree with it.
    """
    name = clip.source if clip else f"the {kind}"
    if kind == "video":
        check_bytes(media, name)
        size = video.find_stream(bytes(media), name)
        if clip and size is not None and sorted(size) != sorted((clip.width, clip.height)):
            raise MediaError(f"{name} is {size[0]}x{size[1]}, the record says {clip.width}x{clip.height}")
    elif kind == "still":
        _check_image(media, name, clip)
    elif kind == "frames":
        _check_zip(media, name, clip)
    elif len(media):
        raise MediaError(f"{name} is text only, but {len(media)} bytes of media are stored with it")


def _check_image(media: bytes | memoryview, name: str, clip: Clip | None) -> None:
    with _image(media, name) as picture:
        width, height = _upright_size(picture)
    if clip and (width, height) != (clip.width, clip.height):
        raise MediaError(f"{name} is {width}x{height}, the record says {clip.width}x{clip.height}")


def _check_zip(media: bytes | memoryview, name: str, clip: Clip | None) -> None:
    with _zip(media, name) as archive:
        members = _members(archive, name)
        if not members:
            raise MediaError(f"{name}: the zip holds no frames")
        if clip:
            expected = clip.stored_frames if clip.stored_frames is not None else range(clip.num_frames)
            if set(members) != set(expected):
                raise MediaError(f"{name}: the zip holds {len(members)} frames, not the {len(expected)} of the record")
        for member in members.values():
            _check_image(archive.read(member), f"{name}/{member}", clip)
