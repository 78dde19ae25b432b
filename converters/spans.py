"""Seconds: the one place where a dataset's times become spans of a clip."""

import math

from shards.record import Clip, Seconds, Span
from shards.skips import SkipItem


def span_in_clip(start: Seconds, end: Seconds, clip: Clip, window: Span | None = None) -> Span:
    """[start, end] with the end cut to the clip's duration, half-open.

    SkipItem ``bad_span`` for times that are not finite, negative, reversed, that leave no length inside the clip, or
    that lie outside the window.
    """
    if clip.duration is None:
        raise SkipItem("bad_span", f"{clip.source} has no duration")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise SkipItem("bad_span", f"{start} … {end} s are not both numbers")
    if start < 0 or start >= min(end, clip.duration):
        raise SkipItem("bad_span", f"{start:g} … {end:g} s is no span inside 0 … {clip.duration:g} s")
    span = (float(start), float(min(end, clip.duration)))
    if window is not None and not (window[0] <= span[0] and span[1] <= window[1]):
        raise SkipItem("bad_span", f"{span[0]:g} … {span[1]:g} s lies outside {window[0]:g} … {window[1]:g} s")
    return span


def seconds_at(frame: int, clip: Clip) -> Seconds:
    """When ``frame`` begins: frame / fps, or its own time for a variable frame rate.

    Past the end of such a clip, frames go on at its mean rate from the duration on, so that one is seen to lie there.
    """
    if not clip.fps:
        raise SkipItem("bad_span", f"{clip.source} has no frame rate")
    if clip.frame_times is None or clip.duration is None or frame < 0:
        return frame / clip.fps
    if frame < clip.num_frames:
        return clip.frame_times[frame]
    return clip.duration + (frame - clip.num_frames) / clip.fps
