"""Media by hard links to a handful of real files, and probing that looks at each of them once.

A file of the release is one of few inodes, so a probe result is remembered by inode. Both contestants use it.
"""

import errno
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
from PIL import Image

from shards import media
from shards.media import Probe


@dataclass(slots=True)
class Links:
    """Real files of a few sizes below ``folder``, linked under as many names as a release has."""

    folder: Path
    _made: dict[str, Path] = field(default_factory=dict)

    def still(self, place: Path, height: int, width: int) -> None:
        """Make ``place`` a JPEG of this size."""
        name = f"{width}x{height}.jpg"
        if name not in self._made:
            self._made[name] = self._new(name)
            Image.new("RGB", (width, height), "grey").save(self._made[name], quality=50)
        self._link(name, place)

    def video(self, place: Path, height: int, width: int, frames: int, rate: Fraction) -> None:
        """Make ``place`` an mp4 of this size, length and rate."""
        name = f"{width}x{height}x{frames}at{float(rate):.3f}.mp4"
        if name not in self._made:
            self._made[name] = self._new(name)
            _write_video(self._made[name], height, width, frames, rate)
        self._link(name, place)

    def file(self, place: Path, source: Path) -> None:
        """Make ``place`` the file ``source``."""
        self._made.setdefault(str(source), source)
        self._link(str(source), place)

    def _new(self, name: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / name

    def _link(self, name: str, place: Path) -> None:
        try:
            os.link(self._made[name], place)
        except OSError as error:
            if error.errno != errno.EMLINK:
                raise
            again = self._made[name].with_stem(f"{self._made[name].stem}+")  # ext4: 65,000 names a file
            shutil.copyfile(self._made[name], again)
            self._made[name] = again
            os.link(again, place)


NOISE: Final = 24
GOP: Final = 30
"""Frames that are encoded; a video is as many repetitions of them as it needs, so its length is a multiple."""


def _write_video(path: Path, height: int, width: int, frames: int, rate: Fraction) -> None:
    if frames % GOP:
        raise ValueError(f"a made-up video has a multiple of {GOP} frames, not {frames}")
    with av.open(str(path), "w", format="mp4") as container:
        pixels = "yuv444p" if height % 2 or width % 2 else "yuv420p"
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.options = {"preset": "ultrafast", "crf": "23", "g": str(GOP)}
        encoded = [(bytes(packet), packet.is_keyframe) for packet in _encoded(stream, height, width)]
        for number in range(frames):
            content, is_key = encoded[number % GOP]
            packet = av.Packet(content)
            packet.stream, packet.time_base, packet.is_keyframe = stream, 1 / rate, is_key
            packet.pts = packet.dts = number
            packet.duration = 1
            container.mux(packet)


def _encoded(stream: av.VideoStream, height: int, width: int) -> Iterator[av.Packet]:
    """A group of pictures; ultrafast has no frames that are shown in another order than they are decoded.

    Coarse noise that drifts under fine noise costs about as much to decode as real video of the size.
    """
    random = np.random.default_rng(height)
    coarse = random.integers(0, 200, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
    picture = coarse.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
    for number in range(GOP):
        noisy = np.roll(picture, 3 * number, axis=1) + random.integers(0, NOISE, picture.shape, np.uint8)
        frame = av.VideoFrame.from_ndarray(noisy, format="rgb24")
        frame.pts = number
        yield from stream.encode(frame)
    yield from stream.encode(None)


# ---------------------------------------------------------------------------------------------- probing once

Inode = tuple[int, int]

_known: dict[Inode, tuple[Probe, Path]] = {}
asked: Counter[Inode] = Counter()
"""How often a video or a still was probed."""
folders_asked: Counter[Inode] = Counter()
frames_asked: Counter[Inode] = Counter()
"""By first frame: how many folders, and how many frames they have."""


def probe(path: str | Path) -> Probe:
    """What the video or still is, from memory if its inode was seen before."""
    inode, found = _probe(path)
    asked[inode] += 1
    return found


def probe_folder(paths: Sequence[str | Path]) -> Probe:
    """A frame folder, known by its first frame."""
    inode, found = _probe(paths[0])
    frames_asked[inode] += len(paths)
    folders_asked[inode] += 1
    return replace(found, kind="frames", num_frames=len(paths))


def _probe(path: str | Path) -> tuple[Inode, Probe]:
    found = os.stat(path)
    inode = (found.st_dev, found.st_ino)
    if inode not in _known:
        place = Path(path)
        _known[inode] = (_STILL(place) if place.suffix.lower() in media.STILL_SUFFIXES else _VIDEO(place), place)
    return inode, _known[inode][0]


_STILL, _VIDEO, _FRAMES = media.probe_still, media.probe_video, media.probe_frames


@contextmanager
def probed_once() -> Iterator[None]:
    """While it lasts, the build's own probes answer from memory as well."""
    media.probe_still = media.probe_video = probe
    media.probe_frames = probe_folder
    try:
        yield
    finally:
        media.probe_still, media.probe_video, media.probe_frames = _STILL, _VIDEO, _FRAMES


# ---------------------------------------------------------------------------------------------- probing in earnest


def forget() -> None:
    """Begin to count anew what is probed, and know nothing."""
    for known in (_known, asked, folders_asked, frames_asked):
        known.clear()


def probing_seconds() -> tuple[float, float]:
    """What all that was asked since ``forget`` costs without a memory: ours, and plain. Seconds of the processor."""
    ours = plain = 0.0
    for inode, times in asked.items():
        path = _known[inode][1]
        ours += times * seconds_of(probe_in_earnest, path)
        plain += times * seconds_of(plain_probe, path)
    for inode, times in folders_asked.items():
        path = _known[inode][1]
        ours += frames_asked[inode] * seconds_of(probe_in_earnest, path)
        plain += times * seconds_of(plain_probe, path)
    return ours, plain


def seconds_of(look: Callable[[Path], object], path: Path) -> float:
    """The best of three, in seconds of the processor."""
    return min(_timed(look, path) for _ in range(3))


def _timed(look: Callable[[Path], object], path: Path) -> float:
    began = time.process_time()
    look(path)
    return time.process_time() - began


def probe_in_earnest(path: Path) -> Probe:
    """As a build does it."""
    if path.is_dir():
        return _FRAMES(sorted(path.iterdir()))
    return _STILL(path) if path.suffix.lower() in media.STILL_SUFFIXES else _VIDEO(path)


def plain_probe(path: Path) -> tuple[int, int, int, float]:
    """As the plain script would: an exact frame count needs all of a video decoded; of stills the header is enough."""
    if path.is_dir():
        names = sorted(path.iterdir())
        return *plain_probe(names[0])[:2], len(names), 0.0
    if path.suffix.lower() in media.STILL_SUFFIXES:
        with Image.open(path) as picture:
            return *picture.size, 1, 0.0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        count = sum(1 for _ in container.decode(stream))
        return stream.width, stream.height, count, float(stream.average_rate or 0)
