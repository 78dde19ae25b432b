"""Which clips of some corpora are the same picture: a code for every record, equal where two are alike; −1 for none.

- By *id*: their releases say so (``pipelines.pictures``).
- By *bytes*: size and CRC-32 of the media are equal, and, once confirmed, their SHA-256.
- By *frames*: of two frame folders, at least half the frames of the shorter one are in the other, byte for byte.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pipelines.pictures import picture_ids
from shards.reader import Corpus

Array = np.ndarray[Any, Any]
pc: Any = pyarrow.compute  # its functions are made when it is imported, so type checkers do not know them

TRAIN: Final = "train"
MOST_CLIPS: Final = 64
"""A frame that more clips hold (a black one, a title) says nothing about which clip it is of."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of one of the corpora, by its position among them."""

    corpus: int
    name: str
    dataset: str
    split: str


@dataclass(frozen=True, eq=False, slots=True)
class Clips:
    """Every record of all corpora: its ``corpus`` and ``row`` there, ``entry`` as a position in ``entries``, whether
    that is of a train split, and how many samples the record has. ``sizes`` are (records, samples) of each entry."""

    corpora: Sequence[Corpus]
    entries: list[Entry]
    corpus: Array
    row: Array
    entry: Array
    train: Array
    samples: Array
    sizes: Array

    def cell(self, clip: int, column: str) -> Any:
        return self.corpora[self.corpus[clip]].records.column(column)[int(self.row[clip])].as_py()


def clips_of(corpora: Sequence[Corpus]) -> Clips:
    entries: list[Entry] = []
    numbers = []
    for position, corpus in enumerate(corpora):
        code = _codes(corpus.records.column("entry").combine_chunks())
        numbers.append(code + len(entries))
        for row in np.unique(code, return_index=True)[1].tolist():
            first = corpus.records.slice(row, 1)
            entries.append(Entry(position, *(first.column(name)[0].as_py() for name in ("entry", "dataset", "split"))))
    entry = _joined(numbers)
    samples = _joined([np.bincount(rows_of_samples(corpus), minlength=len(corpus)) for corpus in corpora])
    records = [len(corpus) for corpus in corpora]
    return Clips(
        corpora=corpora,
        entries=entries,
        corpus=np.repeat(np.arange(len(corpora)), records),
        row=_joined([np.arange(count) for count in records]),
        entry=entry,
        train=np.array([found.split == TRAIN for found in entries], bool)[entry],
        samples=samples,
        sizes=np.array([np.bincount(entry), np.bincount(entry, samples).astype(np.int64)]).T,
    )


def rows_of_samples(corpus: Corpus) -> Array:
    """The row of its record, for every row of the sample index."""
    keys = corpus.records.column("record_key").combine_chunks()
    return pc.index_in(corpus.samples.column("record_key").combine_chunks(), keys).to_numpy(zero_copy_only=False)


def on_both_sides(codes: Array, train: Array) -> Array:
    """``codes`` where both a train and an evaluation clip have it, else −1."""
    size = int(codes.max(initial=-1)) + 1
    both = np.zeros(size + 1, bool)  # the last one stands for −1
    both[:size] = np.bincount(codes[train & (codes >= 0)], minlength=size) > 0
    both[:size] &= np.bincount(codes[~train & (codes >= 0)], minlength=size) > 0
    return np.where(both[codes], codes, -1)


# ---------------------------------------------------------------------------------------------------- by id


def by_id(clips: Clips, read_shards: bool) -> Array:
    """Indexes of older corpora lack the ids, which then come from the records if shards may be read."""
    codes = np.full(len(clips.entry), -1, np.int64)
    positions, ids = [], [pa.array([], pa.string())]
    for number, entry in enumerate(clips.entries):
        at = np.flatnonzero(clips.entry == number)
        corpus = clips.corpora[entry.corpus]
        stated = {found.get("entry"): found.get("pictures") for found in corpus.manifest["entries"]}
        positions.append(at)
        ids.append(picture_ids(_sources(corpus, clips.row[at], read_shards), entry.dataset, stated.get(entry.name)))
    codes[_joined(positions)] = _codes(pa.concat_arrays(ids))
    return codes


def lacks_ids(corpus: Corpus) -> bool:
    return corpus.records.column("source").null_count > 0


def _sources(corpus: Corpus, rows: Array, read_shards: bool) -> pa.Array:
    if read_shards and lacks_ids(corpus):
        return pa.array([corpus.record(row).clip.source for row in rows.tolist()], pa.string())
    return corpus.records.column("source").combine_chunks().take(pa.array(rows))


