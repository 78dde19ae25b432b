"""Writing scenes as real media: H.264 videos, JPEG stills and folders of JPEG frames, the same bytes every time."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Final

import av
from PIL import Image

from converters.world.scene import Scene

JPEG_QUALITY: Final = 92
X264: Final[dict[str, str]] = {"preset": "ultrafast", "crf": "18", "g": "24", "threads": "1", "flags": "+bitexact"}
"""Bit-exact settings. Presets from veryfast on use mb-tree, whose assembly reads memory that nobody wrote: about one
file in a hundred then differs between runs (x264 of PyAV 18.1; ``MALLOC_PERTURB_=1`` shows it every time)."""


def write_video(path: Path, scene: Scene, *, b_frames: bool = False, hidden: int = 0) -> None:
    """Writes the scene as an mp4 (H.264, 4:2:0), with reordered frames on request, as most videos from the wild.

    With ``hidden`` the file holds and declares that many frames more, which its edit list cuts off: a sequential
    decode yields ``scene.num_frames`` (VideoRefer's ``melonGoPro1``: 522 declared, 503 decode).

    The bytes depend on the scene and on the versions of x264 and FFmpeg alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4", container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=scene.rate)
        stream.width, stream.height, stream.pix_fmt = scene.width, scene.height, "yuv420p"
        stream.options = {**X264, "bf": "2" if b_frames else "0"}
        stream.codec_context.thread_count = 1
        for frame in range(scene.num_frames + hidden):
            picture = av.VideoFrame.from_ndarray(scene.picture(frame), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    if hidden:
        _end_edit_at(path, (scene.num_frames - Fraction(1, 2)) / scene.rate)


def _end_edit_at(path: Path, seconds: Fraction) -> None:
    """Shortens the first edit of the mp4's video track (ISO 14496-12, 8.6.6), in place.

    Version 0 boxes: after ``elst`` come version and flags, the entry count, and the first edit's duration, in units
    of the timescale that is the 13th to 16th byte after ``mvhd``.
    """
    content = bytearray(path.read_bytes())
    mvhd, elst = content.index(b"mvhd"), content.index(b"elst")
    timescale = struct.unpack_from(">I", content, mvhd + 16)[0]
    assert content[mvhd + 4] == content[elst + 4] == 0, "the muxer wrote boxes of another version"
    struct.pack_into(">I", content, elst + 12, round(seconds * timescale))
    path.write_bytes(content)


def jpeg_of(scene: Scene, frame: int) -> bytes:
    out = BytesIO()
    # 4:4:4, so that the colour at the rim of a shape stays on its side of the rim.
    Image.fromarray(scene.picture(frame)).save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return out.getvalue()


def write_still(path: Path, scene: Scene) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg_of(scene, 0))


def write_frames(folder: Path, scene: Scene, names: Sequence[str]) -> None:
    """Writes frame k of the scene as ``<names[k]>.jpg``."""
    folder.mkdir(parents=True, exist_ok=True)
    for frame, name in enumerate(names):
        (folder / f"{name}.jpg").write_bytes(jpeg_of(scene, frame))


def truncate(path: Path, share: float = 0.5) -> None:
    """Cuts the file to its first part, as a broken download does. An mp4 loses its index, which lies at its end."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
