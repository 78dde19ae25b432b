"""A file or folder that somebody asks about, as a clip: what it is, and its frames by index, in order or backwards."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shards.media import (
    STILL_SUFFIXES,
    MediaError,
    Probe,
    decode_image,
    probe_frames,
    probe_still,
    probe_video,
    read_frames,
)
from shards.reader import Image
from shards.record import Clip
from shards.video import frames_in_order

NUMBERS: Final = re.compile(r"(\d+)")
FRAMES_READ: Final = 64
"""Frames that may be held together; a clip with more of them is walked through."""


class AnswerError(ValueError):
    """A question cannot be put as it is; the message says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class OpenClip:
    """A video, a still, or a folder of frames in the order of their names."""

    path: Path
    clip: Clip
    frame_paths: tuple[Path, ...] = ()

    @classmethod
    def open(cls, path: Path) -> "OpenClip":
        """Raises AnswerError for what is not there or cannot be decoded."""
        if not path.exists():
            raise AnswerError(f"{path} does not exist")
        try:
            if path.is_dir():
                frames = _frames_of(path)
                return cls(path, _clip(path, probe_frames(frames)), frames)
            still = path.suffix.lower() in STILL_SUFFIXES
            return cls(path, _clip(path, probe_still(path) if still else probe_video(path)))
        except MediaError as error:
            raise AnswerError(str(error)) from None

    def frames(self, indices: Sequence[int]) -> list[Image]:
        """Pictures [height, width, 3], RGB. Raises AnswerError."""
        try:
            if self.frame_paths:
                return [decode_image(self.frame_paths[index], str(self.frame_paths[index])) for index in indices]
            return read_frames(self.clip, self.path, indices)
        except MediaError as error:
            raise AnswerError(str(error)) from None

    def in_order(self, indices: Sequence[int]) -> Iterator[Image]:
        """The same, one after the other, of indices that ascend; a video is decoded once. Raises AnswerError."""
        if self.clip.kind != "video":
            yield from (self.frames([index])[0] for index in indices)
            return
        if len(indices) <= FRAMES_READ:  # of a long video they may be found without decoding all of it
            yield from self.frames(indices)
            return
        try:
            yield from frames_in_order(self.clip, self.path, indices)
        except MediaError as error:
            raise AnswerError(str(error)) from None

    def backwards(self, indices: Sequence[int]) -> Iterator[Image]:
        """The same from the last of the indices to the first, some decoded at a time."""
        for stop in range(len(indices), 0, -FRAMES_READ):
            yield from reversed(self.frames(indices[max(stop - FRAMES_READ, 0) : stop]))


def _frames_of(folder: Path) -> tuple[Path, ...]:
    """The pictures of a folder by the numbers in their names, so that f2.jpg comes before f10.jpg."""
    files = [file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")]
    pictures = [file for file in files if file.suffix.lower() in STILL_SUFFIXES]
    if not pictures:
        raise AnswerError(f"{folder} holds no frames, which end in {', '.join(STILL_SUFFIXES)}")
    return tuple(sorted(pictures, key=lambda file: [int(p) if p.isdigit() else p for p in NUMBERS.split(file.name)]))


def _clip(path: Path, probe: Probe) -> Clip:
    return Clip(
        probe.kind, path.name, probe.width, probe.height, probe.num_frames, probe.fps, probe.duration, probe.frame_times
    )
