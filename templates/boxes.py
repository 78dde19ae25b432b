"""A tube as words: its box at the start, in the middle and at the end of a span."""

from collections.abc import Sequence
from typing import Final

from shards.clip_time import span_frames
from shards.record import Box, Clip, Span, Tube
from templates.material import Material

LAST_STEP: Final = 99
"""Box coordinates are integers 0…99, on the same scale as τ (FORMAT: converters, option ``boxes``)."""


def box_slots(material: Material) -> dict[str, str]:
    """``{first}``, ``{middle}`` and ``{last}``: the boxes of the sample's tube on those visible frames of its span.

    Raises CannotRender where the sample has not exactly one tube, the clip no rate, or the tube no box in the span.
    """
    sample, clip = material.sample, material.clip
    if len(sample.tubes) != 1 or not 0 <= sample.tubes[0] < len(material.tubes):
        known = len(material.tubes)
        raise material.fail(f"boxes need exactly one tube of the record's {known}, not {sample.tubes}")
    if clip.fps is None or not sample.spans:
        raise material.fail("boxes need a span and a clip with a frame rate")
    visible = visible_boxes(material.tubes[sample.tubes[0]], sample.spans[0], clip)
    if not visible:
        raise material.fail(f"the tube has no box in the span {sample.spans[0]}")
    chosen = (visible[0], visible[(len(visible) - 1) // 2], visible[-1])
    return dict(zip(("first", "middle", "last"), (box_text(box, clip) for box in chosen), strict=True))


def visible_boxes(tube: Tube, span: Span, clip: Clip) -> Sequence[Box]:
    """The boxes on the frames of the span, in order, without invisible frames."""
    first, end = span_frames(clip, span)
    return [box for frame, box in sorted(tube.boxes.items()) if first <= frame < end and box is not None]


def box_text(box: Box, clip: Clip) -> str:
    """``[x1, y1, x2, y2]``: round(99 · x / width) and round(99 · y / height), half to even, clamped to 0…99."""
    sizes = (clip.width, clip.height, clip.width, clip.height)
    steps = [round(LAST_STEP * side / size) for side, size in zip(box, sizes, strict=True)]
    return f"[{', '.join(str(min(max(step, 0), LAST_STEP)) for step in steps)}]"
