"""Which frames of a clip the model sees, and on which it predicts masks. Indices only; nothing is decoded.

Source: UFVideo release d1dbdd4, ``mm_utils.py: frame_sample`` (32 evenly spaced frames) and ``train.py:
__getitem__`` (4 random frames among those that have a mask, sorted).
"""

from collections.abc import Sequence

from shards import rle
from shards.clip_time import span_frames
from shards.keys import hash64
from shards.record import Clip, Record, Region, Sample

HALF_UP: float = 1e-6
"""The release adds this before it rounds half to even."""


class NoFrames(ValueError):
    """A sample has no frame for what it asks; the message says which."""


def evenly(count: int, total: int) -> list[int]:
    """``count`` positions in 0…total-1, each in the middle of an equal part; positions repeat where total < count.

    seg = (total - 1) / count, position i = round(seg · (i + 0.5) + 1e-6), half to even: 100 frames give 2, 5, 8, …
    """
    part = (total - 1) / count
    return [round(part * (i + 0.5) + HALF_UP) for i in range(count)]


def window_frames(clip: Clip, sample: Sample) -> list[int]:
    """The stored frames of the sample's window, or of the whole clip; the nearest one for a window between two."""
    stored = list(clip.stored_frames) if clip.stored_frames is not None else list(range(clip.num_frames))
    if sample.window is None:
        return stored
    first, stop = span_frames(clip, sample.window)
    inside = [frame for frame in stored if first <= frame < stop]
    return inside or [min(stored, key=lambda frame: abs(frame - first))]


def clip_frames(clip: Clip, sample: Sample, count: int) -> list[int]:
    """The ``count`` frames that stand for the clip: evenly over the window, repeated where it has fewer."""
    frames = window_frames(clip, sample)
    return [frames[position] for position in evenly(count, len(frames))]


def region_frames(region: Region, most: int) -> list[int]:
    """The frames on which an object is shown: all of them, or ``most`` evenly chosen."""
    if len(region.frames) <= most:
        return list(region.frames)
    return [region.frames[position] for position in evenly(most, len(region.frames))]


def mask_frames(record: Record, sample: Sample, count: int, seed: str) -> list[int]:
    """Up to ``count`` frames, ascending, on which the sample's targets are predicted.

    Chosen by ``seed`` among the window's frames on which every target is annotated (or any, where no frame has all),
    first where at least one is visible, as in the release, then where none is. A sample all of whose targets say "no
    such object" takes any frame of the window. Raises NoFrames if the window has no annotated frame.
    """
    window = window_frames(record.clip, sample)
    annotated = [annotated_frames(record, target) for target in sample.targets or () if target]
    if annotated:
        known = set.intersection(*annotated) & set(window) or set.union(*annotated) & set(window)
        if not known:
            raise NoFrames("its targets have no annotated frame inside its window; leave it out of the mixture")
        window = sorted(known)
    visible = {frame for frame in window if any(_visible(record, t, frame) for t in sample.targets or ())}
    order = sorted(window, key=lambda frame: (frame not in visible, hash64(f"{seed}/{frame}")))
    return sorted(order[:count])


def annotated_frames(record: Record, target: Sequence[int]) -> set[int]:
    """The frames on which every masklet of a target is annotated, so that their union is known."""
    return set.intersection(*(set(record.masklets[index].rles) for index in target))


def _visible(record: Record, target: Sequence[int], frame: int) -> bool:
    counts = (record.masklets[index].rles.get(frame) for index in target)
    return any(mask is not None and not rle.is_empty(mask) for mask in counts)
