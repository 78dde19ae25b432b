"""What a converter is: it states the facts of one dataset's official release, item by item.

The work has two steps, so that it can be planned, divided and resumed:

1. ``scan`` reads the annotation files once and yields every item, cheaply and in order, grouped by clip. No media is
   touched.
2. ``media`` and ``facts`` turn one clip and one item into the clip's media and a ``Sample`` without turns, in any
   process, in any order, as often as needed. ``facts`` raises ``SkipItem`` for an item that is not right.

What both steps share (probing the media, the table of masklets, counting the skips) is in ``converters.convert``.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, TypeGuard

from converters.clip_table import ClipTable
from converters.raw_files import RawFiles, utf8
from converters.release import Needed
from shards.record import Clip, Sample
from shards.skips import SkipItem, Skipped

Json = Any


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a converter: its allowed values, the default first; ``many`` also allows a list of them.

    With no ``choices`` any text is allowed and the default is None.
    """

    help: str
    choices: tuple[str, ...] = ()
    many: bool = False

    def resolve(self, name: str, value: Any) -> Any:
        """The value in its canonical form; ValueError says what is allowed."""
        if value is None:
            value = self.choices[0] if self.choices else None
        if not self.choices:
            if value is not None and not isinstance(value, str):
                raise ValueError(f"option {name} is {value!r}, not text")
            return value
        values = value if self.many and isinstance(value, list) else [value]
        wrong = [item for item in values if item not in self.choices]
        if wrong or not values or len(set(values)) < len(values):
            form = "one or a list of" if self.many else "one of"
            raise ValueError(f"option {name} is {value!r}, not {form} {', '.join(self.choices)}")
        return [choice for choice in self.choices if choice in values] if self.many else value


@dataclass(frozen=True, slots=True)
class Item:
    """One would-be sample: its key, and the part of the raw annotation that ``facts`` needs, as plain JSON.

    Two items with the same key and the same ``raw`` say the same (a duplicate); with another ``raw`` they conflict.
    """

    key: str
    raw: Json


@dataclass(frozen=True, slots=True)
class RawClip:
    """A clip and items about it. ``scan`` may yield the same id again: items add up, ``shared`` is merged, and a clip
    without items only adds to what those of the same id share.

    ``id`` names the clip within the release; ``shared`` holds what several items need (masks, paths), keyed by id.
    """

    id: str
    items: tuple[Item, ...]
    shared: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VideoFile:
    """Media of a clip: a video. ``folder`` is of the layout (relative to the root) or named by an option, ``path`` is
    what the annotation says: it may not lead out of the folder."""

    folder: str
    path: str


@dataclass(frozen=True, slots=True)
class StillFile:
    """Media of a clip: an image; ``folder`` and ``path`` as for a video."""

    folder: str
    path: str


@dataclass(frozen=True, slots=True)
class FrameFolder:
    """Media of a clip: a folder of frames, and their names in frame order; ``folder`` and ``path`` as for a video."""

    folder: str
    path: str
    names: tuple[str, ...]


MediaRef = VideoFile | StillFile | FrameFolder | None


class UnknownSplit(ValueError):
    """The release has no such split (with these options)."""


class Converter(ABC):
    """One dataset family. Class variables are its identity; ``license`` and ``citation`` go into the manifest."""

    name: ClassVar[str]
    title: ClassVar[str]
    citation: ClassVar[str]
    license: ClassVar[str] = "unknown"
    homepage: ClassVar[str] = ""
    pictures: ClassVar[str] = ""  # whose clips they are, e.g. "coco": there the file name is the id
    tasks: ClassVar[tuple[str, ...]]
    splits: ClassVar[tuple[str, ...]]
    options: ClassVar[Mapping[str, Option]] = {}

    def __init__(self, root: Path, split: str, options: Mapping[str, Any]) -> None:
        """``options`` are resolved: every declared option is there."""
        if split not in self.splits:
            raise UnknownSplit(f"{self.name} has no split {split!r}; it has {', '.join(self.splits)}")
        self.root, self.split, self.chosen = root, split, options
        self.files = RawFiles(root)

    @abstractmethod
    def scan(self) -> Iterator[RawClip | Skipped]:
        """Every item of the split, in the order of the release, from the annotation files alone.

        An item too broken to be an ``Item`` is a ``Skipped``. Raises ``DatasetError`` for a file that everything
        needs and that is missing or unreadable.
        """

    def release(self) -> tuple[Needed, ...]:
        """What this split needs on disk with these options, for ``multigrain check``; empty: only a scan can tell."""
        return ()

    @abstractmethod
    def media(self, raw: RawClip) -> MediaRef:
        """Where the clip's media lies; SkipItem where the annotation names none that can be used."""

    @abstractmethod
    def facts(self, raw: RawClip, item: Item, clip: Clip, table: ClipTable) -> Sample:
        """The sample that the item states, without turns; its masks and boxes go into ``table``."""

    def key(self, *ids: object) -> str:
        """``<dataset>/<split>/<source ids…>``."""
        return "/".join([self.name, self.split, *(str(part) for part in ids)])


# -------------------------------------------------------------------- words and numbers shared by converters


def words(text: Any, what: str) -> str:
    """The annotator's words, unchanged but for runs of white space; SkipItem unless they are text."""
    if not isinstance(text, str):
        raise SkipItem("malformed", f"{what} is {type(text).__name__}, not text")
    return " ".join(utf8(text, what).split())


def some_words(text: Any, what: str) -> str:
    """Like ``words``, and not blank."""
    found = words(text, what)
    if not found:
        raise SkipItem("malformed", f"{what} is blank")
    return found


def same_size(width: Any, height: Any, clip: Clip, what: str) -> None:
    """SkipItem unless ``what``, whose stated size this is, is of the clip's size."""
    if not (is_number(width) and is_number(height)):
        raise SkipItem("malformed", f"{what} has the size {width!r} x {height!r}, not two numbers")
    if (width, height) != (clip.width, clip.height):
        raise SkipItem("size_mismatch", f"{what} is {width}x{height}, the clip is {clip.width}x{clip.height}")


def is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


DIALOGUE_ROLES: Final = ("human", "gpt")
