"""How large the releases are, and how much of one a scale stands for.

Counts are those of the papers and official pages; bytes per mask are those of real masks at the same size.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Refer:
    """One of REFER's folders: stills, refs and their sentences (all splits), and all annotations of the stills."""

    images: int
    refs: int
    sentences: int
    annotations: int
    words: int


REFCOCO: Final = Refer(images=19_994, refs=50_000, sentences=142_209, annotations=196_771, words=4)
REFCOCOG: Final = Refer(images=25_799, refs=49_822, sentences=95_010, annotations=208_960, words=8)
TRAIN_SHARE: Final = 0.85
"""Of the refs of either: 42,404 of 50,000 and 42,226 of 49,822."""

MEVIS_VIDEOS: Final = 1_662
MEVIS_EXPRESSIONS: Final = 23_051
MEVIS_OBJECTS: Final = 4  # a video; 60 frames each make 400 k masks: mask_dict.json has 411 MB
MEVIS_FRAMES: Final = 60


@dataclass(frozen=True, slots=True)
class Subset:
    """A file of VideoRefer-700K: items, items a video, objects an item, frames of those with several, turns, words."""

    items: int
    per_video: int
    objects: int
    frames: int
    turns: int
    words: int


VIDEOREFER: Final = {
    "short_caption": Subset(items=500_000, per_video=4, objects=1, frames=1, turns=1, words=15),
    "detailed_caption": Subset(items=125_000, per_video=1, objects=1, frames=32, turns=1, words=90),
    "qa": Subset(items=75_000, per_video=1, objects=2, frames=32, turns=2, words=15),
}

CHARADES: Final = {"train": (12_408, 5_338), "test": (3_720, 1_334)}
"""Lines and videos."""

VIDSTG_VIDEOS: Final = 5_436
VIDSTG_SENTENCES: Final = 80_684


def scaled(count: int, scale: float) -> int:
    """``count`` at ``scale`` (1 is the full release), at least one."""
    return max(round(count * scale), 1)
