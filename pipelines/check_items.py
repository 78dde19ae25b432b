"""Which items have their media: the annotation files are scanned as a build scans them, and no media is opened."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.base import Converter, FrameFolder, MediaRef, RawClip
from converters.raw_files import existing, inside
from pipelines.plan import taken
from pipelines.recipe import Entry, Recipe
from shards.skips import FREE_REASONS, SkipItem, Skipped


@dataclass(frozen=True, slots=True)
class Items:
    """Items of an entry after ``take``, and how many of them are lost before any media is opened, by reason."""

    items: int
    lost: dict[str, int]
    example: str = ""

    @property
    def with_media(self) -> int:
        return self.items - sum(self.lost.values())

    @property
    def missing(self) -> int:
        return self.lost.get("missing_media", 0)

    def failures(self, recipe: Recipe) -> dict[str, int]:
        """The shares of the recipe that a build would find exceeded, and the items that exceed them."""
        other = sum(count for reason, count in self.lost.items() if reason not in FREE_REASONS)
        shares = {"max_missing_share": self.missing, "max_skip_share": other}
        return {name: lost for name, lost in shares.items() if lost and lost / self.items > getattr(recipe, name)}


@dataclass(slots=True)
class _Found:
    """One clip: why its items are lost, and what they share until it is clear which media they ask for."""

    reason: str = ""
    detail: str = ""
    shared: dict[str, Any] | None = field(default_factory=dict)
    given: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    """Of the files that each clip has of its own: those that some piece of it has, and those said to be None."""

    def settle(self, id: str) -> None:
        """All pieces were seen: what none of them gave is absent."""
        if not self.reason and (lacking := sorted(self.absent - self.given)):
            self.reason, self.detail = "missing_annotation", f"{id} has no {' and no '.join(lacking)}"


def look_for_media(entry: Entry, seed: int, tell: Callable[[int], None] = lambda items: None) -> Items:
    """Scan ``entry`` and look on disk for the media of every item. Raises DatasetError as a scan does."""
    clips: dict[str, _Found] = {}
    converter = entry.open()
    keys = [need.per_clip for need in converter.release() if need.per_clip]
    rows = list(_rows(converter, keys, clips, tell))
    for id, clip in clips.items():
        clip.settle(id)
    rows = [rows[number] for number in taken([key for key, _ in rows], entry.take, seed)]
    lost: Counter[str] = Counter()
    seen: set[str] = set()
    for key, known in rows:
        reason = known if isinstance(known, str) else "duplicate" if key in seen else known.reason
        seen.add(key)
        if reason:
            lost[reason] += 1
    first = next((clip for clip in clips.values() if clip.reason), None)
    return Items(len(rows), dict(lost.most_common()), f"{first.reason}, {first.detail}" if first else "")


def _rows(
    converter: Converter, keys: list[str], clips: dict[str, _Found], tell: Callable[[int], None]
) -> Iterator[tuple[str, "str | _Found"]]:
    """(key, reason) of the items that the scan itself skips, (key, clip) of the others."""
    count = 0
    for found in converter.scan():
        if isinstance(found, Skipped):
            count += 1
            yield found.key, found.reason
            continue
        clip = clips.setdefault(found.id, _Found())
        _look(converter, keys, found, clip)
        for item in found.items:
            count += 1
            yield item.key, clip
        if count % 1000 < len(found.items):
            tell(count)
    tell(count)


def _look(converter: Converter, keys: list[str], raw: RawClip, clip: _Found) -> None:
    """Look for the clip's media, unless that was done; what its items share may come in several pieces."""
    for key in keys:
        if key in raw.shared:
            (clip.absent if raw.shared[key] is None else clip.given).add(key)
    if clip.shared is None:
        return
    clip.shared |= raw.shared
    try:
        ref = converter.media(RawClip(raw.id, (), clip.shared))
        clip.reason, clip.detail, clip.shared = "", "", None
        _exists(converter, ref)
    except SkipItem as skip:
        clip.reason, clip.detail = skip.reason, skip.detail
    except Exception as error:  # a build skips the item too; what the media needs may come with the next piece
        clip.reason, clip.detail = "malformed", f"unexpected: {type(error).__name__}: {error}"


def _exists(converter: Converter, ref: MediaRef) -> None:
    """SkipItem unless the media is there: every frame, for a folder of frames."""
    if ref is None:
        return
    place = inside(converter.root, ref.path, ref.folder)
    if not isinstance(ref, FrameFolder):
        if existing(place).stat().st_size == 0:
            raise SkipItem("bad_media", f"{place.name} is empty")
        return
    there = _names(place)
    if not ref.names or there.isdisjoint(ref.names):
        raise SkipItem("missing_media", f"{ref.folder}/{ref.path} is not there, or holds no frame")
    for name in ref.names:
        if name not in there:
            existing(inside(converter.root, f"{ref.path}/{name}", ref.folder))


def _names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()
