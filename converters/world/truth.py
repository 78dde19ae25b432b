"""What a correct converter makes of a generated world, told by the scenes and not by a converter."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters.world.scene import Bitmap, Boxes, Scene
from shards import rle
from shards.record import Box, ClipKind, Seconds, Span, Task
from shards.skips import REASONS

Entry = tuple[str, ...]
"""(converter, split) with the converter's default options, or (converter, split, split_by) for another ``split_by``."""


@dataclass(frozen=True, slots=True)
class TruthClip:
    """A clip; ``scene`` is what was filmed.

    ``source`` is the path of its media relative to the dataset's root (a converter may say less: a file name, an
    id). ``fps`` is None where the release does not say it, and so is ``duration``, in seconds.
    """

    kind: ClipKind
    source: str
    scene: Scene

    @property
    def width(self) -> int:
        return self.scene.width

    @property
    def height(self) -> int:
        return self.scene.height

    @property
    def num_frames(self) -> int:
        return self.scene.num_frames

    @property
    def fps(self) -> float | None:
        return self.scene.fps if self.kind == "video" else None

    @property
    def duration(self) -> Seconds | None:
        return self.scene.duration if self.kind == "video" else None


@dataclass(frozen=True, slots=True)
class TruthMasklet:
    """One annotated object: frame index → compressed counts at the clip's size, empty masks where it is not visible.

    ``id`` is the annotation id of the release as text, or "" where objects have none.
    """

    id: str
    rles: Mapping[int, str]

    @property
    def frames(self) -> tuple[int, ...]:
        return tuple(sorted(self.rles))


@dataclass(frozen=True, slots=True, eq=False)
class TruthTube:
    """One object's boxes: ``xyxy`` is [frame, 4] in pixels, clipped to the frame, all -1 where there is no box."""

    id: str
    xyxy: Boxes

    @property
    def boxes(self) -> dict[int, Box | None]:
        """Frame index → box, or None where the release has no box for the object, for all frames of the clip."""
        out: dict[int, Box | None] = {}
        for frame, (x1, y1, x2, y2) in enumerate(self.xyxy.tolist()):
            out[frame] = None if x2 < 0 else (float(x1), float(y1), float(x2), float(y2))
        return out


@dataclass(frozen=True, slots=True)
class TruthSample:
    """The facts of one sample, as FORMAT defines them; masklets and tubes are named by value, not by index.

    ``targets`` holds one tuple of masklets a target, to be united; None for an unlabelled split. ``labels`` says
    what kind of item it is, to filter by: the subset of VideoRefer, "declarative" or "interrogative" of VidSTG.
    ``frame_idx`` is the frame of VideoRefer-Bench's single-frame mode.
    """

    key: str
    task: Task
    clip: TruthClip
    query: str
    answer: str = ""
    dialogue: tuple[tuple[str, str], ...] = ()
    choices: tuple[str, ...] | None = None
    correct: int | None = None
    window: Span | None = None
    regions: tuple[TruthMasklet, ...] = ()
    targets: tuple[tuple[TruthMasklet, ...], ...] | None = ()
    spans: tuple[Span, ...] = ()
    tubes: tuple[TruthTube, ...] = ()
    labels: tuple[str, ...] = ()
    frame_idx: int | None = None

    def target_bitmap(self, target: int, frame: int) -> Bitmap:
        """[height, width]: target number ``target`` in ``frame``, its masklets united."""
        assert self.targets is not None, f"{self.key} is unlabelled"
        out = np.zeros((self.clip.height, self.clip.width), np.bool_)
        for masklet in self.targets[target]:
            out |= rle.decode(masklet.rles[frame], self.clip.height, self.clip.width)
        return out

    def tube_boxes(self) -> dict[int, Box | None]:
        """The boxes of ``tubes[0]`` on the frames of ``spans[0]``."""
        fps = self.clip.scene.fps
        first, last = round(self.spans[0][0] * fps), round(self.spans[0][1] * fps)
        return {frame: box for frame, box in self.tubes[0].boxes.items() if first <= frame < last}


@dataclass(frozen=True, slots=True)
class Truth:
    """``samples[entry][key]`` is the expected sample, ``skips[entry][key]`` the reason of the expected skip.

    A key is in both where its first item is good and a later one is a ``duplicate`` or a ``key_conflict``: items of
    an entry = len(samples[entry]) + len(skips[entry]). Every entry that has samples also has a mapping of skips.
    """

    root: Path
    samples: Mapping[Entry, Mapping[str, TruthSample]]
    skips: Mapping[Entry, Mapping[str, str]]

    def labelled(self, entry: Entry, label: str) -> dict[str, TruthSample]:
        """The samples of an entry that bear a label, such as ("videorefer", "train") and "qa"."""
        return {key: sample for key, sample in self.samples[entry].items() if label in sample.labels}

    def __iter__(self) -> Iterator[TruthSample]:
        for samples in self.samples.values():
            yield from samples.values()


class Ledger:
    """Collects the truth while the raw files are written."""

    def __init__(self) -> None:
        self._samples: dict[Entry, dict[str, TruthSample]] = {}
        self._skips: dict[Entry, dict[str, str]] = {}

    def add(self, entry: Entry, sample: TruthSample) -> None:
        samples = self._samples.setdefault(entry, {})
        self._skips.setdefault(entry, {})
        assert sample.key not in samples, f"two samples have the key {sample.key}"
        samples[sample.key] = sample

    def skip(self, entry: Entry, key: str, reason: str) -> None:
        assert reason in REASONS, f"{reason} is no reason to skip"
        skips = self._skips.setdefault(entry, {})
        assert key not in skips, f"{key} is skipped twice"
        skips[key] = reason

    def close(self, root: Path) -> Truth:
        return Truth(root, self._samples, self._skips)
