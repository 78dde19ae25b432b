"""The plan of a build: every item of every entry, which of them are taken, and the chunks of work they make.

Scanning reads the annotation files only. What a worker will need of them is spooled to disk as it is found, so between
the annotation file at hand and the end of the build the driver keeps a few words per item.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from converters.base import Item, RawClip
from converters.raw_files import DatasetError
from pipelines.recipe import Entry, Recipe
from shards.manifest import InputFile
from shards.skips import Skipped

CHUNK_ITEMS: Final = 256
CHUNK_BYTES: Final = 8 << 20
DEEPER: Final = 500

Json = Any


@dataclass(frozen=True, slots=True)
class Fragment:
    """A spooled piece of a clip: where it lies, and the numbers of its items within the entry."""

    offset: int
    size: int
    first: int
    count: int


@dataclass(slots=True)
class EntryPlan:
    """What the scan of one entry found, after the choice: items = planned + skipped."""

    entry: Entry
    inputs: list[InputFile]
    items: int
    skipped: list[Skipped]
    clips: dict[str, list[Fragment]]
    chosen: bytearray
    spool: Path
    planned: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Work for one task: some clips of one entry. ``payload`` is the JSON of their raw annotation."""

    entry: Entry
    seed: int
    wordings: int
    payload: bytes

    def digest(self, code: str) -> str:
        """Names the chunk's output by all that decides it, but for the media (see ``pipelines.chunk``)."""
        parts = [code, str(self.entry), str(self.seed), str(self.wordings)]
        return hashlib.sha256("\0".join(parts).encode("utf-8") + b"\0" + self.payload).hexdigest()[:32]


@dataclass(slots=True)
class Plan:
    entries: list[EntryPlan] = field(default_factory=list)

    @property
    def planned(self) -> int:
        return sum(entry.planned for entry in self.entries)


def make_plan(recipe: Recipe, spool: Path, tell: Callable[[Entry, int], None] = lambda entry, items: None) -> Plan:
    """Scan every entry in order and decide about every item. ``tell`` hears of the items found so far."""
    spool.mkdir(parents=True, exist_ok=True)
    plan = Plan()
    seen: dict[bytes, bytes] = {}
    for entry in recipe.entries:
        scan = _Scan(entry, spool / f"{entry.name}.spool")
        scan.run(tell)
        plan.entries.append(scan.decide(recipe.seed, seen))
    return plan


class _Scan:
    """One pass over an entry's annotation files."""

    def __init__(self, entry: Entry, spool: Path) -> None:
        self.entry, self.spool = entry, spool
        self.keys: list[str] = []
        self.says: list[bytes | None] = []  # None: already skipped by the scan
        self.broken: dict[int, Skipped] = {}
        self.clips: dict[str, list[Fragment]] = {}
        self.inputs: list[InputFile] = []

    def run(self, tell: Callable[[Entry, int], None]) -> None:
        converter = self.entry.open()
        with self.spool.open("wb") as file:
            offset = 0
            for found in converter.scan():
                if isinstance(found, Skipped):
                    self.broken[len(self.keys)] = found
                    self._add(found.key, None)
                    continue
                items = [_spelled(item.raw) for item in found.items]
                data = _spooled(found, items)
                self.clips.setdefault(found.id, []).append(
                    Fragment(offset, len(data), len(self.keys), len(found.items))
                )
                offset += file.write(data)
                for item, says in zip(found.items, items, strict=True):
                    self._add(item.key, hashlib.sha256(says).digest()[:16])
                if len(self.keys) % 1000 < len(found.items):
                    tell(self.entry, len(self.keys))
        tell(self.entry, len(self.keys))
        self.inputs = converter.files.inputs
        if not self.keys and not self.entry.narrowed:
            files = ", ".join(file.path for file in self.inputs) or "its files"
            raise DatasetError(
                f"entry {self.entry.name}: {files} in {self.entry.root} hold no item: "
                "download them again, or take the entry out of the recipe"
            )

    def _add(self, key: str, says: bytes | None) -> None:
        self.keys.append(key)
        self.says.append(says)

    def decide(self, seed: int, seen: dict[bytes, bytes]) -> EntryPlan:
        """Take, then first come first served: a key that was ``seen`` before is a duplicate or a conflict."""
        numbers = taken(self.keys, self.entry.take, seed)
        chosen = bytearray(len(self.keys))
        skipped: list[Skipped] = []
        for number in numbers:
            key, says = self.keys[number], self.says[number]
            if says is None:
                skipped.append(self.broken[number])
                continue
            digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:16]
            before = seen.setdefault(digest, says)
            if before is not says:
                reason = "duplicate" if before == says else "key_conflict"
                skipped.append(Skipped(key, reason, "an item with this key came before"))
                continue
            chosen[number] = 1
        clips = {id: kept for id, fragments in self.clips.items() if (kept := _needed(fragments, chosen))}
        return EntryPlan(self.entry, self.inputs, len(numbers), skipped, clips, chosen, self.spool, sum(chosen))


