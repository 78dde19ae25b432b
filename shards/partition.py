"""Which record goes to which shard: decided by a hash of its key, so that little changes when little changes.

An entry starts as one bucket; a bucket larger than the shard size is split in two by the next bit of its records'
hashes. So the shards are a function of the *set* of records: a record more or less changes the one shard it
belongs to, or splits it, and never renumbers the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shards.keys import hash64

MAX_DEPTH: Final = 13
"""Bits of the hash that number a shard; with three bits for its kind of media they fit the five digits of a name."""
MEDIA_KINDS: Final = (".mp4", ".jpg", ".zip", ".png", ".webm", ".mkv", ".avi", None)


@dataclass(frozen=True, slots=True)
class Bucket:
    """One shard to be: the prefix of its hashes, and its records as positions in the list that was partitioned."""

    prefix: int
    members: tuple[int, ...]


def partition(keys: Sequence[str], sizes: Sequence[int], shard_size: int) -> list[Bucket]:
    """The buckets of an entry's records, in order of prefix, members in order of their hash.

    ``sizes`` and ``shard_size`` are bytes. A shard holds at most ``shard_size`` unless a single record is larger
    (or the hashes of its records agree in all 13 bits), and rarely less than a quarter of it.
    """
    hashes = [hash64(key) for key in keys]
    order = sorted(range(len(keys)), key=lambda i: (hashes[i], keys[i]))
    buckets: list[Bucket] = []

    def split(members: list[int], prefix: int, depth: int) -> None:
        if not members:
            return
        if len(members) == 1 or depth == MAX_DEPTH or sum(sizes[i] for i in members) <= shard_size:
            buckets.append(Bucket(prefix << (MAX_DEPTH - depth), tuple(members)))
            return
        for bit in (0, 1):
            half = [i for i in members if hashes[i] >> (63 - depth) & 1 == bit]
            split(half, prefix << 1 | bit, depth + 1)

    split(order, 0, 0)
    return buckets


def shard_number(prefix: int, media_suffix: str | None) -> int:
    """The number in the name of a shard: 0 … 65535.

    Records of one shard all have media of one suffix (None: no media), since other readers want one set of members
    per shard; so a shard is known by the prefix of its hashes and its kind of media.
    """
    return prefix * len(MEDIA_KINDS) + MEDIA_KINDS.index(media_suffix)