# -------------------------------------------------------------------------------------------------- by bytes


def by_bytes(clips: Clips) -> Array:
    """By size and checksum alone."""
    size, crc32 = (
        _joined([_numbers(corpus, column) for corpus in clips.corpora]) for column in ("media_size", "media_crc32")
    )
    return np.where(size < 0, -1, _pair_codes(size, crc32))


def confirmed(clips: Clips, codes: Array, tell: Callable[[int, int], None]) -> Array:
    """The ``codes`` on both sides, told apart by the SHA-256 of the bytes in the shards; −1 elsewhere."""
    at = np.flatnonzero(on_both_sides(codes, clips.train) >= 0)
    digests = []
    for done, clip in enumerate(at.tolist()):
        tell(done, len(at))
        media = clips.corpora[clips.corpus[clip]].media(int(clips.row[clip])) or b""
        digests.append(hashlib.sha256(media).digest())
    tell(len(at), len(at))
    found = np.full(len(codes), -1, np.int64)
    found[at] = _codes(pa.array(digests, pa.binary()))
    return found


def _pair_codes(size: Array, crc32: Array) -> Array:
    """One number from 0 for each distinct (size, crc32)."""
    rank = np.unique(size, return_inverse=True)[1]
    return np.unique((rank.astype(np.int64) << 32) | (crc32 & 0xFFFFFFFF), return_inverse=True)[1]


# ------------------------------------------------------------------------------------------------- by frames


def by_frames(clips: Clips) -> Array:
    """Frame folders of one code are connected by pairs that share half of the shorter one's frames."""
    owner, frame = _frames(clips)
    held = np.bincount(owner, minlength=len(clips.entry))
    seldom = (np.bincount(frame, minlength=1) <= MOST_CLIPS)[frame]
    chosen = seldom & (on_both_sides(frame, clips.train[owner]) >= 0)
    a, b = _meetings(owner[chosen], frame[chosen])
    meeting, times = np.unique(a * len(held) + b, return_counts=True)
    a, b = np.divmod(meeting, max(len(held), 1))
    enough = (2 * times >= np.minimum(held[a], held[b])) & (clips.train[a] != clips.train[b])
    return np.where(held > 0, _components(len(held), a[enough], b[enough]), -1)


def _frames(clips: Clips) -> tuple[Array, Array]:
    """(clip, code of the frame's bytes), each pair once."""
    owners, sizes, crc32s = [], [], []
    start = 0
    for corpus in clips.corpora:
        lists = {name: corpus.records.column(f"frame_{name}").combine_chunks() for name in ("sizes", "crc32s")}
        owners.append(pc.list_parent_indices(lists["sizes"]).to_numpy(zero_copy_only=False).astype(np.int64) + start)
        sizes.append(pc.list_flatten(lists["sizes"]).to_numpy(zero_copy_only=False))
        crc32s.append(pc.list_flatten(lists["crc32s"]).to_numpy(zero_copy_only=False))
        start += len(corpus)
    frame = _pair_codes(_joined(sizes), _joined(crc32s))
    kinds = int(frame.max(initial=0)) + 1
    owner, frame = np.divmod(np.unique(_joined(owners) * kinds + frame), kinds)
    return owner, frame


def _meetings(owner: Array, frame: Array) -> tuple[Array, Array]:
    """Every pair of owners of one frame, the smaller first, once for each such frame."""
    order = np.lexsort((owner, frame))
    owner, frame = owner[order], frame[order]
    found = [(owner[:0], owner[:0])]
    for step in range(1, MOST_CLIPS):
        alike = frame[step:] == frame[:-step]
        if not alike.any():
            break
        found.append((owner[:-step][alike], owner[step:][alike]))
    return _joined([a for a, _ in found]), _joined([b for _, b in found])


def _components(size: int, a: Array, b: Array) -> Array:
    """For each of ``size`` things the smallest one that the edges ``a``–``b`` connect it to."""
    label = np.arange(size)
    while (label[a] != label[b]).any():
        low = np.minimum(label[a], label[b])
        np.minimum.at(label, a, low)
        np.minimum.at(label, b, low)
    return label


# ------------------------------------------------------------------------------------------------- arithmetic


def _codes(values: pa.Array) -> Array:
    """Equal values get equal numbers from 0; null gets −1."""
    return values.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)


def _numbers(corpus: Corpus, column: str) -> Array:
    return corpus.records.column(column).fill_null(-1).to_numpy().astype(np.int64)


def _joined(parts: list[Array]) -> Array:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
