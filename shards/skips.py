"""Why an item did not become a sample.

A converter never replaces a bad item by another one and never guesses: it yields a ``Skipped``. Every reason is
one of ``REASONS``; the build counts them per entry, writes one line each to ``skipped.jsonl`` and fails when an
entry loses more than its recipe allows.
"""

from dataclasses import dataclass
from typing import Final

REASONS: Final[dict[str, str]] = {
    "missing_media": "the video, image or frame folder is not on disk",
    "bad_media": "the media file is truncated, empty or does not decode",
    "missing_annotation": "an annotation that the item points to is not in the release",
    "malformed": "the item does not have the shape that the release documents",
    "unsafe_path": "a path of the item leads out of the dataset's root",
    "bad_mask": "a mask is not valid COCO RLE or polygon data",
    "size_mismatch": "a mask or box was annotated at another size than the clip's",
    "bad_frame": "a frame index lies outside the clip",
    "bad_span": "a time span is not a number, negative, reversed, empty, or outside the clip or its window",
    "bad_box": "a box is not made of four finite numbers in order",
    "empty_tube": "the target has no box in the whole span",
    "empty_region": "a region prompt's mask is empty on all its frames",
    "region_count": "the text has more or fewer region placeholders than the annotation has objects",
    "duplicate": "an item with this key and the same content came before",
    "key_conflict": "an item with this key but other content came before",
    "invalid": "the finished sample breaks an invariant of the format",
}

ADJUSTMENTS: Final[dict[str, str]] = {
    "end_cut": "the end of a span lay beyond the clip, and was cut to its duration",
    "window_cut": "the end of the window lay beyond the clip, and was cut to its duration",
    "box_cut": "a box reached beyond the frame, and was cut to it",
}
"""What a converter may change about an item that it keeps; the build counts the samples of each kind per entry."""

FREE_REASONS: Final = frozenset({"duplicate", "missing_media"})
"""Reasons that do not count towards ``max_skip_share`` (FORMAT: a corpus recipe)."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """One item that did not become a sample.

    ``detail`` names the value that was wrong, in words that need no source code to understand.
    """

    key: str
    reason: str
    detail: str = ""

    def __post_init__(self) -> None:
        if self.reason not in REASONS:
            raise ValueError(f"skip reason {self.reason!r} of {self.key} is not one of {sorted(REASONS)}")


class SkipItem(Exception):
    """Raised inside a converter to skip the item at hand; carries the reason and the detail."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
