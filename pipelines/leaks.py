"""Leaks: the same picture in a train split and in an evaluation split, within one corpus or across several.

Train is every split named ``train``; every other split evaluates. ``pipelines.same_picture`` says what the same picture
is, and what is not seen is said in every report (``pipelines.leak_report.NOT_SEEN``).
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from pipelines.same_picture import (
    TRAIN,
    Clips,
    by_bytes,
    by_frames,
    by_id,
    clips_of,
    confirmed,
    lacks_ids,
    on_both_sides,
)
from shards.reader import Corpus

Array = np.ndarray[Any, Any]
Codes = dict[str, Array]
"""Way of being the same picture → one code for each clip."""

EXAMPLES: Final = 3


@dataclass(frozen=True, slots=True)
class Touched:
    """How many clips and samples of one side leaks touch, and how many it has."""

    records: int
    of_records: int
    samples: int
    of_samples: int


@dataclass(frozen=True, slots=True)
class Side(Touched):
    corpus: str
    entry: str


@dataclass(frozen=True, slots=True)
class Example:
    """A clip of the evaluation entry and one of the train entry that is the same, by their record keys."""

    train: str
    evaluation: str
    source: str | None
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leak:
    """Two entries that share pictures; ``by`` counts the evaluation clips that each way found."""

    train: Side
    evaluation: Side
    by: dict[str, int]
    examples: tuple[Example, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Leaks:
    """Every leak, and what all of them touch; ``entries`` are the numbers of train and evaluation entries.

    ``train_rows`` are rows of each corpus's record index; ``without_ids`` are corpora of an older version that were
    not compared by id.
    """

    corpora: tuple[str, ...]
    pairs: tuple[Leak, ...]
    train: Touched
    evaluation: Touched
    entries: tuple[int, int]
    train_rows: tuple[Array, ...]
    without_ids: tuple[str, ...]


def find_leaks(
    corpora: Sequence[Corpus], *, read_shards: bool, tell: Callable[[int, int], None] = lambda done, total: None
) -> Leaks:
    """Compare all entries of all corpora.

    Without ``read_shards`` the indexes alone decide, in seconds. ``tell`` hears how many clips of how many were read.
    """
    clips = clips_of(corpora)
    same = {"id": by_id(clips, read_shards), "bytes": by_bytes(clips), "frames": by_frames(clips)}
    if read_shards:
        same["bytes"] = confirmed(clips, same["bytes"], tell)
    pairs, touched = _pairs(clips, {way: on_both_sides(codes, clips.train) for way, codes in same.items()})
    on_train = np.array([entry.split == TRAIN for entry in clips.entries], bool)
    return Leaks(
        corpora=tuple(str(corpus.root) for corpus in corpora),
        pairs=pairs,
        train=_touched(clips, clips.sizes[on_train].sum(axis=0), np.flatnonzero(touched & clips.train)),
        evaluation=_touched(clips, clips.sizes[~on_train].sum(axis=0), np.flatnonzero(touched & ~clips.train)),
        entries=(int(on_train.sum()), int((~on_train).sum())),
        train_rows=tuple(clips.row[touched & clips.train & (clips.corpus == n)] for n in range(len(corpora))),
        without_ids=() if read_shards else tuple(str(corpus.root) for corpus in corpora if lacks_ids(corpus)),
    )


def _pairs(clips: Clips, shared: Codes) -> tuple[tuple[Leak, ...], Array]:
    """The leaks in order of entries, and which clips any of them touches. ``shared``: codes on both sides, else −1."""
    found: list[Leak] = []
    touched = np.zeros(len(clips.entry), bool)
    any_way = np.any([codes >= 0 for codes in shared.values()], axis=0)
    members = [np.flatnonzero((clips.entry == number) & any_way) for number in range(len(clips.entries))]
    held = [{way: np.unique(codes[at]) for way, codes in shared.items()} for at in members]
    train = [entry.split == TRAIN for entry in clips.entries]
    for one, other in itertools.product(range(len(members)), repeat=2):
        if train[one] and not train[other]:
            common = {way: _common(held[one][way], held[other][way]) for way in shared}
            ours, theirs = (_met(members[number], shared, common) for number in (one, other))
            if len(theirs):
                touched[ours] = touched[theirs] = True
                found.append(_leak(clips, shared, common, ours, theirs))
    return tuple(found), touched


def _common(one: Array, other: Array) -> Array:
    both = np.intersect1d(one, other, assume_unique=True)
    return both[both >= 0]


def _met(members: Array, shared: Codes, common: Codes) -> Array:
    """Those of ``members`` that have a common code in any way."""
    hits = [np.isin(shared[way][members], codes) for way, codes in common.items() if len(codes)]
    return members[np.any(hits, axis=0)] if hits else members[:0]


def _leak(clips: Clips, shared: Codes, common: Codes, ours: Array, theirs: Array) -> Leak:
    return Leak(
        train=_side(clips, ours),
        evaluation=_side(clips, theirs),
        by={way: int(np.isin(shared[way][theirs], codes).sum()) for way, codes in common.items()},
        examples=tuple(_example(clips, shared, ours, clip) for clip in theirs[:EXAMPLES].tolist()),
    )


def _side(clips: Clips, met: Array) -> Side:
    """The entry that the clips ``met`` are of."""
    number = clips.entry[met[0]]
    entry, touched = clips.entries[number], _touched(clips, clips.sizes[number], met)
    return Side(**asdict(touched), corpus=str(clips.corpora[entry.corpus].root), entry=entry.name)


def _touched(clips: Clips, size: Array, met: Array) -> Touched:
    return Touched(len(met), int(size[0]), int(clips.samples[met].sum()), int(size[1]))


def _example(clips: Clips, shared: Codes, ours: Array, clip: int) -> Example:
    """``clip`` and the first of ``ours`` that it meets."""
    alike = {way: (codes[ours] == codes[clip]) & (codes[clip] >= 0) for way, codes in shared.items()}
    first = int(np.argmax(np.any([*alike.values()], axis=0)))
    return Example(
        train=clips.cell(int(ours[first]), "record_key"),
        evaluation=clips.cell(clip, "record_key"),
        source=clips.cell(clip, "source"),
        by=tuple(way for way, found in alike.items() if found[first]),
    )