def _needed(fragments: list[Fragment], chosen: bytearray) -> list[Fragment]:
    """Those with a chosen item, and those without items, which only say what the others share; none without an item."""
    wanted = [any(chosen[f.first : f.first + f.count]) for f in fragments]
    return [f for f, want in zip(fragments, wanted, strict=True) if want or not f.count] if any(wanted) else []


def taken(keys: list[str], take: int | None, seed: int) -> list[int] | range:
    """The numbers of the items with the smallest sha256(seed/key), in the order of the release."""
    if take is None or take >= len(keys):
        return range(len(keys))
    ranks = [hashlib.sha256(f"{seed}/{key}".encode("utf-8", "surrogatepass")).digest() for key in keys]
    return sorted(sorted(range(len(keys)), key=lambda number: (ranks[number], number))[:take])


def _spelled(raw: Json) -> bytes:
    """What an item says, spelled the same whatever the order of the members."""
    return _SORTED.encode(raw).encode("ascii")


def _spooled(clip: RawClip, items: list[bytes]) -> bytes:
    """``{"keys": [...], "raws": [...], "shared": {...}}``."""
    keys, shared = _PLAIN.encode([item.key for item in clip.items]), _PLAIN.encode(dict(clip.shared))
    return b'{"keys":%s,"raws":[%s],"shared":%s}' % (keys.encode("ascii"), b",".join(items), shared.encode("ascii"))


_SORTED: Final = json.JSONEncoder(separators=(",", ":"), sort_keys=True)
_PLAIN: Final = json.JSONEncoder(separators=(",", ":"))


# ------------------------------------------------------------------------------------------------- chunks


def chunks_of(plan: Plan, recipe: Recipe) -> Iterator[tuple[Chunk, int]]:
    """The work of the plan, with the number of items in each chunk; read from the spool as it is asked for."""
    for entry in plan.entries:
        with entry.spool.open("rb") as file:
            for clips in _groups(entry):
                payload = b"[%s]" % b",".join(_merged(id, fragments, entry.chosen, file) for id, fragments in clips)
                count = sum(sum(entry.chosen[f.first : f.first + f.count]) for _, fragments in clips for f in fragments)
                yield Chunk(entry.entry, recipe.seed, recipe.wordings, payload), count


def _groups(entry: EntryPlan) -> Iterator[list[tuple[str, list[Fragment]]]]:
    """Clips in order, as many at a time as make a task of a few seconds."""
    group: list[tuple[str, list[Fragment]]] = []
    items = size = 0
    for id, fragments in entry.clips.items():
        group.append((id, fragments))
        items += sum(fragment.count for fragment in fragments)
        size += sum(fragment.size for fragment in fragments)
        if items >= CHUNK_ITEMS or size >= CHUNK_BYTES or len(group) >= CHUNK_CLIPS:
            yield group
            group, items, size = [], 0, 0
    if group:
        yield group


CHUNK_CLIPS: Final = 16
"""A clip's media is decoded once to probe it: a fraction of a second to some seconds each."""


def _merged(id: str, fragments: list[Fragment], chosen: bytearray, file: BinaryIO) -> bytes:
    """``{"id": ..., "chosen": [[0 or 1 for each item], ...], "parts": [...]}``, the parts as they were spooled."""
    parts: list[bytes] = []
    for fragment in fragments:
        file.seek(fragment.offset)
        parts.append(file.read(fragment.size))
    flags = [list(chosen[fragment.first : fragment.first + fragment.count]) for fragment in fragments]
    head = _PLAIN.encode({"id": id, "chosen": flags}).encode("ascii")
    return b'%s,"parts":[%s]}' % (head[:-1], b",".join(parts))


def _parsed(payload: bytes) -> Json:
    """The JSON, which nests a little deeper than what the scan could read at Python's limit."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + DEEPER)
    try:
        return json.loads(payload)
    finally:
        sys.setrecursionlimit(limit)


def payload_of(clips: Iterable[RawClip]) -> bytes:
    """The payload of whole clips, which ``raw_clips`` gives back."""
    return b"[%s]" % b",".join(_whole(clip) for clip in clips)


def _whole(clip: RawClip) -> bytes:
    head = _PLAIN.encode({"id": clip.id, "chosen": [[1] * len(clip.items)]}).encode("ascii")
    return b'%s,"parts":[%s]}' % (head[:-1], _spooled(clip, [_spelled(item.raw) for item in clip.items]))


def raw_clips(payload: bytes) -> Iterator[RawClip]:
    """The clips of a chunk, as ``scan`` stated them, with the items that were chosen."""
    for raw in _parsed(payload):
        items: list[Item] = []
        shared: dict[str, Json] = {}
        for part, flags in zip(raw["parts"], raw["chosen"], strict=True):
            found = zip(part["keys"], part["raws"], flags, strict=True)
            items += [Item(key, item) for key, item, flag in found if flag]
            shared |= part["shared"]
        yield RawClip(raw["id"], tuple(items), shared)
