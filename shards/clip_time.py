"""Seconds of a clip as frame indices and back: frame f covers [f/fps, (f+1)/fps), or ``frame_times`` decide."""

import bisect

from shards.record import Clip, Seconds, Span


def span_frames(clip: Clip, span: Span) -> tuple[int, int]:
    """The frames of a span, half-open, clamped to the clip: round(start · fps) ≤ f < round(end · fps)."""
    first, stop = (frame_at(clip, t) for t in span)
    first = min(max(first, 0), clip.num_frames - 1)
    return first, min(max(stop, first), clip.num_frames)


def frame_at(clip: Clip, t: Seconds) -> int:
    """The frame that begins at second ``t``, or next to it; 0 where the clip has no times."""
    if clip.frame_times is not None:
        return bisect.bisect_left(clip.frame_times, t - 1e-6)
    return round(t * clip.fps) if clip.fps else 0


def seconds_at(clip: Clip, frame: int) -> Seconds | None:
    """When a frame begins; None where the clip has no times."""
    if clip.frame_times is not None:
        return clip.frame_times[frame]
    return frame / clip.fps if clip.fps else None
